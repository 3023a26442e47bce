"""Offers and opens runs to resume, at an intact checkpoint; run.initial_state restores state and data position."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kantor.app import environment
from kantor.app.dataset.prepare import absolute_source
from kantor.app.options import options_of
from kantor.app.training.going_on import command, weights_fit
from kantor.app.training.intervals import DEFAULT_BUDGET_S
from kantor.app.training.length import held_share, total_images
from kantor.app.training.options import TrainOptions
from kantor.app.training.terminal import Terminal
from kantor.config.io import difference, layered, leaves, overridden, read_config, read_toml
from kantor.config.schema import Config
from kantor.data.loading.image_set import ImageSet
from kantor.data.sources.python_object import PREFIX
from kantor.errors import ConfigError, ModelError, UserError
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory
from kantor.runs.checkpoint import DamagedCheckpointError
from kantor.runs.run_state import RunState
from kantor.sinks.events_log import read_events
from kantor.sinks.metrics_csv import read_metrics

MAY_CHANGE = (
    "train.tick_images", "train.sample_images", "train.snapshot_images", "train.score_images",
    "score.metrics", "score.features", "score.count", "score.best", "train.keep",
    "train.micro_batch", "train.record", "train.compile",  # the same steps, except for rounding and masks of dropout
    "data.source", "data.labels",  # paths: the fingerprint says whether the images are the same
)  # fmt: skip
_MAY_BE_EDITED = (*MAY_CHANGE, "train.images")  # config.toml has a new length before the next checkpoint has
_LENGTHS = ("train.images", "train.horizon_images", "train.epochs")
_MAY_DIFFER = {*MAY_CHANGE, *_LENGTHS, "ema.warmup"}  # which is decided later, with init_from
_MEASURED = ("generator.slim", "critic.slim")
_DECIDED_AT_THE_START = (
    "train.images", "train.precision", "train.augment", "data.size", "data.channels", *_MEASURED,
)  # fmt: skip
_MAX_LISTED = 5


def offer_to_resume(config: Config, store: ImageSet, options: TrainOptions, terminal: Terminal) -> TrainOptions | None:
    """The options that resume the newest run of this configuration, if there is one and the user prefers that."""
    newest = _newest_checkpoint(config, store.fingerprint, options)
    if newest is None:
        return None
    run, images_seen = newest.parents[1], int(newest.name)
    if isinstance(config.train.images, int) and options.epochs is None and options.images is None:
        options = replace(options, images=config.train.images)
    total = total_images(options, store.count)
    budget_s = DEFAULT_BUDGET_S if total is None and options.budget_s is None else options.budget_s
    line = f"{run} was trained on these images with these settings and has seen {images_seen:,} images"
    if total is not None and total <= images_seen:
        terminal.note(f"{line}, as many as asked for here; a second run like it begins now")
        return None
    length = ["--time-budget", f"{budget_s:g}s"] if total is None else ["--images", str(total)]
    going_on = shlex.join(["kantor", "train", "--resume", str(run), *length])
    terminal.note(line if options.in_series else f"{line}; to train that one on instead of a new one: {going_on}")
    if options.in_series and options.budget_s is not None:  # what is left of it
        budget_s = max(options.budget_s - _seconds(run), 1.0)
    if options.dry_run or not (options.in_series or terminal.ask(f"resume {run} (y), or start a new run (N)?")):
        return None
    # all else is as in the run, though maybe in other words ("auto")
    unset = {o.name: o.default for o in options_of(TrainOptions) if o.sets and o.sets not in MAY_CHANGE}
    overrides = {name: value for name, value in options.overrides.items() if name in MAY_CHANGE}
    return replace(
        options,
        **unset,
        resume=str(run),
        overrides=overrides,
        batch=None,
        slim=None,
        config_file=None,
        budget_s=budget_s,
    )


def finished_run(config: Config, store: ImageSet, options: TrainOptions) -> Path | None:
    """The newest run of this configuration and name, if it has reached its length, or used up its time."""
    newest = _newest_checkpoint(config, store.fingerprint, options)
    if newest is None:
        return None
    run, total = newest.parents[1], total_images(options, store.count)
    ends = [event for event in read_events(run / directory.EVENTS) if event.get("event") in ("started", "finished")]
    reason = ends[-1].get("reason") if ends else None
    reached = reason == "done" if total is None else total <= int(newest.name)
    return run if reached or reason == "time-budget" else None


def _seconds(run: Path) -> float:
    """That a run has been trained for."""
    seconds = read_metrics(run / directory.METRICS).get("seconds", np.zeros(0))
    return float(seconds[-1]) if len(seconds) else 0.0


def _newest_checkpoint(config: Config, fingerprint: str, options: TrainOptions) -> Path | None:
    """Of the newest run with this configuration, except for lengths and intervals, on these images; in a series, of this name.

    Where this one says "auto" for what is measured once training begins, the run may have any number.
    """
    undecided = {field for field in _MEASURED if leaves(config.model_dump()).get(field) == "auto"}
    if options.batch == "auto":
        undecided.add("train.batch")
    for run in reversed(directory.listed(options.runs)):
        if options.in_series and directory.name_of(run) != directory.safe_name(options.name or ""):
            continue
        try:
            if environment.read(run / directory.ENVIRONMENT).get("data_fingerprint") != fingerprint:
                continue
            earlier = layered(Config(), read_toml(run / directory.CONFIG), str(run))
            if difference(earlier, config).keys() - _MAY_DIFFER - undecided:
                continue
            newest, _ = checkpoints.last(run / directory.CHECKPOINTS)
        except UserError:  # of another version, or damaged: it does not concern a new run
            continue
        if newest is not None:
            return newest
    return None


def resumed_config(run: Path, options: TrainOptions, saved: RunState | None, from_budget: bool) -> Config:
    """The run's configuration with the user's changes; only fields of `MAY_CHANGE` may change.

    Raises ConfigError if the user changes others, or has edited config.toml, so that it differs from that in `saved`.

    Args:
        from_budget: the run's length came from a time budget.
    """
    path = run / directory.CONFIG
    config = layered(Config(), read_toml(path), str(path))
    original = saved.config() if saved else None
    # a run begun before this field was gets its horizon when it resumes, maybe before the next checkpoint
    chosen_late = original is not None and original.train.horizon_images == "auto"
    lengthened = from_budget and saved is not None and _rates_are_held(saved)  # it may have got another length since
    may_be_edited = (*_MAY_BE_EDITED, "train.horizon_images") if chosen_late or lengthened else _MAY_BE_EDITED
    if original and (edits := _listed(original, config, may_be_edited)):
        what = f"was edited, but a run keeps its configuration: {edits}"
        raise ConfigError(path, what, f"undo the edits, or {as_a_new_run(run, options, config, saved)}")
    for name in _DECIDED_AT_THE_START:
        section, _, field = name.partition(".")
        if getattr(getattr(config, section), field) == "auto":
            value = getattr(getattr(original, section), field) if original else None
            do = f"write {field} = {value}" if value is not None else "write its value, or start a new run"
            raise ConfigError(path, f'{name} is "auto", and resuming needs its value', do)
    changed = config
    if options.config_file is not None:
        changed = layered(changed, read_config(options.config_file), str(options.config_file))
    changed = absolute_source(overridden(changed, options.fields))
    changes = _listed(config, changed, MAY_CHANGE)
    if options.batch == "auto":
        changes = f"train.batch: {config.train.batch} -> auto"
    if changes:
        what = f"a run keeps its configuration, and this differs: {changes}"
        raise ConfigError("--resume", what, f"leave that out, or {as_a_new_run(run, options, changed, saved)}")
    return changed


def as_a_new_run(run: Path, options: TrainOptions, changed: Config, saved: RunState | None) -> str:
    """What to do to go on from a run with these changes of its configuration: the whole command, if its weights fit."""
    if saved is None or not weights_fit(saved, changed):
        return "start a new run"
    if changed.data.source.startswith(PREFIX):  # which the command line does not know
        call = f"kantor.train({changed.data.source!r}, init_from={str(run)!r}, keep_counters=True)"
        return f"go on from it as a new run with your changes: {call}"
    return f"go on from it as a new run: {command(run, options, changed, saved.images_seen)}"


def _rates_are_held(saved: RunState) -> bool:
    """Whether no learning rate has depended on the length of the run yet."""
    config = saved.config()
    assert isinstance(config.train.images, int)
    return saved.images_seen <= held_share(config) * config.train.images


def _listed(old: Config, new: Config, allowed: tuple[str, ...]) -> str:
    """ "train.batch: 64 -> 32, ...": the first few fields that differ, without those allowed to."""
    changes = {name: pair for name, pair in difference(old, new).items() if name not in allowed}
    lines = [f"{name}: {_shown(a)} -> {_shown(b)}" for name, (a, b) in changes.items()]
    more = len(lines) - _MAX_LISTED
    return ", ".join(lines) if more <= 1 else f"{', '.join(lines[:_MAX_LISTED])} and {more} more"


def _shown(value: Any) -> str:
    text = "(none)" if value in (None, "") else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def open_checkpoint(run: Path, note: Callable[[str], None]) -> RunState | None:
    """Loads the newest checkpoint that verifies, noting those skipped; None if the run was killed before its first save.

    Raises ModelError if all checkpoints are damaged or gone, DataError if new lines would follow damaged ones in a file
    that the run appends to; nothing is overwritten.
    """
    folder = run / directory.CHECKPOINTS
    path, faults = checkpoints.last(folder)
    if path is None and faults:
        fault = faults[0]
        do = "restore a copy, or start a new run" if isinstance(fault, DamagedCheckpointError) else fault.do
        raise ModelError(fault.where, f"{fault.what}, and no other checkpoint is intact", do)
    if path is None and (proof := _proof_of_a_save(run)):
        what = f"the run was saved ({proof}), but its checkpoints are gone"
        raise ModelError(folder, what, "restore them, or start a new run")
    if path is None:
        note("no checkpoint to resume from: the run starts again from its first step")
        return None
    for fault in faults:
        remedy = "" if isinstance(fault, DamagedCheckpointError) else f", {fault.do}"
        note(f"{fault.where} {fault.what}; skipped{remedy}")
    saved = RunState.load(path)
    offset = saved.listeners.get(directory.METRICS, {}).get("offset")  # lines after the checkpoint are cut off anyway
    read_metrics(run / directory.METRICS, offset)
    directory.require_file(run / directory.EVENTS)
    return saved


def rounding_changes(config: Config, saved: RunState | None) -> list[str]:
    """A line for each setting changed since the checkpoint that changes steps by rounding only."""
    changes = difference(saved.config(), config) if saved else {}
    return [
        f"{name}: {str(old).lower()} -> {str(new).lower()}: numbers will differ by rounding from those of an unbroken run"
        for name, (old, new) in changes.items()
        if name in ("train.micro_batch", "train.compile")
    ]


def _proof_of_a_save(run: Path) -> str:
    """Name of a file that proves an earlier save; "" if there is none.

    A run killed in its first save has a generator, no checkpoint, and events without a save.
    """
    events = run / directory.EVENTS
    if any(event.get("event") == "saved" for event in read_events(events)):
        return events.name
    begun = events.exists() and (run / directory.CHECKPOINTS).is_dir()
    return directory.GENERATOR if (run / directory.GENERATOR).exists() and not begun else ""
