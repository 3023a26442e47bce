"""Progressive JPEGs without the scans that an image of an eighth of the size does not need.

Its pixels depend on the mean of each block of 8x8 alone (the DC coefficient), but libjpeg reads all scans before it draws.
ITU-T T.81 is the standard; annex G has the progressive mode.
"""

from __future__ import annotations

import contextlib
import re
import struct
from typing import NamedTuple

_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a marker other than stuffing, restarts and fill bytes
_SOF2, _EOI, _SOS, _DRI = 0xC2, 0xD9, 0xDA, 0xDD
_RUNS = 15  # EOB0 to EOB14: so many kinds of runs of blocks that end there
# one Huffman table for AC, number 0: the code of EOBn is n, in four bits
_TABLE = b"\xff\xc4" + struct.pack(">HB16B", 19 + _RUNS, 0x10, *([0, 0, 0, _RUNS] + [0] * 12))
_TABLE += bytes(n << 4 for n in range(_RUNS))


class _Component(NamedTuple):
    name: int
    across: int  # samples in a unit of the frame
    down: int


def means_alone(data: bytes) -> bytes | None:
    """A JPEG of the means of the blocks in `data`; None if `data` is not progressive, or not whole.

    Decoded at an eighth of the size, both give the same pixels. Colours that are stored at half the size keep all they have.
    """
    with contextlib.suppress(IndexError, ValueError, struct.error):  # libjpeg says what is wrong with it
        return _rewritten(data)
    return None


def _rewritten(data: bytes) -> bytes | None:
    kept, frame, at = [b"\xff\xd8"], b"", 2
    flat: list[_Component] = []
    while (marker := data[at + 1 : at + 2]) and data[at] == 0xFF:
        if marker[0] == 0xFF:  # a fill byte
            at += 1
            continue
        if marker[0] == _EOI:
            return b"".join(kept) + _without_details(frame, flat) + b"\xff\xd9" if frame else None
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segment, end = data[at + 4 : at + 2 + length], at + 2 + length
        if marker[0] == _SOF2:
            frame, flat = segment, _read_at_an_eighth(segment)
        if marker[0] == _SOS:
            scan = _END_OF_SCAN.search(data, end)
            if scan is None or not segment or len(segment) < 4 + 2 * segment[0]:
                return None
            end = scan.start()
        is_detail = marker[0] == _SOS and segment[-3] > 0  # the first coefficient of the scan
        if not is_detail or segment[1] not in [component.name for component in flat]:
            kept.append(data[at:end])
        at = end
    return None


def _read_at_an_eighth(frame: bytes) -> list[_Component]:
    """The components that are; libjpeg reads those of half the size at a quarter instead. frame: what the segment SOF holds."""
    own = [_Component(frame[at], frame[at + 1] >> 4, frame[at + 1] & 15) for at in range(6, 6 + 3 * frame[5], 3)]
    across, down = max(one.across for one in own), max(one.down for one in own)
    return [one for one in own if across % (2 * one.across) or down % (2 * one.down)]


def _without_details(frame: bytes, components: list[_Component]) -> bytes:
    """A scan for each component in which no block has a coefficient but its mean.

    Without them libjpeg takes these coefficients for unknown, and guesses them from neighbouring blocks.
    """
    height, width = struct.unpack_from(">HH", frame, 1)
    across, down = max(one.across for one in components), max(one.down for one in components)
    scans = [_TABLE, struct.pack(">BBHH", 0xFF, _DRI, 4, 0)]  # no restarts
    for one in components:
        blocks = -(-width * one.across // (8 * across)) * -(-height * one.down // (8 * down))
        scans.append(struct.pack(">BBHBBBBBB", 0xFF, _SOS, 8, 1, one.name, 0, 1, 63, 0) + _ends(blocks))
    return b"".join(scans)


def _ends(blocks: int) -> bytes:
    """Entropy-coded ends of so many blocks."""
    bits = []
    while blocks:
        n = min(blocks.bit_length() - 1, _RUNS - 1)
        run = min(blocks, 2 ** (n + 1) - 1)
        bits.append(f"{n:04b}" + (f"{run - 2**n:0{n}b}" if n else ""))
        blocks -= run
    padded = "".join(bits)
    padded += "1" * (-len(padded) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8, "big").replace(b"\xff", b"\xff\x00")
