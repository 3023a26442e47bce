"""Measures a model that enlarges, on pictures that the user names or on those held out of its training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from kantor import atomic
from kantor.app import environment
from kantor.app.dataset.cache import DatasetCache, cache_folder
from kantor.app.dataset.prepare import packed_set
from kantor.app.dataset.recover import copies_in_cache
from kantor.app.images import at_size
from kantor.app.load_model import Note
from kantor.app.output_paths import new_numbered, require_free_files, target
from kantor.app.sampling.options import UpscaleOptions
from kantor.app.sampling.pictures import find_pictures, read_if_usable
from kantor.app.sampling.upscale import FOLDER, Upscaler, load_upscaler, tell_left_out
from kantor.app.sampling.upscaling_scores import FILTERS, MODEL, Measured, NamedImages, compare
from kantor.config.io import layered, read_toml
from kantor.config.schema import Config
from kantor.data.loading.holdout import split
from kantor.data.loading.image_set import ImageSet
from kantor.errors import ConfigError
from kantor.metrics.efficientnet_lite import VARIANTS, available
from kantor.progress import Progress, silent
from kantor.runs import directory
from kantor.sample.grid import grid, png_bytes
from kantor.types import Images, ImageSpec

DEFAULT_COUNT = 500
SCORES, STRIP = "scores.json", "comparison.png"
_LARGEST_SHOWN = 128


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
        images: NamedImages = ((str(path), read_if_usable(path)) for path, _ in pictures)
    else:
        held_out = _held_out(upscaler, note)
        total = min(count, held_out.count)
        origin, images = (
            f"{total:,} of {held_out.count:,} held out of training",
            _rows(held_out, upscaler.card.spec, total),
        )
    measured, shown, rejected = compare(upscaler, upscaler.times, images, total, origin, progress)
    tell_left_out(rejected, note)
    if not all(map(available, VARIANTS)):
        note("lite0 and lite1 were not measured: pip install 'kantor[imagenet]'")
    if out is not None:
        _write(out, measured, shown)
        return measured, out
    with new_numbered(upscaler.home / FOLDER) as folder:
        _write(folder, measured, shown)
        return measured, folder


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


def _rows(images: ImageSet, spec: ImageSpec, count: int) -> NamedImages:
    """Images spread evenly over a set, at the size of the model's."""
    for row in np.linspace(0, images.count - 1, count).astype(np.int64):
        yield f"image {row}", at_size(images.images(row[None]), spec)[0]


def table(measured: Measured) -> list[str]:
    """The means line by line, and how the model differs from bicubic enlargement."""
    ways = [MODEL, *FILTERS]
    rows = [("", *ways, "model - bicubic", "95% interval", "")]
    for name, values in measured.values.items():
        comparison = measured.comparisons[name]
        digits = 2 if name == "psnr" else 4
        means = (f"{np.mean(values[way]):.{digits}f}" for way in ways)
        interval = " to ".join(f"{end:+.{digits}f}" for end in comparison.interval or ())
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
    columns = 8 if len(shown) > 1 else 4
    return grid(np.stack(cells), columns, captions=["nearest", "bicubic", "model", "true"] * len(shown))


def _cut(image: Images, height: int, width: int, depth: int) -> Images:
    """The middle of an image, with as many channels as others."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    part = image[top : top + height, left : left + width]
    if part.shape[2] == 1 and depth > 1:
        part = np.repeat(part, 3, axis=2)
    return np.concatenate([part, np.full((height, width, depth - part.shape[2]), 255, np.uint8)], axis=2)
