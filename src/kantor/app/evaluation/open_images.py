"""Opens the images to compare: real ones, and those to score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from kantor.app import environment
from kantor.app.dataset.cache import DatasetCache, Note, no_notes
from kantor.app.dataset.image_size import CHANNELS, size_text
from kantor.app.dataset.prepare import packed_set, plan_pack
from kantor.app.dataset.recover import copy_in_cache
from kantor.app.evaluation.image_sets import SEED_BLOCK, GeneratedImages, RealImages, choose_images, sample_labels
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.evaluation.subject import Subject
from kantor.config.base import parse_size
from kantor.config.data import DataConfig
from kantor.config.io import overridden
from kantor.config.schema import Config
from kantor.data.loading.holdout import split
from kantor.data.loading.image_set import ImageSet
from kantor.data.loading.store import Store, is_packed
from kantor.data.sources import GLYPHS, place
from kantor.data.sources.python_object import PREFIX
from kantor.errors import ConfigError
from kantor.metrics.evaluate import MIN_IMAGES
from kantor.runs import directory
from kantor.types import ImageSpec

LARGEST_SIDE = 256
"""Images of a folder are shrunk to this side if no size is given."""


def open_reference(options: EvaluateOptions, subject: Subject, cache: DatasetCache) -> tuple[Store, Config]:
    """The dataset of real images, packed at the size of the subject's images, and its configuration."""
    config = subject.config or Config()
    fields = options.fields
    if options.against is not None:
        config = config.model_copy(update={"data": _data_config(config, options.against)})
    elif subject.config is None:
        what = f"{subject.name} does not say which images it is to be compared with"
        raise ConfigError("--against", what, "name them")
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


def split_reference(
    store: Store, config: Config, options: EvaluateOptions, note: Note
) -> tuple[ImageSet, ImageSet | None]:
    """(training set, held-out set); the second is None if nothing was held out."""
    if not config.data.holdout:
        return store, None
    training, held_out = split(store, config.data.holdout)
    if options.held_out and held_out.count < MIN_IMAGES:
        what = f"{held_out.count} of {store.count:,} images were held out of training"
        raise ConfigError("--held-out", what, f"hold out {MIN_IMAGES} or more, or leave it out")
    note(f"{training.count:,} training images, {held_out.count:,} held out")
    return training, held_out if held_out.count else None


def images_to_score(
    options: EvaluateOptions,
    subject: Subject,
    real: RealImages,
    device: torch.device,
    spec: ImageSpec,
    cache: DatasetCache,
) -> RealImages | GeneratedImages:
    """Images of the subject: generated on demand, or packed like `real`."""
    if subject.network is not None and subject.card is not None:
        if not 0 <= options.seed < 2**40:
            raise ConfigError(f"--seed {options.seed}", "is out of range", f"choose 0 to {2**40 - 1}")
        return GeneratedImages(
            network=subject.network.to(device),
            config=subject.card.generator,
            count=options.count,
            first_seed=options.seed * SEED_BLOCK,
            classes=sample_labels(real, subject.card.class_names, options.count, options.seed),
            truncation=options.truncation,
        )
    fields = {"data.source": subject.name, **_spec_fields(spec, {}, Config())}
    kept_flags = ("data.fit", "data.crop", "data.max_bad")
    fields |= {name: value for name, value in options.fields.items() if name in kept_flags}
    config = _use_packed_size(overridden(Config(), fields))
    store, _, _ = packed_set(config, spec.height, cache)
    return choose_images(store, options.count, spec)


def _data_config(config: Config, source: str) -> DataConfig:
    """Configuration of a dataset that the user names.

    All of it is used, whatever share a run trained on, so that runs can be compared. How images become the right shape
    stays as in the run; so do the settings of generated datasets.
    """
    kept = ["crop", "fit", "background"]
    if _same_source(source, config.data.source):
        kept += ["glyphs", "stack"]
    return DataConfig(source=source, **{name: getattr(config.data, name) for name in kept})


def _same_source(a: str, b: str) -> bool:
    if GLYPHS in (a, b) or a.startswith(PREFIX) or b.startswith(PREFIX):
        return a == b
    return place(a).resolve() == place(b).resolve()


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
    if (packed_copy := copy_in_cache(config, expected, cache)) is not None:
        return packed_copy
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
