"""Images made larger to another shape, so that nothing of them is cut: what is put around them comes from them.

A generator copies straight edges and plain margins. "mirror" therefore breaks them up, after the author of a set of fish:
what lies at the border goes on outwards, row by row out of step, and fades.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kantor.data.decoding.formats import MAX_PIXELS, Colour, DecodeSettings
from kantor.data.reasons import Undecodable
from kantor.random import words

STRIP = 10  # pixels at the border that are mirrored outwards
STEP = 4  # pixels that a padded row may lie to the side of the one before it

FITS = ("replicate", "mirror")


def padded(image: Image.Image, settings: DecodeSettings) -> Image.Image:
    """Of the shape of `settings.spec`, both sides at least `settings.pad`, by `settings.fit`.

    Args:
        image: of mode L, RGB or RGBA. It lies in the middle, unchanged; of an odd number of pixels the one more is
            above or to the left.
    Raises:
        Undecodable: the result would have too many pixels.
    """
    width, height = padded_size(image.size, settings)
    if (width, height) == image.size:
        return image
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 10**6
        raise Undecodable("size", f"padded to {height}x{width} pixels it has more than the limit of {limit} million")
    mode = "RGBa" if image.mode == "RGBA" else image.mode  # what nobody sees has no say in means
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
    whole = Image.frombytes(mode, (width, height), np.ascontiguousarray(pixels).tobytes())
    if mode != image.mode:
        whole = whole.convert(image.mode)
        whole.paste(image, (left, above))
    return whole


def padded_size(size: tuple[int, int], settings: DecodeSettings) -> tuple[int, int]:
    """(width, height) of the smallest image of the wanted shape that holds `size` and `settings.pad`."""
    height, width, _ = settings.spec
    across, down = max(size[0], settings.pad), max(size[1], settings.pad)
    # in whole numbers, so that a side that fits already does not grow by a rounding
    if across * height >= down * width:
        return across, max(down, math.ceil(across * height / width))
    return max(across, math.ceil(down * width / height)), down


def fingerprint(image: Image.Image, background: Colour) -> int:
    """CRC-32 of what an image shows in grey, so that it is the same whether it is packed in colour or not."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")
    return zlib.crc32(image.convert("L").tobytes())


def _mirrored(pixels: NDArray[np.uint8], above: int, below: int, seed: int, stream: int) -> NDArray[np.uint8]:
    """[H, W, C] -> [above + H + below, W, C]. seed, stream: choose the drift above; stream + 1 that below."""
    if not above + below:
        return pixels
    first = _outwards(pixels, above, _steps(seed, stream, above))
    last = _outwards(pixels[::-1], below, _steps(seed, stream + 1, below))
    return np.concatenate([first[::-1], pixels, last])


def _outwards(rows: NDArray[np.uint8], count: int, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
    """`count` rows that lie beyond rows[0], the nearest first: uint8 [count, W, C].

    The outermost `STRIP` rows are mirrored, over and over; each row lies `steps` pixels further to the side than the one
    before, what is missing there being mirrored; and they fade linearly to the mean colour of rows[0], which the last
    one has.
    """
    strip: NDArray[np.float32] = rows[:STRIP].astype(np.float32)
    width = rows.shape[1]
    row = _folded(np.arange(count), len(strip))[:, None]
    column = _folded(np.arange(width)[None] + np.cumsum(steps)[:, None], width)
    faded = (np.arange(1, count + 1, dtype=np.float32) / max(count, 1))[:, None, None]
    found: NDArray[np.float32] = strip[row, column] * (1 - faded) + strip[0].mean(0) * faded
    return (found + 0.5).astype(np.uint8)


def _steps(seed: int, stream: int, count: int) -> NDArray[np.int64]:
    """int64 [count] from -STEP to STEP, each as likely as another."""
    span = np.uint64(2 * STEP + 1)
    return (words(seed, stream, count).astype(np.uint64) * span >> np.uint64(32)).astype(np.int64) - STEP


def _folded(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Any whole numbers to 0 ... n - 1 as between two mirrors: 0, 1, ..., n - 1, n - 1, ..., 1, 0, 0, 1 ..."""
    index = index % (2 * n)
    return np.where(index < n, index, 2 * n - 1 - index)
