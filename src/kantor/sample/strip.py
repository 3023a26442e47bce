"""Strips: what several stages made of each seed, side by side, whatever size and channels it has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from kantor.sample.grid import INK, PAPER, on_paper
from kantor.sample.lettering import fitting_font, write_lines
from kantor.types import Images

_LETTERS = 13.0  # pixels


def strips(rows: Sequence[Sequence[Images]], names: Sequence[str], side: int, gutter: int = 2) -> Images:
    """A table of images: a row for each seed, a column for each stage, its name above it.

    Args:
        rows: of each seed its images, uint8 [H, W, 1, 3 or 4], one for each of `names`.
        side: pixels of a cell, to which images are resized: by squares where it is a multiple of theirs.
    Returns:
        uint8 [h, w, 3].
    """
    cells = [[_shown(image, side) for image in row] for row in rows]
    widths = [max(row[i].width for row in cells) for i in range(len(names))]
    heights = [max(image.height for image in row) for row in cells]
    head = round(1.6 * _LETTERS)
    page = Image.new(
        "RGB", (sum(widths) + gutter * (len(names) + 1), head + sum(heights) + gutter * (len(rows) + 1)), PAPER
    )
    lefts = [gutter + sum(widths[:i]) + gutter * i for i in range(len(names))]
    top = head + gutter
    for row, height in zip(cells, heights, strict=True):
        for image, left, width in zip(row, lefts, widths, strict=True):
            page.paste(image, (left + (width - image.width) // 2, top + (height - image.height) // 2))
        top += height + gutter
    draw, font = ImageDraw.Draw(page), fitting_font(names, min(widths), _LETTERS)
    for name, left, width in zip(names, lefts, widths, strict=True):
        write_lines(draw, name, left + width / 2, head / 2 + gutter / 2, width, head, font, INK)
    return np.asarray(page)


def side_by_side(images: Sequence[Images], height: int, width: int) -> Images:
    """Images with transparency, uint8 [H, W, 4] of one size, in a block about square; one that is empty for none of them."""
    columns = max(1, int(np.ceil(np.sqrt(len(images)))))
    rows = max(1, -(-len(images) // columns))
    block = np.zeros((rows * height, columns * width, 4), np.uint8)
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        block[row * height : (row + 1) * height, column * width : (column + 1) * width] = image
    return block


def _shown(image: Images, side: int) -> Image.Image:
    """RGB, whose longer side is `side` pixels."""
    flat = on_paper(image)
    opaque = Image.fromarray(flat[:, :, 0] if flat.shape[2] == 1 else flat).convert("RGB")
    longer = max(opaque.size)
    width, height = (max(1, round(length * side / longer)) for length in opaque.size)
    filter_ = Image.Resampling.LANCZOS if side % longer else Image.Resampling.NEAREST
    return opaque.resize((width, height), filter_)
