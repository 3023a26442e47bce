"""Lines by one model, or drawn by hand, and colours by another: the painter's pipeline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from kantor import atomic
from kantor.app.dataset.prepare import size_text
from kantor.app.images import beside
from kantor.app.load_model import load_model
from kantor.app.output_paths import require_free_files
from kantor.app.sampling.generate import class_numbers, refuse_album
from kantor.app.sampling.options import PaintOptions
from kantor.data.decoding.decode import DecodeSettings, decode
from kantor.data.reasons import Undecodable
from kantor.data.sources.names import IMAGES, is_clutter
from kantor.data.sources.source import MAX_BYTES
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, DataError, ModelError
from kantor.export.weights import Card
from kantor.runs import directory
from kantor.sample.generate import draw
from kantor.sample.grid import COMFORTABLE_CELL, grid, png_bytes
from kantor.sample.latents import latents
from kantor.types import Images, ImageSpec

USUAL_COUNT = 16
MOST = 10_000
_OURS = re.compile(r"(.+-)?seed-[0-9]{8,20}(-lines)?\.png|sheet\.png")
_WHITE = (255, 255, 255)
_FEW = 64
_FAINTEST = 8  # of 255: less is a stain


@dataclass(frozen=True)
class Lines:
    """What is coloured, line drawing by line drawing and seed by seed.

    Attributes:
        stems: names of the files of each painting, without their ending.
        images: uint8 [N, H, W, 1], dark on white.
        seeds: of the colours of each.
        own: names of the files of the lines.
    """

    stems: list[str]
    images: Images
    seeds: list[int]
    own: list[str]


def paint(options: PaintOptions) -> tuple[Path, Path, int]:
    """Draws or reads lines, colours them, and writes both.

    Returns:
        The sheet, its folder and the number of paintings.
    """
    drawings = _drawings(options.lines, options.runs)
    seeds = list(options.seeds or range(1 if drawings else USUAL_COUNT))
    count = len(seeds) * max(1, len(drawings))
    if count > MOST:
        raise ConfigError("--seeds", f"{count:,} paintings in all", f"stay below {MOST:,}")
    columns = _columns(options.grid, count) or (len(seeds) if drawings else None)  # a drawing a row
    if not str(options.out).strip("."):
        raise ConfigError("--out", "is the current folder", "name a folder, such as --out paintings")
    refuse_album(options.out, _OURS)
    colourist, card, _ = load_model(options.colours, options.runs)
    if drawings:
        _check_colourist(options, card, None)
        lines = _by_hand(drawings, seeds, card.spec)
    else:
        draughtsman, theirs, _ = load_model(options.lines, options.runs)
        _check_colourist(options, card, theirs)
        _check_draughtsman(options, theirs, card)
        lines = _by_model(draughtsman, theirs, seeds, options)
    sheet = options.out / "sheet.png"
    files = {options.out / f"{stem}.png": i for i, stem in enumerate(lines.stems)}
    theirs_too = {options.out / f"{name}.png": i for i, name in enumerate(lines.own)}
    require_free_files([sheet, *files, *theirs_too], options.overwrite)
    colourist.to(choose_device(options.device))
    z = latents(lines.seeds, card.generator.latent_dim, card.generator.latent, options.truncation)
    painted = draw(colourist, z, class_numbers((), card, count), lines.images)
    atomic.make_folder(options.out)
    for path, i in theirs_too.items():
        atomic.write_bytes(path, png_bytes(lines.images[i]))
    for path, i in files.items():
        atomic.write_bytes(path, png_bytes(painted[i]))
    both = beside(lines.images, painted)
    scale = -(-COMFORTABLE_CELL // max(card.spec[:2])) if count <= _FEW else None  # a pair is wide, and not yet large
    atomic.write_bytes(sheet, png_bytes(grid(both, columns, options.gutter, scale=scale)))
    return sheet, options.out, count


def _columns(size: tuple[int, int] | None, count: int) -> int | None:
    if size is None:
        return None
    columns, rows = size
    if columns * rows < count:
        what = f"has room for {columns * rows} of {count} paintings"
        raise ConfigError(f"--grid {columns}x{rows}", what, "make it larger")
    return columns


# --- the two models -------------------------------------------------------------------------------------------------


def _check_colourist(options: PaintOptions, card: Card, lines: Card | None) -> None:
    if card.condition == 1:
        return
    if lines is not None and lines.condition:
        do = f"write kantor paint {options.colours} {options.lines}"
        raise ModelError(options.colours, f"draws, and {options.lines} colours: the two are swapped", do)
    do = "name one that was trained with --preset painter-colours"
    raise ModelError(options.colours, "this model does not colour outlines", do)


def _check_draughtsman(options: PaintOptions, lines: Card, colours: Card) -> None:
    do = "name one that was trained with --preset painter-lines, or a folder of line drawings"
    if lines.condition:
        raise ModelError(options.lines, "this model colours lines, and draws none", do)
    if lines.spec.channels != 1:
        raise ModelError(options.lines, f"draws {lines.spec} images, and lines are grey", do)
    if lines.spec[:2] != colours.spec[:2]:
        sizes = [
            f"{options.lines} draws {size_text(lines.spec)}",
            f"{options.colours} colours {size_text(colours.spec)}",
        ]
        raise ConfigError("kantor paint", ", ".join(sizes), f"train one of them with --size {size_text(colours.spec)}")


def _by_model(network: nn.Module, card: Card, seeds: list[int], options: PaintOptions) -> Lines:
    """Lines of a model's seeds, which are the colours' seeds too."""
    network.to(choose_device(options.device))
    z = latents(seeds, card.generator.latent_dim, card.generator.latent, options.truncation)
    images = draw(network, z, class_numbers((), card, len(seeds)))
    stems = [f"seed-{seed:08d}" for seed in seeds]
    return Lines(stems, images, seeds, [f"{stem}-lines" for stem in stems])


# --- lines drawn by hand --------------------------------------------------------------------------------------------


def _drawings(text: str, runs: Path) -> list[Path]:
    """The image that `text` names, or those in the folder; none where it names a model."""
    path = Path(text)
    try:
        if path.is_file() and path.suffix.lower() in IMAGES:
            return [path]
        if not path.is_dir() or (path / directory.CONFIG).exists() or directory.is_checkpoint(path):
            return []
        if directory.names_a_run(text, runs):
            return []
        entries = [entry for entry in path.iterdir() if entry.suffix.lower() in IMAGES and not is_clutter(entry.name)]
        return sorted(entry for entry in entries if entry.is_file())
    except OSError as error:
        raise DataError(text, f"cannot be looked at ({error.strerror})", "check the path") from error


def _by_hand(drawings: list[Path], seeds: list[int], spec: ImageSpec) -> Lines:
    """Each drawing, whole, black on white: every seed gives it other colours."""
    settings = DecodeSettings(spec._replace(channels=1), 0, "contain", _WHITE, 1)
    names = [path.stem for path in drawings]
    twice = next((path for path in drawings if names.count(path.stem) > 1), None)
    if twice is not None:
        raise DataError(twice, "has the name of another drawing, but for its ending", "give each a name of its own")
    read = [_inked(path, _read(path, settings)) for path in drawings]
    images = np.repeat(np.stack(read), len(seeds), axis=0)
    stems = [f"{name}-seed-{seed:08d}" for name in names for seed in seeds]
    return Lines(stems, images, seeds * len(names), [])


def _inked(path: Path, image: Images) -> Images:
    """With white paper and the darkest line black: scans are yellow, and thin lines fade when they are made small.

    Paper is what most of the image is: the median.
    """
    paper = float(np.median(image))
    if paper < 128:
        raise DataError(path, "most of it is dark, and lines are to be dark on light paper", "invert it")
    ink = np.clip(paper - image.astype(np.float64), 0, None)
    if ink.max() < _FAINTEST:
        raise DataError(path, "shows no lines", "take it out, or draw them darker")
    inked: Images = np.rint(255 - ink * (255 / ink.max())).astype(np.uint8)
    return inked


def _read(path: Path, settings: DecodeSettings) -> Images:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(path, f"is larger than {MAX_BYTES >> 20} MB", "make it smaller")
        return decode(path.read_bytes(), settings)[0]
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})", "check the file and its permissions") from error
    except Undecodable as error:
        raise DataError(path, f"cannot be used: {error}", "save it as a PNG, or take it out of the folder") from error
