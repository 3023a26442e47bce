"""Images from a trained generator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kantor import atomic
from kantor.app.load_model import load_model, refuse_colourist
from kantor.app.output_paths import require_free_files
from kantor.app.sampling.options import GenerateOptions
from kantor.data.sources.names import IMAGES
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, nearest
from kantor.export.weights import Card
from kantor.sample.generate import draw
from kantor.sample.grid import PAPER, grid, png_bytes
from kantor.sample.latents import latents

_OURS = re.compile(r"(seed-[0-9]{8,20}|sheet)\.png")


def generate(options: GenerateOptions) -> tuple[Path, Path, int]:
    """Draws the images and writes them.

    Returns:
        The sheet, its folder and the number of images.
    """
    seeds = _seeds(options)
    network, card, home = load_model(options.model, options.runs, options.raw, options.checkpoint)
    refuse_colourist(options.model, card)
    columns = None
    if options.grid is not None:
        columns, rows = options.grid
        if columns * rows < len(seeds) and options.seeds is None and options.count is None:
            seeds = seeds[: columns * rows]
        elif columns * rows > len(seeds) and options.seeds is None and options.count is None:
            seeds = list(range(columns * rows))
        elif columns * rows < len(seeds):
            what = f"has room for {columns * rows} of {len(seeds)} images"
            raise ConfigError(f"--grid {columns}x{rows}", what, "make it larger")
    if options.out is not None and not str(options.out).strip("."):
        raise ConfigError("--out", "is the current folder", "name a folder, such as --out images")
    folder = options.out or home / "generated"
    refuse_album(folder, _OURS)
    names = [folder / f"seed-{seed:08d}.png" for seed in seeds]
    sheet = folder / "sheet.png"
    require_free_files([sheet, *names], options.overwrite)
    labels = class_numbers(split_classes(options.classes, card), card, len(seeds))
    network.to(choose_device(options.device))
    z = latents(seeds, card.generator.latent_dim, card.generator.latent, options.truncation)
    images = draw(network, z, labels)
    atomic.make_folder(folder)
    scale = options.scale or 1
    for path, image in zip(names, images, strict=True):
        atomic.write_bytes(path, png_bytes(image.repeat(scale, 0).repeat(scale, 1)))
    page = grid(images, columns, options.gutter, scale=options.scale, paper=options.paper or PAPER)
    atomic.write_bytes(sheet, png_bytes(page))
    return sheet, folder, len(seeds)


def _seeds(options: GenerateOptions) -> list[int]:
    if options.seeds is not None and options.count is not None:
        raise ConfigError("--seeds", "and --count both say which images", "give one of them")
    return list(options.seeds if options.seeds is not None else range(options.count or 64))


def refuse_album(folder: Path, ours: re.Pattern[str]) -> None:
    """Raises ConfigError where drawn images would lie among others, such as those that the run learnt from.

    Args:
        ours: names of files that may be there.
    """
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.is_dir() or (entry.suffix.lower() in IMAGES and not ours.fullmatch(entry.name)):
            what = f"holds {entry.name}, and drawn images would mix with what is there"
            raise ConfigError(f"--out {folder}", what, "choose a new folder")


def split_classes(names: Sequence[str], card: Card) -> list[str]:
    """ "A,B" is two classes, unless one is so called."""
    return [part for name in names for part in ([name] if name in card.class_names else name.split(","))]


def class_numbers(classes: Sequence[str | int], card: Card, count: int) -> list[int] | None:
    """The label of each of `count` images; None where the model has no classes.

    Args:
        classes: names or numbers: none (the classes in turn), one for all, or one an image.
    """
    if not len(classes):
        return [i % len(card.class_names) for i in range(count)] if card.class_names else None
    if len(classes) not in (1, count):
        raise ConfigError("--class", f"{len(classes)} classes for {count} seeds", "give one for all, or one a seed")
    numbers = [class_number(one, card) for one in classes]
    return numbers * count if len(numbers) == 1 else numbers


def class_number(name: str | int, card: Card) -> int:
    """The label of a class. A text is a name first, and a number where no class is called so."""
    if not card.class_names:
        raise ConfigError(
            f"--class {name}",
            "this model was trained without classes",
            "leave --class out, or train with --conditional",
        )
    if isinstance(name, str) and name in card.class_names:
        return card.class_names.index(name)
    if re.fullmatch("[0-9]{1,9}", str(name)) and int(name) < len(card.class_names):
        return int(name)
    raise ConfigError(f"--class {name}", "there is no such class", nearest(str(name), card.class_names))
