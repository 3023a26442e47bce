"""Going on with a run: its configuration and its newest checkpoint that verifies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kantor.app.data import Progress, absolute_source, open_set
from kantor.config.io import difference, layered, overridden, read_toml
from kantor.config.schema import Config
from kantor.data.sources import GLYPHS
from kantor.data.sources.own import OWN, PREFIX
from kantor.data.split import Part, split
from kantor.data.store import Store
from kantor.errors import ConfigError, DataError, ModelError
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory

MAY_CHANGE = (
    "train.tick_images", "train.sample_images", "train.snapshot_images",
    "data.source", "data.labels",  # where they lie: what they are is told by their fingerprint
)  # fmt: skip


def resumed_config(run: Path, config_file: Path | None, overrides: Mapping[str, Any]) -> Config:
    """The configuration that the run began with, but for what may change on the way, if asked for: the intervals
    between rows, sheets and saves, and the place where the pictures lie.

    Raises:
        ConfigError: the user asks for another one; lists what differs.
    """
    config = layered(Config(), read_toml(run / directory.CONFIG), str(run / directory.CONFIG))
    wanted = config
    if config_file is not None:
        wanted = layered(wanted, read_toml(config_file), str(config_file))
    wanted = overridden(wanted, overrides)
    changed = difference(config, wanted)
    if any(name not in MAY_CHANGE for name in changed):
        listed = ", ".join(f"{name}: {old} -> {new}" for name, (old, new) in changed.items())
        raise ConfigError(
            "--resume",
            f"a run goes on with the configuration it began with, and this differs: {listed}",
            "leave that out, or start a new run",
        )
    return absolute_source(wanted)


def open_again(
    config: Config, expected: str | None, cache: Path, progress: Progress, note: Callable[[str], None]
) -> Store | Part:
    """The set that the run began with. Where its source is gone, its packed copy in the cache serves.

    Args:
        expected: fingerprint of what the run was trained on.
    Raises:
        DataError: the pictures are others, or gone.
    """
    source = config.data.source
    if source.startswith(PREFIX):
        gone = source.removeprefix(PREFIX) not in OWN
    else:
        gone = source != GLYPHS and not Path(source).exists()
    kept = _packed_copy(config, expected, cache) if gone else None
    if kept is not None:
        note(f"{source} is no longer there; its packed copy in the cache serves")
        return kept
    if gone and not source.startswith(PREFIX):
        do = "bring them back, or say where they lie now: --resume RUN with that folder or file as DATA"
        raise DataError(source, "the pictures of the run are no longer there", do)
    store, _, _ = open_set(config, 32, cache, progress, note)
    if store.fingerprint != expected:
        what = f"the pictures are not those that the run began with ({store.count:,} now)"
        raise DataError(source, what, "bring them back as they were, or start a new run")
    return store


def _packed_copy(config: Config, expected: str | None, cache: Path) -> Store | Part | None:
    for path in sorted((cache / "packs").glob("[0-9a-f]*")):
        with contextlib.suppress(DataError):
            store = Store.open(path)
            found = split(store, config.data.holdout)[0] if config.data.holdout else store
            if found.fingerprint == expected:
                store.verify()
                return found
    return None


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
