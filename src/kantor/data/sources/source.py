"""What every kind of source offers to `pack`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Item:
    """One picture that a source offers, not read yet.

    Attributes:
        name: unique in the source and stable: a path relative to it, or an index as text. Bytes that are not UTF-8
            are kept by surrogateescape.
        position: what `Source.load` needs to find it.
        size: bytes on the disk, 0 where that has no meaning; with mtime_ns, part of the fingerprint of the listing.
        mtime_ns: time of the last change, 0 where that has no meaning.
        label: class name ("fish"), or None.
    """

    name: str
    position: int
    size: int = 0
    mtime_ns: int = 0
    label: str | None = None


@dataclass(frozen=True)
class Rejected:
    """A picture that was left out, and why: the reason is a few plain words ("truncated at byte 8112")."""

    name: str
    reason: str


class Source(Protocol):
    """A place that pictures come from. Pickled to worker processes, so it holds paths and numbers, not open files.

    Attributes:
        path: as the user wrote it, for messages.
        note: what was chosen on opening it, for the user; "" where there is nothing to say.
        exact: its pictures have one size and kind, which "auto" settings keep (arrays, IDX, packed sets).

    One that has an attribute `here` which is true is never sent to another process nor used by another thread: `load`
    is called where `pack` was called, and workers are sent what it gave.
    """

    path: str
    exact: bool
    note: str

    def items(self) -> Iterator[Item | Rejected]:
        """Its pictures in a stable order (by bytes of the name), with what is plainly none among them."""
        ...

    def load(self, item: Item) -> bytes | NDArray[np.uint8] | NDArray[np.uint16]:
        """The file's bytes, or the picture itself as an array [H, W] or [H, W, C]. Called in worker processes."""
        ...
