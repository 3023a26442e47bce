"""Images whose bytes depend on no library, for fingerprints that an earlier version wrote."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np


def numbers(seed: int, shape: tuple[int, ...], high: int = 256) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).integers(0, high, shape)


def bmp(seed: int) -> bytes:
    """8x8, 24 bits."""
    pixels = numbers(seed, (8, 8, 3)).astype(np.uint8).tobytes()
    head = struct.pack(
        "<2sIHHIIiiHHIIiiII", b"BM", 54 + len(pixels), 0, 0, 54, 40, 8, 8, 1, 24, 0, len(pixels), 0, 0, 0, 0
    )
    return head + pixels


def png(seed: int, bits: int) -> bytes:
    """8x8, grey, so many bits in 16."""
    rows = b"".join(b"\0" + row.tobytes() for row in numbers(seed, (8, 8), 2**bits).astype(">u2"))
    parts = {b"IHDR": struct.pack(">IIBBBBB", 8, 8, 16, 0, 0, 0, 0), b"IDAT": zlib.compress(rows, 0), b"IEND": b""}
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
