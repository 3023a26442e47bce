"""Training, from options to a run directory with images in it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from kantor import atomic
from kantor.app import environment
from kantor.app.dataset.prepare import cache_folder, default_side, open_set
from kantor.app.dataset.recover import open_again
from kantor.app.decisions import Filled, fill
from kantor.app.evaluation.during_training import plan_scores
from kantor.app.training.again import begun_before
from kantor.app.training.auto import DEFAULT_BUDGET_S, FEWEST_SCORED, intervals_line, with_intervals
from kantor.app.training.batch import LONGEST_SEARCH_S, batch_for
from kantor.app.training.compiling import compiled_or_not
from kantor.app.training.init_from import read_weights, same_weights, start_from, with_fading
from kantor.app.training.length import (
    clock_after,
    going_on,
    left_s,
    length,
    length_given,
    resumed_length,
    total_images,
)
from kantor.app.training.memory import explained
from kantor.app.training.options import TrainOptions
from kantor.app.training.resume import open_checkpoint, resumed_config, resumed_line, rounding_changes
from kantor.app.training.run import Parts, Run, Terminal, build
from kantor.app.training.trial import fastest_threads, images_per_second
from kantor.config.base import parse_size
from kantor.config.io import leaves, overridden, read_toml, resolve, to_toml
from kantor.config.schema import Config
from kantor.data.loading import layout
from kantor.data.sources import GLYPHS, place
from kantor.data.sources.python_object import PREFIX
from kantor.engine.device import choose_device, choose_precision, keep_memory, return_memory
from kantor.errors import ConfigError, DataError
from kantor.nets import build_generator
from kantor.objectives.objective import name_of
from kantor.runs import directory
from kantor.sinks.eta import duration
from kantor.sinks.tensorboard import require_tensorboard
from kantor.types import ImageSpec


def train(options: TrainOptions, terminal: Terminal) -> tuple[Path, str]:
    """Trains a new run, or goes on with one.

    Returns:
        The run directory, and why it ended: "done", "time-budget" or "signal".
    """
    total_images(options, 0)  # before images are packed: it refuses a length that is given twice
    device = choose_device(options.device)
    if options.tensorboard:
        require_tensorboard()
    if device.type == "cpu":
        keep_memory()
    try:
        return (_begin if options.resume is None else _resume)(options, device, terminal)
    finally:
        return_memory()


def _begin(options: TrainOptions, device: torch.device, terminal: Terminal) -> tuple[Path, str]:
    if options.name == "latest" or (options.name or "").isdecimal():
        what = "would be taken for the number of a run, or for the newest"
        raise ConfigError(f"--name {options.name}", what, "choose a name with letters in it")
    config = resolve(options.preset, options.config_file, options.fields)
    if config.train.images == "auto" and config.train.epochs and not length_given(options):
        options = replace(options, epochs=config.train.epochs)
    _check_paths(config, options.runs)
    for network in ("generator", "critic"):
        field = f"optimizer.{network}.lr"
        if field in options.fields and getattr(config.optimizer, network).schedule.kind == "pieces":
            do = f"set optimizer.{network}.schedule.rates, or optimizer.{network}.schedule.kind=constant too"
            raise ConfigError(f"--set {field}", "has no effect: the rates of the schedule hold", do)
    if config.generator.kind == "stack" and config.data.size != "auto":  # which is of one size
        with torch.device("meta"):
            build_generator(config.generator, ImageSpec(*parse_size(config.data.size), 3))
    scores = plan_scores(config, device)  # before images are packed: rejects unknown metrics
    weights = None
    faded: list[Filled] = []
    if config.train.init_from:
        weights = read_weights(config.train.init_from, options.runs, terminal.note)
        config, _ = fill(config, {"train.init_from": (str(weights.path), "as asked for")})
        config, faded = with_fading(config, weights, _asked(options))
    cache = cache_folder(options.cache)
    store, config, filled = open_set(config, default_side(device.type), cache, terminal.packing, terminal.note)
    filled = [*faded, *filled]
    precision, why = choose_precision(config.train.precision, device)
    if config.train.precision == "auto":
        config, more = fill(config, {"train.precision": (precision, why)})
        filled += more
    options = clock_after("packing", options, terminal)
    if (twin := begun_before(config, store.fingerprint, options.runs)) is not None:
        terminal.note(twin.line)
        onwards = going_on(options, config, twin, store.count)
        if onwards is not None and terminal.ask(f"go on with {twin.path} (y), or begin a new run (N)?"):
            return _resume(onwards, device, terminal)
    parts = build(config, store, device, precision, scores)
    if weights:  # what does not fit is refused before there is a run directory
        taken = start_from(parts.state(), weights, parts.class_names)
        asked = "ema.warmup" in _asked(options) or config.ema != resolve(options.preset).ema
        if taken.whole and config.ema.kind == "half-life" and not asked:
            config, more = fill(
                config, {"ema.warmup": (0.0, "the running average goes on from that of the other model")}
            )
            filled += more
            parts = parts.lasting(config)
    open_ended = config.train.images == "auto" and options.images is None and options.epochs is None
    with explained(parts):
        ordinary = parts.lasting(overridden(config, {"train.compile": False}))  # compiled ones depend on the threads
        threads, why = _threads_of(options.config_file, device) or fastest_threads(
            parts.state(), parts.feed, ordinary.steps()
        )
    if why != "as set":
        filled.append(Filled("threads", threads, why))
    for line in filled:
        terminal.note(str(line))
    filled = []
    if options.batch == "auto":
        limit_s = min(LONGEST_SEARCH_S, (options.budget_s or DEFAULT_BUDGET_S) / 10)
        terminal.note(f"measuring which batch is fastest, for about {duration(limit_s)} at most")
        config, more = batch_for(parts, limit_s)
        filled += more
        parts = parts.lasting(config)
    with explained(parts):
        options, parts = _with_compiled_steps(options, parts, terminal)
        config, more = length(options, parts)
    for line in [*filled, *more]:
        terminal.note(str(line))
    terminal.note(intervals_line(config))
    parts = parts.lasting(config)
    name = options.name or _name(config, options.preset)
    if store.labelled and not config.train.conditional:
        terminal.note(f"{len(store.class_names)} classes found and not used; --conditional trains with them")
    env = environment.describe(device, store.fingerprint, config.train.seed)
    env["length_from_budget"] = open_ended
    if weights:
        env["init_from_digest"] = weights.digest
    run = directory.create(options.runs, name, to_toml(config), env)
    rejected = store.path / layout.REJECTED
    if rejected.exists() and (data := rejected.read_bytes()):  # the cache may be emptied, the run is kept
        atomic.write_bytes(run / layout.REJECTED, data)
    with directory.locked(run), explained(parts):
        return run, Run(
            run, parts, terminal, cache, options.started_s, options.budget_s, None, weights, options.tensorboard
        ).train()


def _asked(options: TrainOptions) -> set[str]:
    """Fields that the user gave: by flags, and in a file, such as a run's config.toml that is to be repeated."""
    written = read_toml(options.config_file) if options.config_file is not None else {}
    return {*options.fields, *leaves(written)}


def _resume(options: TrainOptions, device: torch.device, terminal: Terminal) -> tuple[Path, str]:
    run = directory.find(str(options.resume), options.runs)
    source = str(options.fields.get("data.source", GLYPHS))
    if source != GLYPHS and not source.startswith(PREFIX) and not place(source).exists():
        what = "there is no such file or folder"
        raise DataError(source, what, "check the spelling, or leave it out: the run knows its own pictures")
    with directory.locked(run):
        env = environment.read(run / directory.ENVIRONMENT)
        if device.type == "cpu" and env.get("device_type") == "cpu" and "threads" in env:
            torch.set_num_threads(min(env["threads"], os.cpu_count() or 1))
        saved = open_checkpoint(run, terminal.note)
        config = resumed_config(run, options.config_file, options.fields, saved)
        expected = saved.fingerprint if saved else env.get("data_fingerprint")
        store = open_again(config, expected, cache_folder(options.cache), terminal.packing, terminal.note)
        for line in environment.differences(env, environment.describe(device, store.fingerprint, config.train.seed)):
            terminal.note(f"{line}: numbers may differ in the last bit from those of an unbroken run")
        parts = build(config, store, device, config.train.precision, plan_scores(config, device))
        seen = saved.images_seen if saved else 0
        planned = bool(env.get("length_from_budget"))
        resumed_length(options, parts, seen, planned, lambda: 1.0)  # what is refused is so before anything is compiled
        with explained(parts):
            options, parts = _with_compiled_steps(options, parts, terminal)
            config = parts.config
            for line in rounding_changes(config, saved):
                terminal.note(line)

            def rate() -> float:
                return images_per_second(parts.state(), parts.feed, parts.steps())

            total = resumed_length(options, parts, seen, planned, rate)
        if total != config.train.images:
            config, changed = fill(config, {"train.images": (total, "the new length of the run")})
            terminal.note(str(changed[0]))
        planned_length = parts.config.train.images
        asked = "score.metrics" in options.fields
        short = isinstance(planned_length, int) and planned_length < FEWEST_SCORED <= total  # for scores, then
        if config.train.score_images == 0 and "train.score_images" not in options.fields and (asked or short):
            again = {"train.score_images", "score.count"} - options.fields.keys()
            config, _ = fill(config, dict.fromkeys(sorted(again), ("auto", "")))
        config = with_intervals(config, asked, images=store.count)
        weights = same_weights(config, env) if saved is None else None
        lengthened = Run(
            run,
            parts.lasting(config),
            terminal,
            cache_folder(options.cache),
            options.started_s,
            options.budget_s,
            saved,
            weights,
            options.tensorboard,
        )
        if (text := to_toml(config)) != (run / directory.CONFIG).read_text("utf-8"):  # only now is nothing refused
            atomic.write_text(run / directory.CONFIG, text)
        if saved:
            terminal.note(resumed_line(saved))
        with explained(parts.lasting(config)):
            return run, lengthened.train()


def _threads_of(config_file: Path | None, device: torch.device) -> tuple[int, str] | None:
    """As many threads as the run had whose configuration is repeated: its numbers depend on them."""
    if config_file is None or device.type != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return None
    threads = environment.read(config_file.parent / directory.ENVIRONMENT).get("threads")
    if not isinstance(threads, int) or not 0 < threads <= (os.cpu_count() or 1):
        return None
    torch.set_num_threads(threads)
    return threads, f"as in {config_file.parent}"


def _with_compiled_steps(options: TrainOptions, parts: Parts, terminal: Terminal) -> tuple[TrainOptions, Parts]:
    """The parts with `train.compile` decided, and the options with a clock that a short budget survives."""
    config, filled = compiled_or_not(parts, terminal.note, left_s(options))
    for line in filled:
        terminal.note(str(line))
    if config.train.compile and (options.budget_s is not None or options.resume is None):
        options = clock_after("compiling", options, terminal)
    return options, replace(parts, config=config)


def _check_paths(config: Config, runs: Path) -> None:
    try:
        to_toml(config).encode()
    except UnicodeEncodeError as error:
        what = "has a name that is not valid text, and could not be named again"
        raise DataError(config.data.source, what, "rename that file or folder") from error
    source = Path(config.data.source)
    if config.data.source != GLYPHS and source.is_dir() and runs.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"--runs {runs}", "lies inside the folder of images", "add --runs ../runs, or name another folder outside"
        )


def _name(config: Config, preset: str) -> str:
    """Data and preset; the objective where it is another than the preset's, or the preset is the usual one."""
    source = Path(config.data.source.removeprefix(PREFIX))
    name = source.name.partition(".")[0] if source.is_file() else source.name
    usual = preset == "default" or resolve(preset).objective.kind != config.objective.kind
    return f"{name or 'data'}-{name_of(config.objective) if usual else preset}"
