"""Images of a packed set, in the order of data, on the training device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kantor.data.loading.augment import augment
from kantor.data.loading.order import Order
from kantor.data.loading.pairs import Pairs
from kantor.random import derive
from kantor.types import Batch, ImageSpec

if TYPE_CHECKING:
    from kantor.config.schema import AugmentConfig
    from kantor.data.loading.split import Part
    from kantor.data.loading.store import Store


def to_float(images: Tensor) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in [-1, 1], channels last in memory. Only feeds call this."""
    return images.permute(0, 3, 1, 2).to(torch.float32).mul_(1 / 127.5).sub_(1)


def dequantised(images: Tensor, rng: torch.Generator) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in [-1, 1), as `to_float`: (v + u) / 128 - 1 with u from U(0, 1).

    The levels become a range without gaps, on which a density can be had (Theis et al. 2016, "A note on the evaluation
    of generative models"); Gulrajani et al. 2017 do it for CIFAR-10 in their code.
    """
    levels = images.permute(0, 3, 1, 2).to(torch.float32)
    noise = torch.rand(images.shape, generator=rng, device=images.device).permute(0, 3, 1, 2)
    # the largest sum, 255 and nearly 1, is rounded to 256 in 32 bits now and then
    return levels.add_(noise).mul_(1 / 128).sub_(1).clamp_(max=1 - 2**-24)


def shrink(images: Tensor, height: int, width: int) -> Tensor:
    """[N, C, H, W] -> [N, C, height, width]: averages of areas where these are whole pixels, else antialiased.

    Each channel is averaged for itself.
    """
    down, across = images.shape[2] / height, images.shape[3] / width
    if down == across == 1:
        return images
    if down.is_integer() and across.is_integer():
        return F.avg_pool2d(images, (int(down), int(across)))
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)


_ROWS_AHEAD = 4096  # rows of the set: 32 KB, and a millisecond now and then


class Feed:
    """A continuous stream over epochs. What it hands out is a function of (seed, position) alone.

    Args:
        store: the packed set.
        device: where batches go; the set itself goes there too if it takes at most a quarter of a GPU's free memory.
        labels: hand out labels.
        mirror: mirror each image, left to right, with probability one half.
        spec: of what it hands out, where that is smaller than what the set holds.
        augment: how images are changed each time, at the size of the set.
        dequantise: make a continuous range of the 256 levels.

    Attributes:
        position: images handed out so far.
    """

    def __init__(
        self,
        store: Store | Part,
        seed: int,
        device: torch.device,
        labels: bool = False,
        mirror: bool = False,
        spec: ImageSpec | None = None,
        augment: AugmentConfig | None = None,
        dequantise: bool = False,
    ) -> None:
        self.store, self.device, self.position = store, device, 0
        self._spec = spec or store.spec
        self._order = Order(store.shard_sizes, seed, window=None)
        self._labels, self._mirror, self._seed = labels, mirror, seed
        self._augment, self._dequantise = augment, dequantise
        self._ahead_from, self._ahead = 0, np.empty(0, np.int64)
        self._pairs = store if isinstance(store, Pairs) else None
        self._resident: Tensor | None = None
        self._resident_conditions: Tensor | None = None
        if device.type == "cuda":
            channels = store.spec.channels + (self._pairs.condition_channels if self._pairs else 0)
            size = store.count * store.spec.height * store.spec.width * channels
            if size <= torch.cuda.mem_get_info(device)[0] // 4:
                self._resident = torch.from_numpy(store.whole()).to(device)
                if self._pairs:
                    self._resident_conditions = torch.from_numpy(self._pairs.all_conditions()).to(device)

    def take(self, n: int) -> Batch:
        """The next n images."""
        batch = self._batch(self._rows(n))
        if self._mirror:
            turned = torch.rand(n, 1, 1, 1, generator=self._dice("mirror"), device=self.device) < 0.5
            images, condition = (
                None if part is None else torch.where(turned, part.flip(3), part)
                for part in (batch.images, batch.condition)
            )
            assert images is not None
            batch = batch._replace(images=images, condition=condition)
        self.position += n
        return batch

    def _rows(self, n: int) -> np.ndarray:
        """Rows of the next n images, worked out for some thousands at once: in small portions that takes ten times longer."""
        first = self.position - self._ahead_from
        if first < 0 or first + n > len(self._ahead):
            first, self._ahead_from = 0, self.position
            self._ahead = self._order.rows(self.position, max(n, _ROWS_AHEAD))
        return self._ahead[first : first + n]

    def _batch(self, rows: np.ndarray) -> Batch:
        if self._resident is not None:
            pixels = self._resident[self._moved(rows)]
        else:
            pixels = self._moved(self.store.images(rows))
        images = dequantised(pixels, self._dice("dequantise")) if self._dequantise else to_float(pixels)
        if self._augment is not None:
            images = augment(images, self._augment, self._dice("augment"))
        images = shrink(images, self._spec.height, self._spec.width)
        if self._augment is not None:  # looking pixels up has put channels first in memory
            images = images.contiguous(memory_format=torch.channels_last)
        labels = self.store.labels(rows) if self._labels else None
        return Batch(images, None if labels is None else self._moved(labels), self._condition(rows))

    def _condition(self, rows: np.ndarray) -> Tensor | None:
        """float32 [N, K, H, W] in [-1, 1]; None where the set has none."""
        if self._pairs is None:
            return None
        if self._resident_conditions is not None:
            conditions = self._resident_conditions[self._moved(rows)]
        else:
            conditions = self._moved(self._pairs.conditions(rows))
        return shrink(to_float(conditions), self._spec.height, self._spec.width)

    def _dice(self, purpose: str) -> torch.Generator:
        """For the batch at this position."""
        return torch.Generator(self.device).manual_seed(derive(self._seed, purpose, self.position))

    def _moved(self, values: np.ndarray) -> Tensor:
        """On the device, without waiting for it."""
        tensor = torch.from_numpy(values)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)
