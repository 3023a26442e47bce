"""Both sides of an evaluation: what is scored, and the real images beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kantor.app import environment
from kantor.app.dataset.prepare import CHANNELS, look, packed_set, size_text
from kantor.app.dataset.recover import copy_of_gone
from kantor.app.evaluation.image_sets import SEED_BLOCK, Drawn, Reals, chosen, classes_like
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.load_model import load_model, refuse_colourist
from kantor.config.io import layered, overridden, read_toml
from kantor.config.schema import Config, DataConfig, parse_size
from kantor.data.loading.holdout import split
from kantor.data.loading.image_set import ImageSet
from kantor.data.loading.store import Store, is_packed
from kantor.data.sources import GLYPHS, place
from kantor.data.sources.python_object import PREFIX
from kantor.errors import ConfigError
from kantor.export.weights import Card
from kantor.metrics.evaluate import FEWEST
from kantor.progress import Progress
from kantor.runs import directory
from kantor.types import ImageSpec

LARGEST_SIDE = 256
"""Of images in a folder, where nothing says how large they are to be."""
Note = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """What is scored: a generator with the run that it lies in, or images.

    Attributes:
        run: a run directory, or None.
        checkpoint: the one that the weights are of, or None.
        config: of the run.
    """

    name: str
    network: nn.Module | None = None
    card: Card | None = None
    run: Path | None = None
    checkpoint: Path | None = None
    config: Config | None = None


def find_subject(options: EvaluateOptions) -> Subject:
    """A model where `subject` names one, else images."""
    text = options.subject
    if not directory.names_a_run(text, options.runs) and (
        text == GLYPHS or text.startswith(PREFIX) or _are_images(place(text))
    ):
        for flag, given in (("--raw", options.raw), ("--checkpoint", options.checkpoint is not None)):
            if given:
                raise ConfigError(flag, f"{text} is a set of images, not a run", "leave it out, or name a run")
        if options.truncation != 1:
            raise ConfigError("--truncation", f"{text} is a set of images", "leave it out, or name a model")
        return Subject(text)
    network, card, home = load_model(text, options.runs, options.raw, options.checkpoint)
    refuse_colourist(text, card)
    run = home if (home / directory.CONFIG).is_file() else None
    if run is None or (Path(text).is_file() and Path(text).name != directory.GENERATOR):
        return Subject(text, network, card)
    path: Path | None = run / directory.CHECKPOINTS / f"{card.images_seen:09d}"
    path = path if path and path.is_dir() else None
    config = layered(Config(), read_toml(run / directory.CONFIG), str(run / directory.CONFIG))
    return Subject(run.name, network, card, run, path, config)


def _are_images(path: Path) -> bool:
    """Whether something that is no model lies there."""
    try:
        if path.is_dir():
            return not (path / directory.CONFIG).is_file() and not directory.is_checkpoint(path)
        return path.is_file() and path.suffix != ".safetensors"
    except OSError:
        return False


def reference_of(
    options: EvaluateOptions, subject: Subject, cache: Path, packing: Progress, note: Note
) -> tuple[Store, Config]:
    """The set of real images, packed at the size of the subject's."""
    config = subject.config or Config()
    fields = options.fields
    if options.against is not None:
        config = config.model_copy(update={"data": _named(config, options.against)})
    elif subject.config is None:
        raise ConfigError(
            "--against", f"{subject.name} does not say which images it is to be compared with", "name them"
        )
    if subject.card:
        fields |= _as_spec(subject.card.spec, fields, config)
    elif not {"data.size", "data.channels"} <= fields.keys():
        both = [_own_spec(name, fields) for name in (subject.name, config.data.source)]
        smaller = min(both, key=lambda spec: spec.height * spec.width)  # enlarged images are no measure
        fields = _as_spec(smaller._replace(channels=both[1].channels), {}, config) | fields
    config = overridden(config, fields)
    if subject.config is not None and options.against is None and config.data.source.startswith(PREFIX):
        note("the images come from a source of your own, which this process must know")
    config = _brought_down(config)
    if subject.run is None or options.against is not None:
        return packed_set(config, LARGEST_SIDE, cache, packing, note)[:2]
    return _learnt_from(subject.run, config, cache, packing, note), config


def _named(config: Config, source: str) -> DataConfig:
    """A set that is named is meant as a whole, whatever a run chose of it: so runs can be compared. How images are brought
    to size stays that of the run, and what a set of our own making is."""
    kept = ["crop", "fit", "background"]
    if _same_place(source, config.data.source):
        kept += ["glyphs", "stack"]
    return DataConfig(source=source, **{name: getattr(config.data, name) for name in kept})


def _brought_down(config: Config) -> Config:
    """Of a packed set of larger images: bring them down as training would."""
    source, size = Path(config.data.source), config.data.size
    if size == "auto" or config.data.pack_size != "auto" or not is_packed(source):
        return config
    own = Store.open(source).spec
    if own[:2] == parse_size(size):
        return config
    return overridden(config, {"data.pack_size": size_text(own)})


def _learnt_from(run: Path, config: Config, cache: Path, packing: Progress, note: Note) -> Store:
    """The set that a run learnt from; its packed copy where the images are gone."""
    expected = environment.read(run / directory.ENVIRONMENT).get("data_fingerprint")
    if (kept := copy_of_gone(config, expected, cache, note)) is not None:
        return kept
    store, _, _ = packed_set(config, LARGEST_SIDE, cache, packing, note)
    if expected is not None and store.fingerprint != expected:
        note(f"{config.data.source} has changed since the run learnt from it ({store.count:,} images now)")
    return store


def _own_spec(source: str, fields: dict[str, Any]) -> ImageSpec:
    """Of the images as they are, or as packed."""
    if is_packed(Path(source)):
        return Store.open(Path(source)).spec
    return look(overridden(Config(), {**fields, "data.source": source}), LARGEST_SIDE, lambda _: None)[1]


def _as_spec(spec: ImageSpec, asked: dict[str, Any], config: Config) -> dict[str, Any]:
    """Size and channels as fields. Raises ConfigError where the user asks for others."""
    wanted = {"data.size": size_text(spec), "data.channels": CHANNELS[spec.channels]}
    for name, value in wanted.items():
        if name in asked and overridden(config, {name: asked[name]}) != overridden(config, {name: value}):
            flag = f"--{name.removeprefix('data.')}"
            raise ConfigError(flag, f"the images to be scored are {spec}", "leave it out")
    return wanted


def _same_place(one: str, other: str) -> bool:
    if GLYPHS in (one, other) or one.startswith(PREFIX) or other.startswith(PREFIX):
        return one == other
    return place(one).resolve() == place(other).resolve()


def parts_of(store: Store, config: Config, options: EvaluateOptions, note: Note) -> tuple[ImageSet, ImageSet | None]:
    """What was learnt from, and what was held out of it."""
    if not config.data.holdout:
        return store, None
    training, held = split(store, config.data.holdout)
    if options.held_out and held.count < FEWEST:
        what = f"{held.count} of {store.count:,} images were held out of training"
        raise ConfigError("--held-out", what, f"hold out more, {FEWEST} at least, or leave it out")
    note(f"{training.count:,} images were learnt from, {held.count:,} held out")
    return training, held if held.count else None


def fakes_of(
    options: EvaluateOptions, subject: Subject, reals: Reals, device: torch.device, spec: ImageSpec, cache: Path,
    packing: Progress, note: Note,
) -> Reals | Drawn:  # fmt: skip
    """The images to be scored, drawn or read."""
    if subject.network is not None and subject.card is not None:
        if not 0 <= options.seed < 2**40:
            raise ConfigError(f"--seed {options.seed}", "is out of range", f"choose 0 to {2**40 - 1}")
        classes = classes_like(reals, subject.card.class_names, options.count, options.seed)
        first = options.seed * SEED_BLOCK
        network = subject.network.to(device)
        return Drawn(network, subject.card.generator, options.count, first, classes, options.truncation)
    fields = {"data.source": subject.name, **_as_spec(spec, {}, Config())}
    given = {k: v for k, v in options.fields.items() if k in ("data.fit", "data.crop", "data.max_bad")}
    config = _brought_down(overridden(Config(), fields | given))
    store, _, _ = packed_set(config, spec.height, cache, packing, note)
    return chosen(store, options.count, spec)
