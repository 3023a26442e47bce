"""What is scored: a generator, or images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.load_model import load_generator
from kantor.config.io import layered, read_toml
from kantor.config.schema import Config
from kantor.data.sources import GLYPHS, place
from kantor.data.sources.python_object import PREFIX
from kantor.errors import ConfigError
from kantor.export.weights import Card
from kantor.runs import directory


@dataclass(frozen=True)
class Subject:
    """A generator and the run it comes from, or images (`network` and `card` are None).

    Attributes:
        run: the run directory, or None.
        checkpoint: the checkpoint that holds the same weights, or None.
        config: of the run.
    """

    name: str
    network: nn.Module | None = None
    card: Card | None = None
    run: Path | None = None
    checkpoint: Path | None = None
    config: Config | None = None


def find_subject(options: EvaluateOptions) -> Subject:
    """Loads the model that `options.subject` names; anything else is taken for images."""
    text = options.subject
    if not directory.names_a_run(text, options.runs) and (
        text == GLYPHS or text.startswith(PREFIX) or _holds_images(place(text))
    ):
        for flag, is_set in (("--raw", options.raw), ("--checkpoint", options.checkpoint is not None)):
            if is_set:
                raise ConfigError(flag, f"{text} is a set of images, not a run", "leave it out, or name a run")
        if options.truncation != 1:
            raise ConfigError("--truncation", f"{text} is a set of images", "leave it out, or name a model")
        return Subject(text)
    network, card, home = load_generator(text, options.runs, options.raw, options.checkpoint)
    run = home if (home / directory.CONFIG).is_file() else None
    if run is None or (Path(text).is_file() and Path(text).name != directory.GENERATOR):
        return Subject(text, network, card)
    checkpoint = run / directory.CHECKPOINTS / f"{card.images_seen:09d}"
    config = layered(Config(), read_toml(run / directory.CONFIG), str(run / directory.CONFIG))
    return Subject(run.name, network, card, run, checkpoint if checkpoint.is_dir() else None, config)


def _holds_images(path: Path) -> bool:
    """Whether `path` exists and is not a model."""
    try:
        if path.is_dir():
            return not (path / directory.CONFIG).is_file() and not directory.is_checkpoint(path)
        return path.is_file() and path.suffix != ".safetensors"
    except OSError:
        return False
