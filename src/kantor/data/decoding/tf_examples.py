"""Reads tf.train.Example messages without TensorFlow.

They come from foreign files: nothing is copied before it is asked for, of long lists only the start is read, and a
message of endlessly many fields is given up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from kantor.data.decoding.tfrecords import Malformed

MOST_VALUES = 16  # of a list: a size, a class
MOST_FIELDS = 100_000
Values = list[memoryview] | list[int] | list[float]


def parse_example(data: bytes) -> dict[str, Values]:
    """The features of a tf.train.Example by name: of each at most MOST_VALUES values, texts as views of `data`.

    Raises:
        Malformed: it is no such message.
    """
    return _Message().features(memoryview(data))


class _Message:
    """One message that is being read, and how many of its fields may still come."""

    def __init__(self) -> None:
        self._left = MOST_FIELDS

    def features(self, data: memoryview) -> dict[str, Values]:
        found: dict[str, Values] = {}
        for _, outer in self._parts(data, 1):
            for _, entry in self._parts(outer, 1):
                name, value = b"", memoryview(b"")
                for number, part in self._parts(entry, 1, 2):
                    name, value = (bytes(part), value) if number == 1 else (name, part)
                try:
                    found[name.decode("utf-8")] = self._feature(value)
                except UnicodeDecodeError as error:
                    raise Malformed("a feature's name is no text") from error
        return found

    def _feature(self, data: memoryview) -> Values:
        for number, content in self._parts(data, 1, 2, 3):
            if number == 1:
                return _first(value for _, value in self._parts(content, 1))
            if number == 2:
                return _first(self._floats(content))
            return _first(self._integers(content))
        return []

    def _integers(self, data: memoryview) -> Iterator[int]:
        for value in self._values(data):
            for number in [value] if isinstance(value, int) else _varints(value):
                yield number - (1 << 64) if number >= 1 << 63 else number

    def _floats(self, data: memoryview) -> Iterator[float]:
        for value in self._values(data):
            if isinstance(value, int) or len(value) % 4:
                raise Malformed("a list of numbers is cut short")
            for at in range(0, len(value), 4):
                yield struct.unpack_from("<f", value, at)[0]

    def _parts(self, data: memoryview, *numbers: int) -> Iterator[tuple[int, memoryview]]:
        """Those fields of a message that hold bytes and have one of these numbers."""
        for tag, value in self._tagged(data):
            if tag >> 3 in numbers and isinstance(value, memoryview):
                yield tag >> 3, value

    def _values(self, data: memoryview) -> Iterator[int | memoryview]:
        """The values of a list, of which some may be packed together."""
        return (value for tag, value in self._tagged(data) if tag >> 3 == 1)

    def _tagged(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """(tag, value) of every field: a number for wire type 0, else bytes."""
        at = 0
        while at < len(data):
            self._left -= 1
            if self._left < 0:
                raise Malformed(f"more than {MOST_FIELDS:,} fields")
            tag, at = _read_varint(data, at)
            match tag & 7:
                case 0:
                    value, at = _read_varint(data, at)
                    yield tag, value
                    continue
                case 1:
                    length = 8
                case 2:
                    length, at = _read_varint(data, at)
                case 5:
                    length = 4
                case kind:
                    raise Malformed(f"a field of the unknown kind {kind}")
            if at + length > len(data):
                raise Malformed("a field is longer than its message")
            yield tag, data[at : at + length]
            at += length


def _first(values: Iterator) -> list:  # type: ignore[type-arg]
    return [value for value, _ in zip(values, range(MOST_VALUES), strict=False)]


def _varints(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _read_varint(data, at)
        yield value


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
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
