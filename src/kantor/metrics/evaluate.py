"""The scores by name: which numbers each gives, and what it needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from kantor.errors import ConfigError, nearest
from kantor.metrics.inputs import CriticScores, Material
from kantor.metrics.manifold import COVERAGE_K
from kantor.metrics.memorisation import PIXELS
from kantor.metrics.metrics import METRICS
from kantor.metrics.score import Score
from kantor.metrics.sliced import SMALLEST
from kantor.progress import Progress, silent

__all__ = ["METRICS", "CriticScores", "Material", "columns", "evaluate", "known", "lacking"]

FEWEST = 2 * (COVERAGE_K + 1)
"""Images on either side below which nothing is scored."""
NUMBERS = {
    "fd": ("fd",),
    "kid": ("kid",),
    "is": ("is",),
    "pr": ("precision", "recall"),
    "dc": ("density", "coverage"),
    "swd": ("swd",),
    "msssim": ("msssim",),
    "nn": ("copied", "copying_z"),
    "modes": ("modes", "modes_kl"),
    "w2": ("w2",),
    "sinkhorn": ("sinkhorn",),
    "critic": ("critic_t", "critic_effect"),
}
"""What each gives, but for more of the same kind."""
_SPACES = {"swd": PIXELS, "msssim": PIXELS, "critic": "critic"}
USUAL = ("fd", "kid", "pr", "dc", "swd", "msssim", "nn", "modes", "critic")
"""What is measured where nothing is asked for: all of these that can be."""


_NVIDIA = re.compile(r"(fid|kid|pr|is)\d+k\d?(_full)?")


def known(name: str, where: str) -> None:
    """Raises ConfigError unless there is a score of this name."""
    if name in METRICS:
        return
    if match := _NVIDIA.fullmatch(name):
        ours = {"fid": "fd"}.get(match[1], match[1])
        do = f"its word here is {ours}, with the features inception:FILE and a count of 50000"
        raise ConfigError(where, f'there is no score "{name}"', do)
    part = next((metric for metric, numbers in NUMBERS.items() if name in numbers), None)
    do = f"it is part of {part}" if part else nearest(name, METRICS)
    raise ConfigError(where, f'there is no score "{name}"', do)


def columns(metrics: Sequence[str], extractor: str) -> tuple[str, ...]:
    """The numbers of `metrics` by their whole names: "fd@kantor-small"."""
    return tuple(f"{number}@{_SPACES.get(name, extractor)}" for name in metrics for number in NUMBERS[name])


def evaluate(
    material: Material,
    metrics: Sequence[str],
    note: Callable[[str], None] | None = None,
    progress: Progress = silent,
) -> dict[str, Score]:
    """The numbers of `metrics`, by name@extractor.

    Args:
        note: called with a line about each metric that cannot be measured, which is left out; None raises.
        progress: of the metrics.
    Raises:
        ConfigError: too few images, an unknown metric, or one that cannot be measured.
    """
    few = min(len(material.fakes), len(material.reals))
    if few < FEWEST:
        side = "the images to be scored" if few == len(material.fakes) else "the real images"
        raise ConfigError(side, f"{few} are too few", f"give {FEWEST} or more on either side")
    found: dict[str, Score] = {}
    for done, name in enumerate(metrics):
        progress(done, len(metrics))
        measure = METRICS[name]
        if missing := lacking(name, material):
            if note is None:
                raise ConfigError(f"--metrics {name}", *missing)
            note(f"{name} is left out: {missing[0]}")
            continue
        found |= measure(material)
    progress(len(metrics), len(metrics))
    return found


def lacking(name: str, material: Material) -> tuple[str, str] | None:
    """What `name` needs and does not have, and what to do; None where it has all."""
    if name == "is" and "classes" not in material.extractor.classes:
        return f"{material.extractor.name} tells no classes apart", "choose --features kantor-small or inception"
    if name == "modes" and material.modes is None:
        return "the modes of these images are not known", "give images with labels, or leave modes out"
    if name == "nn" and material.training is None:
        return "the images that were learnt from are not known", "name them with --against, or leave nn out"
    if name == "critic" and material.critic is None:
        return "there is no critic at hand", "name a run or a checkpoint, which keeps it, or leave critic out"
    if name in ("swd", "msssim") and (side := min(material.pick_reals(np.zeros(1, np.int64)).shape[1:3])) < SMALLEST:
        return f"the images have sides of {side}", f"give larger ones ({SMALLEST} or more), or leave it out"
    return None
