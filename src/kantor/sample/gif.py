"""Animated GIFs, each frame with its own 256 colours.

A frame is compressed once, on its own, and a film is frames strung together, so that a film that grows by one frame
costs one frame. Pillow's own writer compresses all of them again.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LIMIT = 200
LONGEST_SIDE = 640
_SAMPLE = 2048


@dataclass(frozen=True)
class Frame:
    """A compressed frame: a GIF image block with its own colour table. width, height in pixels."""

    width: int
    height: int
    block: bytes


def gif_bytes(
    frames: Sequence[NDArray[np.uint8]],
    fps: float = 5,
    hold_last_s: float = 2,
    limit: int = LIMIT,
    dither: bool = False,
) -> bytes:
    """A GIF that runs for ever. Equal frames give equal bytes.

    Args:
        frames: uint8 RGB [H, W, 3], at least one; a longer side than 640 is scaled down.
        fps: frames a second, up to 50.
        hold_last_s: how long the last one stays.
        limit: most frames; of more, every second, third ... is taken, and always the last.
        dither: smooth gradients out of dots; the file is about twice as large.
    Raises:
        ValueError: no frame.
    """
    return join([compress(frames[i], dither) for i in choose(len(frames), limit)], fps, hold_last_s)


def choose(count: int, limit: int = LIMIT) -> list[int]:
    """At most `limit` (> 1) of range(count), at equal steps from the first, and the last.

    The choice changes little while `count` grows, so that frames compressed before can be used again.
    """
    step = max(1, -(-(count - 1) // (limit - 1)))
    return sorted({*range(0, count, step), count - 1}) if count else []


def compress(image: NDArray[np.uint8], dither: bool = False) -> Frame:
    """uint8 RGB [H, W, 3] -> a frame, its long side 640 px at most. `dither` as in `gif_bytes`."""
    reduced = _reduced(Image.fromarray(np.ascontiguousarray(image)))
    indexed = _indexed(reduced, dither)
    buffer = io.BytesIO()
    indexed.save(buffer, "GIF", optimize=False, interlace=0)
    table, coded = _image_data(buffer.getvalue())
    bits = (len(table) // 3).bit_length() - 2
    descriptor = struct.pack("<BHHHHB", 0x2C, 0, 0, reduced.width, reduced.height, 0x80 | bits)
    return Frame(reduced.width, reduced.height, descriptor + table + coded)


def join(frames: Sequence[Frame], fps: float = 5, hold_last_s: float = 2) -> bytes:
    """The film of `frames`, as in `gif_bytes`. Raises ValueError where there is none."""
    if not frames:
        raise ValueError("a film needs at least one frame")
    width, height = max(f.width for f in frames), max(f.height for f in frames)
    wipe = any((f.width, f.height) != (width, height) for f in frames)  # else the larger shows behind the smaller
    flags = (2 if wipe else 1) << 2
    parts = [b"GIF89a", struct.pack("<HHBBB", width, height, 0x70, 0, 0)]
    parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # runs for ever
    for i, frame in enumerate(frames):
        seconds = hold_last_s if i == len(frames) - 1 and len(frames) > 1 else 1 / fps
        hundredths = min(max(round(seconds * 100), 2), 65535)  # browsers slow down what is faster than 2
        parts += [struct.pack("<BBBBHBB", 0x21, 0xF9, 4, flags, hundredths, 0, 0), frame.block]
    return b"".join([*parts, b"\x3b"])


def _reduced(image: Image.Image) -> Image.Image:
    longest = max(image.size)
    if longest <= LONGEST_SIDE:
        return image
    size = tuple(max(1, round(side * LONGEST_SIDE / longest)) for side in image.size)
    return image.resize(size, Image.Resampling.LANCZOS)  # type: ignore[arg-type]


def _indexed(image: Image.Image, dither: bool) -> Image.Image:
    """At most 256 colours: the image's own where there are no more, else well-chosen ones."""
    if image.getcolors(256) is not None:
        return image.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    palette = _palette(_sample(image))
    indexed = image.quantize(palette=palette, dither=Image.Dither(3 if dither else 0))
    # the paper of a contact sheet, which the corner shows, must not flicker from frame to frame
    table = indexed.getpalette() or []
    at = 3 * int(indexed.getpixel((0, 0)))  # type: ignore[arg-type]
    table[at : at + 3] = image.getpixel((0, 0))  # type: ignore[assignment]
    indexed.putpalette(table)
    return indexed


def _palette(sample: Image.Image) -> Image.Image:
    """256 colours for `sample`: an octree's, moved twice to the mean of the pixels nearest to them (k-means).

    As near to photographs as median cut and Pillow's own k-means, in a tenth of the time.
    """
    if sample.getcolors(256) is not None:  # greys, above all
        return sample.quantize(256, Image.Quantize.MEDIANCUT)
    octree = sample.quantize(256, Image.Quantize.FASTOCTREE).getpalette() or []
    colours = np.array(octree, np.float32).reshape(-1, 3)
    pixels = np.asarray(sample, np.float32).reshape(-1, 3)
    and_ones = np.column_stack([pixels, np.ones(len(pixels), np.float32)])
    for _ in range(2):  # |c|^2 - 2pc, as one product, is least where |p - c| is
        nearest = (and_ones @ np.column_stack([-2 * colours, (colours**2).sum(1)]).T).argmin(1)
        count = np.bincount(nearest, minlength=len(colours))[:, None]
        sums = np.stack([np.bincount(nearest, channel, len(colours)) for channel in pixels.T], 1)
        colours = np.where(count, sums / np.maximum(count, 1), colours).astype(np.float32)
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.rint(colours).astype(np.uint8).tobytes())
    return palette


def _sample(image: Image.Image) -> Image.Image:
    """Some 2,000 pixels in 5 bits a channel: the choice of colours is as good, in a tenth of the time."""
    pixels = np.asarray(image).reshape(-1, 3)
    step = max(1, len(pixels) // _SAMPLE) | 1  # odd, so that it does not run along with enlarged pixels
    some = pixels[::step]
    # the high bits repeated below keep black black and white white
    return Image.fromarray((some & 0xF8 | some >> 5).reshape(1, -1, 3))


def _image_data(gif: bytes) -> tuple[bytes, bytes]:
    """Colour table and coded pixels of a GIF with one image, which Pillow has just written."""
    if not gif[10] & 0x80:
        raise ValueError("this GIF has no global colour table")
    start = 13 + 3 * (2 << (gif[10] & 7))
    table, at = gif[13:start], start
    while gif[at] != 0x2C:  # extensions: label, then sub-blocks until an empty one
        at += 2
        while gif[at]:
            at += 1 + gif[at]
        at += 1
    if gif[at + 9] & 0x80:
        raise ValueError("this GIF has a local colour table")
    return table, gif[at + 10 : -1]
