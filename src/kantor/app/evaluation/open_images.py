"""Opens what is scored, a generator or images, and the real images that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kantor.app import environment
from kantor.app.dataset.cache import DatasetCache, Note, no_notes
from kantor.app.dataset.image_size import CHANNELS, size_text, spec_of
from kantor.app.dataset.prepare import packed_set, plan_pack
from kantor.app.dataset.recover import copies_in_cache
from kantor.app.evaluation.image_sets import SEED_BLOCK, GeneratedImages, RealImages, choose_images, sample_labels
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.load_model import load_generator
from kantor.config.base import parse_size
from kantor.config.data import DataConfig
from kantor.config.io import layered, overridden, read_toml
from kantor.config.schema import Config
from kantor.data.loading.holdout import split
from kantor.data.loading.image_set import ImageSet
from kantor.data.loading.store import Store, is_packed
from kantor.data.sources.python_object import PREFIX
from kantor.data.sources.recognise import GLYPHS, place
from kantor.errors import ConfigError, ModelError
from kantor.export.weights import Card
from kantor.metrics.evaluate import MIN_IMAGES
from kantor.runs import directory
from kantor.types import ImageSpec

LARGEST_SIDE = 256
"""Images of a folder are shrunk to this side if no size is given."""


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


def find_subject(options: EvaluateOptions, note: Note) -> Subject:
    """Loads the model that `options.subject` names, and notes its moment; anything else is taken for images."""
    text = options.subject
    if not directory.names_a_run(text, options.runs) and (
        text == GLYPHS or text.startswith(PREFIX) or _holds_images(place(text))
    ):
        for flag in (*(["--raw"] if options.raw else []), *options.moment_flags):
            raise ConfigError(flag, f"{text} is a set of images, not a run", "leave it out, or name a run")
        if options.truncation != 1:
            raise ConfigError("--truncation", f"{text} is a set of images", "leave it out, or name a model")
        return Subject(text)
    try:
        network, card, home = load_generator(text, options.runs, options.raw, options.moment, note=note)
    except ConfigError as error:
        if error.where != "generator.name":
            raise
        raise ModelError(text, f"its generator {error.what}", error.do) from error
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


@dataclass(frozen=True)
class Reference:
    """The dataset of real images.

    Attributes:
        training, held_out: its parts; held_out is None if nothing was held out.
        compared: the part that the images to score are compared with.
        data: its configuration.
        spec: size and channels of the images that are compared.
        classes: of the model, that these images are of; empty for all.
    """

    training: ImageSet
    held_out: ImageSet | None
    compared: ImageSet
    data: DataConfig
    spec: ImageSpec
    classes: tuple[str, ...] = ()


def open_reference(options: EvaluateOptions, subject: Subject, cache: DatasetCache) -> Reference:
    """Opens the dataset, packed at the size of the subject's images."""
    if options.held_out and (options.against is not None or not (subject.config and subject.config.data.holdout)):
        named = options.against is not None
        what = "cannot be combined with --against" if named else "no images were held out of training"
        raise ConfigError("--held-out", what, "train with --set data.holdout=10%, and name that run alone")
    store, config = _open_store(options, subject, cache)
    spec = subject.card.spec if subject.card else spec_of(config, store)
    if not config.data.holdout:
        return Reference(store, None, store, config.data, spec)
    training, held_out = split(store, config.data.holdout)
    if options.held_out and held_out.count < MIN_IMAGES:
        what = f"{held_out.count} of {store.count:,} images were held out of training"
        raise ConfigError("--held-out", what, f"hold out {MIN_IMAGES} or more, or leave it out")
    cache.note(f"{training.count:,} training images, {held_out.count:,} held out")
    compared = held_out if options.held_out else training
    return Reference(training, held_out if held_out.count else None, compared, config.data, spec)


def _open_store(options: EvaluateOptions, subject: Subject, cache: DatasetCache) -> tuple[Store, Config]:
    config = subject.config or Config()
    fields = options.fields
    if options.against is not None:
        config = config.model_copy(update={"data": _data_config(config, options.against)})
    elif subject.config is None:
        what = f"{'a model without its run' if subject.card else 'a set of images'} has no training set to compare with"
        raise ConfigError(subject.name, what, "name real images with --against")
    if subject.card:
        fields |= _spec_fields(subject.card.spec, fields, config)
    elif not {"data.size", "data.channels"} <= fields.keys():
        specs = [_native_spec(name, fields) for name in (subject.name, config.data.source)]
        smaller = min(specs, key=lambda spec: spec.height * spec.width)  # scores of enlarged images mean little
        fields = _spec_fields(smaller._replace(channels=specs[1].channels), {}, config) | fields
    config = overridden(config, fields)
    if subject.config is not None and options.against is None and config.data.source.startswith(PREFIX):
        cache.note("the images come from a custom source, which this process must know")
    config = _use_packed_size(config)
    if subject.run is None or options.against is not None:
        return packed_set(config, LARGEST_SIDE, cache)[:2]
    return _training_data(subject.run, config, cache), config


def images_to_score(
    options: EvaluateOptions,
    subject: Subject,
    real: RealImages,
    device: torch.device,
    cache: DatasetCache,
    classes: Sequence[str] = (),
    skipped: int = 0,
) -> RealImages | GeneratedImages:
    """Images of the subject: generated on demand, of `classes` alone if there are some, or packed like `real`.

    Args:
        skipped: how many seeds are taken by others.
    """
    if subject.network is not None and subject.card is not None:
        seed, count = options.first_seed, options.image_count
        if not 0 <= seed < 2**40:
            raise ConfigError(f"--seed {seed}", "is out of range", f"choose 0 to {2**40 - 1}")
        return GeneratedImages(
            network=subject.network.to(device),
            config=subject.card.generator,
            count=count,
            first_seed=seed * SEED_BLOCK + skipped,
            classes=sample_labels(real, subject.card.class_names, count, seed, classes),
            truncation=options.truncation,
        )
    fields = {"data.source": subject.name, **_spec_fields(real.spec, {}, Config())}
    shared = ("data.fit", "data.crop", "data.max_bad")
    fields |= {name: options.fields[name] for name in shared if name in options.fields}
    store, _, _ = packed_set(_use_packed_size(overridden(Config(), fields)), real.spec.height, cache)
    return choose_images(store, options.image_count, real.spec)


def _data_config(config: Config, source: str) -> DataConfig:
    """Configuration of a dataset that the user names.

    All of it is used, whatever fraction a run trained on, so that runs can be compared. How images become the right shape
    stays as in the run; so do the settings of generated datasets.
    """
    names, known = ["crop", "fit", "background"], config.data.source
    by_name = GLYPHS in (source, known) or source.startswith(PREFIX) or known.startswith(PREFIX)
    if source == known if by_name else place(source).resolve() == place(known).resolve():
        names += ["glyphs", "stack"]
    return DataConfig(source=source, **{name: getattr(config.data, name) for name in names})


def _use_packed_size(config: Config) -> Config:
    """Sets `data.pack_size` of a packed dataset of larger images, so that they are shrunk as in training."""
    source, size = Path(config.data.source), config.data.size
    if size == "auto" or config.data.pack_size != "auto" or not is_packed(source):
        return config
    packed_spec = Store.open(source).spec
    if packed_spec[:2] == parse_size(size):
        return config
    return overridden(config, {"data.pack_size": size_text(packed_spec)})


def _training_data(run: Path, config: Config, cache: DatasetCache) -> Store:
    """The dataset that a run was trained on; its packed copy if the images are gone."""
    expected = environment.read(run / directory.ENVIRONMENT).get("data_fingerprint")
    if copies := copies_in_cache(config, expected, cache):
        return copies[0]
    store, _, _ = packed_set(config, LARGEST_SIDE, cache)
    if expected is not None and store.fingerprint != expected:
        cache.note(f"{config.data.source} has changed since this run was trained ({store.count:,} images now)")
    return store


def _native_spec(source: str, fields: dict[str, Any]) -> ImageSpec:
    """Size and channels of the images as they are, or as packed."""
    if is_packed(Path(source)):
        return Store.open(Path(source)).spec
    return plan_pack(overridden(Config(), {**fields, "data.source": source}), LARGEST_SIDE, no_notes).spec


def _spec_fields(spec: ImageSpec, requested: dict[str, Any], config: Config) -> dict[str, Any]:
    """Size and channels as fields of [data]. Raises ConfigError if `requested` has others."""
    fields = {"data.size": size_text(spec), "data.channels": CHANNELS[spec.channels]}
    for name, value in fields.items():
        if name in requested and overridden(config, {name: requested[name]}) != overridden(config, {name: value}):
            flag = f"--{name.removeprefix('data.')}"
            raise ConfigError(flag, f"the images to score are {spec}", "leave it out")
    return fields
