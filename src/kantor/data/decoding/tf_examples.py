"""tf.train.Example messages, read and written without TensorFlow.

The messages come from foreign files: nothing is copied before it is needed, only the start of a long list is read,
and a message with too many fields is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from kantor.data.decoding.tfrecords import Malformed

MAX_VALUES = 16  # of a list: a size, a class
MAX_FIELDS = 100_000
_FIXED_BYTES = {1: 8, 5: 4}  # by wire type
Values = list[memoryview] | list[int] | list[float]


def fields(data: bytes) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of every field of a protobuf message: an integer for wire type 0, else bytes. Raises Malformed."""
    return _Reader().fields(memoryview(data))


def parse_example(data: bytes, long: Mapping[str, int] | None = None) -> dict[str, Values]:
    """The features of a tf.train.Example by name: at most MAX_VALUES values each, of those in `long` as many as it says.

    Raises Malformed if it is not one.
    """
    reader = _Reader()
    features: dict[str, Values] = {}
    for _, message in reader.parts(memoryview(data), 1):
        for _, entry in reader.parts(message, 1):
            pair = {1: memoryview(b""), 2: memoryview(b"")} | dict(reader.parts(entry, 1, 2))
            try:
                name = bytes(pair[1]).decode("utf-8")
            except UnicodeDecodeError as error:
                raise Malformed("the name of a feature is not text") from error
            features[name] = reader.feature(pair[2], (long or {}).get(name, MAX_VALUES))
    return features


def sequences(data: bytes) -> list[str]:
    """The names of the lists in a tf.train.SequenceExample, [] if `data` are none. Raises Malformed as `parse_example`."""
    reader = _Reader()
    names = []
    for _, message in reader.parts(memoryview(data), 2):
        for _, entry in reader.parts(message, 1):
            names += [bytes(name).decode("utf-8", "replace") for _, name in reader.parts(entry, 1)]
    return names


class _Reader:
    """Reads one message; all its nested messages share a limit on the number of fields."""

    def __init__(self) -> None:
        self._fields_left = MAX_FIELDS

    def feature(self, data: memoryview, most: int = MAX_VALUES) -> Values:
        """The values of its BytesList (field 1), FloatList (2) or Int64List (3)."""
        kind, content = next(self.parts(data, 1, 2, 3), (1, memoryview(b"")))
        return list(islice(self._values(content, kind), most))

    def parts(self, data: memoryview, *numbers: int) -> Iterator[tuple[int, memoryview]]:
        """The fields of a message that hold bytes and have one of these numbers."""
        for number, value in self.fields(data):
            if number in numbers and isinstance(value, memoryview):
                yield number, value

    def _values(self, data: memoryview, kind: int) -> Iterator[Any]:
        """The values of a list, some of which may be packed together."""
        for number, value in self.fields(data):
            if number != 1:
                continue
            if kind == 3:
                for unsigned in [value] if isinstance(value, int) else _varints(value):
                    yield unsigned - (1 << 64) if unsigned >= 1 << 63 else unsigned
            elif kind == 1 and isinstance(value, memoryview):
                yield value
            elif kind == 2:
                if isinstance(value, int) or len(value) % 4:
                    raise Malformed("a list of numbers is cut short")
                yield from (float32 for (float32,) in struct.iter_unpack("<f", value))

    def fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """(number, value) of every field: an integer for wire type 0, else bytes."""
        at = 0
        while at < len(data):
            self._fields_left -= 1
            if self._fields_left < 0:
                raise Malformed(f"more than {MAX_FIELDS:,} fields")
            tag, at = _read_varint(data, at)
            number, wire_type = tag >> 3, tag & 7
            if wire_type == 0:
                value, at = _read_varint(data, at)
                yield number, value
                continue
            if wire_type == 2:
                length, at = _read_varint(data, at)
            elif wire_type in _FIXED_BYTES:
                length = _FIXED_BYTES[wire_type]
            else:
                raise Malformed(f"a field of the unknown kind {wire_type}")
            if at + length > len(data):
                raise Malformed("a field is longer than its message")
            yield number, data[at : at + length]
            at += length


def _varints(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _read_varint(data, at)
        yield value


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """(value, position after it)."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Malformed("a number is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise Malformed("a number is longer than ten bytes")


def example(features: Mapping[str, bytes | str | int]) -> bytes:
    """A serialised tf.train.Example: bytes and text become a BytesList of one, numbers (0 or more) an Int64List."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, int):
            feature = field(3, field(1, _varint(value)))
        else:
            feature = field(1, field(1, value.encode() if isinstance(value, str) else value))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def field(number: int, content: bytes) -> bytes:
    """A field that holds bytes."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + _varint(value >> 7)
