"""Images to train on, and images held out.

Which side an image is on depends on its own bytes alone: not on its name, nor on its place, nor on what else is in the
set. Exact copies are on the same side, and more images added later leave the others where they were.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.loading.store import Store
from kantor.types import ImageSpec


class Part:
    """Some rows of a packed set, or of a part of one, as a set of their own: see `Store` for what the attributes are."""

    path: Path
    spec: ImageSpec
    manifest: dict[str, Any]
    class_names: list[str]
    labelled: bool
    fingerprint: str

    def __init__(self, store: Store | Part, rows: NDArray[np.int64]) -> None:
        self._store, self._rows = store, rows
        self.path, self.spec, self.manifest = store.path, store.spec, store.manifest
        self.class_names, self.labelled, self.fingerprint = store.class_names, store.labelled, store.fingerprint
        self.count = len(rows)
        self.shard_sizes = [len(rows)]

    def __len__(self) -> int:
        return self.count

    def images(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 [n, H, W, C] of `rows` [n] of this part."""
        return self._store.images(self._rows[rows])

    def labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """int64 [n] of `rows` [n], or None where the set has no labels."""
        return self._store.labels(self._rows[rows])

    def whole(self) -> NDArray[np.uint8]:
        """uint8 [count, H, W, C]: all images, in new memory."""
        return self._store.images(self._rows)

    def digests(self) -> NDArray[np.uint8]:
        """uint8 [count, 32]: the SHA-256 of each row's source."""
        return self._store.digests()[self._rows]


def split(store: Store | Part, share: float) -> tuple[Part, Part]:
    """(images to train on, images held out); `share` of all are held out, as near as chance has it."""
    first = np.ascontiguousarray(store.digests()[:, :8]).view(">u8")[:, 0]
    held = first.astype(np.float64) / 2.0**64 < share
    return Part(store, np.flatnonzero(~held)), Part(store, np.flatnonzero(held))


def without_held(store: Store | Part, share: float) -> Store | Part:
    """The set without the share that is held out of it: itself for 0."""
    return split(store, share)[0] if share else store
