"""Images from a trained generator."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from kantor.app.asked import Wishes, asked_of
from kantor.app.class_names import class_number, class_numbers, split_classes
from kantor.app.load_model import Note, load_generator
from kantor.app.output_paths import new_numbered, require_free_files
from kantor.app.sampling.classes import file_names
from kantor.app.sampling.image_files import (
    LABELS,
    Labels,
    Write,
    into_folder,
    into_zip,
    labels_csv,
    read_labels,
    refuse_other_images,
    refuse_other_zip,
)
from kantor.app.sampling.options import GenerateOptions
from kantor.app.units import MOST_SEEDS
from kantor.errors import ConfigError
from kantor.export.weights import Card
from kantor.progress import Progress, silent
from kantor.sample.enlarge import enlarged
from kantor.sample.generate import BATCH, generate_images
from kantor.sample.grid import PAPER, grid, png_bytes
from kantor.sample.guided import Asked
from kantor.types import Images

DEFAULT_COUNT = 64
SHEET = "sheet.png"
MOST_ON_SHEET = 1024  # unless --grid says otherwise; it is kept in memory
_MOST_SHEET_PIXELS = 1 << 26
_OUTPUT_FILES = re.compile(r"(seed-[0-9]{8,20}(-.+)?|sheet)\.png")
_SHEET_ONLY = re.compile(r"sheet\.png")


@dataclass(frozen=True)
class Generated:
    """What was written.

    Attributes:
        place: the folder, or the zip.
        sheet: the grid; None in a zip, which holds images alone.
        count: images written.
    """

    place: Path
    sheet: Path | None
    count: int


@dataclass(frozen=True)
class _Wanted:
    """The images to generate, in order; labels is None for a model without classes."""

    seeds: Sequence[int]
    labels: Sequence[int] | None
    files: Sequence[str]

    def __len__(self) -> int:
        return len(self.seeds)


def generate(options: GenerateOptions, progress: Progress = silent, note: Note = lambda line: None) -> Generated:
    """Generates images and writes them: each (seed, class) to one file, and a grid of them.

    note: called with lines for the user.
    """
    _check(options)
    network, card, home = load_generator(options.model, options.runs, options.raw, options.moment, options.device, note)
    in_zip = options.out is not None and _is_zip(options.out)
    asked = asked_of(card, Wishes(options.colour, options.place, options.extent), note)
    wanted = _wanted(options, card, in_zip)
    columns = grid_columns(options.grid, len(wanted), "images")
    labels = _check_out(options, card, wanted)
    if repeated := len(wanted) - len(set(wanted.files)):
        note(f"repeated seeds: {repeated:,}; each image is written once")
    if not in_zip and (shown := len(_on_sheet(options, card, wanted))) < len(wanted):
        note(f"the grid shows {shown:,} of {len(wanted):,} images")
    images = _images(network, card, wanted, options.truncation, asked, progress)
    if options.out is None:
        with new_numbered(home / "generated") as folder:
            return _write(options, card, wanted, images, columns, folder, into_folder(folder), labels)
    writer = into_zip(options.out) if in_zip else into_folder(options.out)
    return _write(options, card, wanted, images, columns, options.out, writer, labels)


def grid_columns(size: tuple[int, int] | None, count: int, noun: str) -> int | None:
    """Columns of --grid. Raises ConfigError if `count` images ("images", "paintings") have no room in it."""
    if size is None:
        return None
    if math.prod(size) < count:
        what = f"has room for {math.prod(size)} of {count} {noun}"
        raise ConfigError(f"--grid {size[0]}x{size[1]}", what, "make it larger")
    return size[0]


def _check(options: GenerateOptions) -> None:
    """Raises ConfigError for flags that exclude each other."""
    how_many = {"--seeds": options.seeds, "--count": options.count, "--per-class": options.per_class}
    first, *others = [flag for flag, value in how_many.items() if value is not None] or [""]
    if others:
        raise ConfigError(first, f"cannot be combined with {others[0]}", "give one of them")
    if options.per_class is not None and options.grid is not None:
        raise ConfigError("--per-class", "makes a grid with a row for each class", "leave --grid out")
    if options.seeds is not None or options.count is not None:
        grid_columns(options.grid, len(options.seeds or range(options.count or 0)), "images")
    if options.out is not None and _is_zip(options.out):
        flag = "--captions" if options.captions else "--grid" if options.grid is not None else ""
        if flag:
            raise ConfigError(
                flag,
                "a zip holds images alone, without a grid",
                f"leave it out, or name a folder: --out {options.out.stem}",
            )


def _is_zip(out: Path) -> bool:
    return out.suffix.lower() == ".zip" and not out.is_dir()


def _wanted(options: GenerateOptions, card: Card, in_zip: bool) -> _Wanted:
    """What the options ask of a model. In a zip, and with --per-class, files are in folders of classes."""
    classes = split_classes(options.classes, card)
    if options.per_class is None:
        default_count = DEFAULT_COUNT if options.grid is None else math.prod(options.grid)
        seeds = range(options.count or default_count) if options.seeds is None else options.seeds
        labels = class_numbers(classes, card, seeds)
    else:
        if not card.class_names:
            what = "this model was trained without classes"
            raise ConfigError("--per-class", what, "use --count, or train with --conditional")
        chosen = list(dict.fromkeys(class_number(name, card) for name in classes or card.class_names))
        if (total := options.per_class * len(chosen)) > MOST_SEEDS:
            raise ConfigError("--per-class", f"{total:,} images in all", f"stay below {MOST_SEEDS:,}")
        seeds = [*range(options.per_class)] * len(chosen)
        labels = [label for label in chosen for _ in range(options.per_class)]
    files = [f"seed-{seed:08d}" for seed in seeds]
    if labels is not None and (options.classes or options.per_class or in_zip):
        names = file_names(card.class_names, taken=(SHEET, LABELS))
        by_folder = options.per_class or in_zip
        pairs = zip(files, labels, strict=True)
        files = [f"{names[n]}/{file}" if by_folder else f"{file}-{names[n]}" for file, n in pairs]
    return _Wanted(seeds, labels, [f"{file}.png" for file in files])


def _images(
    network: nn.Module, card: Card, wanted: _Wanted, truncation: float, asked: Asked, progress: Progress
) -> Iterator[Images]:
    """The images, made batch by batch, so that many of them need little memory."""
    for start in range(0, len(wanted), BATCH):
        part = slice(start, start + BATCH)
        z = card.latents(wanted.seeds[part], truncation, asked)
        yield from generate_images(network, z, None if wanted.labels is None else wanted.labels[part])
        progress(min(part.stop, len(wanted)), len(wanted))


def _check_out(options: GenerateOptions, card: Card, wanted: _Wanted) -> Labels | None:
    """The labels.csv of --out as it is, None for a zip. Raises ConfigError if something would be lost or mixed up."""
    folder = options.out
    if folder is None:
        return {}
    if _is_zip(folder):
        require_free_files([folder], options.overwrite)
        refuse_other_zip(folder)
        return None
    if options.per_class:
        class_folders = sorted({file.partition("/")[0] for file in wanted.files})
        refuse_other_images(folder, _SHEET_ONLY, file_names(card.class_names, taken=(SHEET, LABELS)))
        for name in class_folders:
            refuse_other_images(folder / name, _OUTPUT_FILES)
    else:
        refuse_other_images(folder, _OUTPUT_FILES)
    ours = [SHEET, *wanted.files, *([LABELS] if card.class_names else [])]
    require_free_files((folder / name for name in ours), options.overwrite)
    return read_labels(folder / LABELS) if card.class_names else {}


def _write(
    options: GenerateOptions, card: Card, wanted: _Wanted, images: Iterator[Images], columns: int | None,
    place: Path, writer: AbstractContextManager[Write], labels: Labels | None,
) -> Generated:  # fmt: skip
    """Writes images, labels.csv and, but into a zip, the grid. labels: those there; None for a zip."""
    on_sheet = [] if labels is None else _on_sheet(options, card, wanted)
    kept, chosen, written = dict[int, Images](), set(on_sheet), dict[str, int]()
    with writer as write:
        for i, image in enumerate(images):
            if i in chosen:
                kept[i] = image.copy()  # not the batch around it
            if written.setdefault(wanted.files[i], i) == i:  # the same image again otherwise
                write(wanted.files[i], png_bytes(enlarged(image, options.scale or 1, options.smooth)))
        if wanted.labels is not None:
            new = {file: (card.class_names[wanted.labels[i]], int(wanted.seeds[i])) for file, i in written.items()}
            write(LABELS, labels_csv({**(labels or {}), **new}))
        if labels is not None:
            write(SHEET, png_bytes(_sheet(options, card, wanted, on_sheet, kept, columns)))
    return Generated(place, None if labels is None else place / SHEET, len(written))


def _on_sheet(options: GenerateOptions, card: Card, wanted: _Wanted) -> list[int]:
    """The positions of the images on the grid, in its order: the first ones; with --per-class, those of each class."""
    if options.grid is not None:
        return [*range(len(wanted))]
    pixels = math.prod(card.spec[:2]) * (options.scale or 1) ** 2
    most = max(DEFAULT_COUNT, min(MOST_ON_SHEET, _MOST_SHEET_PIXELS // pixels))
    if options.per_class is None:
        return [*range(min(most, len(wanted)))]
    classes = len(wanted) // options.per_class
    columns = min(options.per_class, max(1, most // classes))
    rows = range(min(classes, most))
    return [row * options.per_class + column for row in rows for column in range(columns)]


def _sheet(
    options: GenerateOptions, card: Card, wanted: _Wanted, on_sheet: list[int], kept: dict[int, Images],
    columns: int | None,
) -> Images:  # fmt: skip
    names = [""] * len(wanted) if wanted.labels is None else [card.class_names[n] for n in wanted.labels]
    captions, row_names = list[str](), list[str]()
    if options.per_class is not None:
        columns = len(on_sheet) // len({(wanted.labels or [])[i] for i in on_sheet})
        row_names = [names[i] for i in on_sheet[::columns]]
    if options.captions:
        seeds = (f"seed {wanted.seeds[i]}" for i in on_sheet)
        rows = zip(seeds, on_sheet, strict=True)
        captions = [seed if row_names or not names[i] else f"{seed}\n{names[i]}" for seed, i in rows]
    return grid(
        np.stack([kept[i] for i in on_sheet]), columns, options.gutter, scale=options.scale,
        paper=options.paper or PAPER, smooth=options.smooth, captions=captions, row_names=row_names,
    )  # fmt: skip
