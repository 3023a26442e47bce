"""Resuming a run: its configuration and its newest checkpoint that verifies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kantor.app.dataset.prepare import absolute_source
from kantor.config.io import difference, layered, overridden, read_config, read_toml
from kantor.config.schema import Config
from kantor.errors import ConfigError, ModelError
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory
from kantor.runs.checkpoint import DamagedCheckpointError
from kantor.runs.run_state import RunState
from kantor.sinks.events_log import read_events
from kantor.sinks.metrics_csv import read_metrics

MAY_CHANGE = (
    "train.tick_images", "train.sample_images", "train.snapshot_images", "train.score_images",
    "score.metrics", "score.features", "score.count", "score.best",
    "train.micro_batch", "train.record", "train.compile",  # the same steps, except for rounding and masks of dropout
    "data.source", "data.labels",  # paths: the fingerprint says whether the images are the same
)  # fmt: skip
_MAY_BE_EDITED = (*MAY_CHANGE, "train.images")  # config.toml has a new length before the next checkpoint has
_MUST_BE_DECIDED = ("train.images", "train.precision", "data.size", "data.channels")
_MAX_LISTED = 5


def resumed_config(
    run: Path, config_file: Path | None, overrides: Mapping[str, Any], saved: RunState | None = None
) -> Config:
    """The run's configuration with the user's changes; only fields of `MAY_CHANGE` may change.

    Args:
        saved: the checkpoint to resume from, which has the configuration that the run began with.
    Raises:
        ConfigError: the user changes other fields, or has edited config.toml; lists the differences.
    """
    path = run / directory.CONFIG
    config = layered(Config(), read_toml(path), str(path))
    if saved is not None:
        _refuse_edits(path, config, saved.config())
    _refuse_auto(path, config, saved)
    changed = config
    if config_file is not None:
        changed = layered(changed, read_config(config_file), str(config_file))
    changed = absolute_source(overridden(changed, overrides))
    if changes := _listed(config, changed, MAY_CHANGE):
        what = f"a run keeps its configuration, and this differs: {changes}"
        raise ConfigError("--resume", what, "leave that out, or start a new run")
    return changed


def _refuse_edits(path: Path, config: Config, original: Config) -> None:
    if edits := _listed(original, config, _MAY_BE_EDITED):
        what = f"was edited, but a run keeps its configuration: {edits}"
        raise ConfigError(path, what, "undo the edits, or start a new run with --config")


def _refuse_auto(path: Path, config: Config, saved: RunState | None) -> None:
    """Raises ConfigError if a field that was decided when the run began is "auto" again."""
    original = saved.config() if saved else None
    for name in _MUST_BE_DECIDED:
        section, _, field = name.partition(".")
        if getattr(getattr(config, section), field) == "auto":
            value = getattr(getattr(original, section), field) if original else None
            do = f"write {field} = {value}" if value else "write its value, or start a new run"
            raise ConfigError(path, f'{name} is "auto", and resuming needs its value', do)


def _listed(old: Config, new: Config, allowed: tuple[str, ...]) -> str:
    """ "train.batch: 64 -> 32, ...": the first few fields that differ, without those allowed to."""
    differs = [
        f"{name}: {_shown(a)} -> {_shown(b)}" for name, (a, b) in difference(old, new).items() if name not in allowed
    ]
    more = len(differs) - _MAX_LISTED
    return ", ".join(differs if more <= 1 else [*differs[:_MAX_LISTED]]) + (f" and {more} more" if more > 1 else "")


def _shown(value: Any) -> str:
    text = "(none)" if value in (None, "") else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def open_checkpoint(run: Path, note: Callable[[str], None]) -> RunState | None:
    """Loads the newest checkpoint that verifies; None if the run was killed before its first save.

    Skips damaged ones with a note.

    Raises:
        ModelError: all checkpoints are damaged or gone; nothing is overwritten.
        DataError: a file that the run appends to is damaged.
    """
    folder = run / directory.CHECKPOINTS
    path, faults = checkpoints.last(folder)
    if path is None and faults:
        fault = faults[0]
        damaged = isinstance(fault, DamagedCheckpointError)
        do = "restore a copy, or start a new run" if damaged else fault.do
        raise ModelError(fault.where, f"{fault.what}, and no other checkpoint is intact", do)
    if path is None and (proof := _proof_of_a_save(run)):
        what = f"the run was saved ({proof}), but its checkpoints are gone"
        raise ModelError(folder, what, "restore them, or start a new run")
    for fault in faults:
        note(
            f"{fault.where} {fault.what}; skipped"
            + ("" if isinstance(fault, DamagedCheckpointError) else f", {fault.do}")
        )
    if path is None:
        note("no checkpoint to resume from: the run starts again from its first step")
        return None
    saved = RunState.load(path)
    _check_files(run, saved.listeners)
    return saved


def rounding_changes(config: Config, saved: RunState | None) -> list[str]:
    """A line for each setting changed since the checkpoint that changes steps by rounding only."""
    if saved is None:
        return []
    before, now = saved.config().train, config.train
    values = ((name, getattr(before, name), getattr(now, name)) for name in ("micro_batch", "compile"))
    return [
        f"train.{name}: {str(old).lower()} -> {str(new).lower()}: numbers will differ by rounding from those of an unbroken run"
        for name, old, new in values
        if old != new
    ]


def _proof_of_a_save(run: Path) -> str:
    """Name of a file that proves an earlier save; "" if there is none.

    A save writes the generator before the checkpoint: a run killed between the two has a generator, an empty folder of
    checkpoints, and events without a save.
    """
    events = run / directory.EVENTS
    if any(event.get("event") == "saved" for event in read_events(events)):
        return events.name
    begun = events.exists() and (run / directory.CHECKPOINTS).is_dir()
    return directory.GENERATOR if (run / directory.GENERATOR).exists() and not begun else ""


def _check_files(run: Path, listeners: Mapping[str, Any]) -> None:
    """Raises DataError if new lines would follow damaged ones; lines after the checkpoint are cut off anyway."""
    metrics = listeners.get(directory.METRICS, {})
    read_metrics(run / directory.METRICS, metrics.get("offset"))
    directory.require_file(run / directory.EVENTS)
