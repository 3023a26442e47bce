"""TFRecord files, read without TensorFlow, and written with tf.train.Example messages (see `examples`) in them.

A record is: its length (uint64, little-endian), the masked CRC-32C of those 8 bytes, the data, its masked CRC-32C.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

LARGEST_RECORD = 128 << 20  # of one image: it is held in memory
_BLOCK = 1024
_MASK_DELTA = 0xA282EAD8


class Malformed(Exception):
    """A record or message that breaks the format; str() says how."""


# --- records ----------------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """A record of a file.

    Attributes:
        offset, length: of its data, in bytes.
        data: None where they were not asked for, or do not verify.
    """

    offset: int
    length: int
    data: bytes | None


def scan(file: IO[bytes], wanted: Callable[[int], bool]) -> Iterator[Record]:
    """Each record, from the file's start on, only forward. Data that are not wanted are passed over, not checked.

    Args:
        wanted: whether to read the data of the record of this number.
    Raises:
        Malformed: at the first record whose length does not verify, or that the file cuts short.
    """
    file.seek(0)
    number, at = 0, 12
    while head := file.read(12):
        if len(head) < 12:
            raise Malformed(f"cut short in record {number}")
        (length,) = struct.unpack("<Q", head[:8])
        if struct.unpack("<I", head[8:])[0] != masked_crc(head[:8]):
            raise Malformed(f"the length of record {number} does not verify")
        if length > LARGEST_RECORD:
            raise Malformed(f"record {number} claims {length >> 20} MB")
        data = None
        if wanted(number):
            data = file.read(length)
        else:
            file.seek(at + length)
        end = file.read(4)
        if len(end) < 4:
            raise Malformed(f"cut short in record {number}")
        verified = data is not None and struct.unpack("<I", end)[0] == masked_crc(data)
        yield Record(at, length, data if verified else None)
        number, at = number + 1, at + length + 16


def read_record(file: IO[bytes], offset: int, length: int, verify: bool = True) -> bytes:
    """The data of a record that `scan` found. Raises Malformed where they are cut short, or their checksum is wrong."""
    file.seek(offset)
    data, end = file.read(length), file.read(4)
    if len(end) < 4 or (verify and struct.unpack("<I", end)[0] != masked_crc(data)):
        raise Malformed("its checksum is wrong")
    return data


def record(data: bytes) -> bytes:
    """The bytes of a record with `data` in it."""
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc(head)) + data + struct.pack("<I", masked_crc(data))


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
