"""A rough rate of training before there are images: a trial of about a second on random ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from kantor.app.training.build import build
from kantor.app.training.trial import Trial
from kantor.config.io import overridden
from kantor.config.schema import Config
from kantor.data.loading.image_set import ArrayImages
from kantor.engine.precision import choose_precision
from kantor.errors import UserError, out_of_memory
from kantor.types import ImageSpec

_SIDE, _BATCH = 32, 16  # of the trial on a CPU
_ENOUGH_S = 0.25
_NOT_TRIED = ("custom", "stack", "unet")


def random_images(spec: ImageSpec, count: int) -> ArrayImages:
    """Images of noise."""
    return ArrayImages(np.random.default_rng(0).integers(0, 256, (count, *spec), np.uint8))


def rough_rate(config: Config, spec: ImageSpec, device: torch.device) -> float | None:
    """Images a second of training at `spec`; None if it cannot be told before the images are there.

    On a CPU small batches of small images are tried; four times the pixels take four times as long. One thread takes part: more
    are seldom twice as fast, and crawl where another program has one of their cores. Networks of fixed layers, which tell little about another size, and custom ones are not tried.
    """
    kinds = {config.generator.kind, config.critic.kind, config.objective.kind}
    undecided = "auto" in (config.generator.slim, config.critic.slim)
    if kinds & {*_NOT_TRIED} or config.data.condition != "none" or undecided:
        return None
    fields: dict[str, Any] = {
        "train.conditional": False,
        "train.augment": 0.0,
        "train.compile": False,
        "data.edges": "none",
    }
    fields["train.precision"] = choose_precision(config.train.precision, device)[0]
    tried = spec
    if device.type == "cpu":
        tried = ImageSpec(min(_SIDE, spec.height), min(_SIDE, spec.width), spec.channels)
        fields |= {"train.batch": min(_BATCH, config.train.batch), "train.micro_batch": 0}
    fields["data.size"] = f"{tried.height}x{tried.width}"
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        parts = build(overridden(config, fields), random_images(tried, 256), device)
        with Trial(parts) as trial:
            rate = trial.images_per_second(_ENOUGH_S)
    except UserError:  # the run itself says why
        return None
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            return None
        raise
    finally:
        torch.set_num_threads(threads)
    return rate * (tried.height * tried.width) / (spec.height * spec.width)
