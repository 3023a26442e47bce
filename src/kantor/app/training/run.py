"""A run: its networks, feed and listeners, trained by the loop and saved."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from kantor.app.dataset.cache import cache_folder
from kantor.app.evaluation.during_training import Scorer
from kantor.app.report import write_report
from kantor.app.training.init_from import Weights, initialize_from
from kantor.app.training.listeners import build_listeners
from kantor.app.training.options import TrainOptions
from kantor.app.training.parts import Parts
from kantor.app.training.sample_sheets import Sampler, first_images
from kantor.app.training.terminal import Terminal
from kantor.engine.device import describe_device
from kantor.engine.events import Started
from kantor.engine.loop import Loop, Plan
from kantor.engine.state import State
from kantor.errors import ModelError, UserError
from kantor.export.weights import Card, write_generator
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory
from kantor.runs.run_state import RunState, tensor_mismatch
from kantor.types import Images

FEW_IMAGES = 1000


def initial_state(parts: Parts, origin: RunState | Weights | None, terminal: Terminal) -> State:
    """Networks and optimizers: restored from a checkpoint, initialized from another model, or new.

    Raises:
        ModelError: the tensors of `origin` do not fit.
    """
    state = parts.state()
    if isinstance(origin, RunState):
        _restore(state, origin)
        parts.feed.position = origin.feed_position
    elif origin is not None:
        for line in initialize_from(state, origin, parts.class_names).lines:
            terminal.note(line)
    return state


def _restore(state: State, saved: RunState) -> None:
    if mismatch := tensor_mismatch(saved.model, state.model_tensors()):
        do = "use the code that the run began with, or start a new run"
        raise ModelError(saved.path, f"does not fit the networks: {mismatch}", do)
    try:
        state.load(saved.model, saved.optimizer, saved.engine_values)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        what = f"does not fit the configuration ({str(error).splitlines()[0]})"
        raise ModelError(saved.path, what, "start a new run") from error


@dataclass
class Run:
    """A run directory and everything that works in it.

    Attributes:
        path: the run directory.
        parts: with the final configuration.
        saved: the checkpoint that `state` was restored from; None for a new run.
    """

    path: Path
    parts: Parts
    state: State
    options: TrainOptions
    terminal: Terminal
    saved: RunState | None

    def __post_init__(self) -> None:
        self._listeners = build_listeners(self.path, self.parts, self.terminal, self.options.tensorboard)
        if self.saved:
            self._listeners.bus.load(self.saved.listeners)
        budget_s = self.options.budget_s
        self._budget_s = math.inf if budget_s is None else budget_s
        self._plan = _plan(self.parts, self.options.started_s, self._budget_s)

    def train(self) -> str:
        """Trains to the end, the budget or a request; returns which: "done", "time-budget", "signal", ..."""
        parts, note = self.parts, self.terminal.note
        sampler = Sampler(parts.config, parts.spec, parts.classes, parts.store)
        loop = Loop(
            self.state,
            parts.feed,
            parts.steps(note),
            self._plan,
            self._listeners.bus,
            sample=sampler,
            save=self.save,
            stop_asked=self.terminal.stop_asked,
            score=self._scorer(),
        )
        line = f"training on {describe_device(parts.device)} in {parts.config.train.precision}"
        line += f"; results go to {self.path}"
        self._listeners.log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        note(line)
        seen_before = self.state.counters.images_seen
        try:
            reason = loop.run(self._started(first_images(parts.store, sampler.count, parts.spec)))
        finally:
            self._listeners.close()
        self._write_page()
        images = self.state.counters.images_seen - seen_before
        if reason == "time-budget" and images < FEW_IMAGES:
            note(f"the time budget was enough for {images:,} images only; give a longer one")
        return reason

    def save(self) -> Path:
        """Writes a checkpoint, and the model file if its score is the best so far; returns the checkpoint's path."""
        parts, seen = self.parts, self.state.counters.images_seen
        model, folder, best = self.path / directory.GENERATOR, self.path / directory.CHECKPOINTS, self._listeners.best
        saved = self._run_state()
        if best.keeps(seen) or not model.exists():
            config = parts.config
            card = Card(parts.spec, config.generator, config.objective.kind, parts.class_names, seen, parts.condition)
            try:  # before the checkpoint: the model file may be ahead, not behind
                write_generator(model, self.state.average, card)
            except UserError:
                best.lost()
                raise
        path = saved.save(folder)
        keep = None if best.images_seen is None else folder / f"{best.images_seen:09d}"
        checkpoints.thin(folder, self._plan.total_images, keep)
        return path

    def _run_state(self) -> RunState:
        parts = self.parts
        return RunState(
            path=self.path,
            model=self.state.model_tensors(),
            optimizer=self.state.optimizer_tensors(),
            **self.state.values(),
            feed_position=parts.feed.position,
            listeners=self._listeners.bus.state(),
            config_fields=parts.config.model_dump(mode="json"),
            fingerprint=parts.store.fingerprint,
            spec=parts.spec,
            class_names=parts.class_names,
            condition=parts.condition,
        )

    def _started(self, first: Images) -> Started:
        seen, total, count = self.state.counters.images_seen, self._plan.total_images, self.parts.store.count
        end_s = self.options.started_s + self._budget_s
        left_s = 0.0 if math.isinf(self._budget_s) else max(end_s - time.monotonic(), 0.0)
        return Started(seen, total, count, first, self.saved is not None, left_s)

    def _scorer(self) -> Scorer | None:
        parts = self.parts
        if parts.score_plan is None or not parts.config.train.score_images:
            return None
        cache = cache_folder(self.options.cache)
        return Scorer(parts.score_plan, parts.config, parts.store, parts.spec, parts.class_names, cache)

    def _write_page(self) -> None:
        """Writes report.html; the run does not depend on it."""
        try:
            self.terminal.note(f"look at: {write_report(self.path)}")
        except (OSError, UserError) as error:
            self.terminal.note(f"report.html could not be written: {error}")


def _plan(parts: Parts, started_s: float, budget_s: float) -> Plan:
    train = parts.config.train
    lengths = (train.images, train.tick_images, train.sample_images, train.snapshot_images)
    assert "auto" not in (*lengths, train.score_images)
    return Plan(*lengths, started_s, budget_s, train.score_images)  # type: ignore[arg-type]
