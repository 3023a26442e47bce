"""Puts sprites, images with transparency, into pictures.

All is computed premultiplied and in floating point: scaling, so that an edge takes no colour from behind transparency, and
"over" (Porter and Duff 1984, "Compositing digital images"). Only the last step rounds to whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kantor.random import uniforms
from kantor.types import Images

Floats = NDArray[np.float32]
"""[H, W, 4], red, green and blue times alpha, and alpha, all in [0, 1]."""
Point = tuple[float, float]
"""(x, y) from the top left, in [0, 1] within the picture."""

PURPOSE = 0x91ACE  # of the random numbers of a sprite's place and size
_CANDIDATES = 64
_BAND = 256  # rows converted at once: of a photograph of 24 megapixels all at once would take gigabytes
_FAINT = 0.125  # alpha: what is fainter does not count for the size of a sprite
_LEAST_SHARE = 0.25  # of its frame, for a sprite's size: a speck stays a speck


class Placed(NamedTuple):
    """Where a sprite stands in a picture, in pixels: the box of what is visible of it, which may reach over the border.

    scale: pixels of the picture for one of the sprite.
    """

    left: int
    top: int
    width: int
    height: int
    scale: float

    def centre(self, height: int, width: int) -> Point:
        """In a picture of this size."""
        return (self.left + self.width / 2) / width, (self.top + self.height / 2) / height


def premultiplied(image: Images) -> Floats:
    """uint8 [H, W, 1, 3 or 4] as premultiplied numbers; without alpha it is opaque."""
    x = image.astype(np.float32) / 255
    if x.shape[2] == 1:
        x = np.repeat(x, 3, axis=2)
    if x.shape[2] == 3:
        return np.concatenate([x, np.ones_like(x[:, :, :1])], axis=2)
    return np.concatenate([x[:, :, :3] * x[:, :, 3:], x[:, :, 3:]], axis=2)


def cleaned(x: Floats, haze: float) -> Floats:
    """Spreads alpha from [haze, 1 - haze] to [0, 1]; straight colours stay.

    Generators paint what should be transparent, or opaque, with a few levels of alpha too many, or too few: a film that one
    sees on grounds of another colour.
    """
    alpha = x[:, :, 3:]
    new = np.clip((alpha - haze) / (1 - 2 * haze), 0, 1)
    return np.concatenate([x[:, :, :3] * (new / np.maximum(alpha, 1e-6)), new], axis=2).astype(np.float32)


def over(front: Floats, ground: Floats) -> Floats:
    """What one sees of `ground` behind `front`, both of one size."""
    seen: Floats = front + (1 - front[:, :, 3:]) * ground
    return seen


def rounded(x: Floats) -> Images:
    """Premultiplied numbers as uint8 [H, W, 4] with straight colours, white where alpha rounds to 0."""
    opacity = x[:, :, 3:]
    colours = np.where(opacity < 0.5 / 255, 1, x[:, :, :3] / np.maximum(opacity, 0.5 / 255))
    result: Images = np.rint(np.clip(np.concatenate([colours, opacity], axis=2), 0, 1) * 255).astype(np.uint8)
    return result


def resampled(x: Floats, height: int, width: int) -> Floats:
    """Resized, bicubic and antialiased; what the filter overshoots is cut off alpha, and straight colours stay."""
    if x.shape[:2] == (height, width):
        return x
    size, bicubic = (width, height), Image.Resampling.BICUBIC
    channels = [Image.fromarray(np.ascontiguousarray(x[:, :, i])).resize(size, bicubic) for i in range(4)]
    y = np.stack([np.asarray(channel) for channel in channels], axis=2)
    alpha = np.clip(y[:, :, 3:], 0, 1)
    colours = y[:, :, :3] / np.maximum(y[:, :, 3:], 1)
    return np.concatenate([np.clip(colours, 0, alpha), alpha], axis=2)


def visible_box(sprite: Floats | Images, faintest: float = _FAINT) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) around all alpha of at least `faintest`, in the numbers of the sprite; the whole if there is none."""
    seen = sprite[:, :, 3] >= faintest
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if not len(rows):
        return 0, 0, sprite.shape[1], sprite.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def place_sprites(
    sprites: Sequence[Floats],
    seeds: Sequence[int],
    size: tuple[int, int],
    extent: tuple[float, float],
    places: Sequence[Point] = (),
) -> list[Placed]:
    """Where the sprites go: the first to `places`, each of the others where it hides least of those before it.

    Place and size of a sprite are functions of its seed, but for the choice among 64 places (Mitchell 1991, "Spectrally
    optimal sampling"): equal arguments give equal places.

    Args:
        sprites: premultiplied; seeds: of each.
        size: (height, width) of the picture in pixels.
        extent: lowest and highest share of the picture's shorter side that a sprite's longer side takes.
        places: centres of what is visible of the first sprites.
    """
    placed: list[Placed] = []
    for number, (sprite, seed) in enumerate(zip(sprites, seeds, strict=True)):
        u = uniforms(seed, PURPOSE, 1 + 2 * _CANDIDATES)
        share = extent[0] + (extent[1] - extent[0]) * float(u[0])
        width, height, scale = scaled_to(sprite, share, size)
        if number < len(places):
            x, y = places[number]
            placed.append(Placed(round(x * size[1] - width / 2), round(y * size[0] - height / 2), width, height, scale))
            continue
        rooms = size[1] - width, size[0] - height
        corners = [[round(v * room) if room > 0 else room // 2 for v in u[1 + i :: 2]] for i, room in enumerate(rooms)]
        candidates = [Placed(x, y, width, height, scale) for x, y in zip(*corners, strict=True)]
        placed.append(min(candidates, key=lambda new: sum(_shared(new, old) for old in placed)))
    return placed


def scaled_to(sprite: Floats, share: float, size: tuple[int, int]) -> tuple[int, int, float]:
    """Width and height, in pixels of a picture of `size`, of a sprite that takes a share of its shorter side; and the scale."""
    left, top, right, bottom = visible_box(sprite)
    longest = max(right - left, bottom - top, _LEAST_SHARE * max(sprite.shape[:2]))
    scale = share * min(size) / longest
    return max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)), scale


def composed(ground: Images, sprites: Sequence[Floats], placed: Sequence[Placed]) -> Images:
    """The picture `ground`, uint8 [H, W, 1, 3 or 4], with the premultiplied sprites in it, the last one in front.

    Returns:
        uint8 [H, W, 3], or [H, W, 4] with straight colours if the ground has alpha.
    """
    height, width, channels = ground.shape
    canvas = np.empty((height, width, 4), np.float32)
    image = np.empty((height, width, 4 if channels == 4 else 3), np.uint8)
    bands = [slice(top, top + _BAND) for top in range(0, height, _BAND)]
    for rows in bands:
        canvas[rows] = premultiplied(ground[rows])
    for sprite, place in zip(sprites, placed, strict=True):
        _draw(canvas, sprite, place)
    for rows in bands:
        image[rows] = rounded(canvas[rows])[:, :, : image.shape[2]]
    return image


def _draw(canvas: Floats, sprite: Floats, place: Placed) -> None:
    """Draws a sprite over the canvas, in place."""
    edge = 2  # transparent pixels around it, into which an edge at its border fades
    x = np.pad(sprite, ((edge, edge), (edge, edge), (0, 0)))
    x = resampled(x, *(max(1, round(side * place.scale)) for side in x.shape[:2]))
    left, top, right, bottom = visible_box(sprite)
    # the middle of what is visible stays where it is, whatever was rounded
    column = round(
        place.left + place.width / 2 - ((left + right) / 2 + edge) * x.shape[1] / (sprite.shape[1] + 2 * edge)
    )
    row = round(place.top + place.height / 2 - ((top + bottom) / 2 + edge) * x.shape[0] / (sprite.shape[0] + 2 * edge))
    rows, columns = _inside(row, x.shape[0], canvas.shape[0]), _inside(column, x.shape[1], canvas.shape[1])
    part = x[rows.start - row : rows.stop - row, columns.start - column : columns.stop - column]
    canvas[rows, columns] = over(part, canvas[rows, columns])


def _inside(start: int, length: int, limit: int) -> slice:
    """The part of [start, start + length) in [0, limit)."""
    first = min(max(start, 0), limit)
    return slice(first, max(first, min(start + length, limit)))


def _shared(a: Placed, b: Placed) -> int:
    """Pixels that two boxes share."""
    across = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    down = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    return max(across, 0) * max(down, 0)
