"""Colour images made of three grey ones each: with digits, "stacked MNIST".

Three digits drawn at random, one a colour channel, give 10 x 10 x 10 known modes, as likely as each other where the
digits are, so that those can be counted which a generator has found (Metz et al. 2017, "Unrolled generative adversarial
networks"). Lin et al. 2018, "PacGAN", draw with replacement too: 128,000 images once where they compare with VEEGAN,
and new ones in each step where they compare with unrolled networks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kantor.data.decoding.decode import decode, probe
from kantor.data.decoding.formats import Colour, DecodeSettings
from kantor.data.loading.store import Store
from kantor.data.reasons import Reason, Undecodable
from kantor.data.sources.idx import Idx
from kantor.data.sources.source import Item, Rejected, Source, prepare, read_here, release
from kantor.errors import ConfigError, DataError
from kantor.random import philox
from kantor.types import ImageSpec

MAX_KEPT = 4 << 30  # bytes of grey images in memory, of sources that are read in order
WHITE = (255, 255, 255)
_STREAM = 0x57AC
_LOOK_AT = 64
_CHUNK = 1 << 16
_AT_ONCE = 1 << 10
_PACK = "pack them to one size first (kantor pack), and stack that set"
_PACK_FIRST = "pack it first (kantor pack), and stack that set"


class Stacked:
    """Images made of three of an inner source's, drawn uniformly and independently of each other, with replacement.

    Image i is a function of (seed, i) and the inner source: a larger `count` begins with the same images. Colours
    become grey (ITU-R 601) first. Its class is the three classes with spaces between, "4 0 7", red first; spaces
    inside a class become "_".

    Files are decoded where they are loaded, in worker processes. Of sources that are read `here`, only arrays are
    taken; those that are read in order are kept in memory as grey images.

    Args:
        inner: the grey images; all of one size.
        count: how many images to make.
        seed: chooses them.
        background: RGB behind transparent ones.
    Raises:
        DataError: the inner images are of several sizes, none can be read, or they cannot be read in any order.
    """

    exact = True

    def __init__(self, inner: Source, count: int, seed: int = 0, background: Colour = WHITE) -> None:
        self.path, self.inner, self.count, self.seed, self._background = inner.path, inner, count, seed, background
        self.here = read_here(inner)
        entries = list(inner.items())
        self._items = [entry for entry in entries if isinstance(entry, Item)]
        self._rejected = [entry for entry in entries if isinstance(entry, Rejected)]
        self._kept: list[NDArray[np.uint8] | Reason] | None = None  # grey images; or why there is none
        self._drawn: tuple[int, list[list[int]]] | None = None  # rows of the images around the last one loaded
        self.note = inner.note
        if not self._items:
            return  # told by who lists this source
        self._size, coloured = self._look()
        note = f"each image is three of {len(self._items):,}, one a colour channel"
        if coloured:
            note += "; their colours are turned into grey (ITU-R 601)"
        self.note = "; ".join(text for text in (inner.note, note) if text)

    def rows(self, start: int, stop: int) -> NDArray[np.int64]:
        """int64 [stop - start, 3]: which inner images are the channels of images `start` to `stop`."""
        counters = np.zeros((stop - start, 4), np.uint32)
        counters[:, 0], counters[:, 1] = np.arange(start, stop), _STREAM
        found = philox(counters, (self.seed & 0xFFFFFFFF, self.seed >> 32 & 0xFFFFFFFF))[:, :3]
        return (found.astype(np.uint64) * np.uint64(len(self._items)) >> np.uint64(32)).astype(np.int64)

    def items(self) -> Iterator[Item | Rejected]:
        """What the inner source leaves out, then the images by number."""
        yield from self._rejected
        if not self._items:
            return
        labels = [None if item.label is None else item.label.replace(" ", "_") for item in self._items]
        states = [_state(item) for item in self._items]
        for start in range(0, self.count, _CHUNK):
            rows = self.rows(start, min(start + _CHUNK, self.count)).tolist()
            for i, (red, green, blue) in enumerate(rows, start):
                parts = [label for label in (labels[red], labels[green], labels[blue]) if label is not None]
                # in the place of the time of change, what tells that one of the three has changed
                state = (states[red] + 3 * states[green] + 9 * states[blue]) & (1 << 62) - 1
                yield Item(str(i), i, 0, state, " ".join(parts) if len(parts) == 3 else None)

    def load(self, item: Item) -> NDArray[np.uint8]:
        """uint8 [H, W, 3].

        Raises:
            Undecodable: one of the three cannot be used.
        """
        start = item.position - item.position % _AT_ONCE
        if self._drawn is None or self._drawn[0] != start:
            self._drawn = start, self.rows(start, start + _AT_ONCE).tolist()
        return np.stack([self._grey(row) for row in self._drawn[1][item.position - start]], axis=2)

    def prepare(self) -> None:
        """Prepares the inner source."""
        prepare(self.inner)

    def release(self) -> None:
        """Closes what is open."""
        release(self.inner)

    def _look(self) -> tuple[tuple[int, int], bool]:
        """(height, width) of the inner images, and whether some have colour; keeps those that are read in order."""
        if isinstance(self.inner, Idx | Packed):
            height, width, kind = probe(self.inner.load(self._items[0]))
            return (height, width), kind != "gray"
        if self.here:
            return self._keep()
        from kantor.data.packing.pool import Pool  # which imports sources

        count = min(_LOOK_AT, len(self._items))
        some = [self._items[i * len(self._items) // count] for i in range(count)]
        with Pool(self.inner, None, row_bytes=1, workers=1) as pool:
            found = [(item, *seen) for item in some for seen in pool.probe([item])]
        if not found:
            what = f"none of the {count} images looked at can be read"
            raise DataError(self.path, what, "kantor pack --inspect tells what is wrong with each")
        first, *size, _ = found[0]
        for item, *other, _ in found:
            self._require(first, size, item, other)
        return (size[0], size[1]), any(kind != "gray" for *_, kind in found)

    def _keep(self) -> tuple[tuple[int, int], bool]:
        """As `_look`, of all inner images, which are read in order."""
        from kantor.data.packing.worker import load_here

        self._kept, coloured, first = [], False, None
        for item in self._items:
            data = load_here(self.inner, item)
            if isinstance(data, bytes):  # files are not decoded in this process
                what = "it holds encoded images and cannot be read in any order, as stacking them needs"
                raise DataError(self.path, what, _PACK_FIRST)
            try:
                if isinstance(data, Reason):
                    raise Undecodable(*data)
                height, width, kind = probe(data)
                if first is None:
                    first, self._size = item, (height, width)
                    self._require_memory()
                self._require(first, self._size, item, (height, width))
                self._kept.append(self._in_grey(data))
                coloured = coloured or kind != "gray"
            except Undecodable as error:
                self._kept.append(_of(item, error))
        release(self.inner)
        if first is None:
            raise DataError(self.path, f"none of its images can be read: {self._kept[0]}", "mend them")
        return self._size, coloured

    def _require(self, first: Item, size: Sequence[int], item: Item, other: Sequence[int]) -> None:
        if tuple(other) != tuple(size):
            what = f"{first.name} is {size[0]}x{size[1]} and {item.name} {other[0]}x{other[1]}"
            raise DataError(self.path, f"{what}: only images of one size can be stacked", _PACK)

    def _require_memory(self) -> None:
        if len(self._items) * self._size[0] * self._size[1] > MAX_KEPT:
            what = f"it cannot be read in any order, and its images take more than {MAX_KEPT >> 30} GB of memory"
            raise DataError(self.path, what, _PACK_FIRST)

    def _grey(self, row: int) -> NDArray[np.uint8]:
        """uint8 [H, W]."""
        if self._kept is not None:
            found = self._kept[row]
            if isinstance(found, Reason):
                raise Undecodable(*found)
            return found
        item = self._items[row]
        try:
            return self._in_grey(self.inner.load(item))
        except Undecodable as error:
            raise Undecodable(*_of(item, error)) from error

    def _in_grey(self, data: bytes | NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
        """uint8 [H, W] of an image of this size."""
        height, width = self._size
        if isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape == self._size:
            return data.astype(np.uint8, copy=False)
        seen = probe(data)[:2]
        if seen != self._size:
            raise Undecodable("content", f"{seen[0]}x{seen[1]}, and others are {height}x{width}", _PACK)
        grey, _ = decode(data, DecodeSettings(ImageSpec(height, width, 1), 0, "stretch", self._background, 1))
        return grey.reshape(self._size)


class Packed:
    """A packed set as a source. It is read `here`, from files mapped into memory.

    Args:
        path: the folder.
        labels: "auto" or "none".
    Raises:
        DataError: it is damaged, or labels of another kind are asked for.
    """

    exact = True
    here = True
    note = ""

    def __init__(self, path: str, labels: str = "auto") -> None:
        if labels not in ("auto", "none"):
            raise DataError(labels, "a packed set brings its own classes", "use --labels auto or none")
        self.path, self._labels, self.store = path, labels, Store.open(Path(path))
        self.store.verify()

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the rows."""
        numbers = self.store.labels(np.arange(self.store.count)) if self._labels == "auto" else None
        states = np.ascontiguousarray(self.store.digests()[:, :8]).view("<u8")[:, 0] >> np.uint64(1)
        for i, state in enumerate(states.tolist()):
            label = None if numbers is None else self.store.class_names[numbers[i]]
            yield Item(str(i), i, 0, state, label)

    def load(self, item: Item) -> NDArray[np.uint8]:
        """uint8 [H, W, C]."""
        (image,) = self.store.images(np.array([item.position]))
        return np.asarray(image, np.uint8)


def packed(path: str, labels: str, stack: bool = True) -> Packed:
    """A packed set as a source. Raises ConfigError where its images are to be stacked, and are stacked ones already."""
    found = Packed(path, labels)
    if stack and found.store.manifest["settings"].get("stack"):
        raise ConfigError("data.stack", f"{path} is a set of stacked images already", "leave data.stack out")
    return found


def _of(item: Item, error: Undecodable) -> Reason:
    """The reason, with the inner image's name before it."""
    return error.reason._replace(kind="other", detail=f"{item.name}: {error.reason.detail}")


def _state(item: Item) -> int:
    """62 bits of what is listed of an inner image."""
    told = json.dumps([item.name, item.size, item.mtime_ns]).encode()
    return int.from_bytes(hashlib.sha256(told).digest()[:8], "little") >> 2
