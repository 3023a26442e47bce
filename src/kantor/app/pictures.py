"""Which pictures the sample sheets show."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kantor.config.schema import Config
from kantor.data.feed import shrink, to_float
from kantor.data.split import Part
from kantor.data.store import Store
from kantor.random import derive
from kantor.sample.draw import draw, to_uint8
from kantor.sample.latents import latents
from kantor.types import ImageSpec

Pictures = NDArray[np.uint8]
SHEET_PIXELS = 1024 * 1024


class Sampler:
    """Draws both sheets: seeds 0, 1, 2 ... every time, and seeds that depend on images_seen.

    Attributes:
        count: pictures in a sheet: a square number, 64 for small pictures, fewer for large ones.
    """

    def __init__(self, config: Config, spec: ImageSpec, classes: int) -> None:
        self._config, self._classes = config, classes
        side = int(math.sqrt(SHEET_PIXELS / (spec.height * spec.width)))
        self.count = min(8, max(2, side)) ** 2

    def __call__(self, generator: nn.Module, images_seen: int) -> tuple[Pictures, Pictures]:
        first = derive(self._config.train.seed, "sheet", images_seen) % 2**31
        return self._sheet(generator, 0), self._sheet(generator, first)

    def _sheet(self, generator: nn.Module, first: int) -> Pictures:
        network = self._config.generator
        z = latents(range(first, first + self.count), network.latent_dim, network.latent)
        labels = [i % self._classes for i in range(self.count)] if self._classes else None
        return draw(generator, z, labels)


def first_pictures(store: Store | Part, count: int, spec: ImageSpec) -> Pictures:
    """Pictures of the set, spread evenly, brought down to `spec` as the feed does it: uint8 [count or fewer, H, W, C]."""
    return at_size(store.images(np.linspace(0, store.count - 1, min(count, store.count)).astype(np.int64)), spec)


def at_size(pictures: Pictures, spec: ImageSpec) -> Pictures:
    """uint8 [N, H, W, C] brought down to `spec` as the feed does it."""
    if pictures.shape[1:3] == spec[:2]:
        return pictures
    return to_uint8(shrink(to_float(torch.from_numpy(pictures)), spec.height, spec.width))
