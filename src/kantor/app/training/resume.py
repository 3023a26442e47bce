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
from kantor.runs.events import read_events
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
_PARTS = {"config", "counters", "feed", "fingerprint", "listeners"}  # of a checkpoint's values


def resumed_config(
    run: Path,
    config_file: Path | None,
    overrides: Mapping[str, Any],
    found: checkpoints.Checkpoint | None = None,
) -> Config:
    """The configuration that the run began with, but for what may change on the way, if asked for: the intervals
    between rows, sheets and saves, and the place where the images lie.

    Args:
        found: the checkpoint to go on from, which knows what the run began with.
    Raises:
        ConfigError: the user asks for another one, or has edited config.toml; lists what differs.
    """
    path = run / directory.CONFIG
    config = layered(Config(), read_toml(path), str(path))
    if found is not None:
        _refuse_edits(path, config, found.values["config"])
    _refuse_auto(path, config, found)
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


def _refuse_edits(path: Path, config: Config, began_with: Any) -> None:
    try:
        original = layered(Config(), began_with, "the checkpoint")
    except ConfigError as error:
        what = f"the checkpoint has a configuration that this version cannot read ({error.where}: {error.what})"
        raise ModelError(path.parent, what, "go on with the version that began the run") from error
    if changed := _listed(original, config, _MAY_BE_EDITED):
        what = f"was edited, but a run goes on with the configuration it began with: {changed}"
        raise ConfigError(path, what, "put that back, or start a new run with --config")


def _refuse_auto(path: Path, config: Config, found: checkpoints.Checkpoint | None) -> None:
    """Fields that were filled when the run began and must stay so."""
    original = found.values["config"] if found else {}
    for name in _MUST_BE_FILLED:
        section, _, field = name.partition(".")
        if getattr(getattr(config, section), field) == "auto":
            value = original.get(section, {}).get(field)
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


def open_checkpoint(run: Path, note: Callable[[str], None]) -> checkpoints.Checkpoint | None:
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
        do = fault.do if fault.do != checkpoints.OLDER else "bring back a copy, or start a new run"
        raise ModelError(fault.where, f"{fault.what}, and no other checkpoint is whole", do)
    if path is None and (proof := _proof_of_a_save(run)):
        what = f"the run was saved ({proof}), but its checkpoints are gone"
        raise ModelError(folder, what, "bring them back, or start a new run")
    for fault in faults:
        note(f"{fault.where} {fault.what}; {_passed_over(fault)}")
    if path is None:
        note("there is no checkpoint to go on from: the run starts again from its first step")
        return None
    found = checkpoints.load(path)
    if lacking := sorted(_PARTS - found.values.keys()):
        raise ModelError(path, f"has no {' and no '.join(lacking)}", "use an older one")
    _check_lines(run, found.values["listeners"])
    return found


def rounds_otherwise(config: Config, found: checkpoints.Checkpoint | None) -> list[str]:
    """Lines on what was changed since the checkpoint and takes the same steps, to rounding."""
    if found is None:
        return []
    before, now = found.values["config"]["train"], config.train.model_dump()
    began_with = {name: before.get(name, default) for name, default in (("micro_batch", 0), ("compile", False))}
    return [
        f"train.{name}: {str(value).lower()} -> {str(now[name]).lower()}: numbers will differ by rounding from those of an unbroken run"
        for name, value in began_with.items()
        if value != now[name]
    ]


def resumed_line(run: Path, found: checkpoints.Checkpoint) -> str:
    """Where a run goes on, once nothing has been refused."""
    seen = int(found.values["counters"]["images_seen"])
    return f"resumed at {seen:,} images from {run / directory.CHECKPOINTS / f'{seen:09d}'}"


def _passed_over(fault: ModelError) -> str:
    return "it is passed over" + ("" if fault.do == checkpoints.OLDER else f": {fault.do}")


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


def _check_lines(run: Path, listeners: Any) -> None:
    """Raises DataError where new lines would follow damaged ones. What lies past the checkpoint is cut off anyway."""
    metrics = listeners.get(directory.METRICS, {}) if isinstance(listeners, dict) else {}
    read_metrics(run / directory.METRICS, metrics.get("offset"))
    directory.require_file(run / directory.EVENTS)
