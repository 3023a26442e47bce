"""Pictures of a packed set, in the order of data, on the training device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kantor.data.order import Order
from kantor.random import derive
from kantor.types import Batch, ImageSpec

if TYPE_CHECKING:
    from kantor.data.split import Part
    from kantor.data.store import Store


def to_float(pictures: Tensor) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in [-1, 1], channels last in memory. Only feeds call this."""
    return pictures.permute(0, 3, 1, 2).to(torch.float32).mul_(1 / 127.5).sub_(1)


def shrink(pictures: Tensor, height: int, width: int) -> Tensor:
    """[N, C, H, W] -> [N, C, height, width]: averages of areas where these are whole pixels, else antialiased.

    Each channel is averaged for itself.
    """
    down, across = pictures.shape[2] / height, pictures.shape[3] / width
    if down == across == 1:
        return pictures
    if down.is_integer() and across.is_integer():
        return F.avg_pool2d(pictures, (int(down), int(across)))
    return F.interpolate(pictures, (height, width), mode="bilinear", antialias=True)


_ROWS_AHEAD = 4096  # rows of the set: 32 KB, and a millisecond now and then


class Feed:
    """A continuous stream over epochs. What it hands out is a function of (seed, position) alone.

    Args:
        store: the packed set.
        device: where batches go; the set itself goes there too if it takes at most a quarter of a GPU's free memory.
        labels: hand out labels.
        mirror: mirror each picture, left to right, with probability one half.
        spec: of what it hands out, where that is smaller than what the set holds.

    Attributes:
        position: pictures handed out so far.
    """

    def __init__(
        self,
        store: Store | Part,
        seed: int,
        device: torch.device,
        labels: bool = False,
        mirror: bool = False,
        spec: ImageSpec | None = None,
    ) -> None:
        self.store, self.device, self.position = store, device, 0
        self._spec = spec or store.spec
        self._order = Order(store.shard_sizes, seed, window=None)
        self._labels, self._mirror, self._seed = labels, mirror, seed
        self._ahead_from, self._ahead = 0, np.empty(0, np.int64)
        self._resident: Tensor | None = None
        if device.type == "cuda":
            size = store.count * int(np.prod(store.spec))
            if size <= torch.cuda.mem_get_info(device)[0] // 4:
                self._resident = torch.from_numpy(store.whole()).to(device)

    def take(self, n: int) -> Batch:
        """The next n pictures."""
        batch = self._batch(self._rows(n))
        if self._mirror:
            coins = torch.Generator(self.device).manual_seed(derive(self._seed, "mirror", self.position))
            turned = torch.rand(n, 1, 1, 1, generator=coins, device=self.device) < 0.5
            batch = batch._replace(images=torch.where(turned, batch.images.flip(3), batch.images))
        self.position += n
        return batch

    def _rows(self, n: int) -> np.ndarray:
        """Rows of the next n pictures, worked out for some thousands at once: in small portions that takes ten times longer."""
        first = self.position - self._ahead_from
        if first < 0 or first + n > len(self._ahead):
            first, self._ahead_from = 0, self.position
            self._ahead = self._order.rows(self.position, max(n, _ROWS_AHEAD))
        return self._ahead[first : first + n]

    def _batch(self, rows: np.ndarray) -> Batch:
        if self._resident is not None:
            pictures = self._resident[self._moved(rows)]
        else:
            pictures = self._moved(self.store.images(rows))
        images = shrink(to_float(pictures), self._spec.height, self._spec.width)
        labels = self.store.labels(rows) if self._labels else None
        return Batch(images, None if labels is None else self._moved(labels))

    def _moved(self, values: np.ndarray) -> Tensor:
        """On the device, without waiting for it."""
        tensor = torch.from_numpy(values)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)
