"""Grids: many images in rows and columns, with a line of text under them."""

from __future__ import annotations

import functools
import importlib.util
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
PAPER: Colour = (236, 235, 231)  # a light warm grey, from which black and white images both stand out
INK = (74, 76, 82)
CHECKER = ((252, 252, 252), (220, 220, 222))  # behind transparent images
COMFORTABLE_CELL = 64
LARGEST_GRID = 2048
_RUNS = 3  # zlib's Z_RLE: grids get as small as by a search for matches, in a fifth of the time


def grid(
    images: NDArray[np.uint8],
    columns: int | None = None,
    gutter: int = 2,
    caption: str | None = None,
    scale: int | None = None,
    paper: Colour = PAPER,
) -> NDArray[np.uint8]:
    """All images in one, row by row.

    Args:
        images: uint8 [N, H, W, C], N > 0; C is 1 (grey), 3 (RGB) or 4 (RGBA, shown on a checkerboard).
        columns: images per row; None makes the grid about square.
        gutter: pixels between images and around them. 0, with scale=1 and no caption, leaves the bare pixels.
        caption: a line under the images; a grid that is too narrow for it grows.
        scale: side of the square that each pixel becomes; None enlarges small images to a comfortable size.
        paper: RGB between the images, around them and of empty places, 0 to 255 each.
    Returns:
        uint8 [h, w, 3].
    """
    if images.ndim != 4 or not len(images) or images.shape[3] not in (1, 3, 4):
        raise ValueError(f"images must be [N, H, W, 1, 3 or 4] with N > 0, not {list(images.shape)}")
    count, height, width, _ = images.shape
    columns = columns or _columns(count, height, width)
    rows = -(-count // columns)
    scale = scale or _scale(height, width, rows, columns, gutter)
    height, width = height * scale, width * scale
    page = np.empty((gutter + rows * (height + gutter), gutter + columns * (width + gutter), 3), np.uint8)
    page[:] = paper
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        top, left = gutter + row * (height + gutter), gutter + column * (width + gutter)
        page[top : top + height, left : left + width] = _on_paper(image.repeat(scale, 0).repeat(scale, 1))
    return _captioned(page, caption, gutter, paper) if caption else page


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """A PNG of uint8 [H, W] or [H, W, 1, 3 or 4], without dates or names: equal images give equal bytes."""
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    buffer = io.BytesIO()
    encoded = Image.fromarray(np.ascontiguousarray(image))
    encoded.save(buffer, "PNG", compress_level=6, compress_type=_RUNS)
    return buffer.getvalue()


def _columns(count: int, height: int, width: int) -> int:
    """Images per row for a grid that is about square, rather wide than high, with few empty places."""

    def badness(columns: int) -> tuple[float, int]:
        rows = -(-count // columns)
        empty = (rows * columns - count) / (rows * columns)
        return round(abs(math.log(columns * width / (rows * height))) + 5 * empty, 6), -columns

    return min(range(1, count + 1), key=badness)


def _scale(height: int, width: int, rows: int, columns: int, gutter: int) -> int:
    comfortable = -(-COMFORTABLE_CELL // max(height, width))
    sides = (columns, width), (rows, height)
    room = min((LARGEST_GRID - gutter * (places + 1)) // (places * side) for places, side in sides)
    return max(1, min(comfortable, room))


def _on_paper(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W, 1, 3 or 4] -> [H, W, 1 or 3], transparent parts on a checkerboard."""
    if image.shape[2] < 4:
        return image
    height, width, _ = image.shape
    square = max(4, min(height, width) // 8)
    board = np.add.outer(np.arange(height) // square, np.arange(width) // square) % 2
    paper = np.array(CHECKER, np.float32)[board]
    alpha = image[:, :, 3:].astype(np.float32) / 255
    mixed: NDArray[np.uint8] = np.rint(image[:, :, :3] * alpha + paper * (1 - alpha)).astype(np.uint8)
    return mixed


def _captioned(bare: NDArray[np.uint8], caption: str, gutter: int, paper: Colour) -> NDArray[np.uint8]:
    """The grid with a strip of text below, whose letters grow with the grid."""
    height, width, _ = bare.shape
    size = min(max(width / 46, 12), 40)
    margin = max(gutter, round(size * 0.5))
    while size > 9 and text_font(size).getlength(caption) + 2 * margin > width:
        size -= 0.5
    font = text_font(size)
    strip = round(size * 1.9)
    full_width = max(width, math.ceil(font.getlength(caption)) + 2 * margin)
    image = Image.new("RGB", (full_width, height + strip), paper)
    image.paste(Image.fromarray(bare), ((full_width - width) // 2, 0))
    middle = height + (strip - gutter) / 2
    ink = INK if sum(paper) > sum(INK) + 255 else PAPER  # light text on dark paper
    ImageDraw.Draw(image).text((margin, middle), caption, fill=ink, font=font, anchor="lm")
    return np.asarray(image)


@functools.lru_cache(maxsize=64)
def text_font(size: float, bold: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans from matplotlib's folder, without importing matplotlib (which takes half a second)."""
    spec = importlib.util.find_spec("matplotlib")
    folders: Sequence[str] = (spec and spec.submodule_search_locations) or ()
    for folder in folders:
        path = Path(folder, "mpl-data", "fonts", "ttf", f"DejaVuSans{'-Bold' if bold else ''}.ttf")
        if path.is_file():
            # every build of Pillow has the basic layout: grids are the same everywhere
            return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)
