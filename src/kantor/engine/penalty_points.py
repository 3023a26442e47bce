"""Where the penalties that are due take their gradients, and the random numbers that this needs."""

from __future__ import annotations

from torch import Tensor

from kantor.engine.passes import Penalties
from kantor.engine.step_random import StepRandom
from kantor.objectives.penalties import points
from kantor.types import Batch

PointNumbers = dict[str, tuple[Tensor, Tensor | None]]
"""By penalty: uniform numbers [N], and noise [N, C, H, W] for perturbed points."""


def numbers_for_points(due: Penalties, random: StepRandom, step: int, like: Tensor) -> PointNumbers:
    """The random numbers of penalties that are not on a batch itself. like: images [N, C, H, W]."""
    numbers = {}
    for name, penalty in due.items():
        if penalty.batch is None:
            noise = random.uniform("noise", step, like.shape) if penalty.at.kind == "perturbed" else None
            numbers[name] = (random.uniform("interpolation", step, (len(like),)), noise)
    return numbers


def penalty_points(due: Penalties, numbers: PointNumbers, real: Batch, fake: Tensor) -> dict[str, Tensor]:
    """The points [N, C, H, W] of the penalties that have numbers. fake: generated images [N, C, H, W]."""
    return {name: points(due[name].at, real.images, fake, *pair) for name, pair in numbers.items()}
