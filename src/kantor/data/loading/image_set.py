"""Images by row: the type that training and evaluation read from, images in memory, and two ways to build it from others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kantor.errors import DataError
from kantor.types import Images, ImageSpec


class ImageSet(Protocol):
    """Images by row, with labels and conditions if there are any: a `Store`, `Subset` or `PairedImages`."""

    path: Path  # folder of the packed dataset
    spec: ImageSpec
    count: int
    labelled: bool  # whether every image has a label
    class_names: list[str]  # name of each label, as text that every file can hold; empty without labels
    condition_channels: int  # 0 without conditions
    condition_settings: dict[str, Any]  # by which they were packed; empty without conditions, and for outlines
    fingerprint: str  # equal for equal images, labels and settings; a subset has that of the whole dataset

    # for `rows` [n]: uint8 [n, H, W, C]; int64 [n], or None without labels; uint8 [n, H, W, K], or None without conditions
    def images(self, rows: NDArray[np.int64]) -> Images: ...
    def labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None: ...
    def conditions(self, rows: NDArray[np.int64]) -> Images | None: ...

    # uint8 [count, 32]: the SHA-256 of each image's source
    def digests(self) -> NDArray[np.uint8]: ...


class ArrayImages:
    """Images in memory, uint8 [N, H, W, C], without classes, conditions or files."""

    labelled, condition_channels = False, 0

    def __init__(self, pixels: Images) -> None:
        self.path, self.fingerprint = Path("memory"), "memory"
        self.count, self.spec = len(pixels), ImageSpec(*pixels.shape[1:])
        self.class_names: list[str] = []
        self.condition_settings: dict[str, Any] = {}
        self._pixels = pixels

    def images(self, rows: NDArray[np.int64]) -> Images:
        return self._pixels[rows]

    def labels(self, rows: NDArray[np.int64]) -> None:
        return None

    def conditions(self, rows: NDArray[np.int64]) -> None:
        return None

    def digests(self) -> NDArray[np.uint8]:
        return np.zeros((self.count, 32), np.uint8)


def class_counts(images: ImageSet) -> dict[str, int]:
    """Images of each class, by its name; empty without labels."""
    labels = images.labels(np.arange(images.count)) if images.labelled else None
    if labels is None:
        return {}
    counts = np.bincount(labels, minlength=len(images.class_names)).tolist()
    return dict(zip(images.class_names, counts, strict=True))


class Subset:
    """Some rows of an image set."""

    def __init__(self, images: ImageSet, rows: NDArray[np.int64]) -> None:
        self._whole, self._rows = images, rows
        self.path, self.spec, self.count = images.path, images.spec, len(rows)
        self.labelled, self.class_names = images.labelled, images.class_names
        self.condition_channels, self.condition_settings = images.condition_channels, images.condition_settings
        self.fingerprint = images.fingerprint

    def images(self, rows: NDArray[np.int64]) -> Images:
        return self._whole.images(self._rows[rows])

    def labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return self._whole.labels(self._rows[rows])

    def conditions(self, rows: NDArray[np.int64]) -> Images | None:
        return self._whole.conditions(self._rows[rows])

    def digests(self) -> NDArray[np.uint8]:
        return self._whole.digests()[self._rows]


class PairedImages:
    """Images with a condition each, in the same row. Raises DataError unless both have the same size.

    settings: by which conditions that are files of their own were packed. Without them the conditions are outlines; raises
    DataError unless they are made of the same files.
    """

    def __init__(self, images: ImageSet, conditions: ImageSet, settings: dict[str, Any] | None = None) -> None:
        self.images, self.labels, self.digests = images.images, images.labels, images.digests
        self.conditions = conditions.images
        self.path, self.spec, self.count = images.path, images.spec, images.count
        self.labelled, self.class_names = images.labelled, images.class_names
        self.condition_channels, self.condition_settings = conditions.spec.channels, dict(settings or {})
        self.fingerprint = paired_fingerprint(images.fingerprint, conditions.fingerprint)
        if settings is None and not np.array_equal(images.digests(), conditions.digests()):
            what = f"the {conditions.count:,} outlines do not match the {images.count:,} images"
            raise DataError(images.path, what, "leave the images unchanged while they are packed, and start again")
        if images.spec[:2] != conditions.spec[:2]:
            raise DataError(conditions.path, f"is {conditions.spec}, but the images are {images.spec}", "pack it again")


def paired_fingerprint(images: str, conditions: str) -> str:
    """Fingerprint of `PairedImages`, from those of its images and conditions."""
    return hashlib.sha256(f"{images}/{conditions}".encode()).hexdigest()
