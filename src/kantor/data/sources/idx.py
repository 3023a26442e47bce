"""IDX, the format of MNIST and its family, compressed or not."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources import array_shapes, label_arrays, named_arrays
from kantor.data.sources import labels as label_files
from kantor.data.sources.array_shapes import Layout
from kantor.data.sources.npy import indexed_items
from kantor.data.sources.open_file import DECOMPRESSION_ERRORS, open_inflated, start_of
from kantor.data.sources.source import RULES, Item, Rejected, Source
from kantor.errors import DataError

MAX_BYTES = 16 << 30
_PIECE_BYTES = 1 << 24
NAME = re.compile(r"(.*)(images|labels)([-.])idx(\d)-(ubyte|byte|short|int|float|double)(\.(gz|bz2|xz))?$")
_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_WORDS = ("ubyte", "byte", "short", "int", "float", "double")
_PACKED = ("", ".gz", ".bz2", ".xz")
_TEXT = re.compile(
    r"(\.(txt|md|html?|pdf|csv|tsv|json|rst)(\.(gz|bz2|xz))?|^(readme|licen[cs]e|copying))$", re.IGNORECASE
)
_MAPPING_BYTES = 1 << 20
_TRANSPOSED = "EMNIST's images are stored transposed: --set data.transpose=true turns them upright"


class Idx(Source):
    """Images by index: numbers of any type [N, H, W], [N, H, W, C] ..., in memory as a whole.

    Args:
        path: the file of images, or the folder that it was chosen from, as the user wrote it.
        labels: "auto": the file of labels next to it, by its usual name; "none"; or a file of labels, IDX too.
        chosen: the file of images, if `path` is a folder.
        upright: whether rows and columns are exchanged (data.transpose), as EMNIST needs.
    """

    exact = True
    local_only = True

    def __init__(
        self, path: str, labels: str = "auto", chosen: str = "", rules: int = RULES, upright: bool = False
    ) -> None:
        self.path, self.labels, self.file, self.rules = path, labels, Path(chosen or path), rules
        notes = [f"of this folder {self.file.name} is used; name another file to use that" if chosen else ""]
        notes += [_TRANSPOSED if not upright and self.file.name.lower().startswith("emnist-") else ""]
        self.note = "; ".join(note for note in notes if note)

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the index."""
        images, names, count = self._images, None, self._layout.count
        path = labels_next_to(self.file, self.rules) if self.labels == "auto" else Path(self.labels)
        if self.labels != "none" and path is not None and is_idx(start_of(path)):
            names = read_labels(path, count)
            if self.labels == "auto" and self.rules >= 2:
                names = _characters(self.file, names) or names
        return indexed_items(self.file, count, images[0].nbytes, self.labels, names, self.rules, self.listing_notes)

    def load(self, item: Item) -> NDArray[Any]:
        """[H, W] or [H, W, C]."""
        return self._layout.image(self._images[item.position])

    @cached_property
    def _layout(self) -> Layout:
        images = self._images
        if images.ndim in (3, 4) and 0 not in images.shape and (images.ndim == 3 or images.shape[3] in (1, 3, 4)):
            return Layout(len(images), images.shape[1:])
        layout = array_shapes.layout(images.shape, images.dtype, str(self.file))
        layout = layout.looked_at(images[: layout.sample(images[0].nbytes)])
        self.note = "; ".join(text for text in (self.note, layout.note) if text)
        return layout

    @cached_property
    def _images(self) -> NDArray[Any]:
        array = read(self.file)
        if array.ndim == 1:
            what = f"its shape {list(array.shape)} is not that of images"
            raise DataError(self.file, what, "name the file of images (...-images-idx3-ubyte)")
        return array


def is_idx(start: bytes) -> bool:
    """Whether a file that starts with these bytes, decompressed, is IDX."""
    return len(start) >= 4 and start[:2] == b"\0\0" and start[2] in _TYPES and 1 <= start[3] <= 8


def read(path: Path) -> NDArray[Any]:
    """The array in an IDX file. Raises DataError if it is of another format, or of a wrong length."""
    try:
        with open_inflated(str(path)) as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[3] < 1:
                raise DataError(path, "it is not an IDX file", "name a file such as train-images-idx3-ubyte.gz")
            if start[2] not in _TYPES:
                raise DataError(path, f"its numbers are of an unknown type ({start[2]})", "download it again")
            dtype = np.dtype(_TYPES[start[2]])
            sides = file.read(4 * start[3])
            if len(sides) < 4 * start[3]:
                raise DataError(path, "it is cut off in its header", "download it again")
            shape = struct.unpack(f">{start[3]}I", sides)
            size = math.prod(shape) * dtype.itemsize
            if size > MAX_BYTES:
                raise DataError(path, f"its header claims {size >> 30} GB", "it is damaged: download it again")
            data = bytearray()
            while len(data) <= size and (piece := file.read(min(_PIECE_BYTES, size + 1 - len(data)))):
                data += piece  # so that a wrong header costs no more memory than the file has
    except DECOMPRESSION_ERRORS as error:
        raise DataError(path, f"cannot be read ({error})", "check it, or download it again") from error
    if len(data) != size:
        longer = "longer" if len(data) > size else "shorter"
        raise DataError(path, f"it is {longer} than its header says ({size} bytes)", "download it again")
    return np.frombuffer(data, dtype).reshape(shape)


def read_labels(path: Path, count: int) -> list[str]:
    """The class of each of `count` images; of QMNIST's columns [count, 8] the first."""
    array = read(path)
    if array.ndim == 2 and array.shape[1] == 8 and array.dtype.kind in "iu":
        array = array[:, 0]
    names = label_arrays.label_names(array, str(path), count)
    label_files.require_few_classes(len(set(names)), str(path))
    return names


def labels_next_to(images: Path, rules: int = RULES) -> Path | None:
    """The file of labels that goes with a file of images by its usual name, unsigned bytes before other numbers."""
    parts = NAME.match(images.name)
    if not parts or parts[2] != "images":
        return None
    stem = f"{parts[1]}labels{parts[3]}idx"
    if rules < 2:
        names = [f"{stem}1-ubyte", f"{stem}1-ubyte.gz"] if parts[5] == "ubyte" and parts[7] in (None, "gz") else []
    else:
        names = [f"{stem}{n}-{word}{packed}" for n in (1, 2) for word in _WORDS for packed in _PACKED]
    return next((path for path in map(images.with_name, names) if path.is_file()), None)


def _characters(images: Path, labels: list[str]) -> list[str] | None:
    """The labels as characters, by the lines "label code ..." of EMNIST's mapping next to the images; None without one."""
    stem = re.sub(r"-(train|test)-images.*", "", images.name)
    path = images.with_name(f"{stem}-mapping.txt")
    if stem == images.name or not path.is_file() or path.stat().st_size > _MAPPING_BYTES:
        return None
    names: dict[int, str] = {}
    for line in path.read_text("latin-1").splitlines():
        cells = line.split()
        if len(cells) >= 2 and all(cell.isdecimal() and len(cell) < 7 for cell in cells[:2]):
            code = int(cells[1])
            names[int(cells[0])] = chr(code) if 32 < code < 127 else ""
    table = [names.get(label, "") for label in range(max(names, default=-1) + 1)]
    return named_arrays.with_class_names(labels, table)


def choose(names: list[str], where: str) -> str | None:
    """The file of a folder with the training images, or the only images; None unless all files are IDX, or texts beside.

    Raises DataError if there are several files of images, and not one for training.
    """
    matches = [match for name in sorted(names, reverse=True) if (match := NAME.match(name))]
    if not matches or not all(NAME.match(name) or _TEXT.search(name) for name in names):
        return None
    by_stem = {re.sub(r"\.(gz|bz2|xz)$", "", match[0]): match[0] for match in matches if match[2] == "images"}
    images = sorted(by_stem.values())
    training = [name for name in images if "train" in name]
    best = training if len(training) == 1 else images
    if len(best) != 1:
        what = f"it holds {len(images)} files of images" + (": " + ", ".join(images[:9]) if images else "")
        raise DataError(where, what, "name one of the files instead of the folder")
    return best[0]
