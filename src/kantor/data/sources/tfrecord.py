"""Images in a TFRecord file of tf.train.Example messages, compressed or not."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kantor.data.decoding import tfrecords
from kantor.data.decoding.signatures import is_encoded_image, is_whole_file
from kantor.data.decoding.tf_examples import Values, parse_example
from kantor.data.decoding.tfrecords import Malformed
from kantor.data.reasons import Reason, Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources.open_file import DECOMPRESSION_ERRORS, FileSource, is_compressed, require_proportion
from kantor.data.sources.source import RULES, Item, Rejected
from kantor.errors import DataError

IMAGES = ("image/encoded", "image", "image_raw", "encoded", "image/data", "jpeg", "png", "jpg", "picture")
SIZES = (("image/height", "image/width"), ("height", "width"), ("h", "w"), ("rows", "cols"))
CHANNELS = ("image/channels", "channels", "depth", "image/depth", "c")
CLASS_NAMES = ("image/class/text", "class", "class_name", "label_name")
LABELS = ("image/class/label", "label", "image/label", "labels", "class_id", "y")
_MAX_LABEL_BYTES = 256
_AGAIN = "copy or write it again"

Features = Mapping[str, Values]


class TfRecord(FileSource):
    """Images by the number of their record.

    An image is an encoded file, or its bare pixels next to a height and a width; without these, a square with 3
    channels or 1. A label is a class name, else a number.

    Listing with labels reads and verifies every record once; an image is then not verified again. A compressed file
    is local, since it can only be read from its start. The position of an item is the byte at which its data start,
    decompressed.

    Args:
        labels: "auto", "none", or a CSV or JSON file, in which the names are record numbers.
    """

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES) -> None:
        super().__init__(path, labels, rules)
        self.local_only = is_compressed(path)
        self._verified = False

    def items(self) -> Iterator[Item | Rejected]:
        """In the order of the file."""
        return label_files.attach_file(iter(self._listing), self.labels, self.rules, self.listing_notes)

    def load(self, item: Item) -> bytes | NDArray[np.uint8]:
        """The file's bytes, or the image itself as uint8 [H, W] or [H, W, C]."""
        file = self._file()
        try:
            features = parse_example(tfrecords.read_record(file, item.position, item.size, not self._verified))
        except (Malformed, *DECOMPRESSION_ERRORS) as error:
            raise Undecodable("damaged", f"damaged record ({error})") from error
        return image_of(features)

    @cached_property
    def _listing(self) -> list[Item | Rejected]:
        """All entries. Raises DataError if the records hold no images; names the features in them."""
        listing: list[Item | Rejected] = []
        mtime_ns, with_labels = Path(self.path).stat().st_mtime_ns, self.labels == "auto"
        try:
            for offset, length, data in tfrecords.scan(self._file(), with_labels):
                item = Item(str(len(listing)), offset, length, mtime_ns)
                listing.append(self._examined(item, data) if with_labels or not listing else item)
                require_proportion(self.path, offset + length, _AGAIN, len(listing))
        except (Malformed, *DECOMPRESSION_ERRORS) as error:
            raise DataError(self.path, f"it is not a whole TFRecord file ({error})", _AGAIN) from error
        if not listing:
            raise DataError(self.path, "there are no records in it", _AGAIN)
        self._verified = with_labels
        return listing

    def _examined(self, item: Item, data: bytes | None) -> Item | Rejected:
        """The item with its label. data: of its record, None if they do not verify."""
        try:
            if data is None:
                raise Malformed("its checksum is wrong")
            features = parse_example(data)
        except Malformed as error:
            return Rejected(item.name, Reason("damaged", f"damaged record ({error})"))
        if item.name == "0":
            self._require_image(features)
        label = label_of(features) if self.labels == "auto" else None
        return item if label is None else replace(item, label=sys.intern(label))

    def _require_image(self, features: Features) -> None:
        try:
            image_of(features)
        except Undecodable as error:
            if image_bytes(features) is not None:
                do = "store height and width next to it, or the encoded image"
                raise DataError(f"{self.path}: record 0", str(error), do) from error
            names = ", ".join(map(repr, features)) or "none"
            what = f"its records hold no image that is known (features found: {names})"
            raise DataError(self.path, what, "store the encoded image as image/encoded") from error


def image_of(features: Features) -> bytes | NDArray[np.uint8]:
    """An encoded file, or bare pixels as uint8 [H, W] or [H, W, C]. Raises Undecodable if there is neither."""
    data = image_bytes(features)
    if data is None:
        raise Undecodable("damaged", "the record holds no image")
    sides = ((_number(features, height), _number(features, width)) for height, width in SIZES)
    height, width = next((pair for pair in sides if all(pair)), (0, 0))
    channels = next((count for name in CHANNELS if (count := _number(features, name))), 0)
    if is_encoded_image(data) and (is_whole_file(data) or height * width * channels != len(data)):
        return data
    return _pixels(data, height, width, channels)


def image_bytes(features: Features) -> bytes | None:
    """The first feature that holds an image: by its usual names, else the only one that is an encoded image."""
    for name in IMAGES:
        values = features.get(name)
        if values and isinstance(values[0], memoryview):
            return bytes(values[0])
    texts = (v[0] for v in features.values() if len(v) == 1 and isinstance(v[0], memoryview))
    encoded = [text for text in texts if is_encoded_image(text)]
    return bytes(encoded[0]) if len(encoded) == 1 else None


def label_of(features: Features) -> str | None:
    """The class as text, None if there is none."""
    for name in (*CLASS_NAMES, *LABELS):
        values = features.get(name) or [0.0]
        value, is_label = values[0], name in LABELS
        if len(values) == 1 and isinstance(value, memoryview) and (value or is_label):
            return bytes(value[:_MAX_LABEL_BYTES]).decode("utf-8", "replace")
        if len(values) == 1 and isinstance(value, int) and is_label:
            return str(value)
    return None


def _pixels(data: bytes, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Pixels without a file format; 0 for what the record does not say."""
    if not height:
        roots = ((count, math.isqrt(len(data) // count)) for count in (3, 1, 4))
        height = width = next((side for count, side in roots if side and count * side * side == len(data)), 0)
    channels = channels or len(data) // max(height * width, 1)
    if height < 1 or channels not in (1, 3, 4) or len(data) != height * width * channels:
        detail = f"{len(data)} bytes are neither an encoded image nor one of {height}x{width} pixels"
        raise Undecodable("damaged", detail)
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.frombuffer(data, np.uint8).reshape(shape)


def _number(features: Features, name: str) -> int:
    """The value of a feature that is one whole number and can be a side, else 0."""
    values = features.get(name) or [0]
    return values[0] if len(values) == 1 and isinstance(values[0], int) and 0 < values[0] < 1 << 20 else 0
