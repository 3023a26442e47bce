"""Refuses options that cannot work, before images are packed."""

from __future__ import annotations

from pathlib import Path

import torch

from kantor.app.dataset.smaller import check_enlarging
from kantor.app.training.options import TrainOptions
from kantor.config.base import parse_size
from kantor.config.io import leaves, read_toml, to_toml
from kantor.config.schema import Config
from kantor.data.sources.python_object import PREFIX
from kantor.data.sources.recognise import GLYPHS, place
from kantor.errors import ConfigError, DataError
from kantor.nets import build_critic, build_generator, check_condition
from kantor.runs.manage import refuse_name
from kantor.types import ImageSpec


def check_options(options: TrainOptions, config: Config) -> None:
    """Raises ConfigError or DataError if `options`, which resolve to `config`, cannot work whatever the images are."""
    refuse_name(f"--name {options.name}", options.name or "")
    try:
        to_toml(config).encode()
    except UnicodeEncodeError as error:
        what = "has a name that is not valid text, so config.toml cannot hold it"
        raise DataError(config.data.source, what, "rename that file or folder") from error
    source = Path(config.data.source)
    if config.data.source != GLYPHS and source.is_dir() and options.runs.resolve().is_relative_to(source.resolve()):
        do = "add --runs ../runs, or name another folder outside"
        raise ConfigError(f"--runs {options.runs}", "lies inside the folder of images", do)
    for network in ("generator", "critic"):
        field = f"optimizer.{network}.lr"
        if field in options.fields and getattr(config.optimizer, network).schedule.kind == "pieces":
            do = f"set optimizer.{network}.schedule.rates, or optimizer.{network}.schedule.kind=constant too"
            raise ConfigError(f"--set {field}", "has no effect: the schedule sets the learning rates", do)
    check_enlarging(config)
    check_condition(config.generator, config.data.condition != "none")
    if config.data.size != "auto":
        spec = ImageSpec(*parse_size(config.data.size), 3)
        with torch.device("meta"):
            if config.generator.kind == "stack":  # which has one size of its own: refuses any other
                build_generator(config.generator, spec, guide=config.guide.controls)
            if config.critic.freeze and config.critic.kind != "custom":
                build_critic(config.critic, spec, guide=config.guide.controls)


def check_moved_source(options: TrainOptions) -> None:
    """Raises DataError if the new place of a resumed run's images does not exist."""
    source = str(options.fields.get("data.source", GLYPHS))
    if source != GLYPHS and not source.startswith(PREFIX) and not place(source).exists():
        do = "check the spelling, or leave it out: the run knows its own images"
        raise DataError(source, "no such file or folder", do)


def user_fields(options: TrainOptions) -> set[str]:
    """Fields that the user set, by flags or in a file; not those of a preset."""
    in_file = read_toml(options.config_file) if options.config_file else {}
    return {*options.fields, *leaves(in_file)} - {"extends"}


def preset_of(options: TrainOptions) -> str:
    """Name of the preset that the run starts from: the one that the configuration file extends, or that of --preset."""
    in_file = read_toml(options.config_file) if options.config_file else {}
    return str(in_file.get("extends", options.preset))
