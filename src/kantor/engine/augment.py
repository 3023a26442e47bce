"""Differentiable augmentation: the critic sees real and generated images changed in the same random way.

With few images a critic learns them by heart. It cannot if it never sees one twice; and since generated images are changed too, the
generator does not learn the changes (Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training"; Karras et al. 2020,
"Training generative adversarial networks with limited data", who say when changes leak). `data.augment` changes real images alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from kantor.config.training import TrainConfig
from kantor.engine.step_random import StepRandom
from kantor.types import Batch

FEW_IMAGES = 4_000


class Changes(NamedTuple):
    """Linear maps, so that the same changes can be made to other images: exact, differentiable and deterministic on any device.

    Attributes:
        rows, columns: float32 [N, H, H] and [N, W, W], 1 where a new row, or column, shows an old one.
        visible: float32 [N, 1, H, W], 0 where an image is blanked.
    """

    rows: Tensor
    columns: Tensor
    visible: Tensor


def choose_augmentation(count: int) -> tuple[float, str]:
    """Returns (probability, reason) for a dataset of `count` images; docs/recipe.md says what was measured."""
    if count < FEW_IMAGES:
        return 1.0, f"{count:,} images, fewer than {FEW_IMAGES:,}: the critic would learn them by heart without"
    return 0.0, f"{count:,} images, {FEW_IMAGES:,} or more: enough for the critic without"


def sample_changes(train: TrainConfig, random: StepRandom, purpose: str, step: int, like: Tensor) -> Changes | None:
    """Changes for images such as `like` [N, C, H, W]; None if there are none.

    Each image is shifted with probability `train.augment`, by whole pixels up to `augment_shift` of a side either way; and with the same
    probability, independently, a rectangle of `augment_cutout` of both sides is blanked, centred on any pixel.
    """
    if train.augment == "auto" or not train.augment:  # "auto" is decided before a run
        return None
    count, _, height, width = like.shape
    uniform = random.uniform(purpose, step, (6, count, 1))
    moved, blanked = uniform[4] < train.augment, uniform[5] < train.augment
    sides = (height, width)
    shifts = [
        (_whole(u, round(side * train.augment_shift)) * moved) for u, side in zip(uniform[:2], sides, strict=True)
    ]
    pixels = [torch.arange(side, device=like.device) for side in sides]
    rows, columns = (
        (at[None, None, :] == at[None, :, None] + shift[:, :, None]).to(torch.float32)
        for at, shift in zip(pixels, shifts, strict=True)
    )
    inside = []
    for at, u, side in zip(pixels, uniform[2:4], sides, strict=True):
        length = round(side * train.augment_cutout)
        first = (u * (side + 1 - length % 2)).floor() - length // 2
        inside.append((at >= first) & (at < first + length))
    hidden = (inside[0] & blanked)[:, None, :, None] & inside[1][:, None, None, :]
    return Changes(rows, columns, (~hidden).to(torch.float32))


def _whole(uniform: Tensor, most: int) -> Tensor:
    """Whole numbers from -most to most, all equally probable."""
    return (uniform * (2 * most + 1)).floor() - most


def changed(images: Tensor, changes: Changes | None) -> Tensor:
    """Float32 [N, C, H, W]; what comes in from outside, and what is blanked, is 0: mid-grey, and of RGBA half transparent.

    The images themselves if there are no changes.
    """
    if changes is None:
        return images
    moved = changes.rows[:, None] @ images.to(torch.float32) @ changes.columns[:, None].mT
    return (moved * changes.visible).contiguous(memory_format=torch.channels_last)


def as_seen(batch: Batch, changes: Changes | None) -> Batch:
    """The batch with its images, and its conditions if there are any, changed for the critic."""
    condition = None if batch.condition is None else changed(batch.condition, changes)
    return batch._replace(images=changed(batch.images, changes), condition=condition)
