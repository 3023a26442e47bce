"""A run: its networks, feed and listeners, trained by the loop and saved."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kantor import atomic
from kantor.app.dataset.cache import cache_folder
from kantor.app.evaluation.during_training import Scorer
from kantor.app.load_model import from_checkpoint
from kantor.app.training.going_on import keep_counters
from kantor.app.training.init_from import Weights, initialize_from
from kantor.app.training.length import Lengths, left_s
from kantor.app.training.measured_choices import retune, steady_from
from kantor.app.training.options import TrainOptions
from kantor.app.training.parts import Parts
from kantor.app.training.sample_grids import Sampler, first_images
from kantor.app.training.terminal import Terminal
from kantor.app.write_report import write_report
from kantor.config.io import overridden, to_toml
from kantor.controls import guide_of
from kantor.engine.device import describe_device
from kantor.engine.events import Bus, Event, Listener, Started
from kantor.engine.loop import Loop, Plan, Replan
from kantor.engine.state import State
from kantor.errors import DivergedError, ModelError, UserError
from kantor.export.weights import Card, images_in, write_generator
from kantor.report.loss_guide import loss_guide
from kantor.report.losses_png import LossPlot
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory
from kantor.runs.moment import STATE as BEST_SCORE
from kantor.runs.moment import moment_line
from kantor.runs.run_state import RunState, tensor_mismatch
from kantor.sinks.best_model import BestScore
from kantor.sinks.console import Console
from kantor.sinks.events_log import EventsLog
from kantor.sinks.exploding_scores import EXPLODING_SCORES, ExplodingScores
from kantor.sinks.lines import LogFile
from kantor.sinks.metrics_csv import MetricsCsv
from kantor.sinks.samples import SampleGrids
from kantor.sinks.slump import SlumpWatch
from kantor.sinks.tensorboard import FOLDER, TensorBoard, goes_on

FEW_IMAGES = 1000


def initial_state(parts: Parts, origin: RunState | Weights | None, terminal: Terminal) -> State:
    """Networks and optimizers: restored from a checkpoint, initialized from another model, or new.

    Raises ModelError if the tensors of `origin` do not fit.
    """
    state = parts.state()
    if isinstance(origin, Weights):
        taken = initialize_from(state, origin, parts.class_names)
        for line in [
            *taken.lines,
            *(keep_counters(state, parts, origin, taken) if parts.config.train.keep_counters else []),
        ]:
            terminal.note(line)
    elif origin is not None:
        if mismatch := tensor_mismatch(origin.model, state.model_tensors()):
            do = "use the code that the run began with, or start a new run"
            raise ModelError(origin.path, f"does not fit the networks: {mismatch}", do)
        try:
            state.load(origin.model, origin.optimizer, origin.engine_values)
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            what = f"does not fit the configuration ({str(error).splitlines()[0]})"
            raise ModelError(origin.path, what, "start a new run") from error
        parts.feed.position = origin.feed_position
    return state


@dataclass
class Run:
    """A run directory and everything that works in it.

    Attributes:
        parts: with the final configuration.
        saved: the checkpoint that `state` was restored from; None for a new run.
        from_budget: whether the length of a new run follows from its time budget.
    """

    path: Path
    parts: Parts
    state: State
    options: TrainOptions
    terminal: Terminal
    saved: RunState | None
    from_budget: bool = False

    def __post_init__(self) -> None:
        scores, path = self.parts.score_plan, self.path
        self._best, self._log = BestScore(scores.best if scores else ""), LogFile(path / directory.LOG)
        self._in_file: int | None = None  # images seen by the generator in the model file
        self._exploding = ExplodingScores(self.parts.any_scores)
        listeners: dict[str, Listener] = {  # checkpoints know their state by these names
            "metrics.csv": MetricsCsv(path / directory.METRICS, scores.names if scores else ()),
            BEST_SCORE: self._best,
            "exploding scores": self._exploding,
            "events.jsonl": EventsLog(path / directory.EVENTS),
            "sample sheets": SampleGrids(path),
            "losses.png": LossPlot(path, loss_guide(self.parts.config.objective)),
            "slump": SlumpWatch(
                steady_from(self.parts.config), self._retune if self.parts.config.train.retune else None
            ),
            "log.txt": Console(self._log, path),
            "console": self.terminal.console(path),
        }
        if self.options.tensorboard or goes_on(path / FOLDER, self.terminal.note):
            listeners["tensorboard"] = TensorBoard(path / FOLDER)
        self._bus = Bus(listeners)
        if self.saved:
            self._bus.load(self.saved.listeners)

    def train(self) -> str:
        """Trains to the end, the budget or a request; returns which: "done", "time-budget", "signal", ..."""
        parts, options, note, train = self.parts, self.options, self.terminal.note, self.parts.config.train
        planned = (train.images, train.tick_images, train.sample_images, train.snapshot_images)
        budget_s = math.inf if options.budget_s is None else options.budget_s
        plan = Plan(*planned, options.started_s, budget_s, train.score_images)  # type: ignore[arg-type]
        scorer = None
        if parts.score_plan is not None and train.score_images:
            cache = cache_folder(options.cache)
            scorer = Scorer(
                parts.score_plan, parts.config, parts.store, parts.spec, parts.class_names, cache,
                self._best.wants_second_opinion,
            )  # fmt: skip
        sampler = Sampler(parts.config, parts.spec, parts.classes, parts.store)
        stop_asked, steps = self.terminal.stop_asked, parts.steps(note)
        lengths = Lengths.of(parts.config) if self.from_budget else None
        replan = Replan(lengths.every_images, partial(self._length_anew, lengths)) if lengths else None
        loop = Loop(self.state, parts.feed, steps, plan, self._bus, sampler, self._save, stop_asked, scorer, replan)
        line = f"training on {describe_device(parts.device)} in {train.precision}; results go to {self.path}"
        self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        note(line)
        seen_before = self.state.counters.images_seen
        try:
            first = first_images(parts.store, sampler.count, parts.spec)
            left_s = max(options.started_s + budget_s - time.monotonic(), 0.0) if options.budget_s is not None else 0.0
            resumed = self.saved is not None
            reason = loop.run(Started(seen_before, plan.total_images, parts.store.count, first, resumed, left_s))
            seen = self.state.counters.images_seen
            line = moment_line(self._best.choice.reason, self._best.moment(seen), seen)
            self._log.write(f"{line}\n")
            note(line)
        finally:
            self._log.close()
            for listener in self._bus.listeners.values():
                listener.close()
        try:
            note(f"report: {write_report(self.path)}")
        except (OSError, UserError) as error:  # the run does not depend on it
            note(f"report.html could not be written: {error}")
        images = seen - seen_before
        if reason == "time-budget" and images < FEW_IMAGES:
            note(f"the time budget was enough for {images:,} images only; give a longer one")
        if reason == EXPLODING_SCORES:
            where = f"after {seen:,} images"
            what = f"scores are beyond hope ({EXPLODING_SCORES}): {self._exploding.signs.told}"
            raise DivergedError(where, what, "lower optimizer.critic.lr and optimizer.generator.lr in a new run")
        return reason

    def _length_anew(self, lengths: Lengths, seen: int, images_per_second: float) -> int | None:
        """The length that fills what is left of the time budget at this rate, written to config.toml if it is another one.

        None as long as the choice can wait; the old one if config.toml cannot be written, on a full disk for example: it has to describe the run.
        """
        total = lengths.anew(seen, images_per_second, left_s(self.options), self.parts.config.train.batch)
        if total is not None and total != lengths.total:
            config = overridden(self.parts.config, {"train.images": total, "train.horizon_images": total})
            try:
                atomic.write_text(self.path / directory.CONFIG, to_toml(config))
            except UserError:
                return lengths.total
            self.parts = self.parts.with_config(config)
        return total

    def _retune(self, images_seen: int) -> list[Event]:
        return retune(self.parts, self.path, images_seen)

    def _save(self) -> Path:
        """Writes the model file, if another generator is to be kept, and a checkpoint; returns the checkpoint's path."""
        parts, seen, config = self.parts, self.state.counters.images_seen, self.parts.config
        self._keep_model(seen)  # before the checkpoint: the model file may be ahead, not behind
        saved = RunState(
            path=self.path,
            model=self.state.model_tensors(),
            optimizer=self.state.optimizer_tensors(),
            **self.state.values(),
            feed_position=parts.feed.position,
            listeners=self._bus.state(),
            config_fields=config.model_dump(mode="json"),
            fingerprint=parts.store.fingerprint,
            spec=parts.spec,
            class_names=parts.class_names,
            condition=parts.condition,
            condition_settings=parts.store.condition_settings,
        )
        folder, best = self.path / directory.CHECKPOINTS, self._best.best_images
        path = saved.save(folder)
        assert isinstance(config.train.images, int)
        newest = None if config.train.keep == "auto" else config.train.keep
        checkpoints.thin(folder, config.train.images, None if best is None else folder / f"{best:09d}", newest)
        return path

    def _keep_model(self, seen: int) -> None:
        """Makes the model file hold the generator to keep: this one after `seen` images, or that of an older checkpoint."""
        file, best, parts = self.path / directory.GENERATOR, self._best, self.parts
        if self._in_file is None or not file.exists():
            self._in_file = _images_in(file)
        if best.moment(seen) not in (seen, self._in_file):
            try:
                older = from_checkpoint(self.path / directory.CHECKPOINTS / f"{best.moment(seen):09d}", raw=False)
                write_generator(file, *older)
                self._in_file = best.moment(seen)
            except ModelError:  # deleted or damaged
                best.forget()
        if best.moment(seen) != seen:
            best.written()
            return
        objective, settings = parts.config.objective.kind, parts.store.condition_settings
        card = Card(
            parts.spec, parts.config.generator, objective, parts.class_names, seen, parts.condition, settings,
            guide_of(self.state.average),
        )  # fmt: skip
        try:
            write_generator(file, self.state.average, card)
        except UserError:
            best.lost()
            raise
        best.written()
        self._in_file = seen


def _images_in(file: Path) -> int | None:
    """Images seen by the generator in a model file; None if it is missing or damaged."""
    with contextlib.suppress(ModelError):
        return images_in(file)
    return None
