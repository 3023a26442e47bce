"""Grids: many images in rows and columns, with text under them and to their left."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from kantor.sample.enlarge import enlarged
from kantor.sample.lettering import Colour, fitting_font, font, shortened, write_lines

PAPER: Colour = (236, 235, 231)  # a light warm grey, from which black and white images both stand out
INK = (74, 76, 82)
CHECKER = ((252, 252, 252), (220, 220, 222))  # behind transparent images
COMFORTABLE_CELL, CAPTIONED_CELL = 64, 96
LARGEST_GRID = 2048
_NARROWEST_CAPTION = 64  # pixels: room for "seed 1234"
_WIDEST_ROW_NAME = 160
_SHEET_PIXELS = 1024 * 1024
_RUNS = 3  # zlib's Z_RLE: grids get as small as by a search for matches, in a fifth of the time


def sheet_count(height: int, width: int) -> int:
    """Images in a sheet of samples: a square number, 64 for small images, fewer for large ones."""
    side = int(math.sqrt(_SHEET_PIXELS / (height * width)))
    return min(8, max(2, side)) ** 2


def grid(
    images: NDArray[np.uint8],
    columns: int | None = None,
    gutter: int = 2,
    caption: str | None = None,
    scale: int | None = None,
    paper: Colour = PAPER,
    smooth: bool = False,
    captions: Sequence[str] = (),
    row_names: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """All images in one, row by row.

    Args:
        images: uint8 [N, H, W, C], N > 0; C is 1 (grey), 3 (RGB) or 4 (RGBA, shown on a checkerboard).
        columns: images per row; None makes the grid about square.
        gutter: pixels between images and around them. 0, with scale=1 and no text, leaves the bare pixels.
        caption: a line under the images; a grid that is too narrow for it grows.
        scale: factor by which images are enlarged; None enlarges small images to a comfortable size.
        paper: RGB between the images, around them and of empty places, 0 to 255 each.
        smooth: enlarge smoothly, not by squares.
        captions: a text of one or more lines under each image, "" for none. Narrow images get more room around them;
            what still does not fit is shortened.
        row_names: a text to the left of each row.
    Returns:
        uint8 [h, w, 3].
    """
    if images.ndim != 4 or not len(images) or images.shape[3] not in (1, 3, 4):
        raise ValueError(f"images must be [N, H, W, 1, 3 or 4] with N > 0, not {list(images.shape)}")
    count, height, width, _ = images.shape
    columns = columns or _columns(count, height, width)
    rows = -(-count // columns)
    cell = CAPTIONED_CELL if captions else COMFORTABLE_CELL
    rows_in_view = -(-rows // 4) if row_names else rows  # a table of classes may be long
    scale = scale or _scale(height, width, rows_in_view, columns, gutter, cell)
    lines = max((text.count("\n") + 1 for text in captions), default=0)
    cells = _Cells(height * scale, width * scale, columns, gutter, lines)
    page = np.empty((gutter + rows * cells.pitch_y, gutter + columns * cells.pitch_x, 3), np.uint8)
    page[:] = paper
    for i, image in enumerate(images):
        top, left = cells.place(i)
        page[top : top + cells.height, left : left + cells.width] = on_paper(enlarged(image, scale, smooth))
    if any(captions):
        page = _with_captions(page, captions, cells, paper)
    if row_names:
        page = _with_row_names(page, row_names, cells, paper)
    return _captioned(page, caption, gutter, paper) if caption else page


@dataclass(frozen=True)
class _Cells:
    """Where images and their captions go; pixels.

    Attributes:
        height, width: of an image.
        lines: of text under each image.
    """

    height: int
    width: int
    columns: int
    gutter: int
    lines: int

    @property
    def letters(self) -> float:
        """Size of the letters under images."""
        return min(max(self.room / 8, 10), 16)

    @property
    def line_pitch(self) -> int:
        return math.ceil(1.2 * self.letters)

    @property
    def room(self) -> int:
        """Width of a cell, and of its text."""
        return max(self.width, _NARROWEST_CAPTION) if self.lines else self.width

    @property
    def strip(self) -> int:
        """Height of the text under an image."""
        return self.lines * self.line_pitch + round(self.letters / 3) if self.lines else 0

    @property
    def pitch_x(self) -> int:
        return self.room + self.gutter

    @property
    def pitch_y(self) -> int:
        return self.height + self.strip + self.gutter

    def place(self, number: int) -> tuple[int, int]:
        """Top and left of an image."""
        row, column = divmod(number, self.columns)
        return self.gutter + row * self.pitch_y, self.gutter + column * self.pitch_x + (self.room - self.width) // 2


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


def _scale(height: int, width: int, rows: int, columns: int, gutter: int, cell: int) -> int:
    comfortable = -(-cell // max(height, width))
    sides = (columns, width), (rows, height)
    room = min((LARGEST_GRID - gutter * (places + 1)) // (places * side) for places, side in sides)
    return max(1, min(comfortable, room))


def on_paper(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
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


def _with_captions(bare: NDArray[np.uint8], captions: Sequence[str], cells: _Cells, paper: Colour) -> NDArray[np.uint8]:
    """The grid with a text in the strip under each image."""
    page = Image.fromarray(bare)
    draw, letters = ImageDraw.Draw(page), fitting_font(captions, cells.room, cells.letters)
    for i, text in enumerate(captions):
        top, left = cells.place(i)
        first = top + cells.height + cells.strip / 2 - (cells.lines - 1) * cells.line_pitch / 2
        write_lines(draw, text, left + cells.width / 2, first, cells.room, cells.line_pitch, letters, _ink_on(paper))
    return np.asarray(page)


def _with_row_names(bare: NDArray[np.uint8], names: Sequence[str], cells: _Cells, paper: Colour) -> NDArray[np.uint8]:
    """The grid with a margin to its left, in which the name of each row stands."""
    letters = fitting_font(names, _WIDEST_ROW_NAME, min(max(cells.height / 5, 10), 16))
    margin = max(cells.gutter, 6)
    wide = min(math.ceil(max(letters.getlength(name) for name in names)), _WIDEST_ROW_NAME)
    height, width, _ = bare.shape
    page = Image.new("RGB", (width + wide + 2 * margin, height), paper)
    page.paste(Image.fromarray(bare), (wide + 2 * margin, 0))
    draw = ImageDraw.Draw(page)
    for row, name in enumerate(names):
        middle = cells.place(row * cells.columns)[0] + cells.height / 2
        text = shortened(name, letters, wide)
        draw.text((margin + wide, middle), text, fill=_ink_on(paper), font=letters, anchor="rm")
    return np.asarray(page)


def _captioned(bare: NDArray[np.uint8], caption: str, gutter: int, paper: Colour) -> NDArray[np.uint8]:
    """The grid with a strip of text below, whose letters grow with the grid."""
    height, width, _ = bare.shape
    size = min(max(width / 46, 12), 40)
    margin = max(gutter, round(size * 0.5))
    while size > 9 and font(size).getlength(caption) + 2 * margin > width:
        size -= 0.5
    letters = font(size)
    strip = round(size * 1.9)
    full_width = max(width, math.ceil(letters.getlength(caption)) + 2 * margin)
    image = Image.new("RGB", (full_width, height + strip), paper)
    image.paste(Image.fromarray(bare), ((full_width - width) // 2, 0))
    middle = height + (strip - gutter) / 2
    ImageDraw.Draw(image).text((margin, middle), caption, fill=_ink_on(paper), font=letters, anchor="lm")
    return np.asarray(image)


def _ink_on(paper: Colour) -> Colour:
    """The colour of text: light on dark paper."""
    return INK if sum(paper) > sum(INK) + 255 else PAPER
