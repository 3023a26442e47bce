"""Going on with a run: its configuration and its newest checkpoint that verifies."""

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
from kantor.runs.events import read_events
from kantor.runs.run_state import RunState
from kantor.sinks.metrics_csv import read_metrics

MAY_CHANGE = (
    "train.tick_images", "train.sample_images", "train.snapshot_images", "train.score_images",
    "score.metrics", "score.features", "score.count", "score.best",
    "train.micro_batch", "train.record", "train.compile",  # the same steps, to rounding and but for the masks of dropout
    "data.source", "data.labels",  # where they lie: what they are is told by their fingerprint
)  # fmt: skip
_MAY_BE_EDITED = (*MAY_CHANGE, "train.images")  # config.toml has a new length before the next checkpoint knows of it
_MUST_BE_FILLED = ("train.images", "train.precision", "data.size", "data.channels")
_LISTED = 5


def resumed_config(
    run: Path,
    config_file: Path | None,
    overrides: Mapping[str, Any],
    saved: RunState | None = None,
) -> Config:
    """The configuration that the run began with, but for what may change on the way, if asked for: the intervals
    between rows, sheets and saves, and the place where the images lie.

    Args:
        saved: the checkpoint to resume from, which knows what the run began with.
    Raises:
        ConfigError: the user asks for another one, or has edited config.toml; lists what differs.
    """
    path = run / directory.CONFIG
    config = layered(Config(), read_toml(path), str(path))
    if saved is not None:
        _refuse_edits(path, config, saved.config())
    _refuse_auto(path, config, saved)
    wanted = config
    if config_file is not None:
        wanted = layered(wanted, read_config(config_file), str(config_file))
    wanted = absolute_source(overridden(wanted, overrides))
    changed = _listed(config, wanted, MAY_CHANGE)
    if changed:
        raise ConfigError(
            "--resume",
            f"a run goes on with the configuration it began with, and this differs: {changed}",
            "leave that out, or start a new run",
        )
    return wanted


def _refuse_edits(path: Path, config: Config, original: Config) -> None:
    if changed := _listed(original, config, _MAY_BE_EDITED):
        what = f"was edited, but a run goes on with the configuration it began with: {changed}"
        raise ConfigError(path, what, "put that back, or start a new run with --config")


def _refuse_auto(path: Path, config: Config, saved: RunState | None) -> None:
    """Fields that were filled when the run began and must stay so."""
    original = saved.config() if saved else None
    for name in _MUST_BE_FILLED:
        section, _, field = name.partition(".")
        if getattr(getattr(config, section), field) == "auto":
            value = getattr(getattr(original, section), field) if original else None
            do = f"write {field} = {value}" if value else "write what it was, or start a new run"
            raise ConfigError(path, f'{name} is "auto", and a run that goes on needs its value', do)


def _listed(old: Config, new: Config, allowed: tuple[str, ...]) -> str:
    """ "train.batch: 64 -> 32, ...": the first few fields that differ and may not."""
    differs = [
        f"{name}: {_shown(a)} -> {_shown(b)}" for name, (a, b) in difference(old, new).items() if name not in allowed
    ]
    more = len(differs) - _LISTED
    return ", ".join(differs if more <= 1 else [*differs[:_LISTED]]) + (f" and {more} more" if more > 1 else "")


def _shown(value: Any) -> str:
    text = "(none)" if value in (None, "") else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def open_checkpoint(run: Path, note: Callable[[str], None]) -> RunState | None:
    """The newest checkpoint that verifies; None where the run was killed before its first save.

    Damaged ones are named to the user and passed over.

    Raises:
        ModelError: there are checkpoints, but all are damaged, or there were some: nothing is overwritten.
        DataError: a file beside them, which is to grow, is damaged.
    """
    folder = run / directory.CHECKPOINTS
    path, faults = checkpoints.last(folder)
    if path is None and faults:
        fault = faults[0]
        older_would_do = isinstance(fault, DamagedCheckpointError)
        do = "bring back a copy, or start a new run" if older_would_do else fault.do
        raise ModelError(fault.where, f"{fault.what}, and no other checkpoint is whole", do)
    if path is None and (proof := _proof_of_a_save(run)):
        what = f"the run was saved ({proof}), but its checkpoints are gone"
        raise ModelError(folder, what, "bring them back, or start a new run")
    for fault in faults:
        note(f"{fault.where} {fault.what}; {_passed_over(fault)}")
    if path is None:
        note("there is no checkpoint to go on from: the run starts again from its first step")
        return None
    saved = RunState.load(path)
    _check_lines(run, saved.listeners)
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


def resumed_line(saved: RunState) -> str:
    """Where a run resumes, once nothing has been refused."""
    return f"resumed at {saved.images_seen:,} images from {saved.path}"


def _passed_over(fault: ModelError) -> str:
    return "skipped" if isinstance(fault, DamagedCheckpointError) else f"skipped; {fault.do}"


def _proof_of_a_save(run: Path) -> str:
    """The file that tells that the run was saved before; "" where none does.

    A save writes the generator before the checkpoint: killed between the two, a run has a generator, an empty folder
    of checkpoints, and events without a save.
    """
    events = run / directory.EVENTS
    if any(event.get("event") == "saved" for event in read_events(events)):
        return events.name
    begun = events.exists() and (run / directory.CHECKPOINTS).is_dir()
    return directory.GENERATOR if (run / directory.GENERATOR).exists() and not begun else ""


def _check_lines(run: Path, listeners: Mapping[str, Any]) -> None:
    """Raises DataError where new lines would follow damaged ones. What lies past the checkpoint is cut off anyway."""
    metrics = listeners.get(directory.METRICS, {})
    read_metrics(run / directory.METRICS, metrics.get("offset"))
    directory.require_file(run / directory.EVENTS)
