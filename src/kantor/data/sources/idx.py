"""IDX, the format of MNIST and its family, compressed or not."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources.npy import check_labels, indexed_items
from kantor.data.sources.open_file import DECOMPRESSION_ERRORS, open_inflated, start_of
from kantor.data.sources.source import RULES, Item, Rejected, Source
from kantor.errors import DataError

MAX_BYTES = 16 << 30
_PIECE_BYTES = 1 << 24
NAME = re.compile(r"(.*)(images|labels)([-.])idx(\d)-ubyte(\.gz)?$")
_NUMBER_TYPES = (8, 9, 11, 12, 13, 14)


class Idx(Source):
    """Images by index: unsigned bytes [N, H, W] or [N, H, W, C], in memory as a whole.

    Args:
        path: the file of images, or the folder that it was chosen from, as the user wrote it.
        labels: "auto": the file of labels next to it, by its usual name; "none"; or an IDX, .npy, CSV or JSON file.
        chosen: the file of images, if `path` is a folder.
    """

    exact = True
    local_only = True

    def __init__(self, path: str, labels: str = "auto", chosen: str = "", rules: int = RULES) -> None:
        self.path, self.labels, self.file, self.rules = path, labels, Path(chosen or path), rules
        self.note = f"of this folder {self.file.name} is used; name another file to use that" if chosen else ""

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the index."""
        images, numbers = self._images, None
        path = labels_next_to(self.file) if self.labels == "auto" else Path(self.labels)
        if self.labels != "none" and path is not None and is_idx(start_of(path)):
            numbers = check_labels(read(path), str(path), len(images))
        notes = self.listing_notes
        return indexed_items(self.file, len(images), images[0].nbytes, self.labels, numbers, self.rules, notes)

    def load(self, item: Item) -> NDArray[np.uint8]:
        """[H, W] or [H, W, C]."""
        return np.asarray(self._images[item.position])

    @cached_property
    def _images(self) -> NDArray[np.uint8]:
        array = read(self.file)
        if array.ndim not in (3, 4) or 0 in array.shape or (array.ndim == 4 and array.shape[3] not in (1, 3, 4)):
            what = f"its shape {list(array.shape)} is not that of images"
            raise DataError(self.file, what, "name the file of images (...-images-idx3-ubyte)")
        return array


def is_idx(start: bytes) -> bool:
    """Whether a file that starts with these bytes, decompressed, is IDX."""
    return len(start) >= 4 and start[:2] == b"\0\0" and start[2] in _NUMBER_TYPES and 1 <= start[3] <= 8


def read(path: Path) -> NDArray[np.uint8]:
    """The array in an IDX file. Raises DataError if it is of another format or number type, or of a wrong length."""
    try:
        with open_inflated(str(path)) as file:
            start = file.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[3] < 1:
                raise DataError(path, "it is not an IDX file", "name a file such as train-images-idx3-ubyte.gz")
            if start[2] != 8:
                raise DataError(path, "its numbers are not unsigned bytes", "convert it to .npy")
            sides = file.read(4 * start[3])
            if len(sides) < 4 * start[3]:
                raise DataError(path, "it is cut off in its header", "download it again")
            shape = struct.unpack(f">{start[3]}I", sides)
            size = math.prod(shape)
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
    return np.frombuffer(data, np.uint8).reshape(shape)


def labels_next_to(images: Path) -> Path | None:
    """The file of labels that goes with a file of images by its usual name."""
    parts = NAME.match(images.name)
    if not parts or parts[2] != "images":
        return None
    plain = f"{parts[1]}labels{parts[3]}idx1-ubyte"
    return next((p for p in (images.with_name(plain), images.with_name(plain + ".gz")) if p.is_file()), None)


def choose(names: list[str], where: str) -> str | None:
    """The file of a folder with the training images, or the only images; None unless all files are IDX.

    Raises DataError if there are several files of images, and not one for training.
    """
    matches = [match for name in sorted(names, reverse=True) if (match := NAME.match(name))]
    if not names or len(matches) < len(names):
        return None
    by_stem = {match[0].removesuffix(".gz"): match[0] for match in matches if match[2] == "images"}  # gzipped or not
    images = sorted(by_stem.values())
    training = [name for name in images if "train" in name]
    best = training if len(training) == 1 else images
    if len(best) != 1:
        what = f"it holds {len(images)} files of images" + (": " + ", ".join(images[:9]) if images else "")
        raise DataError(where, what, "name one of the files instead of the folder")
    return best[0]
