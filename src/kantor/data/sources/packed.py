"""A packed dataset as a source of images to stack or outline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kantor.data.loading.store import Store
from kantor.data.sources.source import HOLDOUT_BYTES, Item, Rejected, Source
from kantor.errors import ConfigError, DataError


class Packed(Source):
    """The images of a packed dataset, read from memory-mapped files.

    Args:
        labels: "auto" or "none".
        stack: whether its images are to be stacked. Raises ConfigError if they are stacked ones already.
    """

    exact = True
    local_only = True

    def __init__(self, path: str, labels: str = "auto", stack: bool = False) -> None:
        if labels not in ("auto", "none"):
            raise DataError(labels, "a packed dataset brings its own classes", "use --labels auto or none")
        self.path, self._labels, self.store = path, labels, Store.open(Path(path))
        self.store.verify()
        if stack and self.store.manifest["settings"].get("stack"):
            raise ConfigError("data.stack", f"{path} is a dataset of stacked images already", "leave data.stack out")

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the rows."""
        numbers = self.store.labels(np.arange(self.store.count)) if self._labels == "auto" else None
        first = HOLDOUT_BYTES if "objects" in self.store.manifest["settings"] else 0  # which all of a picture share
        states = np.ascontiguousarray(self.store.digests()[:, first : first + 8]).view("<u8")[:, 0] >> np.uint64(1)
        for i, state in enumerate(states.tolist()):
            label = None if numbers is None else self.store.class_names[numbers[i]]
            yield Item(str(i), i, 0, state, label)

    def load(self, item: Item) -> NDArray[np.uint8]:
        """uint8 [H, W, C]."""
        (image,) = self.store.images(np.array([item.position]))
        return np.asarray(image, np.uint8)
