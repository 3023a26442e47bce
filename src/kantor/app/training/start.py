"""Training, from options to a run directory with images in it.

Both ways in, a new run and a resumed one, take the same numbered steps: 1 options, 2 dataset, 3 decisions, and then,
in `_build_and_run`, 4 build, 5 directory, 6 run.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from kantor import atomic
from kantor.app import environment
from kantor.app.asked import guided_line
from kantor.app.dataset.cache import DatasetCache, cache_folder
from kantor.app.dataset.image_size import default_side
from kantor.app.dataset.packing_news import SHEET, PackingNews
from kantor.app.dataset.prepare import open_set
from kantor.app.dataset.recover import open_again
from kantor.app.decisions import Decisions
from kantor.app.evaluation.during_training import plan_scores
from kantor.app.training.build import build, check_objective
from kantor.app.training.check_options import check_moved_source, check_options, preset_of
from kantor.app.training.choose_slim import choose_slim
from kantor.app.training.going_on import choose_whether_longer, configured_as_the_other, kept_images
from kantor.app.training.init_from import Weights, choose_weights, continue_ema, same_weights
from kantor.app.training.intervals import intervals_line
from kantor.app.training.length import choose_length, choose_resumed_length, restart_clock, resumed_length
from kantor.app.training.measured_choices import choose_batch, choose_compiled, choose_threads
from kantor.app.training.options import TrainOptions
from kantor.app.training.parts import Parts
from kantor.app.training.resume import (
    as_a_new_run,
    finished_run,
    offer_to_resume,
    open_checkpoint,
    resumed_config,
    rounding_changes,
)
from kantor.app.training.run import Run, initial_state
from kantor.app.training.run_name import run_name
from kantor.app.training.terminal import Terminal
from kantor.app.training.time_told import TimeTold
from kantor.app.training.trial import explain_out_of_memory
from kantor.config.io import resolve, to_toml
from kantor.config.schema import Config
from kantor.controls import guide_of
from kantor.data.loading import layout
from kantor.data.loading.image_set import ImageSet, class_counts
from kantor.engine.augment import choose_augmentation
from kantor.engine.device import choose_device, describe_device, keep_memory, return_memory
from kantor.engine.precision import choose_precision
from kantor.runs import directory
from kantor.runs.run_state import RunState
from kantor.sinks.tensorboard import require_tensorboard


def train(options: TrainOptions, terminal: Terminal) -> tuple[Path, str]:
    """Trains a new run, or resumes one; returns the run directory (in a dry run, the folder of runs) and why it ended.

    Reasons are "done", "time-budget", "signal", "dry-run" or that of a request.
    """
    device = choose_device(options.device)
    if options.tensorboard:
        require_tensorboard()
    threads = torch.get_num_threads()  # which a run may change
    if device.type == "cpu":
        keep_memory()
    try:
        return (_start if options.resume is None else _resume)(options, device, terminal)
    except BaseException:
        if options.resume is None and not options.dry_run:
            _remove_packing_sheet(options.runs)
        raise
    finally:
        torch.set_num_threads(threads)
        return_memory()


def _start(options: TrainOptions, device: torch.device, terminal: Terminal) -> tuple[Path, str]:
    """Trains a new run."""
    # 1. Options: refuse what cannot work before images are packed
    options = configured_as_the_other(options, terminal.note)
    config = resolve(options.preset, options.config_file, options.fields)
    options = replace(options, preset=preset_of(options))
    if config.train.images == "auto" and (options.epochs, options.images, options.budget_s) == (None, None, None):
        options = replace(options, epochs=config.train.epochs or None)
    check_options(options, config)
    score_plan = plan_scores(config, device)
    decisions = Decisions(config)
    weights = choose_weights(decisions, options, terminal.note)
    choose_whether_longer(decisions, options, weights)

    # 2. Dataset: pack it, or find it packed
    told = TimeTold(options, config.train.images, device, terminal.note)
    sheet = None if options.dry_run else options.runs / SHEET
    news = PackingNews(terminal.note, sheet, told.before_packing)
    cache = DatasetCache(cache_folder(options.cache), terminal.packing, terminal.note, news)
    store, config, entries = open_set(decisions.config, default_side(device.type), cache)
    decisions.add(config, entries)
    options = restart_clock(options, "starting and packing", terminal.note)
    precision, reason = choose_precision(config.train.precision, device)
    decisions.set("train.precision", precision, reason, announce=config.train.precision == "auto")
    if config.train.augment == "auto":
        decisions.set("train.augment", *choose_augmentation(store.count))
    if options.in_series and (done := finished_run(decisions.config, store, options)) is not None:
        terminal.note(f"{done} is this run, and done")
        return done, "done"
    if (resuming := offer_to_resume(decisions.config, store, options, terminal)) is not None:
        return _resume(resuming, device, terminal)
    if store.labelled and not decisions.config.train.conditional:
        terminal.note(f"{len(store.class_names)} classes found but not used; --conditional trains with them")

    # 3. Decisions: fields that are "auto", each measured with those before it
    from_budget = config.train.images == "auto" and options.images is None and options.epochs is None
    _record_facts(decisions, store, device, options)
    parts = build(decisions.config, store, device, score_plan)
    choose_slim(decisions, parts, options)
    parts = parts.with_config(decisions.config)
    if weights:
        continue_ema(decisions, parts, weights, options)
    with explain_out_of_memory(parts):
        rate = choose_threads(decisions, parts, options.config_file)
    if options.batch == "auto":
        choose_batch(decisions, parts, options, terminal.note)
        rate = None
        check_objective(parts.with_config(decisions.config))
    with explain_out_of_memory(parts.with_config(decisions.config)):
        options = choose_compiled(decisions, parts, options, terminal.note)
        seen = kept_images(decisions.config, weights)
        rate = choose_length(decisions, parts, options, seen, None if decisions.config.train.compile else rate)
    told.before_training(decisions.config, parts.spec, rate)
    parts = parts.with_config(decisions.config)
    run_directory = _new_directory(options, parts, weights, from_budget)
    with explain_out_of_memory(parts):
        return _build_and_run(decisions, parts, options, terminal, weights, run_directory, from_budget)


def _resume(options: TrainOptions, device: torch.device, terminal: Terminal) -> tuple[Path, str]:
    """Trains a run that was begun earlier."""
    # 1. Options: the run's own, with the changes that are allowed
    run = directory.find(str(options.resume), options.runs, "--resume ")
    check_moved_source(options)
    with directory.locked(run):
        env = environment.read(run / directory.ENVIRONMENT)
        if device.type == "cpu" and env.get("device_type") == "cpu" and "threads" in env:
            torch.set_num_threads(min(env["threads"], os.cpu_count() or 1))
        saved = open_checkpoint(run, terminal.note)
        from_budget = bool(env.get("length_from_budget"))
        config = resumed_config(run, options, saved, from_budget)
        decisions = Decisions(config)

        # 2. Dataset: the images that the run began with
        origin = saved or same_weights(config, env)
        seen = saved.images_seen if saved else kept_images(config, origin)
        if options.epochs is None and _is_finished(
            run, resumed_length(options, config, 0, seen, from_budget), seen, terminal
        ):
            return run, "done"
        expected = saved.fingerprint if saved else env.get("data_fingerprint")
        cache = DatasetCache(cache_folder(options.cache), terminal.packing, terminal.note)
        store = open_again(config, expected, cache, partial(as_a_new_run, run, options, config, saved))
        total = resumed_length(options, config, store.count, seen, from_budget)  # refuses before compiling
        if _is_finished(run, total, seen, terminal):
            return run, "done"
        for line in environment.differences(env, environment.describe(device, store.fingerprint, config.train.seed)):
            terminal.note(f"{line}: numbers may differ in the last bit from those of an unbroken run")

        # 3. Decisions: length, intervals and compiled steps; all others stay
        _record_facts(decisions, store, device, options)
        decisions.record("resume", run, f"from {seen:,} images", announce=False)
        parts = build(config, store, device, plan_scores(config, device))
        with explain_out_of_memory(parts):
            options = choose_compiled(decisions, parts, options, terminal.note)
            for line in rounding_changes(decisions.config, saved):
                terminal.note(line)
            choose_resumed_length(decisions, parts, options, seen, total)
        run_directory = _existing_directory(run, decisions.config, saved, terminal)
        parts = parts.with_config(decisions.config)
        with explain_out_of_memory(parts):
            return _build_and_run(decisions, parts, options, terminal, origin, run_directory)


def _is_finished(run: Path, total: int | None, seen: int, terminal: Terminal) -> bool:
    """Whether a run has reached its length, which is noted: it is no error, so that what restarts a run until it is done ends."""
    if total is None or total > seen:
        return False
    line = shlex.join(["kantor", "train", "--resume", str(run), "--images", str(2 * total)])
    terminal.note(f"{run} is finished at {seen:,} images; to train on: {line}")
    return True


def _build_and_run(
    decisions: Decisions,
    parts: Parts,
    options: TrainOptions,
    terminal: Terminal,
    origin: RunState | Weights | None,
    run_directory: contextlib.AbstractContextManager[Path],
    from_budget: bool = False,
) -> tuple[Path, str]:
    """Takes the steps that new and resumed runs share. origin: a checkpoint to restore, or weights to initialize from."""
    # 4. Build: networks and optimizers
    state = initial_state(parts, origin, terminal)
    if table := decisions.table(all_of_them=options.dry_run):
        terminal.note("chosen for this run:")
        for line in table:
            terminal.note(line)
    if (guide := guide_of(state.generator)) is not None:
        terminal.note(guided_line(guide))
    terminal.note(intervals_line(parts.config))
    if options.dry_run:
        return options.runs, "dry-run"

    # 5. Directory: from here on nothing is refused
    with run_directory as path:
        # 6. Run
        saved = origin if isinstance(origin, RunState) else None
        return path, Run(path, parts, state, options, terminal, saved, from_budget).train()


def _record_facts(decisions: Decisions, store: ImageSet, device: torch.device, options: TrainOptions) -> None:
    """Records what a dry run shows besides decisions."""
    dataset = f"{store.count:,} images, {store.spec}"
    decisions.record("dataset", dataset, decisions.config.data.source, announce=False)
    reason = "chosen automatically" if options.device == "auto" else "as requested"
    decisions.record("device", describe_device(device), reason, announce=False)


@contextlib.contextmanager
def _new_directory(options: TrainOptions, parts: Parts, weights: Weights | None, from_budget: bool) -> Iterator[Path]:
    """Creates and locks the directory of a new run when entered."""
    config, store = parts.config, parts.store
    env = environment.describe(parts.device, store.fingerprint, config.train.seed)
    env["length_from_budget"] = from_budget
    if weights:
        env["init_from_digest"] = weights.digest
        if weights.saved is not None:
            env["init_from_images"] = weights.images_seen
    if store.labelled:
        env["class_counts"] = class_counts(store)
    if store.condition_settings:
        env["condition_channels"] = store.condition_channels
    run = directory.create(options.runs, options.name or run_name(config, options.preset), to_toml(config), env)
    rejected = store.path / layout.REJECTED
    if rejected.exists() and (data := rejected.read_bytes()):  # the cache may be emptied; the run stays
        atomic.write_bytes(run / layout.REJECTED, data)
    with directory.locked(run):
        _remove_packing_sheet(options.runs)  # samples/reals.png shows the images from here on
        yield run


def _remove_packing_sheet(runs: Path) -> None:
    with contextlib.suppress(OSError):
        (runs / SHEET).unlink(missing_ok=True)


@contextlib.contextmanager
def _existing_directory(run: Path, config: Config, saved: RunState | None, terminal: Terminal) -> Iterator[Path]:
    """The directory of a resumed run, locked already, with its changed configuration."""
    if (text := to_toml(config)) != (run / directory.CONFIG).read_text("utf-8"):
        atomic.write_text(run / directory.CONFIG, text)
    if saved:
        terminal.note(f"resumed at {saved.images_seen:,} images from {saved.path}")
    yield run
