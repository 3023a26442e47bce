"""TFRecord files, read and written without TensorFlow.

A record is its length (uint64, little-endian), the masked CRC-32C of those 8 bytes, the data, and their masked CRC-32C.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

MAX_RECORD_BYTES = 128 << 20  # one image, in memory
_BLOCK = 1024
_BLOCKS_AT_ONCE = 64  # fit in a processor's cache
_MASK_DELTA = 0xA282EAD8


class Malformed(Exception):
    """A record or message that breaks the format; str() says how."""


def scan(file: IO[bytes], all_data: bool) -> Iterator[tuple[int, int, bytes | None]]:
    """Yields (offset, length, data) of each record from the file's start, reading forward only.

    Data are read of the first record, or of all; they are None if they are not read, or their checksum is wrong.
    Raises Malformed at the first record whose length does not verify, or that the file cuts short.
    """
    file.seek(0)
    number, offset = 0, 12
    while head := file.read(12):
        if len(head) < 12:
            raise Malformed(f"cut short in record {number}")
        if not is_record_head(head):
            raise Malformed(f"the length of record {number} does not verify")
        (length,) = struct.unpack("<Q", head[:8])
        if length > MAX_RECORD_BYTES:
            raise Malformed(f"record {number} claims {length >> 20} MB")
        data = file.read(length) if all_data or number == 0 else None
        if data is None:
            file.seek(offset + length)
        end = file.read(4)
        if len(end) < 4:
            raise Malformed(f"cut short in record {number}")
        yield offset, length, data if data is not None and _verifies(data, end) else None
        number, offset = number + 1, offset + length + 16


def is_record_head(head: bytes) -> bool:
    """Whether 12 bytes are a length and its checksum."""
    return len(head) == 12 and _verifies(head[:8], head[8:])


def read_record(file: IO[bytes], offset: int, length: int, verify: bool = True) -> bytes:
    """The data of a record that `scan` listed. Raises Malformed if they are cut short, or their checksum is wrong."""
    file.seek(offset)
    data, end = file.read(length), file.read(4)
    if len(end) < 4 or (verify and not _verifies(data, end)):
        raise Malformed("its checksum is wrong")
    return data


def record(data: bytes) -> bytes:
    """The bytes of a record that holds `data`."""
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc(head)) + data + struct.pack("<I", masked_crc(data))


def _verifies(data: bytes, checksum: bytes) -> bool:
    return int.from_bytes(checksum, "little") == masked_crc(data)


def masked_crc(data: bytes) -> int:
    """CRC-32C of `data`, rotated right by 15 bits and shifted by a constant, as TFRecord stores it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC, polynomial 0x1EDC6F41 (Castagnoli et al. 1993).

    What a byte adds to the CRC depends only on its distance from the end, so whole blocks are looked up at once; the
    CRC so far acts like the first four bytes of the next block.
    """
    by_place, (first, second, third, fourth), last = _tables()
    odd_bytes = len(data) % _BLOCK
    crc = 0xFFFFFFFF
    for byte in data[:odd_bytes]:
        crc = last[(crc ^ byte) & 255] ^ crc >> 8
    blocks = np.frombuffer(data, np.uint8)[odd_bytes:].reshape(-1, _BLOCK)
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        terms = by_place[np.arange(_BLOCK), blocks[start : start + _BLOCKS_AT_ONCE]]
        for block in np.bitwise_xor.reduce(terms, axis=1).tolist():
            crc = block ^ first[crc & 255] ^ second[crc >> 8 & 255] ^ third[crc >> 16 & 255] ^ fourth[crc >> 24]
    return crc ^ 0xFFFFFFFF


@functools.cache
def _tables() -> tuple[NDArray[np.uint32], list[list[int]], list[int]]:
    """What each byte adds at each place of a block [1024, 256]; as lists the first four places, and the last."""
    last = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        last = last >> np.uint32(1) ^ np.where(last & 1, np.uint32(0x82F63B78), np.uint32(0))
    by_place = np.empty((_BLOCK, 256), np.uint32)
    row = by_place[-1] = last
    for place in range(_BLOCK - 2, -1, -1):
        row = by_place[place] = row >> np.uint32(8) ^ last[row & np.uint32(255)]
    return by_place, by_place[:4].tolist(), last.tolist()
