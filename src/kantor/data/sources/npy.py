"""An array of images in a .npy file.

Images are read one by one. The file is not memory-mapped: workers run under a limit on address space, which a large
mapping would exceed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.decoding import array_hints
from kantor.data.reasons import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources.open_file import ZIP_ERRORS, FileSource, cannot_open
from kantor.data.sources.source import RULES, Item, Rejected
from kantor.errors import DataError

_SAVE = "np.save('new.npy', {})"


@dataclass(frozen=True)
class Header:
    """Shape and type of the array in a .npy file, and the byte at which its data start."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def image_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def read(self, path: str, count: int) -> NDArray[Any]:
        """[count, ...]: the first elements along the first axis."""
        flat = np.fromfile(path, self.dtype, count * math.prod(self.shape[1:]), offset=self.offset)
        return flat.reshape(count, *self.shape[1:]) if self.shape else flat


class Npy(FileSource):
    """Images by index: uint8 or uint16 [N, H, W] or [N, H, W, C] with 1, 3 or 4 channels.

    Args:
        labels: "auto": NAME-labels.npy, NAME_labels.npy or labels.npy next to it; "none"; or a .npy, CSV or JSON
            file, in which the names are indices.
    """

    exact = True

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES) -> None:
        super().__init__(path, labels, rules)
        self._header = self._read_header()

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the index."""
        count = self._header.shape[0]
        numbers = self._numbers(count) if self.labels == "auto" else None
        return indexed_items(
            Path(self.path), count, self._header.image_bytes, self.labels, numbers, self.rules, self.listing_notes
        )

    def load(self, item: Item) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """uint8 or uint16 [H, W] or [H, W, C]."""
        header, file = self._header, self._file()
        try:
            file.seek(header.offset + item.position * header.image_bytes)
            data = file.read(header.image_bytes)
        except ZIP_ERRORS as error:
            raise Undecodable("damaged", "damaged in the file") from error
        if len(data) != header.image_bytes:
            raise Undecodable("damaged", "cut short in the file")
        image = np.frombuffer(data, header.dtype).reshape(header.shape[1:])
        return image.astype(image.dtype.newbyteorder("="), copy=False)

    def _open(self) -> IO[bytes]:
        return Path(self.path).open("rb")

    def _read_header(self) -> Header:
        """The header of the array of images, checked."""
        header = read_header(Path(self.path))
        check_images(header, self.path)
        return header

    def _numbers(self, count: int) -> NDArray[np.int64] | None:
        """The class of each image, None if there are none."""
        images = Path(self.path)
        names = (f"{images.stem}-labels.npy", f"{images.stem}_labels.npy", "labels.npy")
        labels = next((p for p in map(images.with_name, names) if p.is_file() and p != images), None)
        return read_labels(labels, count) if labels else None


def indexed_items(
    file: Path,
    count: int,
    size: int,
    labels: str,
    numbers: NDArray[Any] | None,
    rules: int,
    notes: list[str],
) -> Iterator[Item | Rejected]:
    """Items of `size` bytes named by their index. numbers: the classes [count], if they are known."""
    if rules < 2 and Path(labels).suffix == ".npy":
        numbers = read_labels(Path(labels), count)
    mtime_ns = file.stat().st_mtime_ns
    items = (Item(str(i), i, size, mtime_ns, None if numbers is None else str(numbers[i])) for i in range(count))
    return items if numbers is not None else label_files.attach_file(items, labels, rules, notes)


def read_header(path: Path) -> Header:
    """The header of a .npy file. Raises DataError if it holds Python objects, is stored by columns, or is cut off."""
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
        header = Header(shape, dtype, file.tell())
    except OSError:
        raise
    except Exception as error:  # the header is Python text, and any error can come of it
        raise DataError(where, "it is cut off or damaged, or not a .npy file", again) from error
    if dtype.hasobject:
        raise DataError(where, "it holds Python objects, which could run code", "save plain numbers with np.save")
    if by_columns and len(shape) > 1:
        do = "convert it: " + _SAVE.format("np.ascontiguousarray(x)")
        raise DataError(where, "its numbers are stored by columns", do)
    needed = header.offset + math.prod(shape) * dtype.itemsize
    if size < needed:
        raise DataError(where, f"it is cut off: {size} of {needed} bytes", again)
    return header


def read_labels(path: Path, count: int) -> NDArray[np.int64]:
    """int64 [count], not negative, from a .npy file."""
    header = read_header(path)
    check_label_header(header, str(path), count)
    return check_labels(header.read(str(path), count), str(path), count)


def check_label_header(header: Header, where: str, count: int) -> None:
    """Raises DataError if an array of this type and shape cannot be the labels of `count` images."""
    shape = header.shape
    if header.dtype.kind not in "iu" or not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        what = f"labels of shape {shape} and type {header.dtype} found"
        raise DataError(where, what, "save one whole number for each image, or use --labels none")
    if shape[0] != count:
        raise DataError(where, f"{shape[0]} labels for {count} images", "give each image one, or use --labels none")


def check_labels(labels: NDArray[Any], where: str, count: int) -> NDArray[np.int64]:
    """The labels as int64 [count]. Raises DataError if they are not `count` whole numbers from 0."""
    check_label_header(Header(labels.shape, labels.dtype, 0), where, count)
    labels = labels.reshape(count)
    if len(labels) and labels.min() < 0:
        first = int(np.argmax(labels < 0))
        raise DataError(where, f"label {first} is negative ({labels[first]})", "use whole numbers from 0")
    label_files.require_few_classes(len(np.unique(labels)), where)
    return labels.astype(np.int64)


def check_images(header: Header, path: str, look: bool = True) -> None:
    """Raises DataError, with code that converts the array, if it is not a stack of images.

    look: whether `path` is the .npy file, so that its numbers can be looked at.
    """
    shape = "[" + ", ".join(map(str, header.shape)) + "]"
    layout = "save uint8 images as [count, height, width] or [count, height, width, 1, 3 or 4 channels]"
    if header.dtype not in (np.uint8, np.uint16, np.dtype(">u2")):
        do = "convert it: " + _recipe(header, path, look)
        raise DataError(path, f"its numbers are {header.dtype}, not uint8 or uint16", do)
    if len(header.shape) == 4 and header.shape[3] not in (1, 3, 4) and header.shape[1] in (1, 3, 4):
        do = "convert it: " + _SAVE.format("x.transpose(0, 2, 3, 1)")
        raise DataError(path, f"its shape {shape} has the channels first", do)
    if len(header.shape) == 3 and header.shape[2] in (1, 3, 4) and header.shape[0] > 4:
        do = "convert it: " + _SAVE.format("x[None]") + " for one, or x[..., None] for many"
        raise DataError(path, f"its shape {shape} is that of one image", do)
    if len(header.shape) not in (3, 4) or (len(header.shape) == 4 and header.shape[3] not in (1, 3, 4)):
        raise DataError(path, f"its shape {shape} is not that of images", layout)
    if 0 in header.shape:
        raise DataError(path, f"its shape {shape} holds no image", layout)


def _recipe(header: Header, path: str, look: bool) -> str:
    """Code that saves uint8 images made of an array of other numbers."""
    if header.dtype.kind in "biu":
        some = np.zeros(0, header.dtype)
    elif header.dtype.kind == "f" and look and header.shape and 0 not in header.shape:
        some = header.read(path, min(64, header.shape[0])).astype(np.float64)
    else:
        return "save uint8 images"
    code, condition, rest = array_hints.recipe(some).partition(" if ")
    return _SAVE.format(code) + condition + rest
