"""The images of the sample grids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from kantor.app.images import at_size, join_pairs
from kantor.config.schema import Config
from kantor.controls import guide_of
from kantor.data.loading.image_set import ImageSet
from kantor.random import derive
from kantor.sample.generate import generate_images
from kantor.sample.grid import sheet_count
from kantor.sample.guided import guided_latents
from kantor.sample.latents import class_of_seed
from kantor.types import Images, ImageSpec


class Sampler:
    """Generates both grids: the fixed one from seeds 0, 1, 2 ..., the random one from seeds that depend on images_seen.

    With conditions, a grid shows each condition next to its generated image. Those of the fixed grid are spread
    evenly over the training set.

    Attributes:
        count: images in a grid: a square number, 64 for small images, fewer for large ones; half of it for pairs.
    """

    def __init__(self, config: Config, spec: ImageSpec, classes: int, store: ImageSet) -> None:
        self._config, self._spec, self._classes, self._store = config, spec, classes, store
        self.count = sheet_count(spec.height, spec.width) // (2 if store.condition_channels else 1)

    def __call__(self, generator: nn.Module, images_seen: int) -> tuple[Images, Images]:
        first = derive(self._config.train.seed, "sheet", images_seen) % 2**31
        rows = (first + np.arange(self.count) * 7919) % self._store.count  # a prime: neighbours may be alike
        fixed_rows = np.resize(_spread(self._store, self.count), self.count)
        return self._images(generator, 0, fixed_rows), self._images(generator, first, rows)

    def _images(self, generator: nn.Module, first: int, rows: NDArray[np.int64]) -> Images:
        network = self._config.generator
        seeds = range(first, first + self.count)
        z = guided_latents(seeds, network, guide_of(generator))
        labels = [class_of_seed(seed, self._classes) for seed in seeds] if self._classes else None
        if (conditions := self._store.conditions(rows)) is None:
            return generate_images(generator, z, labels)
        conditions = at_size(conditions, self._spec)
        return join_pairs(conditions, generate_images(generator, z, labels, conditions))


def first_images(store: ImageSet, count: int, spec: ImageSpec) -> Images:
    """Images spread evenly over the training set, resized to `spec` as by the feed: uint8 [count or fewer, H, W, C].

    Pairs have the condition to the left of the image: [..., H, 2 W, C].
    """
    rows = _spread(store, count)
    images, conditions = at_size(store.images(rows), spec), store.conditions(rows)
    return images if conditions is None else join_pairs(at_size(conditions, spec), images)


def _spread(store: ImageSet, count: int) -> NDArray[np.int64]:
    return np.linspace(0, store.count - 1, min(count, store.count)).astype(np.int64)
