"""A figure of distances between images, drawn with Pillow: to import matplotlib takes longer than most scores."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from kantor.report.figures import AXIS, INK, SOFT_INK
from kantor.sample.grid import png_bytes
from kantor.sample.lettering import font

KINDS = {
    "real-real": ("real to nearest real", "#0072b2"),
    "fake-fake": ("generated to nearest generated", "#d55e00"),
    "real-fake": ("generated to nearest real", "#009e73"),
}
BINS = 60
SIZE = (1400, 728)
_LEFT, _TOP, _RIGHT, _BOTTOM = 105, 175, 1295, 633
_LINE, _FILL = 4, 0.12  # width in pixels, opacity
_WORDS = (
    "The three outlines should coincide. Generated to generated near 0: the same image again and again.",
    "Generated to real near 0: copies of training images. Generated ones end far left of real ones: low diversity.",
)
_X_AXIS = "distance to the nearest other image (root mean square, grey levels)"
_Y_AXIS = "fraction of the images"


def distances_png(histograms: Mapping[str, NDArray[np.float64]], title: str) -> bytes:
    """A PNG with one outline per kind of distance: by "real-real" ... in grey levels; infinite ones are skipped."""
    finite = {name: values[np.isfinite(values)] for name, values in histograms.items()}
    distances = {name: finite[name] for name in KINDS if len(finite.get(name, ()))}
    largest = max((float(values.max()) for values in distances.values()), default=1.0) or 1.0
    edges = np.linspace(0, largest * 1.02, BINS + 1)
    shares = {name: np.histogram(values, edges)[0] / len(values) for name, values in distances.items()}
    highest = max((float(share.max()) for share in shares.values()), default=1.0) * 1.05
    image = Image.new("RGB", SIZE, "white")
    for name, share in shares.items():
        image = _outlined(image, share / highest, KINDS[name][1])
    draw = ImageDraw.Draw(image)
    draw.text((_LEFT, 41), title, INK, font(29, bold=True), anchor="lm")
    for i, line in enumerate(_WORDS):
        draw.text((_LEFT, 101 + 22 * i), line, SOFT_INK, font(18.5), anchor="lm")
    for i, (name, values) in enumerate(distances.items()):
        label, colour = KINDS[name]
        draw.line([(816, 199 + 28 * i), (857, 199 + 28 * i)], colour, _LINE)
        text = f"{label}, median {np.median(values):.1f}"
        draw.text((870, 199 + 28 * i), text, INK, font(18.5), anchor="lm")
    _axes(image, draw, float(edges[-1]), highest)
    return png_bytes(np.asarray(image))


def _outlined(image: Image.Image, heights: NDArray[np.float64], colour: str) -> Image.Image:
    """The image with one filled outline; heights: of the bars, 0 to 1."""
    x = np.linspace(_LEFT, _RIGHT, len(heights) + 1).round()
    y = (_BOTTOM - heights * (_BOTTOM - _TOP)).round()
    path = [(_LEFT, _BOTTOM), *zip(np.repeat(x, 2)[1:-1], np.repeat(y, 2), strict=True), (_RIGHT, _BOTTOM)]
    filled = Image.new("L", SIZE)
    ImageDraw.Draw(filled).polygon(path, round(255 * _FILL))
    image = Image.composite(Image.new("RGB", SIZE, ImageColor.getrgb(colour)), image, filled)
    ImageDraw.Draw(image).line(path, colour, _LINE)
    return image


def _axes(image: Image.Image, draw: ImageDraw.ImageDraw, right: float, top: float) -> None:
    draw.line([(_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)], AXIS, 1)
    letters = font(17.5)
    for value, text in _ticks(right):
        draw.text((_LEFT + value / right * (_RIGHT - _LEFT), _BOTTOM + 14), text, SOFT_INK, letters, anchor="mm")
    for value, text in _ticks(top):
        draw.text((_LEFT - 8, _BOTTOM - value / top * (_BOTTOM - _TOP)), text, SOFT_INK, letters, anchor="rm")
    draw.text(((_LEFT + _RIGHT) / 2, _BOTTOM + 41), _X_AXIS, SOFT_INK, letters, anchor="mm")
    label = Image.new("RGB", (_BOTTOM - _TOP, 24), "white")
    ImageDraw.Draw(label).text((label.width / 2, 12), _Y_AXIS, SOFT_INK, letters, anchor="mm")
    image.paste(label.rotate(90, expand=True), (28, _TOP))


def _ticks(end: float) -> list[tuple[float, str]]:
    """Four to nine round numbers from 0 to `end`, above 0, and their text."""
    power = 10.0 ** math.floor(math.log10(end / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if end / (factor * power) < 9)
    decimals = max(0, -math.floor(math.log10(step * 1.0001)))
    return [(i * step, f"{i * step:.{decimals}f}") for i in range(int(end / step) + 1)]
