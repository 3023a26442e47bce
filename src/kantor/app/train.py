"""Training, from options to a run directory with pictures in it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from kantor import atomic
from kantor.app import environment
from kantor.app.data import Progress, cache_folder, open_set
from kantor.app.plan import DEFAULT_BUDGET_S, fill, intervals, length_in_images, pictures_per_second
from kantor.app.pictures import Sampler, first_pictures
from kantor.app.resume import open_checkpoint, resumed_config
from kantor.config.io import resolve, to_toml
from kantor.config.schema import Config
from kantor.data.feed import Feed
from kantor.data.store import Store
from kantor.engine.device import choose_device, choose_precision, describe_device
from kantor.engine.events import Bus, Listener, Started
from kantor.engine.loop import Loop, Plan
from kantor.engine.schedule import check_schedules
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.errors import ConfigError, DataError, ModelError
from kantor.export.weights import Card, write_generator
from kantor.objectives.objective import Objective, build_objective
from kantor.report.plots import LossPlot
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory
from kantor.sinks.csv import MetricsCsv
from kantor.sinks.events_log import EventsLog
from kantor.sinks.images import SampleSheets

Note = Callable[[str], None]


@dataclass(frozen=True)
class TrainOptions:
    """What the user asked for.

    Attributes:
        overrides: dotted field to value, from flags and --set.
        epochs, images: totals of the run; None where not given.
        budget_s: seconds for this invocation, or None.
        resume: a run directory, its number or "latest"; None starts a new run.
        name: of the run; None takes the data's.
        started_s: time.monotonic() when the invocation began.
    """

    preset: str = "default"
    config_file: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    images: int | None = None
    budget_s: float | None = None
    device: str = "auto"
    runs: Path = Path("runs")
    name: str | None = None
    resume: str | None = None
    cache: Path | None = None
    started_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Terminal:
    """How to talk to the user while training.

    Attributes:
        note: shows a line.
        packing: shows how far packing is: (done, total, bad).
        console: a listener for the run in this folder.
        stop_asked: "signal" once the user wants it to end.
    """

    note: Note
    packing: Progress
    console: Callable[[Path], Listener]
    stop_asked: Callable[[], str]


@dataclass(frozen=True)
class _Parts:
    """What a run is made of, built from its configuration."""

    config: Config
    store: Store
    device: torch.device
    objective: Objective
    precision: str

    def state(self) -> State:
        return State(self.config, self.store.spec, self.classes, self.device)

    def feed(self) -> Feed:
        train = self.config.train
        return Feed(self.store, train.seed, self.device, train.conditional, self.config.data.mirror)

    def steps(self) -> Steps:
        images = self.config.train.images
        return Steps(self.config, self.objective, self.precision, images if isinstance(images, int) else 1)

    @property
    def classes(self) -> int:
        return len(self.store.class_names) if self.config.train.conditional else 0


def train(options: TrainOptions, terminal: Terminal) -> tuple[Path, str]:
    """Trains a new run, or goes on with one.

    Returns:
        The run directory, and why it ended: "done", "time-budget" or "signal".
    """
    device = choose_device(options.device)
    if options.resume is not None:
        return _resume(options, device, terminal)
    return _begin(options, device, terminal)


def _begin(options: TrainOptions, device: torch.device, terminal: Terminal) -> tuple[Path, str]:
    config = resolve(options.preset, options.config_file, options.overrides)
    _check_paths(config, options.runs)
    side = 32 if device.type == "cpu" else 64
    cache = cache_folder(options.cache)
    store, config, filled = open_set(config, side, cache, terminal.packing, terminal.note)
    precision, why = choose_precision(config.train.precision, device)
    if config.train.precision == "auto":
        config, more = fill(config, {"train.precision": (precision, why)})
        filled += more
    parts = _build(config, store, device, precision)
    config, more = _length(options, parts)
    for line in [*filled, *more]:
        terminal.note(str(line))
    parts = _build(config, store, device, precision)
    name = options.name or _name(config)
    env = environment.describe(device, store.fingerprint, config.train.seed)
    run = directory.create(options.runs, name, to_toml(config), env)
    with directory.locked(run):
        return run, _execute(run, parts, options, terminal, None)


def _resume(options: TrainOptions, device: torch.device, terminal: Terminal) -> tuple[Path, str]:
    run = directory.find(str(options.resume), options.runs)
    with directory.locked(run):
        env = environment.read(run / directory.ENVIRONMENT)
        if device.type == "cpu" and env.get("device_type") == "cpu":
            torch.set_num_threads(min(int(env.get("threads", 1)), os.cpu_count() or 1))
        config = resumed_config(run, options.config_file, options.overrides)
        found = open_checkpoint(run, terminal.note)
        quiet = Config.model_validate(config.model_dump())
        store, _, _ = open_set(quiet, 32, cache_folder(options.cache), terminal.packing, terminal.note)
        expected = found.values["fingerprint"] if found else env.get("data_fingerprint")
        if store.fingerprint != expected:
            raise DataError(
                config.data.source, "the pictures are not those that the run began with", "bring them back, or start a new run"
            )
        for line in environment.differences(env, environment.describe(device, store.fingerprint, config.train.seed)):
            terminal.note(f"{line}: numbers may differ in the last bit from those of an unbroken run")
        total = _total(options, store.count) or config.train.images
        if total != config.train.images:
            config, _ = fill(config, {"train.images": (total, "asked for")})
            atomic.write_text(run / directory.CONFIG, to_toml(config))
        parts = _build(config, store, device, config.train.precision)
        return run, _execute(run, parts, options, terminal, found)


def _build(config: Config, store: Store, device: torch.device, precision: str) -> _Parts:
    """The parts, once everything that can be refused has been looked at."""
    check_schedules(config.optimizer.generator, config.optimizer.critic)
    parts = _Parts(config, store, device, build_objective(config.objective), precision)
    if config.train.conditional and not store.labelled:
        raise ConfigError(
            "--conditional", f"{config.data.source} has no classes", "sort its pictures into one sub-folder a class"
        )
    if store.count < config.train.batch:
        raise DataError(
            config.data.source,
            f"has {store.count} pictures, fewer than the batch of {config.train.batch}",
            f"add more pictures, or train with --batch {max(2, store.count // 2)}",
        )
    return parts


def _length(options: TrainOptions, parts: _Parts) -> tuple[Config, list[Any]]:
    """The length of the run in images, and the intervals that follow from it."""
    config = parts.config
    total = _total(options, parts.store.count)
    if total is not None:
        config, filled = fill(config, {"train.images": (total, "as asked for")})
        filled = []
    elif config.train.images == "auto":
        budget_s = options.budget_s or DEFAULT_BUDGET_S
        rate = pictures_per_second(parts.state(), parts.feed(), parts.steps())
        left_s = max(budget_s - (time.monotonic() - options.started_s), 1.0)
        reason = f"what {budget_s / 60:.3g} minutes allow at {rate:,.0f} pictures a second"
        config, filled = fill(config, {"train.images": (length_in_images(rate, left_s, config.train.batch), reason)})
    else:
        filled = []
    config, more = fill(config, intervals(config))
    return config, filled + more


def _total(options: TrainOptions, count: int) -> int | None:
    if options.images is not None and options.epochs is not None:
        raise ConfigError("--images", "and --epochs both say how long", "give one of them")
    return options.epochs * count if options.epochs is not None else options.images


def _execute(
    run: Path, parts: _Parts, options: TrainOptions, terminal: Terminal, found: checkpoints.Checkpoint | None
) -> str:
    config, train = parts.config, parts.config.train
    state, feed, steps = parts.state(), parts.feed(), parts.steps()
    _refuse(parts, state)
    bus = Bus(
        {
            "metrics.csv": MetricsCsv(run / directory.METRICS),
            "events.jsonl": EventsLog(run / directory.EVENTS),
            "sample sheets": SampleSheets(run),
            "losses.png": LossPlot(run),
            "console": terminal.console(run),
        }
    )
    bus.load(found.values["listeners"] if found else {})
    if found:
        _load(run, state, feed, found)
    budget_s = math.inf if options.budget_s is None else options.budget_s
    assert isinstance(train.images, int) and isinstance(train.tick_images, int)
    assert isinstance(train.sample_images, int) and isinstance(train.snapshot_images, int)
    plan = Plan(
        train.images, train.tick_images, train.sample_images, train.snapshot_images, options.started_s, budget_s
    )

    names = tuple(parts.store.class_names) if train.conditional else ()

    def save() -> Path:
        values = {
            **state.values(),
            "feed": feed.position,
            "listeners": bus.state(),
            "config": config.model_dump(mode="json"),
            "fingerprint": parts.store.fingerprint,
            "spec": list(parts.store.spec),
            "class_names": list(names),
        }
        seen = state.counters.images_seen
        value = checkpoints.Checkpoint(state.model_tensors(), state.optimizer_tensors(), values)
        path = checkpoints.save(run / directory.CHECKPOINTS, seen, value)
        card = Card(parts.store.spec, config.generator, config.objective.kind, names, seen)
        write_generator(run / directory.GENERATOR, state.average, card)
        checkpoints.thin(run / directory.CHECKPOINTS, plan.total_images)
        return path

    sampler = Sampler(config, parts.store.spec, parts.classes)
    loop = Loop(state, feed, steps, plan, bus, sampler, save, terminal.stop_asked)
    left_s = 0.0 if options.budget_s is None else options.budget_s - (time.monotonic() - options.started_s)
    terminal.note(f"training on {describe_device(parts.device)} in {parts.precision}; results go to {run}")
    reals = first_pictures(parts.store, sampler.count)
    return loop.run(
        Started(state.counters.images_seen, train.images, parts.store.count, reals, found is not None, max(left_s, 0.0))
    )


def _refuse(parts: _Parts, state: State) -> None:
    reason = parts.objective.refuses(state.critic.traits)
    if reason:
        what, _, do = reason.rpartition("; ")
        raise ConfigError("critic.norm", what, do)
    if parts.objective.wasserstein and not parts.objective.penalties and parts.objective.constraint is None:
        raise ConfigError(
            "objective",
            "a Wasserstein critic with neither a penalty nor weight clipping has no bound",
            "set a penalty's weight above 0, or objective.constraint.kind=weight-clipping",
        )


def _load(run: Path, state: State, feed: Feed, found: checkpoints.Checkpoint) -> None:
    try:
        state.load(found.model, found.optimizer, found.values)
    except (RuntimeError, KeyError, TypeError) as error:
        raise ModelError(run, f"the checkpoint does not fit the configuration ({error})", "start a new run") from error
    feed.position = int(found.values["feed"])


def _check_paths(config: Config, runs: Path) -> None:
    source = Path(config.data.source)
    if source.is_dir() and runs.absolute().is_relative_to(source.absolute()):
        raise ConfigError(f"--runs {runs}", "lies inside the folder of pictures", "choose a folder elsewhere")


def _name(config: Config) -> str:
    return f"{Path(config.data.source).name or 'data'}-{config.objective.kind}"
