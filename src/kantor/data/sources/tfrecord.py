"""Images in a TFRecord file of tf.train.Example messages, compressed or not."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.decoding import tfrecords
from kantor.data.decoding.array_hints import CHANNELS as CHANNEL_COUNTS
from kantor.data.decoding.array_hints import channels_first
from kantor.data.decoding.signatures import is_encoded_image, is_whole_file
from kantor.data.decoding.tf_examples import Values, parse_example, sequences
from kantor.data.decoding.tfrecords import Malformed
from kantor.data.reasons import Reason, Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources.labels import MAX_CLASSES
from kantor.data.sources.npy import read_header
from kantor.data.sources.open_file import DECOMPRESSION_ERRORS, FileSource, is_compressed, require_proportion
from kantor.data.sources.source import RULES, Item, Loaded, Rejected
from kantor.data.sources.tfds import class_names_beside, stylegan_labels
from kantor.errors import DataError

IMAGES = ("image/encoded", "image", "image_raw", "encoded", "image/data", "jpeg", "png", "jpg", "picture")
SIZES = (("image/height", "image/width"), ("height", "width"), ("h", "w"), ("rows", "cols"))
CHANNELS = ("image/channels", "channels", "depth", "image/depth", "c")
CLASS_NAMES = ("image/class/text", "class", "class_name", "label_name")
LABELS = ("image/class/label", "label", "image/label", "labels", "class_id", "y")
MORE_IMAGES = (*IMAGES, "data", "img", "raw", "image/raw")  # since rules 2, or where nothing else is an image
SHAPES = ("shape", "image/shape", "image_shape")
TYPES = ("dtype", "image/dtype", "type")
_MAX_LABEL_BYTES = 256
_NUMBERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
_LONG = dict.fromkeys(("class", *LABELS), MAX_CLASSES + 1)  # one-hot labels
_NUMBERS_AT_ONCE = 1 << 22
_AGAIN = "copy or write it again"

Features = Mapping[str, Values]


class TfRecord(FileSource):
    """Images by the number of their record.

    An image is an encoded file, or its bare pixels next to a shape, or a height and a width; without these, a square
    with 3 channels or 1. A label is a class name, else a number, or the place of the 1 in a list of 0 and 1. Names that
    tensorflow_datasets wrote beside the file, and the file of labels of StyleGAN's, are used.

    Listing with labels reads and verifies every record once; an image is then not verified again. A compressed file
    is local, since it can only be read from its start. The position of an item is the byte at which its data start,
    decompressed.

    Args:
        labels: "auto", "none", or a file of labels, in which the names are record numbers.
    """

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES) -> None:
        super().__init__(path, labels, rules)
        self.local_only = is_compressed(path)
        self._verified = False
        self._first_rules = rules < 2  # until record 0 shows that only later rules read it
        self._class_names = class_names_beside(Path(path)) if rules >= 2 and labels == "auto" else []
        self._beside: NDArray[np.int64] | None = None  # classes in the file of labels of StyleGAN's
        if rules >= 2:
            self._read_beside()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_beside": None}

    def items(self) -> Iterator[Item | Rejected]:
        """In the order of the file."""
        return label_files.attach_file(iter(self._listing), self.labels, self.rules, self.listing_notes)

    def load(self, item: Item) -> Loaded:
        """The file's bytes, or the image itself as [H, W] or [H, W, C]."""
        file = self._file()
        try:
            features = parse_example(tfrecords.read_record(file, item.position, item.size, not self._verified))
        except (Malformed, *DECOMPRESSION_ERRORS) as error:
            raise Undecodable("damaged", f"damaged record ({error})") from error
        return image_of(features) if self._first_rules else any_image_of(features)

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
        return self._with_labels_beside(listing)

    def _examined(self, item: Item, data: bytes | None) -> Item | Rejected:
        """The item with its label. data: of its record, None if they do not verify."""
        try:
            if data is None:
                raise Malformed("its checksum is wrong")
            features = parse_example(data, _LONG)
        except Malformed as error:
            return Rejected(item.name, Reason("damaged", f"damaged record ({error})"))
        if item.name == "0":
            self._require_image(features, data)
        label = self._label(features) if self.labels == "auto" else None
        return item if label is None else replace(item, label=sys.intern(label))

    def _label(self, features: Features) -> str | None:
        if self._first_rules:
            return label_of(features)
        label = any_label_of(features)
        if not isinstance(label, int):
            return label
        return self._class_names[label] if 0 <= label < len(self._class_names) else str(label)

    def _with_labels_beside(self, listing: list[Item | Rejected]) -> list[Item | Rejected]:
        """The entries with the labels of StyleGAN's file, if they have none of their own."""
        if self._first_rules or any(isinstance(entry, Item) and entry.label for entry in listing):
            return listing
        if self.rules < 2:
            self._read_beside()
        if self._beside is None:
            return listing
        if len(self._beside) != len(listing):
            what = f"{len(self._beside):,} labels beside {len(listing):,} records"
            raise DataError(self.path, what, "give each one, or use --labels none")
        classes = [sys.intern(str(number)) for number in self._beside.tolist()]
        pairs = zip(listing, classes, strict=True)
        return [replace(entry, label=label) if isinstance(entry, Item) else entry for entry, label in pairs]

    def _read_beside(self) -> None:
        if self.labels == "auto" and (beside := stylegan_labels(Path(self.path))):
            self._beside, self.note = _classes_beside(beside)

    def _require_image(self, features: Features, data: bytes) -> None:
        """Raises DataError if record 0 holds no image; where only later rules find one, they are used."""
        if self._first_rules:
            with contextlib.suppress(Undecodable):
                image_of(features)
                return
        self._first_rules = False
        try:
            any_image_of(features)
        except Undecodable as error:
            if lists := sequences(data):
                what = f"its records are sequences of images or texts ({', '.join(map(repr, lists))}), not images"
                raise DataError(self.path, what, "write each image as a tf.train.Example of its own") from error
            if image_bytes(features, MORE_IMAGES) is not None:
                do = "store height and width next to it, or the encoded image"
                raise DataError(f"{self.path}: record 0", str(error), do) from error
            names = ", ".join(map(repr, features)) or "none"
            what = f"its records hold no image that is known (features found: {names})"
            raise DataError(self.path, what, "store the encoded image as image/encoded") from error


def any_image_of(features: Features) -> Loaded:
    """As `image_of`; also pixels of other types, and those whose shape is a list. Raises Undecodable if there is none."""
    data = image_bytes(features, MORE_IMAGES)
    if data is None:
        raise Undecodable("damaged", "the record holds no image")
    shape, kind = _shape(features), _type(features)
    size = math.prod(shape) if shape else 0
    if is_encoded_image(data) and (is_whole_file(data) or len(data) not in (size, 2 * size)):
        return data
    if not shape or size * kind.itemsize != len(data):
        if not shape or kind != np.uint8 or 2 * size != len(data):
            return _pixels(data, *_sides(features))
        kind = np.dtype("<u2")
    image = np.frombuffer(data, kind).reshape(shape)
    if image.ndim == 3 and _planes_first(image.shape):
        image = image.transpose(1, 2, 0)
    return image[:, :, 0] if image.shape[2:] == (1,) else image


def image_of(features: Features) -> bytes | NDArray[np.uint8]:
    """An encoded file, or bare pixels as uint8 [H, W] or [H, W, C]. Raises Undecodable if there is neither."""
    data = image_bytes(features)
    if data is None:
        raise Undecodable("damaged", "the record holds no image")
    height, width, channels = _sides(features)
    if is_encoded_image(data) and (is_whole_file(data) or height * width * channels != len(data)):
        return data
    return _pixels(data, height, width, channels)


def _planes_first(shape: tuple[int, ...]) -> bool:
    """Whether pixels are [C, H, W]; so are three of 4x4, as the smallest of StyleGAN's."""
    square = shape[0] in CHANNEL_COUNTS and shape[1] == shape[2] and shape[0] != shape[1]
    return square or shape[0] == 1 or channels_first(shape)


def _sides(features: Features) -> tuple[int, int, int]:
    """Height, width and number of channels; 0 for what the record does not say."""
    sides = ((_number(features, height), _number(features, width)) for height, width in SIZES)
    height, width = next((pair for pair in sides if all(pair)), (0, 0))
    channels = next((count for name in CHANNELS if (count := _number(features, name))), 0)
    return height, width, channels


def _shape(features: Features) -> tuple[int, ...]:
    """[H, W], [H, W, C] or [C, H, W], () if the record does not say."""
    for name in SHAPES:
        values = features.get(name) or []
        if len(values) in (2, 3) and all(isinstance(value, int) and 0 < value < 1 << 20 for value in values):
            return tuple(int(value) for value in values)
    height, width, channels = _sides(features)
    return () if not height else (height, width, channels) if channels else (height, width)


def _type(features: Features) -> np.dtype[Any]:
    """Of the numbers, little-endian."""
    values = next((features[name] for name in TYPES if features.get(name)), [])
    text = bytes(values[0][:16]).decode("ascii", "replace") if values and isinstance(values[0], memoryview) else ""
    return np.dtype(text).newbyteorder("<") if text in _NUMBERS else np.dtype(np.uint8)


def image_bytes(features: Features, names: Sequence[str] = IMAGES) -> bytes | None:
    """The first feature that holds an image: by its usual names, else the only one that is an encoded image."""
    for name in names:
        values = features.get(name)
        if values and isinstance(values[0], memoryview):
            return bytes(values[0])
    texts = (v[0] for v in features.values() if len(v) == 1 and isinstance(v[0], memoryview))
    encoded = [text for text in texts if is_encoded_image(text)]
    return bytes(encoded[0]) if len(encoded) == 1 else None


def any_label_of(features: Features) -> str | int | None:
    """The class as text, else as a number: also of fractions that are whole, and the place of the 1 in a list."""
    text = label_of(features)
    for name in (*LABELS, "class"):
        number = _class_number(features.get(name) or [])
        if number is not None and (text is None or text == str(number)):
            return number
    return text


def _class_number(values: Values) -> int | None:
    if not all(isinstance(value, int | float) for value in values):
        return None
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    if len(numbers) == 1:
        return int(numbers[0]) if numbers[0].is_integer() else None
    one_hot = len(numbers) <= MAX_CLASSES and numbers.count(1) == 1 and numbers.count(0) == len(numbers) - 1
    return numbers.index(1) if one_hot else None


def _classes_beside(path: Path) -> tuple[NDArray[np.int64] | None, str]:
    """The classes [N] of a file of one-hot rows [N, K], None if there are none, and why not."""
    header = read_header(path)
    if len(header.shape) != 2 or header.dtype.kind not in "fiub":
        return None, f"{path.name} is of shape {header.shape}; not classes"
    count, width = header.shape
    if not count or not width:
        return None, ""
    classes = np.empty(count, np.int64)
    for start in range(0, count, step := max(1, _NUMBERS_AT_ONCE // width)):
        offset = header.offset + start * width * header.dtype.itemsize
        rows = np.fromfile(path, header.dtype, min(step, count - start) * width, offset=offset).reshape(-1, width)
        if not np.isin(rows, (0, 1)).all() or not (np.count_nonzero(rows, axis=1) == 1).all():
            return None, f"{path.name} does not hold one 1 for each image; not classes"
        classes[start : start + step] = rows.argmax(axis=1)
    return classes, ""


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
