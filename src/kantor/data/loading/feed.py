"""Feeds batches of images to the training device, in the order of data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kantor.alpha import premultiplied
from kantor.data.loading.augment import augment
from kantor.data.loading.order import Order
from kantor.random import derive
from kantor.types import Batch, ImageSpec

if TYPE_CHECKING:
    from kantor.config.data import AugmentConfig
    from kantor.data.loading.image_set import ImageSet


def to_float(images: Tensor) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in [-1, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32).mul_(1 / 127.5).sub_(1)


def dequantised(images: Tensor, rng: torch.Generator) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in [-1, 1), as `to_float`: (v + u) / 128 - 1 with u from U(0, 1).

    Makes a continuous range of the 256 levels, on which a density exists (Theis et al. 2016, "A note on the evaluation
    of generative models"); Gulrajani et al. 2017 do it for CIFAR-10 in their code.
    """
    levels = images.permute(0, 3, 1, 2).to(torch.float32)
    noise = torch.rand(images.shape, generator=rng, device=images.device).permute(0, 3, 1, 2)
    # in float32 the largest sum, 255 and nearly 1, may round up to 256
    return levels.add_(noise).mul_(1 / 128).sub_(1).clamp_(max=1 - 2**-24)


def shrink(images: Tensor, height: int, width: int) -> Tensor:
    """[N, C, H, W] -> [N, C, height, width]: averages whole blocks of pixels, or resizes with antialiasing."""
    down, across = images.shape[2] / height, images.shape[3] / width
    if down == across == 1:
        return images
    if down.is_integer() and across.is_integer():
        return F.avg_pool2d(images, (int(down), int(across)))
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)


_ROWS_AHEAD = 4096  # 32 KB of row numbers, computed in about a millisecond
_EPOCHS_AHEAD = 4  # each takes a millisecond more, and those of a small dataset are many


class Feed:
    """A continuous stream of batches over epochs. Each batch is a pure function of (seed, position).

    Args:
        device: where batches go; the whole dataset moves there too if it takes at most a quarter of a GPU's free memory.
        labels: include labels in batches.
        mirror: flip each image left to right with probability one half.
        spec: size of the images in a batch, if smaller than those of the dataset.
        augment: random changes to each image, made at the size of the dataset.
        dequantise: make a continuous range of the 256 levels.
        premultiply: scale the colours of RGBA images by alpha, see `kantor.alpha`.

    Attributes:
        position: number of images returned so far.
    """

    def __init__(
        self,
        dataset: ImageSet,
        seed: int,
        device: torch.device,
        labels: bool = False,
        mirror: bool = False,
        spec: ImageSpec | None = None,
        augment: AugmentConfig | None = None,
        dequantise: bool = False,
        premultiply: bool = False,
    ) -> None:
        self.dataset, self.device, self.position = dataset, device, 0
        self._spec = spec or dataset.spec
        self._order = Order(dataset.count, seed)
        self._labels, self._mirror, self._seed = labels, mirror, seed
        self._augment, self._dequantise, self._premultiply = augment, dequantise, premultiply
        self._ahead_from, self._ahead = 0, np.empty(0, np.int64)
        self._resident: tuple[Tensor, Tensor | None] | None = None  # images and conditions on the device
        if device.type == "cuda":
            channels = dataset.spec.channels + dataset.condition_channels
            size_bytes = dataset.count * dataset.spec.height * dataset.spec.width * channels
            if size_bytes <= torch.cuda.mem_get_info(device)[0] // 4:
                rows = np.arange(dataset.count)
                conditions = dataset.conditions(rows)
                resident_conditions = None if conditions is None else torch.from_numpy(conditions).to(device)
                self._resident = torch.from_numpy(dataset.images(rows)).to(device), resident_conditions

    def take(self, n: int) -> Batch:
        """Returns the next n images."""
        rows = self._rows(n)
        pixels, conditions = self._pixels(rows)
        images = dequantised(pixels, self._rng("dequantise")) if self._dequantise else to_float(pixels)
        if self._augment is not None:
            images = augment(images, self._augment, self._rng("augment"), self._premultiply)
        elif self._premultiply:
            images = premultiplied(images)
        images = shrink(images, self._spec.height, self._spec.width)
        if self._augment is not None or self._premultiply:  # which may put channels first in memory
            images = images.contiguous(memory_format=torch.channels_last)
        condition = None
        if conditions is not None:
            condition = shrink(to_float(conditions), self._spec.height, self._spec.width)
        if self._mirror:
            flips = torch.rand(n, 1, 1, 1, generator=self._rng("mirror"), device=self.device) < 0.5
            images = _flipped(images, flips)
            condition = None if condition is None else _flipped(condition, flips)
        labels = self.dataset.labels(rows) if self._labels else None
        self.position += n
        return Batch(images, None if labels is None else self._moved(labels), condition)

    def _rows(self, n: int) -> np.ndarray:
        """Rows of the next n images, computed some thousands at a time: in small portions that takes ten times longer."""
        first = self.position - self._ahead_from
        if first < 0 or first + n > len(self._ahead):
            first, self._ahead_from = 0, self.position
            self._ahead = self._order.rows(self.position, max(n, min(_ROWS_AHEAD, _EPOCHS_AHEAD * self.dataset.count)))
        return self._ahead[first : first + n]

    def _pixels(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """uint8 [N, H, W, C] of images, and of conditions if there are any, on the device."""
        if self._resident is not None:
            images, conditions = self._resident
            index = self._moved(rows)
            return images[index], None if conditions is None else conditions[index]
        loaded = self.dataset.conditions(rows)
        return self._moved(self.dataset.images(rows)), None if loaded is None else self._moved(loaded)

    def _rng(self, purpose: str) -> torch.Generator:
        """Random numbers for the batch at this position."""
        return torch.Generator(self.device).manual_seed(derive(self._seed, purpose, self.position))

    def _moved(self, values: np.ndarray) -> Tensor:
        """Copies to the device without waiting for it."""
        tensor = torch.from_numpy(values)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)


def _flipped(images: Tensor, flips: Tensor) -> Tensor:
    """Mirrors those images [N, C, H, W] whose flag [N, 1, 1, 1] is set."""
    return torch.where(flips, images.flip(3), images)
