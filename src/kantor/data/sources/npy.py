"""An array of images in a .npy file.

Images are read one by one. The file is not memory-mapped: workers run under a limit on address space, which a large
mapping would exceed. One that is stored by columns is read as a whole.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.reasons import Undecodable
from kantor.data.sources import array_shapes, label_arrays
from kantor.data.sources import labels as label_files
from kantor.data.sources.array_shapes import SAVE
from kantor.data.sources.open_file import ZIP_ERRORS, FileSource, cannot_open
from kantor.data.sources.source import RULES, Item, Rejected
from kantor.errors import DataError

MAX_WHOLE = 2 << 30  # bytes of an array that is stored by columns
_WORDS = (
    ("images", "labels"),
    ("image", "label"),
    ("imgs", "labels"),
    ("x", "y"),
    ("data", "labels"),
    ("data", "targets"),
)
_MOST_LABELS = 64  # of an image, such as a one-hot row
_BY_COLUMNS = "its numbers are stored by columns"


@dataclass(frozen=True)
class Header:
    """Shape and type of the array in a .npy file, the byte at which its data start, and whether they go by columns."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    by_columns: bool = False

    @property
    def image_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def size(self) -> int:
        """Bytes of all numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    def array(self, data: bytes) -> NDArray[Any]:
        """The array, from the bytes of all numbers."""
        return np.frombuffer(data, self.dtype).reshape(self.shape, order="F" if self.by_columns else "C")


class Npy(FileSource):
    """Images by index: numbers [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 to 4 channels, or rows [N, k*k] or [N, 3*k*k].

    Args:
        labels: "auto": NAME-labels.npy, NAME_labels.npy, y_train.npy of x_train.npy and the like, or labels.npy next to it;
            "none"; or a file of labels, in which the names are indices.
    """

    exact = True

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES) -> None:
        super().__init__(path, labels, rules)
        self._header, where = self._read_header()
        self.layout = array_shapes.layout(self._header.shape, self._header.dtype, where)
        if self._header.by_columns:
            self.local_only = True  # one copy of the array is enough
            if self._header.size > MAX_WHOLE:
                raise DataError(where, _BY_COLUMNS, "convert it: " + SAVE.format("np.ascontiguousarray(x)"))
        if self.layout.order == "planes":
            self.layout = self.layout.looked_at(self._first(self.layout.sample(self._header.image_bytes)))
        self._add_note(self.layout.note)

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the index."""
        count = self.layout.count
        names = self._label_names(count) if self.labels == "auto" else None
        return indexed_items(
            Path(self.path), count, self._header.image_bytes, self.labels, names, self.rules, self.listing_notes
        )

    def load(self, item: Item) -> NDArray[Any]:
        """[H, W] or [H, W, C]."""
        return self.layout.image(self._element(item.position))

    def release(self) -> None:
        """Closes the file; the next `load` opens it again."""
        self.__dict__.pop("_whole", None)
        super().release()

    def _element(self, position: int) -> NDArray[Any]:
        """The element of the array along its first axis, as stored."""
        header = self._header
        if header.by_columns:
            return np.asarray(self._whole[position])
        data = self._bytes(header.offset + position * header.image_bytes, header.image_bytes)
        return np.frombuffer(data, header.dtype).reshape(header.shape[1:])

    @cached_property
    def _whole(self) -> NDArray[Any]:
        return self._header.array(self._bytes(self._header.offset, self._header.size))

    def _bytes(self, start: int, size: int) -> bytes:
        """Raises Undecodable if the file is damaged, or ends too soon."""
        file = self._file()
        try:
            file.seek(start)
            data: bytes = file.read(size)
        except ZIP_ERRORS as error:
            raise Undecodable("damaged", "damaged in the file") from error
        if len(data) != size:
            raise Undecodable("damaged", "cut short in the file")
        return data

    def _first(self, count: int) -> NDArray[Any]:
        """[count, ...]: the first elements; none of those that are damaged."""
        elements = []
        with contextlib.suppress(Undecodable):
            elements += [self._element(position) for position in range(count)]
        self.release()
        return np.stack(elements) if elements else np.zeros((1, *self._header.shape[1:]))

    def _add_note(self, note: str) -> None:
        self.note = "; ".join(text for text in (self.note, note) if text)

    def _open(self) -> IO[bytes]:
        return Path(self.path).open("rb")

    def _read_header(self) -> tuple[Header, str]:
        """The header of the array of images, and what to call it in messages."""
        return read_header(Path(self.path)), self.path

    def _label_names(self, count: int) -> list[str] | None:
        """The class of each image, None if there are none."""
        images = Path(self.path)
        names = [f"{images.stem}-labels.npy", f"{images.stem}_labels.npy"]
        others = [f"{name}.npy" for name in _names_of_labels(images.stem)] if self.rules >= 2 else []
        names += [name for name in others if images.with_name(name).is_file() and has_labels(images.with_name(name))]
        names.append("labels.npy")
        labels = next((p for p in map(images.with_name, names) if p.is_file() and p != images), None)
        return read_labels(labels, count) if labels else None


def _names_of_labels(stem: str) -> list[str]:
    """What labels of the images in such a file are called: train_labels of train_images, y_train of X_train."""
    pairs = ((re.compile(rf"(?<![a-z]){word}(?![a-z])", re.IGNORECASE), label) for word, label in _WORDS)
    return [pattern.sub(label, stem) for pattern, label in pairs if pattern.search(stem)]


def has_labels(path: Path) -> bool:
    """Whether an array, by its shape, holds labels rather than images."""
    shape = read_header(path).shape
    return len(shape) == 1 or (len(shape) == 2 and shape[1] < _MOST_LABELS)


def indexed_items(
    file: Path,
    count: int,
    size: int,
    labels: str,
    names: Sequence[str] | None,
    rules: int = RULES,
    notes: list[str] | None = None,
) -> Iterator[Item | Rejected]:
    """Items of `size` bytes named by their index. names: the classes of all, if they are known."""
    if rules < 2 and Path(labels).suffix == ".npy":
        names = read_labels(Path(labels), count)
    mtime_ns = file.stat().st_mtime_ns
    items = (Item(str(i), i, size, mtime_ns, None if names is None else names[i]) for i in range(count))
    return items if names is not None else label_files.attach_file(items, labels, rules, notes)


def read_header(path: Path) -> Header:
    """The header of a .npy file. Raises DataError if it holds Python objects, or is cut off."""
    try:
        with path.open("rb") as file:
            return parse_header(file, str(path), path.stat().st_size, "save it again with np.save")
    except OSError as error:
        raise cannot_open(str(path), error) from error


def parse_header(file: IO[bytes], where: str, size: int, again: str) -> Header:
    """The header at the start of `file`, which has `size` bytes. Raises DataError as `read_header`; again: the remedy."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(file)
        header = Header(shape, dtype, file.tell(), by_columns and len(shape) > 1)
    except OSError:
        raise
    except Exception as error:  # the header is Python text, and any error can come of it
        raise DataError(where, "it is cut off or damaged, or not a .npy file", again) from error
    if dtype.hasobject:
        raise DataError(where, "it holds Python objects, which could run code", "save plain numbers with np.save")
    needed = header.offset + header.size
    if size < needed:
        raise DataError(where, f"it is cut off: {size} of {needed} bytes", again)
    return header


def read_labels(path: Path, count: int) -> list[str]:
    """The class of each of `count` images, from a .npy file."""
    header = read_header(path)
    label_arrays.require_label_array(header.shape, header.dtype, str(path), count)
    names = label_arrays.label_names(label_arrays.read_array(str(path)), str(path), count)
    label_files.require_few_classes(len(set(names)), str(path))
    return names
