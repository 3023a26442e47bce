"""Letters on grids and films: the font, and text that fits."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]
SMALLEST = 9.0  # pixels: smaller letters cannot be read
_ELLIPSIS = "…"


def fitting_font(texts: Iterable[str], width: float, size: float) -> Font:
    """The font of `size` pixels, or less, in which all texts have room in `width` pixels, unless it got too small."""
    longest = max((line for text in texts for line in text.split("\n")), key=font(size).getlength, default="")
    while size > SMALLEST and font(size).getlength(longest) > width:
        size -= 0.5
    return font(size)


def shortened(text: str, font: Font, width: float) -> str:
    """The text, or as much of both its ends as has room in `width` pixels."""
    kept = len(text)
    short = text
    while kept > 1 and font.getlength(short) > width:
        kept -= 1
        short = f"{text[: -(-kept // 2)]}{_ELLIPSIS}{text[len(text) - kept // 2 :]}"
    return short


def write_lines(
    draw: ImageDraw.ImageDraw, text: str, x: float, y: float, width: float, pitch: float, font: Font, ink: Colour
) -> None:
    """Writes the lines of `text`, shortened to `width`, centred on `x`, the first one around `y`, `pitch` apart."""
    for i, line in enumerate(text.split("\n")):
        draw.text((x, y + i * pitch), shortened(line, font, width), fill=ink, font=font, anchor="mm")


@functools.lru_cache(maxsize=64)
def font(size: float, bold: bool = False) -> Font:
    """DejaVu Sans from matplotlib's folder, without importing matplotlib (which takes half a second)."""
    spec = importlib.util.find_spec("matplotlib")
    folders: Sequence[str] = (spec and spec.submodule_search_locations) or ()
    for folder in folders:
        path = Path(folder, "mpl-data", "fonts", "ttf", f"DejaVuSans{'-Bold' if bold else ''}.ttf")
        if path.is_file():
            # every build of Pillow has the basic layout: grids are the same everywhere
            return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)
