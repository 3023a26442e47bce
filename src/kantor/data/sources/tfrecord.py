"""Pictures in a TFRecord file of tf.train.Example messages, gzipped or not."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from kantor.data import tfrecords
from kantor.data.formats import Undecodable, is_encoded_picture
from kantor.data.sources import labels as label_files
from kantor.data.sources.archive import ALWAYS_ALLOWED, too_large
from kantor.data.sources.source import Item, Rejected
from kantor.data.tfrecords import Malformed
from kantor.errors import DataError

PICTURES = ("image/encoded", "image", "image_raw", "encoded", "image/data", "jpeg", "png", "jpg", "picture")
SIZES = (("image/height", "image/width"), ("height", "width"), ("h", "w"), ("rows", "cols"))
CHANNELS = ("image/channels", "channels", "depth", "image/depth", "c")
NAMES = ("image/class/text", "class", "class_name", "label_name")
LABELS = ("image/class/label", "label", "image/label", "labels", "class_id", "y")
_DAMAGE = (Malformed, EOFError, OSError, zlib.error)
_AGAIN = "copy or write it again"

Features = Mapping[str, list[bytes] | list[int] | list[float]]


class TfRecord:
    """Pictures by the number of their record.

    A picture is an encoded file, or its bare bytes beside a height and a width; where these are missing, a square
    with 3 channels or 1. A label is a class name, else a number.

    Args:
        path: the file.
        labels: "auto", "none", or a CSV or JSON file, in which the names are record numbers.
    """

    exact = False
    note = ""

    def __init__(self, path: str, labels: str = "auto") -> None:
        self.path, self.labels = path, labels
        self._places: list[tuple[int, int]] | None = None
        self._file: tuple[int, IO[bytes]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def items(self) -> Iterator[Item | Rejected]:
        """In the order of the file.

        Raises:
            DataError: the file is damaged, or its records hold no pictures; names the features found.
        """
        if self.labels not in ("auto", "none"):
            return label_files.attach(self._items(False), label_files.read_file(self.labels), self.labels)
        return self._items(self.labels == "auto")

    def load(self, item: Item) -> bytes | NDArray[np.uint8]:
        """The file's bytes, or the picture itself as uint8 [H, W] or [H, W, C].

        Raises:
            Undecodable: the record is damaged or holds no picture.
        """
        try:
            features = self._features(item.position)
        except _DAMAGE as error:
            raise Undecodable(f"damaged record ({error})") from error
        data = picture_bytes(features)
        if data is None:
            raise Undecodable("the record holds no picture")
        return data if is_encoded_picture(data) else _bare(data, features)

    def _items(self, labelled: bool) -> Iterator[Item | Rejected]:
        changed = Path(self.path).stat().st_mtime_ns
        for position, (_, length) in enumerate(self._listed()):
            label = None
            if labelled or position == 0:
                try:
                    features = self._features(position)
                except _DAMAGE as error:
                    yield Rejected(str(position), f"damaged record ({error})")
                    continue
                if position == 0:
                    self._check_first(features)
                label = label_of(features) if labelled else None
            yield Item(str(position), position, length, changed, label)

    def _check_first(self, features: Features) -> None:
        data = picture_bytes(features)
        if data is None:
            found = ", ".join(map(repr, features)) or "none"
            what = f"its records hold no picture that is known (features found: {found})"
            raise DataError(self.path, what, "store the encoded picture as image/encoded")
        if not is_encoded_picture(data):
            try:
                _bare(data, features)
            except Undecodable as error:
                do = "store height and width beside it, or the encoded picture"
                raise DataError(f"{self.path}: record 0", str(error), do) from error

    def _features(self, position: int) -> Features:
        return tfrecords.parse_example(tfrecords.read_record(self._opened(), *self._listed()[position]))

    def _opened(self) -> IO[bytes]:
        """A gzipped file is unpacked from its start on, once in each process, as records are asked for in order."""
        process = os.getpid()
        if self._file is None or self._file[0] != process:
            self._file = (process, open_records(self.path))
        return self._file[1]

    def _listed(self) -> list[tuple[int, int]]:
        """Offset and length of each record."""
        if self._places is None:
            places = []
            try:
                with open_records(self.path) as file:
                    for offset, length in tfrecords.scan(file):
                        places.append((offset, length))
                        if offset > ALWAYS_ALLOWED and (bomb := too_large(self.path, offset + length)):
                            raise bomb
            except _DAMAGE as error:
                raise DataError(self.path, f"it is no whole TFRecord file ({error})", _AGAIN) from error
            if not places:
                raise DataError(self.path, "there are no records in it", _AGAIN)
            self._places = places
        return self._places


def open_records(path: str) -> IO[bytes]:
    """The unpacked file."""
    with Path(path).open("rb") as file:
        opener = gzip.open if file.read(2) == b"\x1f\x8b" else open
    return opener(path, "rb")  # type: ignore[return-value]


def is_tfrecord(path: Path) -> bool:
    """Whether the file, unpacked where it is gzipped, begins with a record whose length verifies."""
    try:
        with open_records(str(path)) as file:
            head = file.read(12)
    except (EOFError, OSError, zlib.error):
        return False
    return len(head) == 12 and int.from_bytes(head[8:], "little") == tfrecords.masked_crc(head[:8])


def picture_bytes(features: Features) -> bytes | None:
    """The first feature that holds a picture: of the usual names, else the only one that is an encoded picture."""
    for name in PICTURES:
        values = features.get(name)
        if values and isinstance(values[0], bytes):
            return values[0]
    found = [v[0] for v in features.values() if len(v) == 1 and isinstance(v[0], bytes) and is_encoded_picture(v[0])]
    return found[0] if len(found) == 1 else None


def label_of(features: Features) -> str | None:
    """The class as text, None where there is none."""
    for name in NAMES:
        values = features.get(name)
        if values and len(values) == 1 and isinstance(values[0], bytes) and values[0]:
            return values[0].decode("utf-8", "replace")
    for name in LABELS:
        values = features.get(name)
        if values and len(values) == 1 and isinstance(values[0], int):
            return str(values[0])
        if values and len(values) == 1 and isinstance(values[0], bytes) and len(values[0]) < 256:
            return values[0].decode("utf-8", "replace")
    return None


def _bare(data: bytes, features: Features) -> NDArray[np.uint8]:
    """Pixels without a file format."""
    height, width = next((found for pair in SIZES if (found := _numbers(features, pair))), (0, 0))
    if not height * width:
        side = next((s for c in (3, 1, 4) if (s := math.isqrt(len(data) // c)) and c * s * s == len(data)), 0)
        height = width = side
    pixels = max(height * width, 1)
    told = next((found[0] for name in CHANNELS if (found := _numbers(features, (name,)))), len(data) // pixels)
    if min(height, width) < 1 or told not in (1, 3, 4) or len(data) != height * width * told:
        raise Undecodable(f"{len(data)} bytes are neither an encoded picture nor one of {height}x{width} pixels")
    shape = (height, width) if told == 1 else (height, width, told)
    return np.frombuffer(data, np.uint8).reshape(shape)


def _numbers(features: Features, names: tuple[str, ...]) -> tuple[int, ...] | None:
    """The whole numbers of these features; None where one is missing, or no sensible side."""
    found = [features.get(name) for name in names]
    if all(v and len(v) == 1 and isinstance(v[0], int) and 0 < v[0] < 1 << 20 for v in found):
        return tuple(v[0] for v in found)  # type: ignore[index, misc]
    return None
