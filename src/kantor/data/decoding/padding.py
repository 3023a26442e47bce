"""Pads images to another shape with pixels of their own border, so that nothing is cropped.

A generator copies straight edges and plain margins. "mirror" breaks them up: it repeats the border outwards, each row
shifted a little to the side, and fades it.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kantor.data.decoding.formats import MAX_PIXELS, Colour, DecodeSettings, composited
from kantor.data.reasons import Undecodable
from kantor.random import words

STRIP = 10  # rows at the border that are mirrored outwards
STEP = 4  # pixels by which a padded row may be shifted from the one before it


def padded(image: Image.Image, settings: DecodeSettings) -> Image.Image:
    """Pads to the shape of `settings.spec`, both sides at least `settings.pad`, by `settings.fit`.

    The image, of mode L, RGB or RGBA, stays unchanged in the middle; an odd pixel of padding is above or to the left.
    Raises Undecodable if the result would have too many pixels.
    """
    width, height = padded_size(image.size, settings)
    if (width, height) == image.size:
        return image
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 10**6
        raise Undecodable("size", f"padded to {height}x{width} pixels it has more than the limit of {limit} million")
    mode = "RGBa" if image.mode == "RGBA" else image.mode  # premultiplied: hidden colours do not count
    pixels = np.asarray(image.convert(mode) if mode != image.mode else image)
    pixels = pixels.reshape(image.height, image.width, -1)
    right, below = (width - image.width) // 2, (height - image.height) // 2
    left, above = width - image.width - right, height - image.height - below
    if settings.fit == "replicate":
        pixels = np.pad(pixels, ((above, below), (left, right), (0, 0)), mode="edge")
    else:
        seed = fingerprint(image, settings.background)
        pixels = _mirrored(pixels, above, below, seed, 0)
        pixels = _mirrored(pixels.swapaxes(0, 1), left, right, seed, 2).swapaxes(0, 1)
    result = Image.frombytes(mode, (width, height), np.ascontiguousarray(pixels).tobytes())
    if mode != image.mode:
        result = result.convert(image.mode)
        result.paste(image, (left, above))
    return result


def padded_size(size: tuple[int, int], settings: DecodeSettings) -> tuple[int, int]:
    """(width, height) of the smallest image of the spec's shape that contains `size` and `settings.pad`."""
    height, width, _ = settings.spec
    across, down = max(size[0], settings.pad), max(size[1], settings.pad)
    # in integers, so that rounding does not enlarge a side that fits already
    if across * height >= down * width:
        return across, max(down, math.ceil(across * height / width))
    return max(across, math.ceil(down * width / height)), down


def fingerprint(image: Image.Image, background: Colour) -> int:
    """CRC-32 of the image in grey, so that it is the same for an image packed in colour and in grey."""
    opaque = composited(image, background) if image.mode == "RGBA" else image
    return zlib.crc32(opaque.convert("L").tobytes())


def _mirrored(pixels: NDArray[np.uint8], above: int, below: int, seed: int, stream: int) -> NDArray[np.uint8]:
    """[H, W, C] -> [above + H + below, W, C]. seed, stream: choose the drift above; stream + 1 that below."""
    first = _outwards(pixels, above, _steps(seed, stream, above))
    last = _outwards(pixels[::-1], below, _steps(seed, stream + 1, below))
    return np.concatenate([first[::-1], pixels, last])


def _outwards(rows: NDArray[np.uint8], count: int, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
    """`count` rows beyond rows[0], the nearest first: uint8 [count, W, C].

    The outermost `STRIP` rows are mirrored, over and over; each row is shifted by `steps` pixels from the one before,
    and the gap is mirrored; they fade linearly to the mean colour of rows[0], which the last row has.
    """
    strip: NDArray[np.float32] = rows[:STRIP].astype(np.float32)
    width = rows.shape[1]
    row = _folded(np.arange(count), len(strip))[:, None]
    column = _folded(np.arange(width)[None] + np.cumsum(steps)[:, None], width)
    fade = (np.arange(1, count + 1, dtype=np.float32) / max(count, 1))[:, None, None]
    padding: NDArray[np.float32] = strip[row, column] * (1 - fade) + strip[0].mean(0) * fade
    return (padding + 0.5).astype(np.uint8)


def _steps(seed: int, stream: int, count: int) -> NDArray[np.int64]:
    """int64 [count], uniform from -STEP to STEP."""
    span = np.uint64(2 * STEP + 1)
    return (words(seed, stream, count).astype(np.uint64) * span >> np.uint64(32)).astype(np.int64) - STEP


def _folded(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Any integers to 0 ... n - 1 by reflection: 0, 1, ..., n - 1, n - 1, ..., 1, 0, 0, 1 ..."""
    index = index % (2 * n)
    return np.where(index < n, index, 2 * n - 1 - index)
