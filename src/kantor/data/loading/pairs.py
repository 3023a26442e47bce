"""Images with a condition each, from two packed sets of the same source."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from kantor.data.loading.split import Part
from kantor.data.loading.store import Store
from kantor.errors import DataError


class Pairs(Part):
    """A set whose images have a condition each: see `Store` for what the attributes are.

    Args:
        images: the set.
        conditions: one made of the same sources, in the same order.
    Raises:
        DataError: they are of other sources, or in another order.
    """

    def __init__(self, images: Store | Part, conditions: Store | Part) -> None:
        super().__init__(images, np.arange(images.count))
        self._conditions = conditions
        self.fingerprint = paired_fingerprint(images.fingerprint, conditions.fingerprint)
        if images.count != conditions.count or not np.array_equal(images.digests(), conditions.digests()):
            what = f"its {conditions.count:,} outlines are not those of its {images.count:,} images"
            raise DataError(images.path, what, "leave the images alone while they are packed, and start again")
        if images.spec[:2] != conditions.spec[:2]:
            raise DataError(conditions.path, f"is {conditions.spec}, beside {images.spec}", "pack it again")

    @property
    def condition_channels(self) -> int:
        return self._conditions.spec.channels

    def conditions(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 [n, H, W, K]: the conditions of `rows` [n]."""
        return self._conditions.images(rows)

    def all_conditions(self) -> NDArray[np.uint8]:
        """uint8 [count, H, W, K], in new memory."""
        return self._conditions.whole()


def paired_fingerprint(images: str, conditions: str) -> str:
    """Of a set of pairs."""
    return hashlib.sha256(f"{images}/{conditions}".encode()).hexdigest()
