"""The interface between every kind of source and `pack`."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.decoding.objects import Cut
from kantor.data.decoding.pieces import Frame, Tile
from kantor.data.reasons import Reason
from kantor.data.sources.no_images import Found
from kantor.types import ObjectPlace

MAX_BYTES = 512 << 20  # of one image; larger ones are rejected
HOLDOUT_BYTES = 8  # of a digest, by which images are held out
RULES = 2  # the newest version of data.rules
Loaded = (
    bytes | NDArray[Any] | Frame | Tile | Cut
)  # encoded, or numbers [H, W] or [H, W, C] of any type; by rules 1 uint8 or uint16


@dataclass(frozen=True)
class Item:
    """One image that a source offers, not read yet. Size and time of change are part of the listing's fingerprint."""

    name: str  # unique and stable: a relative path (surrogateescape for bytes that are not UTF-8), or an index
    position: int  # how `Source.load` finds it
    size: int = 0  # bytes on disk, 0 if that has no meaning
    mtime_ns: int = 0  # time of the last change, 0 if that has no meaning
    label: str | None = None  # class name ("fish")
    place: ObjectPlace | None = None  # of an object that is cut out of a picture


@dataclass(frozen=True)
class Rejected:
    """An image that cannot be used, and why."""

    name: str
    reason: Reason


def sha256(data: Loaded) -> bytes:
    """SHA-256 of a file's bytes, or of an array's type, shape and numbers; of a piece, that and its number.

    The first 8 bytes of an object are those of its picture, by which images are held out: all of a picture are, or none.
    """
    if isinstance(data, Cut):
        picture = _digest(data.data)
        own = hashlib.sha256(repr(data[1:]).encode() + picture).digest()
        return picture[:HOLDOUT_BYTES] + own[HOLDOUT_BYTES:]
    if isinstance(data, Frame | Tile):
        return hashlib.sha256(repr(data[1:]).encode() + _digest(data.data)).digest()
    if isinstance(data, np.ndarray):
        data = f"{data.dtype.str}{data.shape}".encode() + np.ascontiguousarray(data).tobytes()
    return hashlib.sha256(data).digest()


def _digest(data: bytes | NDArray[Any]) -> bytes:
    """SHA-256 of a file of which several pieces are used, kept until another one comes."""
    global _last
    if _last is None or _last[0] is not data:
        _last = data, sha256(data)
    return _last[1]


_last: tuple[bytes | NDArray[Any], bytes] | None = None


def require_images(
    entries: Iterable[Item | Rejected], where: str, in_archive: bool = False
) -> Iterator[Item | Rejected]:
    """The entries. Raises DataError after the last one if none is an image, and says what there is instead."""
    found, has_images = Found(), False
    for entry in entries:
        if isinstance(entry, Item):
            has_images = True
        else:
            found.add(entry.name, entry.reason)
        yield entry
    if not has_images:
        raise found.error(where, in_archive)


class Source(ABC):
    """A place that images come from. Pickled to worker processes, so it keeps paths and numbers, not open files.

    Attributes:
        path: as the user wrote it, for messages.
        note: what was decided on opening it, for the user; "" if there is nothing to say.
        exact: its images have one size and kind, which "auto" settings keep (arrays, IDX, packed datasets).
        local_only: it can be read in order only, or by this process and thread only: `load` is called by the process
            that called `pack`, in the order of `items`, without a time limit; workers receive the loaded data.
        parts: the sources that it is made of.
        rules: version of data.rules by which it finds images and classes.
    """

    path: str
    note: str = ""
    exact: bool = False
    local_only: bool = False
    parts: Sequence[Source] = ()
    rules: int = RULES

    @cached_property
    def listing_notes(self) -> list[str]:
        """What `items` decided, for the user: a line each."""
        return []

    @property
    def all_listing_notes(self) -> list[str]:
        """Those of the sources that it is made of, too; each once."""
        inner = (note for part in self.parts for note in part.all_listing_notes)
        return list(dict.fromkeys([*self.listing_notes, *inner]))

    @abstractmethod
    def items(self) -> Iterator[Item | Rejected]:
        """Its images in a stable order (by the bytes of the name), and the files that are not images.

        Raises:
            DataError: it cannot be read, holds no images (after the last entry), or its labels are wrong.
        """

    @abstractmethod
    def load(self, item: Item) -> Loaded:
        """The file's bytes, or the image itself as an array [H, W] or [H, W, C]. Called in worker processes.

        Raises:
            Undecodable: the image is damaged, gone, or not the one that was listed.
        """

    def prepare(self) -> None:
        """Does slow work before the first `load`; each worker calls it once, without a time limit."""
        for part in self.parts:
            part.prepare()

    def release(self) -> None:
        """Closes open files; the next `load` opens them again."""
        for part in self.parts:
            part.release()

    def __getstate__(self) -> dict[str, Any]:
        """Its attributes without cached properties: whoever unpickles it works them out again."""
        names = [name for name in vars(self) if not isinstance(getattr(type(self), name, None), cached_property)]
        return {name: getattr(self, name) for name in names}
