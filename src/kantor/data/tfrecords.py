"""TFRecord files and the tf.train.Example messages in them, read and written without TensorFlow.

A record is: its length (uint64, little-endian), the masked CRC-32C of those 8 bytes, the data, its masked CRC-32C.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray

LARGEST_RECORD = 512 << 20
_BLOCK = 1024
_MASK_DELTA = 0xA282EAD8
Feature = bytes | list[bytes] | list[int] | list[float]


class Malformed(Exception):
    """A record or message that breaks the format; str() says how."""


# --- records ----------------------------------------------------------------------------------------------------


def scan(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """(offset of the data, their length) of each record. The data are passed over, not checked.

    Raises:
        Malformed: at the first record whose length does not verify, or that the file cuts short.
    """
    number, at = 0, 0
    while head := file.read(12):
        if len(head) < 12:
            raise Malformed(f"cut short in record {number}")
        (length,) = struct.unpack("<Q", head[:8])
        if struct.unpack("<I", head[8:])[0] != masked_crc(head[:8]):
            raise Malformed(f"the length of record {number} does not verify")
        if length > LARGEST_RECORD:
            raise Malformed(f"record {number} claims {length >> 20} MB")
        yield at + 12, length
        at += 16 + length
        file.seek(at - 4)
        if len(file.read(4)) < 4:
            raise Malformed(f"cut short in record {number}")
        number += 1


def read_record(file: IO[bytes], offset: int, length: int) -> bytes:
    """The data of a record that `scan` found. Raises Malformed where their checksum is wrong."""
    file.seek(offset)
    data = file.read(length + 4)
    if len(data) != length + 4 or struct.unpack("<I", data[length:])[0] != masked_crc(data[:length]):
        raise Malformed("its checksum is wrong")
    return data[:length]


def record(data: bytes) -> bytes:
    """The bytes of a record with `data` in it."""
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc(head)) + data + struct.pack("<I", masked_crc(data))


# --- messages ---------------------------------------------------------------------------------------------------


def parse_example(data: bytes) -> dict[str, list[bytes] | list[int] | list[float]]:
    """The features of a tf.train.Example by name.

    Raises:
        Malformed: it is no such message.
    """
    features: dict[str, list[bytes] | list[int] | list[float]] = {}
    for _, outer in _fields(data, 1):
        for _, entry in _fields(outer, 1):
            name, value = b"", b""
            for number, part in _fields(entry, 1, 2):
                name, value = (part, value) if number == 1 else (name, part)
            try:
                features[name.decode("utf-8")] = _feature(value)
            except UnicodeDecodeError as error:
                raise Malformed("a feature's name is no text") from error
    return features


def example(features: Mapping[str, bytes | str | int]) -> bytes:
    """A serialised tf.train.Example: bytes and text become a BytesList of one, numbers (0 or more) an Int64List."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, int):
            feature = _field(3, _field(1, _varint(value)))
        else:
            feature = _field(1, _field(1, value.encode() if isinstance(value, str) else value))
        entries += _field(1, _field(1, name.encode()) + _field(2, feature))
    return _field(1, entries)


def _feature(data: bytes) -> list[bytes] | list[int] | list[float]:
    for number, content in _fields(data, 1, 2, 3):
        if number == 1:
            return [value for _, value in _fields(content, 1)]
        if number == 2:
            return _floats(content)
        return _integers(content)
    return []


def _integers(data: bytes) -> list[int]:
    found: list[int] = []
    for value in _walk(data):
        packed = [value] if isinstance(value, int) else _packed_varints(value)
        found += [n - (1 << 64) if n >= 1 << 63 else n for n in packed]
    return found


def _floats(data: bytes) -> list[float]:
    found: list[float] = []
    for value in _walk(data):
        if isinstance(value, int) or len(value) % 4:
            raise Malformed("a list of numbers is cut short")
        found += struct.unpack(f"<{len(value) // 4}f", value)
    return found


def _fields(data: bytes, *numbers: int) -> Iterator[tuple[int, bytes]]:
    """Those fields of a message that hold bytes and have one of these numbers."""
    for tag, value in _tagged(data):
        if tag >> 3 in numbers and isinstance(value, bytes):
            yield tag >> 3, value


def _walk(data: bytes) -> Iterator[int | bytes]:
    """The values of a list, of which some may be packed together."""
    return (value for tag, value in _tagged(data) if tag >> 3 == 1)


def _tagged(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(tag, value) of every field: a number for wire type 0, else bytes."""
    at = 0
    while at < len(data):
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


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
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


def _packed_varints(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _read_varint(data, at)
        found.append(value)
    return found


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _field(number: int, content: bytes) -> bytes:
    """A field that holds bytes."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


# --- CRC-32C ----------------------------------------------------------------------------------------------------


def masked_crc(data: bytes) -> int:
    """CRC-32C of `data`, rotated right by 15 bits and moved, as TFRecord stores it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC, polynomial 0x1EDC6F41 (Castagnoli et al. 1993).

    What a byte adds depends only on its distance from the end, so blocks of 1024 bytes are summed at once by tables;
    between blocks the sum is moved on by 1024 bytes of zeros, also by a table.
    """
    if len(data) < 64:
        return _crc_of_few(data)
    by_place, moved = _tables()
    padded = np.zeros(-(-len(data) // _BLOCK) * _BLOCK, np.uint8)  # zeros in front change nothing
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, np.uint8)
    padded[start : start + 4] ^= 0xFF  # the value that a CRC begins with
    blocks = padded.reshape(-1, _BLOCK)
    crc = 0
    for one in range(0, len(blocks), 64):  # in parts that fit into a cache
        part = blocks[one : one + 64]
        sums = np.bitwise_xor.reduce(by_place[np.arange(_BLOCK), part], axis=1)
        for block in sums.tolist():
            crc = (
                block ^ moved[0][crc & 255] ^ moved[1][crc >> 8 & 255] ^ moved[2][crc >> 16 & 255] ^ moved[3][crc >> 24]
            )
    return crc ^ 0xFFFFFFFF


def _crc_of_few(data: bytes) -> int:
    table: Sequence[int] = _byte_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@functools.cache
def _byte_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


@functools.cache
def _tables() -> tuple[NDArray[np.uint32], list[list[int]]]:
    """What each byte adds at each place of a block [1024, 256], and what a whole block of zeros makes of a sum."""
    first = np.array(_byte_table(), np.uint32)
    by_place = np.empty((_BLOCK, 256), np.uint32)
    row = first
    for place in range(_BLOCK - 1, -1, -1):
        by_place[place] = row
        row = row >> np.uint32(8) ^ first[row & np.uint32(255)]
    # a byte of a sum is like a byte of data at the block's start: its lowest acts first
    return by_place, [by_place[place].tolist() for place in range(4)]
