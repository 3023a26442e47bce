"""Finds a run of the same configuration, so that the user can be offered to resume it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from kantor.app import environment
from kantor.app.training.intervals import DEFAULT_BUDGET_S
from kantor.app.training.length import total_images
from kantor.app.training.options import TrainOptions
from kantor.app.training.resume import MAY_CHANGE
from kantor.config.io import difference, layered, read_toml
from kantor.config.schema import Config
from kantor.errors import UserError
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory

_LENGTHS = ("train.images", "train.epochs")
_DECIDED_LATER = "ema.warmup"  # with init_from


@dataclass(frozen=True)
class EarlierRun:
    """A run of the same configuration."""

    path: Path
    images_seen: int

    def __str__(self) -> str:
        return (
            f"{self.path} has the same configuration and has seen {self.images_seen:,} images; "
            f"--resume {int(self.path.name.partition('-')[0])} resumes it"
        )


def find_earlier_run(config: Config, fingerprint: str, runs: Path) -> EarlierRun | None:
    """The newest run in `runs` with this configuration, except for lengths and intervals, on these images.

    Args:
        config: before lengths and intervals are decided.
        fingerprint: of the training set.
    """
    may_differ = {*MAY_CHANGE, *_LENGTHS, _DECIDED_LATER}
    for run in reversed(directory.listed(runs)):
        try:
            if environment.read(run / directory.ENVIRONMENT).get("data_fingerprint") != fingerprint:
                continue
            earlier = layered(Config(), read_toml(run / directory.CONFIG), str(run))
            if difference(earlier, config).keys() - may_differ:
                continue
            newest, _ = checkpoints.last(run / directory.CHECKPOINTS)
        except UserError:  # of another version, or damaged: it does not concern a new run
            continue
        if newest is not None:
            return EarlierRun(run, int(newest.name))
    return None


def options_to_resume(options: TrainOptions, config: Config, earlier: EarlierRun, count: int) -> TrainOptions | None:
    """The options that resume `earlier` up to the length asked for; None if it is as long already.

    Args:
        count: images in the training set.
    """
    if isinstance(config.train.images, int) and options.epochs is None and options.images is None:
        options = replace(options, images=config.train.images)
    overrides = {name: value for name, value in options.overrides.items() if name not in _LENGTHS}
    options = replace(options, resume=str(earlier.path), overrides=overrides, config_file=None)
    total = total_images(options, count)
    if total is not None:
        return options if total > earlier.images_seen else None
    return options if options.budget_s is not None else replace(options, budget_s=DEFAULT_BUDGET_S)
