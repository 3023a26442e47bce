"""Measures how close enlargements come to pictures that were reduced, beside what needs no training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kantor import atomic
from kantor.alpha import premultiplied, straight
from kantor.app import environment
from kantor.app.dataset.cache import DatasetCache, cache_folder
from kantor.app.dataset.prepare import packed_set
from kantor.app.dataset.recover import copies_in_cache
from kantor.app.images import at_size
from kantor.app.load_model import Note
from kantor.app.output_paths import new_numbered, require_free_files, target
from kantor.app.sampling.options import UpscaleOptions
from kantor.app.sampling.pictures import find_pictures, read_picture
from kantor.app.sampling.upscale import FOLDER, Upscaler, load_upscaler
from kantor.config.io import layered, read_toml
from kantor.config.schema import Config
from kantor.data.loading.feed import to_float
from kantor.data.loading.holdout import split
from kantor.data.loading.image_set import ImageSet
from kantor.errors import ConfigError, DataError
from kantor.metrics.efficientnet_lite import VARIANTS, available, lite_network
from kantor.metrics.features import resized
from kantor.metrics.fidelity import psnr, ssim
from kantor.metrics.layer_distance import layer_distance, on_grey
from kantor.metrics.welch import student_quantile
from kantor.progress import Progress, silent
from kantor.runs import directory
from kantor.sample.generate import to_uint8
from kantor.sample.grid import grid, png_bytes
from kantor.types import Images, ImageSpec

DEFAULT_COUNT = 500
SCORES, STRIP = "scores.json", "comparison.png"
MODEL, RIVAL = "model", "bicubic"
FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
LOWER_IS_BETTER = {"lite0": True, "lite1": True, "psnr": False, "ssim": False}
"""Measures: distances of features, dB, and a number up to 1."""
LEAST_SIDE = 96
"""Pixels: pictures with a shorter side are enlarged to it, bicubically, for networks of features, as those of scores."""
LARGEST_SIDE = 512
"""Pixels: of larger pictures the middle is measured."""
_SHOWN, _LARGEST_SHOWN = 12, 128
_Images = Iterator[tuple[str, Images]]


class Comparison(NamedTuple):
    """One measure of the model minus that of bicubic enlargement, over the same pictures: mean, and Student's 95% interval."""

    difference: float
    interval: tuple[float, float]
    lower_is_better: bool

    @property
    def verdict(self) -> str:
        """ "better", "worse", or "no clear difference" if the interval includes 0."""
        low, high = self.interval
        if low <= 0 <= high:
            return "no clear difference"
        return "better" if (high < 0) == self.lower_is_better else "worse"


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        values: measure -> way of enlarging -> one number for each picture.
        comparisons: measure -> the model against bicubic enlargement.
        origin: of the pictures, in words.
    """

    times: int
    origin: str
    values: Mapping[str, Mapping[str, Sequence[float]]]
    comparisons: Mapping[str, Comparison]

    @property
    def count(self) -> int:
        return len(next(iter(self.values.values()))[MODEL])

    def as_json(self) -> dict[str, Any]:
        measures = {}
        for name, values in self.values.items():
            comparison = self.comparisons[name]
            measures[name] = {
                "lower_is_better": comparison.lower_is_better,
                "means": {way: float(np.mean(numbers)) for way, numbers in values.items()},
                "model_minus_bicubic": comparison.difference,
                "interval": list(comparison.interval),
            }
        return {"times": self.times, "pictures": self.origin, "count": self.count, "measures": measures}


def measure(
    options: UpscaleOptions, progress: Progress = silent, note: Note = lambda line: None
) -> tuple[Measured, Path]:
    """Measures a model on the pictures that `options` names, or on those held out of its training; returns the folder written."""
    upscaler = load_upscaler(options, note)
    if options.seeds is not None:
        raise ConfigError(
            "--seeds", "chooses generated images, which nothing true can be compared with", "leave it out"
        )
    count = options.count or DEFAULT_COUNT
    out = None if options.out is None else target(options.out, options.pictures)
    if out is not None:
        require_free_files([out / SCORES, out / STRIP], options.overwrite)
    if options.pictures:
        pictures = find_pictures(options.pictures)[:count]
        origin, total = ", ".join(options.pictures), len(pictures)
        images: _Images = ((str(path), read_picture(path)) for path, _ in pictures)
    else:
        held_out = _held_out(upscaler, note)
        total = min(count, held_out.count)
        origin, images = (
            f"{total:,} of {held_out.count:,} held out of training",
            _rows(held_out, upscaler.card.spec, total),
        )
    measured, shown = compare(upscaler, upscaler.times, images, total, origin, progress)
    if not all(map(available, VARIANTS)):
        note("lite0 and lite1 were not measured: pip install 'kantor[imagenet]'")
    if out is not None:
        _write(out, measured, shown)
        return measured, out
    with new_numbered(upscaler.home / FOLDER) as folder:
        _write(folder, measured, shown)
        return measured, folder


def compare(
    enlarge: Callable[[Images], Images],
    times: int,
    images: _Images,
    total: int,
    origin: str,
    progress: Progress = silent,
) -> tuple[Measured, list[list[Images]]]:
    """Reduces, enlarges in all ways, and measures (name, uint8 [H, W, C]); also returns a few of the pictures in all ways."""
    values: dict[str, dict[str, list[float]]] = {}
    shown = list[list[Images]]()
    for done, (name, image) in enumerate(images, 1):
        true = _middle(image, times)
        if true.size == 0:
            side = "x".join(map(str, image.shape[:2]))
            raise DataError(name, f"is too small to be reduced {times} times ({side})", "measure on larger pictures")
        small = reduced(true, times)
        ways = {MODEL: enlarge(small), **{way: enlarged_by(small, times, way) for way in FILTERS}}
        for measure, numbers in _numbers(true, list(ways.values())).items():
            for way, number in zip(ways, numbers, strict=True):
                values.setdefault(measure, {}).setdefault(way, []).append(number)
        if len(shown) < _SHOWN:
            shown.append([ways["nearest"], ways[RIVAL], ways[MODEL], true])
        progress(done, total)
    comparisons = {name: compared(by_way, LOWER_IS_BETTER[name]) for name, by_way in values.items()}
    return Measured(times, origin, values, comparisons), shown


def compared(values: Mapping[str, Sequence[float]], lower_is_better: bool) -> Comparison:
    """The model against bicubic enlargement, picture by picture."""
    differences = np.subtract(values[MODEL], values[RIVAL])
    count, mean = len(differences), float(differences.mean())
    if count < 2:
        return Comparison(mean, (-math.inf, math.inf), lower_is_better)
    reach = student_quantile(0.975, count - 1) * float(differences.std(ddof=1)) / math.sqrt(count)
    return Comparison(mean, (mean - reach, mean + reach), lower_is_better)


def reduced(image: Images, times: int) -> Images:
    """uint8 [H, W, C] -> [H / times, W / times, C], as in training: each pixel the mean of a square, weighted by alpha."""
    height, width, channels = image.shape
    small: Images = at_size(image[None], ImageSpec(height // times, width // times, channels))[0]
    return small


def enlarged_by(image: Images, times: int, way: str) -> Images:
    """uint8 [H, W, C] -> [times H, times W, C] by a filter of Pillow, in floats with colours weighted by alpha."""
    x = to_float(torch.from_numpy(np.ascontiguousarray(image))[None])
    x = premultiplied(x) if image.shape[2] == 4 else x
    size = (image.shape[1] * times, image.shape[0] * times)
    planes = [np.asarray(Image.fromarray(plane.numpy(), "F").resize(size, FILTERS[way])) for plane in x[0].contiguous()]
    larger = torch.from_numpy(np.stack(planes))[None]
    result: Images = to_uint8(straight(larger) if image.shape[2] == 4 else larger)[0]
    return result


def _middle(image: Images, times: int) -> Images:
    """The middle of an image, with sides that are multiples of `times`."""
    height, width = (min(side, LARGEST_SIDE) // times * times for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


@torch.inference_mode()
def _numbers(true: Images, others: Sequence[Images]) -> dict[str, list[float]]:
    """Each measure of how close images come to a true one, all uint8 [H, W, C]; colours are laid on mid-grey."""
    x = on_grey(to_float(torch.from_numpy(np.stack([true, *others]))), premultiply=True)
    first = x[:1].expand(len(others), -1, -1, -1)
    numbers = {}
    if all(map(available, VARIANTS)):
        scale = max(1.0, LEAST_SIDE / min(x.shape[2:]))
        seen = resized(x, *(round(side * scale) for side in x.shape[2:]))
        for name in VARIANTS:
            layers = lite_network(name).layers(seen)
            numbers[name] = layer_distance([y[:1].expand_as(y[1:]) for y in layers], [y[1:] for y in layers])
    numbers |= {"psnr": psnr(first, x[1:]), "ssim": ssim(first, x[1:])}
    return {name: _listed(value) for name, value in numbers.items()}


def _listed(values: Tensor) -> list[float]:
    return [float(value) for value in values]


def _held_out(upscaler: Upscaler, note: Note) -> ImageSet:
    """The images that were held out of a model's training. Raises ConfigError if there are none."""
    file = upscaler.home / directory.CONFIG
    do = "name pictures to measure on: kantor upscale MODEL PICTURES --measure"
    if not file.is_file():
        raise ConfigError("--measure", "a model without its run has no held-out images", do)
    config = layered(Config(), read_toml(file), str(file))
    if not config.data.holdout:
        raise ConfigError("--measure", "no images were held out of training", do)
    cache = DatasetCache(cache_folder(None), note=note)
    expected = environment.read(upscaler.home / directory.ENVIRONMENT).get("data_fingerprint")
    copies = copies_in_cache(config, expected, cache)
    store = copies[0] if copies else packed_set(config, upscaler.card.spec.height, cache)[0]
    held_out = split(store, config.data.holdout)[1]
    if held_out.count < 2:
        raise ConfigError("--measure", f"{held_out.count} of {store.count:,} images were held out of training", do)
    return held_out


def _rows(images: ImageSet, spec: ImageSpec, count: int) -> _Images:
    """Images spread evenly over a set, at the size of the model's."""
    for row in np.linspace(0, images.count - 1, count).astype(np.int64):
        yield f"image {row}", at_size(images.images(row[None]), spec)[0]


def table(measured: Measured) -> list[str]:
    """The means line by line, and how the model differs from bicubic enlargement."""
    ways = [MODEL, *FILTERS]
    rows = [("", *ways, "model - bicubic", "95% interval", "")]
    for name, values in measured.values.items():
        comparison = measured.comparisons[name]
        low, high = comparison.interval
        digits = 2 if name == "psnr" else 4
        means = (f"{np.mean(values[way]):.{digits}f}" for way in ways)
        interval = f"{low:+.{digits}f} to {high:+.{digits}f}"
        rows.append((_MEANINGS[name], *means, f"{comparison.difference:+.{digits}f}", interval, comparison.verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *cells, last in rows:
        middle = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:-1], strict=True))
        lines.append(f"{first:{widths[0]}}  {middle}  {last}".rstrip())
    return [f"{measured.times} times, {measured.count:,} pictures: {measured.origin}", *lines]


_MEANINGS = {
    "lite0": "lite0 distance",
    "lite1": "lite1 distance",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
}


def _write(folder: Path, measured: Measured, shown: list[list[Images]]) -> None:
    atomic.make_folder(folder)
    atomic.write_text(folder / SCORES, json.dumps(measured.as_json(), indent=2) + "\n")
    atomic.write_bytes(folder / STRIP, png_bytes(strip(shown)))


def strip(shown: list[list[Images]]) -> Images:
    """Pictures in rows: nearest, bicubic, the model and the truth; of larger ones the middle."""
    height, width = (min(_LARGEST_SHOWN, *(row[0].shape[axis] for row in shown)) for axis in (0, 1))
    depth = max(row[0].shape[2] for row in shown)
    cells = [_cut(image, height, width, depth) for row in shown for image in row]
    captions = ["nearest", "bicubic", "model", "true"] * 2
    columns = 8 if len(shown) > 1 and len(shown) % 2 == 0 else 4
    return grid(np.stack(cells), columns, captions=captions[:columns] + [""] * (len(cells) - columns))


def _cut(image: Images, height: int, width: int, depth: int) -> Images:
    """The middle of an image, with as many channels as others."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    part = image[top : top + height, left : left + width]
    if part.shape[2] == 1 and depth > 1:
        part = np.repeat(part, 3, axis=2)
    return np.concatenate([part, np.full((height, width, depth - part.shape[2]), 255, np.uint8)], axis=2)
