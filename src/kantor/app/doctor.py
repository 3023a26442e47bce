"""Checks this machine: versions, device, disk, and a training step."""

from __future__ import annotations

import shutil
import time

import numpy as np
import torch

from kantor.app.dataset.cache import cache_folder
from kantor.app.environment import versions
from kantor.config.io import resolve
from kantor.data.loading.feed import to_float
from kantor.engine.device import choose_device, describe_device
from kantor.engine.precision import choose_precision
from kantor.engine.state import State
from kantor.engine.step_random import StepRandom
from kantor.engine.steps import Steps
from kantor.objectives.objective import build_objective
from kantor.types import Batch, ImageSpec


def examine(device_name: str) -> list[tuple[bool, str]]:
    """Checks versions, device and disk, and times a cycle with each kind of penalty: (whether it is fine, a line)."""
    device = choose_device(device_name)
    precision, reason = choose_precision("auto", device)
    cache = cache_folder(None)
    free_gb = shutil.disk_usage(next(p for p in (cache, *cache.parents) if p.exists())).free / 1e9
    return [
        (True, ", ".join(f"{name} {version}" for name, version in versions().items())),
        (True, f"device: {describe_device(device)}"),
        (True, f"precision: {precision}, because {reason}"),
        (free_gb > 1, f"disk: {free_gb:.1f} GB free for packed images in {cache}"),
        _step("default", device, precision),
        _step("wgan-gp", device, precision),
    ]


def _step(preset: str, device: torch.device, precision: str) -> tuple[bool, str]:
    """Trains two cycles on random images: weights must change and stay finite."""
    config = resolve(preset, overrides={"train.batch": 16})
    spec = ImageSpec(32, 32, 3)
    images = np.random.default_rng(0).integers(0, 256, (16, *spec), np.uint8)
    try:
        state = State(config, spec, 0, device)
        before = state.critic.state_dict()["score.weight"].clone()
        steps = Steps(config, build_objective(config.objective), precision, 1)
        real = Batch(to_float(torch.from_numpy(images).to(device)))
        started_s = time.monotonic()
        for cycle in range(2):
            random = StepRandom(0, cycle, 0, device)
            (fake,) = steps.fakes(state, [real], random, 0)
            steps.critic_step(state, real, fake, random, 0)
            steps.generator_step(state, real, random, 0, len(images))
        tally = state.tally.read()
        elapsed_s = (time.monotonic() - started_s) / 2
    except (RuntimeError, NotImplementedError) as error:
        return False, f"training step of {preset}: {str(error).splitlines()[0]}"
    changed = not torch.equal(before, state.critic.state_dict()["score.weight"])
    good = changed and tally["skipped_critic"][0] == tally["skipped_generator"][0] == 0
    duration = f"training step of {preset} (32x32, batch 16): {elapsed_s * 1000:.0f} ms"
    return good, f"{duration}, weights change and stay finite"
