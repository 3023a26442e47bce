"""The built-in dataset: coloured letters and digits in many typefaces, rendered when they are loaded.

The fonts ship with matplotlib, so nothing is downloaded. An image is a pure function of (seed, index), and its
contents are known: `Glyphs.parameters` returns letter, typeface, hue and the rest, the modes of the dataset.
"""

from __future__ import annotations

import colorsys
import hashlib
import importlib.util
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from kantor.data.sources.source import Item, Rejected, Source
from kantor.errors import ResourceError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# Without symbol fonts, fonts that lack some of the 36 letters, and old-style digits (cmmi10).
TYPEFACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmti10", "cmss10", "cmtt10"),
)
HUES = {  # name: degrees on the colour circle
    "red": 355, "orange": 24, "amber": 42, "yellow": 54, "lime": 84, "green": 135,
    "teal": 172, "sky": 197, "blue": 220, "violet": 264, "magenta": 302, "pink": 334,
}  # fmt: skip
BACKGROUNDS = ("light", "dark", "light gradient", "dark gradient")
_CONTRAST = 3.0  # of luminances, as WCAG 2 counts it; below this thin letters are hard to read
_GREY_GAP = 0.25
_MAX_CACHE_BYTES = 64 << 20

Colour = tuple[float, float, float]
Paper = tuple[Colour, Colour]  # the background at both ends of its gradient


@dataclass(frozen=True)
class GlyphParameters:
    """The contents of one image."""

    letter: str  # one of LETTERS; it is the class
    typeface: str  # one of TYPEFACES
    hue: str  # of the letter, a name of HUES
    background: str  # one of BACKGROUNDS
    rotation: float  # degrees, counter-clockwise, -15 to 15
    size: float  # height of the upright letter, 0.7 to 0.9 of the image's; less if it would leave the image
    offset: tuple[float, float]  # of the letter's centre to the right and down, as fractions of the sides
    ink: Colour  # of the letter, RGB in [0, 1]
    paper: Paper  # both colours are equal if it is plain
    slope: float  # direction of the gradient, radians


class Glyphs(Source):
    """The images as a source: uint8 [height, width, 3] each.

    Args:
        seed: chooses the images.
        labelled: whether items carry their letter as label.
    """

    path = "glyphs"
    exact = True

    def __init__(self, count: int, seed: int = 0, height: int = 32, width: int = 32, labelled: bool = True) -> None:
        self.count, self.seed, self.height, self.width, self.labelled = count, seed, height, width, labelled

    def items(self) -> Iterator[Item | Rejected]:
        """All images in order of their index."""
        for index in range(self.count):
            label = _letter(self._uniforms(index)) if self.labelled else None
            yield Item(str(index), index, label=label)

    def load(self, item: Item) -> NDArray[np.uint8]:
        """uint8 [height, width, 3]."""
        return render(self.parameters(item.position), self.height, self.width)

    def parameters(self, index: int) -> GlyphParameters:
        """The contents of image `index`: letter, typeface and hue uniform and independent of each other."""
        u = self._uniforms(index)
        letter, typeface = _letter(u), TYPEFACES[int(u[1] * len(TYPEFACES))]
        hue = list(HUES)[int(u[2] * len(HUES))]
        angle = (HUES[hue] + 8 * u[3] - 4) / 360
        light, plain = u[5] < 0.6, u[6] < 0.5
        tries = (
            (light, u[4], u[8]),
            (not light, u[4], u[8]),  # for yellow on white and blue on black, the other background
            (True, 1.0, 0.0),  # the darkest ink on the palest paper
        )
        for light, shade, tone in tries:
            ink, paper = _colours(angle, light, shade, u[7], tone, plain)
            if _legible(ink, paper):
                break
        return GlyphParameters(
            letter=letter,
            typeface=typeface,
            hue=hue,
            background=("light" if light else "dark") + ("" if plain else " gradient"),
            rotation=15 * (u[9] + u[10] - 1),
            size=0.7 + 0.2 * u[11],
            offset=(0.06 * u[12] - 0.03, 0.06 * u[13] - 0.03),
            ink=ink,
            paper=paper,
            slope=2 * math.pi * u[14],
        )

    def _uniforms(self, index: int) -> list[float]:
        """16 numbers from 0 to 1 that decide about image `index`."""
        digest = hashlib.sha512(f"{self.seed}/glyphs/{index}".encode()).digest()
        return [word / 2**32 for word in struct.unpack("<16I", digest)]


def _letter(u: Sequence[float]) -> str:
    return LETTERS[int(u[0] * len(LETTERS))]


def render(shown: GlyphParameters, height: int, width: int) -> NDArray[np.uint8]:
    """The image, uint8 [height, width, 3]."""
    cover = _cover(shown, height, width)[:, :, None]
    start, end = (np.asarray(c, np.float32) for c in shown.paper)
    ink = np.asarray(shown.ink, np.float32) * 255
    across, down = _grid(height, width)
    along = (across * math.cos(shown.slope) + down * math.sin(shown.slope))[:, :, None]
    image = along * ((end - start) * 255) + (start + end) * 127.5
    image += (ink - image) * cover
    return np.asarray((image + 0.5).clip(0, 255), np.uint8)


def _colours(angle: float, light: bool, u_ink: float, u_hue: float, u_tone: float, plain: bool) -> tuple[Colour, Paper]:
    turn = 0.0 if plain else 0.14
    if light:
        middle = angle + 0.5 + 0.3 * (2 * u_hue - 1)  # roughly the complement, which makes the letter glow
        bright = 0.6 if 0.27 < angle % 1 < 0.5 else 1.0  # green and teal must be deeper to be seen on pale paper
        ink = colorsys.hsv_to_rgb(angle % 1, 0.86 + 0.14 * u_ink, bright * (0.92 - 0.18 * u_ink))
        ends = [(0.10 + 0.16 * u_tone, 1.0), (0.10 + (0.16 if plain else 0.26) * u_tone, 1.0)]
    else:
        middle = (175 + 160 * u_hue) / 360  # teal to plum: dark yellow is a muddy olive
        ink = colorsys.hsv_to_rgb(angle % 1, 0.95 - 0.35 * u_ink, 1.0)
        ends = [(0.55, 0.16 + 0.14 * u_tone), (0.55 if plain else 0.70, (0.16 if plain else 0.28) + 0.14 * u_tone)]
    hues = (middle - turn / 2) % 1, (middle + turn / 2) % 1
    first, second = (colorsys.hsv_to_rgb(h, s, v) for h, (s, v) in zip(hues, ends, strict=True))
    return ink, (first, second)


def _legible(ink: Colour, paper: Paper) -> bool:
    """Whether the ink stands out from both ends of the paper, in colour and in grey."""
    for end in paper:
        low, high = sorted((_luminance(ink), _luminance(end)))
        if (high + 0.05) / (low + 0.05) < _CONTRAST or abs(_luma(ink) - _luma(end)) < _GREY_GAP:
            return False
    return True


def _luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0 to 1."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _luma(colour: Colour) -> float:
    """Brightness of a colour in a grey image (ITU-R 601)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _cover(shown: GlyphParameters, height: int, width: int) -> NDArray[np.float32]:
    """The fraction of each pixel that the letter covers, float32 [height, width] in [0, 1]."""
    longer = max(height, width)
    finer = 3 if longer <= 128 else 2 if longer <= 512 else 1
    font_size = finer * max(8, math.ceil(1.2 * min(height, 1.5 * width)))  # of capitals at about their final height
    if _mask.cache_info().currsize * font_size**2 > _MAX_CACHE_BYTES:
        _mask.cache_clear()
    mask = _mask(shown.letter, shown.typeface, font_size)
    turn = math.radians(shown.rotation)
    cos, sin = math.cos(turn), math.sin(turn)
    ink_width, ink_height = mask.width - 2, mask.height - 2
    turned_width = ink_width * cos + ink_height * abs(sin)
    turned_height = ink_width * abs(sin) + ink_height * cos
    scale = min(shown.size * height / ink_height, 0.97 * width / turned_width, 0.97 * height / turned_height)
    x = finer * _place(shown.offset[0], width, turned_width * scale)
    y = finer * _place(shown.offset[1], height, turned_height * scale)
    step = 1 / (scale * finer)  # from pixels of the fine canvas to pixels of the mask
    a, b, d, e = cos * step, -sin * step, sin * step, cos * step
    affine = (a, b, mask.width / 2 - a * x - b * y, d, e, mask.height / 2 - d * x - e * y)
    fine = mask.transform((width * finer, height * finer), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    small = fine.reduce(finer) if finer > 1 else fine
    return np.asarray(small, np.float32) * np.float32(1 / 255)


def _place(offset: float, side: int, extent: float) -> float:
    """The letter's centre along a side, so that its `extent` stays inside."""
    slack = (side - extent) / 2
    return side / 2 + min(max(offset * side, -slack), slack)


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coordinates in [-0.5, 0.5] / sqrt(2), so that a gradient in any direction stays between its ends."""
    down = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.5
    across = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    shrink = np.float32(0.5**0.5)
    return (across * shrink).astype(np.float32)[None, :], (down * shrink).astype(np.float32)[:, None]


@cache
def _mask(letter: str, typeface: str, size: int) -> Image.Image:
    """The letter's ink as a grey image, cropped to its bounds with one empty pixel around it."""
    font = _font(typeface, size)
    left, top, right, bottom = font.getbbox(letter)
    canvas = Image.new("L", (math.ceil(right - left) + 8, math.ceil(bottom - top) + 8))
    ImageDraw.Draw(canvas).text((4 - left, 4 - top), letter, font=font, fill=255)
    x0, y0, x1, y1 = canvas.getbbox() or (0, 0, 1, 1)
    return canvas.crop((x0 - 1, y0 - 1, x1 + 1, y1 + 1))


@lru_cache(maxsize=64)
def _font(typeface: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_fonts() / f"{typeface}.ttf"), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def _fonts() -> Path:
    """The folder of matplotlib's fonts, found without importing matplotlib, which takes a second."""
    spec = importlib.util.find_spec("matplotlib")
    for place in (spec and spec.submodule_search_locations) or []:
        folder = Path(place) / "mpl-data" / "fonts" / "ttf"
        if all((folder / f"{typeface}.ttf").is_file() for typeface in TYPEFACES):
            return folder
    raise ResourceError(
        "glyphs", "the fonts of matplotlib, which the built-in images need, are not found",
        "reinstall it: pip install --force-reinstall matplotlib",
    )  # fmt: skip
