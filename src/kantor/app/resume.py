"""Going on with a run: its configuration and its newest checkpoint that verifies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kantor.config.io import difference, layered, overridden, read_toml
from kantor.config.schema import Config
from kantor.errors import ConfigError, ModelError
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory

LOGGING = ("train.tick_images", "train.sample_images", "train.snapshot_images")  # may change on the way


def resumed_config(run: Path, config_file: Path | None, overrides: Mapping[str, Any]) -> Config:
    """The configuration that the run began with, with other intervals between rows, sheets and saves if asked for.

    Raises:
        ConfigError: the user asks for another one; lists what differs.
    """
    config = layered(Config(), read_toml(run / directory.CONFIG), str(run / directory.CONFIG))
    wanted = config
    if config_file is not None:
        wanted = layered(wanted, read_toml(config_file), str(config_file))
    wanted = overridden(wanted, overrides)
    changed = difference(config, wanted)
    if any(name not in LOGGING for name in changed):
        listed = ", ".join(f"{name}: {old} -> {new}" for name, (old, new) in changed.items())
        raise ConfigError(
            "--resume",
            f"a run goes on with the configuration it began with, and this differs: {listed}",
            "leave that out, or start a new run",
        )
    return wanted


def open_checkpoint(run: Path, note: Callable[[str], None]) -> checkpoints.Checkpoint | None:
    """The newest checkpoint that verifies; None where the run was killed before its first save.

    Damaged ones are named to the user and passed over.

    Raises:
        ModelError: there are checkpoints, but all are damaged: nothing is overwritten.
    """
    path, faults = checkpoints.last(run / directory.CHECKPOINTS)
    if path is None and faults:
        fault = faults[0]
        raise ModelError(
            fault.where, f"{fault.what}, and no other checkpoint is whole", "bring back a copy, or start a new run"
        )
    for fault in faults:
        note(f"{fault.where} {fault.what}; going back to the one before it")
    if path is None:
        note("there is no checkpoint to go on from: the run starts again from its first step")
        return None
    note(f"resumed at {int(path.name):,} pictures from {path}")
    return checkpoints.load(path)
