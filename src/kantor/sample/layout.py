"""Where objects stand, read from the image that a model of layouts generates: white silhouettes on black (extra `edges`)."""

from __future__ import annotations

from typing import Any, NamedTuple

from kantor.sample.compose import Floats, Placed, Point, scaled_to
from kantor.sample.latents import LARGEST_SEED
from kantor.types import Images

SMALLEST = 0.004  # of the image's area: four pixels of 32x32
MOST = 64  # objects of a layout, the largest


class Place(NamedTuple):
    """Where an object stands in a picture; numbers in [0, 1] from the top left, but for the extent.

    Attributes:
        centre: x, y of the middle of its box.
        extent: its longer side as a share of the picture's shorter one.
        base: y of its lower edge.
    """

    centre: Point
    extent: float
    base: float


def find_places(layout: Images, smallest: float = SMALLEST) -> list[Place]:
    """The connected parts of a layout, uint8 [H, W, 1], that cover at least a share of it, from back to front: by lower edge.

    A pixel belongs to a part if it is rather white than black.
    """
    from skimage.measure import label, regionprops  # takes a second to load

    height, width, _ = layout.shape
    found: Any = regionprops(label(layout[:, :, 0] > 127, connectivity=2))  # type: ignore[no-untyped-call]
    parts = [part for part in found if part.num_pixels >= smallest * height * width]
    parts = sorted(parts, key=lambda part: (-part.num_pixels, part.bbox))[:MOST]
    places = []
    for top, left, bottom, right in (part.bbox for part in parts):
        centre = ((left + right) / 2 / width, (top + bottom) / 2 / height)
        places.append(Place(centre, max(bottom - top, right - left) / min(height, width), bottom / height))
    return sorted(places, key=lambda place: (place.base, place.centre))


def stand(sprite: Floats, place: Place, size: tuple[int, int]) -> Placed:
    """A premultiplied sprite at a place of a picture of (height, width): as large as what stood there, on the same ground."""
    width, height, scale = scaled_to(sprite, place.extent, size)
    left, bottom = round(place.centre[0] * size[1] - width / 2), round(place.base * size[0])
    return Placed(left, bottom - height, width, height, scale)


def sprite_seeds(seed: int, count: int) -> list[int]:
    """The seeds of the sprites in the layout of a seed: 64 times it, and on."""
    return [(MOST * seed + i) % (LARGEST_SEED + 1) for i in range(count)]
