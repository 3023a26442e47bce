"""Images in a TFRecord file of tf.train.Example messages, gzipped or not."""

from __future__ import annotations

import gzip
import math
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kantor.data.decoding import tfrecords
from kantor.data.decoding.signatures import is_encoded_image, is_whole_file
from kantor.data.decoding.tf_examples import Values, parse_example
from kantor.data.decoding.tfrecords import Malformed
from kantor.data.reasons import Reason, Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources.archive import too_large
from kantor.data.sources.open_file import OpenFile
from kantor.data.sources.source import Item, Rejected, Source
from kantor.errors import DataError

IMAGES = ("image/encoded", "image", "image_raw", "encoded", "image/data", "jpeg", "png", "jpg", "picture")
SIZES = (("image/height", "image/width"), ("height", "width"), ("h", "w"), ("rows", "cols"))
CHANNELS = ("image/channels", "channels", "depth", "image/depth", "c")
NAMES = ("image/class/text", "class", "class_name", "label_name")
LABELS = ("image/class/label", "label", "image/label", "labels", "class_id", "y")
_DAMAGE = (Malformed, EOFError, OSError, zlib.error)
_AGAIN = "copy or write it again"

Features = Mapping[str, Values]


class _Listed(NamedTuple):
    """A record: where its data lie, and its label, or why it cannot be used."""

    offset: int
    length: int
    label: str | None
    fault: Reason | None


class TfRecord(Source):
    """Images by the number of their record.

    An image is an encoded file, or its bare bytes beside a height and a width; where these are missing, a square
    with 3 channels or 1. A label is a class name, else a number.

    Listing it reads and verifies each record, where it wants labels; they are kept, and an image is not verified
    again. A gzipped file is read `here`, since it can only be read from its start on. An item's position is the byte at
    which its data begin, unpacked.

    Args:
        path: the file.
        labels: "auto", "none", or a CSV or JSON file, in which the names are record numbers.
    """

    def __init__(self, path: str, labels: str = "auto") -> None:
        self.path, self.labels = path, labels
        self.local_only = is_gzipped(path)
        self._file = OpenFile(path, open_records)
        self._listing: list[_Listed] | None = None
        self._verified = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_listing": None}

    def items(self) -> Iterator[Item | Rejected]:
        """In the order of the file.

        Raises:
            DataError: the file is damaged, or its records hold no images; names the features found.
        """
        if self.labels not in ("auto", "none"):
            return label_files.attach(self._items(), label_files.read_file(self.labels), self.labels)
        return self._items()

    def load(self, item: Item) -> bytes | NDArray[np.uint8]:
        """The file's bytes, or the image itself as uint8 [H, W] or [H, W, C].

        Raises:
            Undecodable: the record is damaged or holds no image.
        """
        file = self._file()
        try:
            features = parse_example(tfrecords.read_record(file, item.position, item.size, not self._verified))
        except _DAMAGE as error:
            raise Undecodable("damaged", f"damaged record ({error})") from error
        return image_of(features)

    def release(self) -> None:
        """Closes the file."""
        self._file.release()

    def _items(self) -> Iterator[Item | Rejected]:
        changed = Path(self.path).stat().st_mtime_ns
        if self._listing is None:
            self._listing = self._read_listing()
            self._verified = self.labels == "auto"
        for number, (offset, length, label, fault) in enumerate(self._listing):
            yield Item(str(number), offset, length, changed, label) if fault is None else Rejected(str(number), fault)

    def _read_listing(self) -> list[_Listed]:
        listing: list[_Listed] = []
        labelled = self.labels == "auto"
        try:
            for offset, length, data in tfrecords.scan(self._file(), lambda number: labelled or number == 0):
                label, fault = None, None
                if labelled or not listing:
                    label, fault = self._label(data, first=not listing)
                listing.append(_Listed(offset, length, label if labelled else None, fault))
                if bomb := too_large(self.path, offset + length, len(listing)):
                    raise bomb
        except _DAMAGE as error:
            raise DataError(self.path, f"it is no whole TFRecord file ({error})", _AGAIN) from error
        if not listing:
            raise DataError(self.path, "there are no records in it", _AGAIN)
        return listing

    def _label(self, data: bytes | None, first: bool) -> tuple[str | None, Reason | None]:
        """(label, fault) of a record's data, None where they do not verify."""
        try:
            if data is None:
                raise Malformed("its checksum is wrong")
            features = parse_example(data)
        except Malformed as error:
            return None, Reason("damaged", f"damaged record ({error})")
        if first:
            self._check_first(features)
        label = label_of(features)
        return None if label is None else sys.intern(label), None

    def _check_first(self, features: Features) -> None:
        if image_bytes(features) is None:
            found = ", ".join(map(repr, features)) or "none"
            what = f"its records hold no image that is known (features found: {found})"
            raise DataError(self.path, what, "store the encoded image as image/encoded")
        try:
            image_of(features)
        except Undecodable as error:
            do = "store height and width beside it, or the encoded image"
            raise DataError(f"{self.path}: record 0", str(error), do) from error


def open_records(path: str) -> IO[bytes]:
    """The unpacked file."""
    return gzip.open(path, "rb") if is_gzipped(path) else Path(path).open("rb")  # type: ignore[return-value]


def is_gzipped(path: str) -> bool:
    """Whether the file is packed as a whole."""
    with Path(path).open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def is_tfrecord(path: Path) -> bool:
    """Whether the file, unpacked where it is gzipped, begins with a record whose length verifies."""
    try:
        with open_records(str(path)) as file:
            head = file.read(12)
    except (EOFError, OSError, zlib.error):
        return False
    return len(head) == 12 and int.from_bytes(head[8:], "little") == tfrecords.masked_crc(head[:8])


def image_of(features: Features) -> bytes | NDArray[np.uint8]:
    """The bytes of a file, or bare pixels as uint8 [H, W] or [H, W, C]. Raises Undecodable where there is neither."""
    data = image_bytes(features)
    if data is None:
        raise Undecodable("damaged", "the record holds no image")
    if is_encoded_image(data) and (is_whole_file(data) or not _told_size(data, features)):
        return data
    return _bare(data, features)


def image_bytes(features: Features) -> bytes | None:
    """The first feature that holds an image: of the usual names, else the only one that is an encoded image."""
    for name in IMAGES:
        values = features.get(name)
        if values and isinstance(values[0], memoryview):
            return bytes(values[0])
    texts = (v[0] for v in features.values() if len(v) == 1 and isinstance(v[0], memoryview))
    found = [text for text in texts if is_encoded_image(text)]
    return bytes(found[0]) if len(found) == 1 else None


def label_of(features: Features) -> str | None:
    """The class as text, None where there is none."""
    for name in NAMES:
        values = features.get(name)
        if values and len(values) == 1 and isinstance(values[0], memoryview) and values[0]:
            return _text(values[0])
    for name in LABELS:
        values = features.get(name)
        if values and len(values) == 1 and isinstance(values[0], int):
            return str(values[0])
        if values and len(values) == 1 and isinstance(values[0], memoryview):
            return _text(values[0])
    return None


def _text(data: memoryview) -> str:
    """Of at most 256 bytes: a label is a name."""
    return bytes(data[:256]).decode("utf-8", "replace")


def _told_size(data: bytes, features: Features) -> bool:
    """Whether height, width and channels stand beside the data, and these are as many bytes."""
    sides = next((found for pair in SIZES if (found := _numbers(features, pair))), (0, 0))
    channels = next((found[0] for name in CHANNELS if (found := _numbers(features, (name,)))), 0)
    return math.prod((*sides, channels)) == len(data)


def _bare(data: bytes, features: Features) -> NDArray[np.uint8]:
    """Pixels without a file format."""
    height, width = next((found for pair in SIZES if (found := _numbers(features, pair))), (0, 0))
    if not height * width:
        side = next((s for c in (3, 1, 4) if (s := math.isqrt(len(data) // c)) and c * s * s == len(data)), 0)
        height = width = side
    pixels = max(height * width, 1)
    told = next((found[0] for name in CHANNELS if (found := _numbers(features, (name,)))), len(data) // pixels)
    if min(height, width) < 1 or told not in (1, 3, 4) or len(data) != height * width * told:
        raise Undecodable(
            "damaged", f"{len(data)} bytes are neither an encoded image nor one of {height}x{width} pixels"
        )
    shape = (height, width) if told == 1 else (height, width, told)
    return np.frombuffer(data, np.uint8).reshape(shape)


def _numbers(features: Features, names: tuple[str, ...]) -> tuple[int, ...] | None:
    """The whole numbers of these features; None where one is missing, or no sensible side."""
    found = [features.get(name) for name in names]
    if all(v and len(v) == 1 and isinstance(v[0], int) and 0 < v[0] < 1 << 20 for v in found):
        return tuple(v[0] for v in found)  # type: ignore[index, misc]
    return None
