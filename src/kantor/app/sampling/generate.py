"""Images from a trained generator."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from kantor import atomic
from kantor.app.load_model import load_generator
from kantor.app.output_paths import require_free_files
from kantor.app.sampling.options import GenerateOptions
from kantor.data.sources.names import IMAGES
from kantor.errors import ConfigError, nearest
from kantor.export.weights import Card
from kantor.sample.generate import generate_images
from kantor.sample.grid import PAPER, grid, png_bytes
from kantor.types import Images

_OUTPUT_FILES = re.compile(r"(seed-[0-9]{8,20}|sheet)\.png")


def generate(options: GenerateOptions) -> tuple[Path, Path, int]:
    """Generates images and writes them; returns the grid, its folder and the number of images."""
    if options.seeds is not None and options.count is not None:
        raise ConfigError("--seeds", "cannot be combined with --count", "give one of them")
    default_count = 64 if options.grid is None else math.prod(options.grid)
    seeds = range(options.count or default_count) if options.seeds is None else options.seeds
    columns = grid_columns(options.grid, len(seeds), "images")
    network, card, home = load_generator(options.model, options.runs, options.raw, options.checkpoint, options.device)
    folder = options.out or home / "generated"
    refuse_other_images(folder, _OUTPUT_FILES)
    paths = [folder / f"seed-{seed:08d}.png" for seed in seeds]
    grid_path = folder / "sheet.png"
    require_free_files([grid_path, *paths], options.overwrite)
    labels = class_numbers(split_classes(options.classes, card), card, len(seeds))
    images = generate_images(network, card.latents(seeds, options.truncation), labels)
    scale = options.scale or 1
    enlarged = (image.repeat(scale, 0).repeat(scale, 1) for image in images)
    page = grid(images, columns, options.gutter, scale=options.scale, paper=options.paper or PAPER)
    write_images([*paths, grid_path], itertools.chain(enlarged, [page]))
    return grid_path, folder, len(seeds)


def grid_columns(size: tuple[int, int] | None, count: int, noun: str) -> int | None:
    """Columns of --grid. Raises ConfigError if `count` images ("images", "paintings") have no room in it."""
    if size is None:
        return None
    if math.prod(size) < count:
        what = f"has room for {math.prod(size)} of {count} {noun}"
        raise ConfigError(f"--grid {size[0]}x{size[1]}", what, "make it larger")
    return size[0]


def refuse_other_images(folder: Path, allowed: re.Pattern[str]) -> None:
    """Raises ConfigError if `folder` has images whose names are not `allowed`, such as training images."""
    if not str(folder).strip("."):
        raise ConfigError("--out", "is the current folder", "name a folder, such as --out images")
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.is_dir() or (entry.suffix.lower() in IMAGES and not allowed.fullmatch(entry.name)):
            what = f"contains {entry.name}, and generated images would mix with what is there"
            raise ConfigError(f"--out {folder}", what, "choose a new folder")


def write_images(paths: Sequence[Path], images: Iterable[Images]) -> None:
    """Writes images, uint8 [H, W, C], as PNG files into one folder."""
    for folder in {path.parent for path in paths}:
        atomic.make_folder(folder)
    with atomic.many_files() as write:
        for path, image in zip(paths, images, strict=True):
            write(path, png_bytes(image))


def split_classes(names: Sequence[str], card: Card) -> list[str]:
    """ "A,B" names two classes, unless it is the name of one, also without its blanks: "A, B"."""
    known = {_parts(name): name for name in card.class_names}
    longest = max(map(len, known), default=1)
    classes: list[str] = []
    for name in names:
        if name in card.class_names:
            classes.append(name)
            continue
        parts = _parts(name)
        while parts:
            size = next((n for n in range(longest, 0, -1) if parts[:n] in known), 1)
            classes.append(known.get(parts[:size], parts[0]))
            parts = parts[size:]
    return classes


def _parts(name: str) -> tuple[str, ...]:
    """The texts between commas, without blanks around them."""
    return tuple(part.strip() for part in name.split(","))


def class_numbers(classes: Sequence[str | int], card: Card, count: int) -> list[int] | None:
    """The label of each of `count` images; None for a model without classes.

    Args:
        classes: names or numbers: none (all classes in turn), one for all images, or one per image.
    """
    if not len(classes):
        return [i % len(card.class_names) for i in range(count)] if card.class_names else None
    if len(classes) not in (1, count):
        raise ConfigError("--class", f"{len(classes)} classes for {count} seeds", "give one for all, or one per seed")
    numbers = [_class_number(name, card) for name in classes]
    return numbers * count if len(numbers) == 1 else numbers


def _class_number(name: str | int, card: Card) -> int:
    """The label of a class, by its name or number. A number that is the name of a class counts as the name."""
    if not card.class_names:
        what = "this model was trained without classes"
        raise ConfigError(f"--class {name}", what, "leave --class out, or train with --conditional")
    if isinstance(name, str) and name in card.class_names:
        return card.class_names.index(name)
    if re.fullmatch("[0-9]{1,9}", str(name)) and int(name) < len(card.class_names):
        return int(name)
    raise ConfigError(f"--class {name}", "there is no such class", nearest(str(name), card.class_names))
