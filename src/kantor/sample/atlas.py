"""Sprite sheets: many images with transparency in one, and a table that says where each is, as game tools read it.

The packer is a dozen lines of shelves: sprites of one model are of nearly one size, so that a search for better places, which
packages such as rectpack make, would save little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kantor.sample.compose import visible_box
from kantor.types import Images

PADDING = 2  # transparent pixels between sprites, and around the sheet
_REACH = 8  # pixels: how far colours run into transparency, enough for three levels of mipmaps


class Atlas(NamedTuple):
    """image: uint8 [H, W, 4]; table: in TexturePacker's form "JSON (Hash)"."""

    image: Images
    table: dict[str, Any]


def atlas(sprites: Mapping[str, Images], file: str) -> Atlas:
    """A sheet of sprites, uint8 [H, W, 4] by name, each trimmed to what is not fully transparent.

    file: the name of the sheet's image, which the table repeats.
    """
    boxes = {name: _trimmed(sprite) for name, sprite in sprites.items()}
    sizes = [(right - left, bottom - top) for left, top, right, bottom in boxes.values()]
    corners, (width, height) = shelves(sizes)
    sheet, frames = np.zeros((height, width, 4), np.uint8), {}
    for (name, sprite), (left, top), (w, h) in zip(sprites.items(), corners, sizes, strict=True):
        from_left, from_top, right, bottom = boxes[name]
        sheet[top : top + h, left : left + w] = sprite[from_top:bottom, from_left:right]
        frames[name] = {
            "frame": {"x": left, "y": top, "w": w, "h": h},
            "rotated": False,
            "trimmed": (h, w) != sprite.shape[:2],
            "spriteSourceSize": {"x": from_left, "y": from_top, "w": w, "h": h},
            "sourceSize": {"w": sprite.shape[1], "h": sprite.shape[0]},
        }
    size = {"w": width, "h": height}
    about = {"app": "kantor", "version": "1.0", "image": file, "format": "RGBA8888", "size": size, "scale": "1"}
    return Atlas(bled(sheet), {"frames": frames, "meta": about})


def shelves(sizes: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Packs boxes (width, height) into rows, the highest first: each one's (left, top), and (width, height) of the sheet."""
    area = sum((w + PADDING) * (h + PADDING) for w, h in sizes)
    limit = max(max(w for w, _ in sizes), math.ceil(math.sqrt(area))) + 2 * PADDING
    corners, widest = [(0, 0)] * len(sizes), 0
    left, top, row_height = PADDING, PADDING, 0
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i][1], i)):
        w, h = sizes[i]
        if left + w + PADDING > limit and left > PADDING:
            left, top, row_height = PADDING, top + row_height + PADDING, 0
        corners[i] = left, top
        left, row_height = left + w + PADDING, max(row_height, h)
        widest = max(widest, left)
    return corners, (widest, top + row_height + PADDING)


def bled(image: Images) -> Images:
    """Lets colours run into fully transparent pixels, ring by ring: a bilinear filter then finds no foreign colour there.

    A pixel takes the mean colour of its eight neighbours that have one, of visible ones weighted by alpha.
    """
    known = image[:, :, 3].astype(np.float32)
    colours = image[:, :, :3].astype(np.float32) * known[:, :, None]
    for _ in range(_REACH):
        weights, sums = _neighbours(known), _neighbours(colours)
        new = (known == 0) & (weights > 0)
        if not new.any():
            break
        colours[new] = sums[new] / weights[new][:, None]
        known[new] = 1
    result = image.copy()
    filled = (image[:, :, 3] == 0) & (known > 0)
    result[filled, :3] = np.rint(colours[filled]).astype(np.uint8)
    return result


def _neighbours(x: Any) -> Any:
    """The sum of the eight neighbours of each pixel, [H, W] or [H, W, C]; outside is 0."""
    padded = np.pad(x, ((1, 1), (1, 1)) + ((0, 0),) * (x.ndim - 2))
    height, width = x.shape[:2]
    places = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    return sum(padded[i : i + height, j : j + width] for i, j in places)


def _trimmed(sprite: Images) -> tuple[int, int, int, int]:
    """The box of what is not fully transparent, one pixel if nothing is."""
    return visible_box(sprite, faintest=1) if sprite[:, :, 3].any() else (0, 0, 1, 1)
