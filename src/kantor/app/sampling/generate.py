"""Pictures from a trained generator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from kantor import atomic
from kantor.app.output_paths import require_free_files
from kantor.config.io import layered
from kantor.config.schema import Config
from kantor.data.sources.names import PICTURES
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, ModelError, nearest
from kantor.export.weights import Card, read_generator
from kantor.nets import build_generator
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory
from kantor.sample.generate import draw
from kantor.sample.grid import PAPER, grid, parse_colour, parse_grid, png_bytes
from kantor.sample.latents import latents, parse_seeds
from kantor.types import ImageSpec

_NUMBER = re.compile("[0-9]{1,18}")
_OURS = re.compile(r"(seed-[0-9]{8,20}|sheet)\.png")


@dataclass(frozen=True)
class GenerateOptions:
    """What the user asked for; the fields are those of `kantor generate`."""

    model: str
    count: int | None = None
    seeds: str | None = None
    classes: Sequence[str] = ()
    out: Path | None = None
    grid: str | None = None
    gutter: int = 2
    paper: str | None = None
    scale: int | None = None
    truncation: float = 1.0
    raw: bool = False
    checkpoint: int | None = None
    device: str = "auto"
    runs: Path = Path("runs")
    overwrite: bool = False


def generate(options: GenerateOptions) -> tuple[Path, Path, int]:
    """Draws the pictures and writes them.

    Returns:
        The sheet, its folder and the number of pictures.
    """
    seeds = _seeds(options)
    paper = PAPER if options.paper is None else parse_colour(options.paper)
    network, card, home = load_model(options.model, options.runs, options.raw, options.checkpoint)
    refuse_colourist(options.model, card)
    columns = None
    if options.grid is not None:
        columns, rows = parse_grid(options.grid)
        if columns * rows < len(seeds) and options.seeds is None and options.count is None:
            seeds = seeds[: columns * rows]
        elif columns * rows > len(seeds) and options.seeds is None and options.count is None:
            seeds = list(range(columns * rows))
        elif columns * rows < len(seeds):
            raise ConfigError(
                f"--grid {options.grid}", f"has room for {columns * rows} of {len(seeds)} pictures", "make it larger"
            )
    if options.out is not None and not str(options.out).strip("."):
        raise ConfigError("--out", "is the current folder", "name a folder, such as --out pictures")
    folder = options.out or home / "generated"
    refuse_album(folder, _OURS)
    names = [folder / f"seed-{seed:08d}.png" for seed in seeds]
    sheet = folder / "sheet.png"
    require_free_files([sheet, *names], options.overwrite)
    labels = class_numbers(split_classes(options.classes, card), card, len(seeds))
    network.to(choose_device(options.device))
    z = latents(seeds, card.generator.latent_dim, card.generator.latent, options.truncation)
    pictures = draw(network, z, labels)
    atomic.make_folder(folder)
    scale = options.scale or 1
    for path, picture in zip(names, pictures, strict=True):
        atomic.write_bytes(path, png_bytes(picture.repeat(scale, 0).repeat(scale, 1)))
    atomic.write_bytes(sheet, png_bytes(grid(pictures, columns, options.gutter, scale=options.scale, paper=paper)))
    return sheet, folder, len(seeds)


def load_model(
    text: str, runs: Path, raw: bool = False, images_seen: int | None = None
) -> tuple[nn.Module, Card, Path]:
    """The generator that `text` names, in evaluation mode on the CPU, its card, and the folder that it lies in.

    Args:
        text: a generator.safetensors, a checkpoint, or a run (path, name, number or "latest").
        raw: the newest weights, not their running average: only a run has them.
        images_seen: of an older checkpoint of the run.
    Raises:
        ModelError: there is no such model, or it is damaged.
    """
    path = Path(text)
    try:
        path.exists()
    except OSError as error:  # the name is too long, or a folder on the way is closed
        raise ModelError(text, f"cannot be looked at ({error.strerror})", "check the path") from error
    if path.suffix.lower() in PICTURES and path.is_file():
        raise ModelError(text, "is a picture, not a model", "name a run directory, or its generator.safetensors")
    if path.is_file():
        if raw or images_seen is not None:
            raise ConfigError("--raw" if raw else "--checkpoint", "needs a run directory, not a file", "name the run")
        return (*read_generator(path), path.parent)
    if directory.is_checkpoint(path):
        return (*_from_checkpoint(path.parent.parent, path, raw), path.parent.parent)
    if not path.exists() and path.suffix == ".safetensors":
        raise ModelError(text, "does not exist", "name a run directory, or its generator.safetensors")
    try:
        run = directory.find(text, runs)
    except ModelError:
        if _holds_pictures(path):
            do = "train on it, and name the run directory"
            raise ModelError(text, "is a folder of pictures, not a model", do) from None
        raise
    if raw or images_seen is not None:
        return (*_from_checkpoint(run, _chosen(run, images_seen), raw), run)
    if not (run / directory.GENERATOR).exists():
        raise ModelError(run, "this run has saved nothing yet", "wait for its first checkpoint, or train it")
    return (*read_generator(run / directory.GENERATOR), run)


def refuse_colourist(where: str, card: Card) -> None:
    """Raises ModelError where a model makes its pictures of outlines: seeds alone give it nothing to colour."""
    if card.condition:
        do = "use `kantor paint LINES MODEL`, where LINES is a model or a folder of line drawings"
        raise ModelError(where, "this model colours outlines, and draws none of its own", do)


def _holds_pictures(path: Path) -> bool:
    """Whether `path` is a folder with pictures right in it, and no run: a run's own plot is a picture too."""
    try:
        inside = [] if (path / directory.CONFIG).exists() else list(path.iterdir())
    except OSError:  # no folder, or none that may be read: what it is else, others find out
        return False
    return any(entry.suffix.lower() in PICTURES for entry in inside)


def _chosen(run: Path, images_seen: int | None) -> Path:
    folder = run / directory.CHECKPOINTS
    if images_seen is None:
        path, _ = checkpoints.last(folder)
        if path is None:
            raise ModelError(run, "has no checkpoint that can be used", "train it first")
        return path
    path = folder / f"{images_seen:09d}"
    if not path.is_dir():
        inside = folder.iterdir() if folder.is_dir() else ()
        have = sorted(int(p.name) for p in inside if _NUMBER.fullmatch(p.name))
        do = f"choose one of: {', '.join(map(str, have))}" if have else "train the run first"
        raise ModelError(f"--checkpoint {images_seen}", "there is no such checkpoint", do)
    return path


def _from_checkpoint(run: Path, path: Path, raw: bool) -> tuple[nn.Module, Card]:
    """A generator out of a checkpoint, which holds the raw weights too."""
    found = checkpoints.load(path)
    config = layered(Config(), dict(found.values.get("config", {})), str(path))  # a run's own file may be edited
    spec, names = _spec_and_classes(run, found.values)
    part = "generator/" if raw else "average/"
    tensors = {name.removeprefix(part): value for name, value in found.model.items() if name.startswith(part)}
    condition = int(found.values.get("condition", 0))
    network = build_generator(config.generator, spec, len(names), condition=condition)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(path, "does not fit the run's configuration", "choose another checkpoint") from error
    seen = int(found.values["counters"]["images_seen"])
    card = Card(spec, config.generator, config.objective.kind, names, seen, condition)
    return network.eval().requires_grad_(False), card


def _spec_and_classes(run: Path, values: object) -> tuple[ImageSpec, tuple[str, ...]]:
    try:
        return ImageSpec(*values["spec"]), tuple(values["class_names"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            run, "the checkpoint does not say what its pictures are", "use generator.safetensors"
        ) from error


def _seeds(options: GenerateOptions) -> list[int]:
    if options.seeds is not None and options.count is not None:
        raise ConfigError("--seeds", "and --count both say which pictures", "give one of them")
    return parse_seeds(options.seeds) if options.seeds is not None else list(range(options.count or 64))


def refuse_album(folder: Path, ours: re.Pattern[str]) -> None:
    """Raises ConfigError where drawn pictures would lie among others, such as those that the run learnt from.

    Args:
        ours: names of files that may be there.
    """
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.is_dir() or (entry.suffix.lower() in PICTURES and not ours.fullmatch(entry.name)):
            what = f"holds {entry.name}, and drawn pictures would mix with what is there"
            raise ConfigError(f"--out {folder}", what, "choose a new folder")


def split_classes(names: Sequence[str], card: Card) -> list[str]:
    """ "A,B" is two classes, unless one is so called."""
    return [part for name in names for part in ([name] if name in card.class_names else name.split(","))]


def class_numbers(classes: Sequence[str | int], card: Card, count: int) -> list[int] | None:
    """The label of each of `count` pictures; None where the model has no classes.

    Args:
        classes: names or numbers: none (the classes in turn), one for all, or one a picture.
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
