"""What every kind of source offers to `pack`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kantor.data.reasons import Reason

MAX_BYTES = 512 << 20  # of one image; what is larger is left out


@dataclass(frozen=True)
class Item:
    """One image that a source offers, not read yet.

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
    """An image that is skipped, and why."""

    name: str
    reason: Reason


class Source(Protocol):
    """A place that images come from. Pickled to worker processes, so it holds paths and numbers, not open files.

    Attributes:
        path: as the user wrote it, for messages.
        note: what was chosen on opening it, for the user; "" where there is nothing to say.
        exact: its images have one size and kind, which "auto" settings keep (arrays, IDX, packed sets).

    Some have more:
        here: true where it can be read in order only, or by its own process and thread only. Then it is never sent to
            another process: `load` is called where `pack` was called, in the order of `items`, with no limit on time,
            and workers are sent what it gave.
        prepare(): what takes time before the first `load`; each worker calls it once, with no limit on time.
        release(): closes what is open; the next `load` opens it again.
    """

    path: str
    exact: bool
    note: str

    def items(self) -> Iterator[Item | Rejected]:
        """Its images in a stable order (by bytes of the name), with what is plainly none among them."""
        ...

    def load(self, item: Item) -> bytes | NDArray[np.uint8] | NDArray[np.uint16]:
        """The file's bytes, or the image itself as an array [H, W] or [H, W, C]. Called in worker processes."""
        ...


def prepare(source: Source) -> None:
    """Calls its `prepare`, where it has one."""
    getattr(source, "prepare", _nothing)()


def release(source: Source) -> None:
    """Calls its `release`, where it has one."""
    getattr(source, "release", _nothing)()


def read_here(source: Source) -> bool:
    """Whether it is one that must not be sent to another process."""
    return bool(getattr(source, "here", False))


def _nothing() -> None:
    return None
