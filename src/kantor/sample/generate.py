"""Generates images from latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kantor.alpha import straight
from kantor.progress import Progress, silent

BATCH = 32


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """float [N, C, H, W] in [-1, 1] -> uint8 [N, H, W, C]."""
    scaled = images.to(torch.float32).add(1).mul(127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


@torch.inference_mode()
def generate_images(
    generator: nn.Module,
    z: NDArray[np.float32],
    labels: Sequence[int] | NDArray[np.float32] | None = None,
    conditions: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Images of a generator in evaluation mode.

    Batches all have the same size, the last one padded, so that an image does not depend on its neighbours.

    Args:
        z: float32 [N, D].
        labels: N classes, weights of the classes float32 [N, classes], or None.
        conditions: uint8 [N, H, W, K], if the generator starts from images.
    Returns:
        uint8 [N, H, W, C].
    """
    device = next(generator.parameters()).device
    classes = None if labels is None else np.asarray(labels)
    batches = []
    for start in range(0, len(z), BATCH):
        part, some_classes, condition = (
            None if rows is None else _padded(rows[start : start + BATCH]).to(device)
            for rows in (z, classes, conditions)
        )
        if condition is not None:  # as in training
            condition = condition.permute(0, 3, 1, 2).to(torch.float32).mul_(1 / 127.5).sub_(1)
        images = generator(part, some_classes, condition).to(torch.float32)
        if getattr(generator, "premultiplied", False):
            images = straight(images)
        batches.append(to_uint8(images)[: len(z) - start])
    return np.concatenate(batches)


def _padded(rows: NDArray[Any]) -> Tensor:
    """[n, ...] -> [BATCH, ...], with zeros behind."""
    padded = np.zeros((BATCH, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return torch.from_numpy(padded)


def generate_one_by_one(
    generator: nn.Module,
    z: NDArray[np.float32],
    labels: Sequence[int] | NDArray[np.float32] | None,
    progress: Progress = silent,
) -> Iterator[NDArray[np.uint8]]:
    """Yields the images of `generate_images`, made batch by batch, so that many of them need little memory."""
    for start in range(0, len(z), BATCH):
        part = slice(start, start + BATCH)
        yield from generate_images(generator, z[part], None if labels is None else labels[part])
        progress(min(part.stop, len(z)), len(z))
