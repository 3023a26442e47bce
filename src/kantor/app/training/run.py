"""A run, from parts to images: networks and listeners are put together here, and the loop is called."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch

from kantor.app.dataset.prepare import condition_channels, spec_of
from kantor.app.evaluation.during_training import ScorePlan, Scorer
from kantor.app.report import write_report
from kantor.app.training.init_from import Weights, start_from
from kantor.app.training.mixing import mixing_part
from kantor.app.training.sample_sheets import Sampler, first_images
from kantor.app.training.validate_networks import rehearse
from kantor.config.data import AugmentConfig
from kantor.config.schema import Config
from kantor.data.loading.feed import Feed
from kantor.data.loading.image_set import ImageSet
from kantor.data.sources.python_object import PREFIX
from kantor.engine.compiled import Compiler, Kernels, inductor
from kantor.engine.cuda_graphs import Recorder, recorder_for
from kantor.engine.device import describe_device
from kantor.engine.events import Bus, Listener, Started
from kantor.engine.loop import Loop, Plan
from kantor.engine.schedule import check_schedules
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.errors import ConfigError, ModelError, UserError
from kantor.export.weights import Card, write_generator
from kantor.nets import build_critic, traits_of
from kantor.objectives.objective import Objective, build_objective
from kantor.progress import Progress
from kantor.report.loss_guide import loss_guide
from kantor.report.plots import LossPlot
from kantor.runs import checkpoint as checkpoints
from kantor.runs import directory
from kantor.runs.run_state import RunState, tensor_mismatch
from kantor.sinks.best_model import BestScore
from kantor.sinks.console import Console
from kantor.sinks.events_log import EventsLog
from kantor.sinks.log import LogFile
from kantor.sinks.metrics_csv import MetricsCsv
from kantor.sinks.samples import SampleSheets
from kantor.sinks.tensorboard import FOLDER, TensorBoard
from kantor.types import ImageSpec

FEW_IMAGES = 1000


class ConsoleListener(Listener, Protocol):
    """A listener that draws on the terminal until it is closed."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Terminal:
    """How to talk to the user while training.

    Attributes:
        note: shows a line.
        packing: shows how far packing is.
        console: a listener for the run in this folder.
        stop_asked: "signal" once the user wants it to end.
        ask: a question that is answered with yes or no; where nobody can be asked, with no.
    """

    note: Callable[[str], None]
    packing: Progress
    console: Callable[[Path], ConsoleListener]
    stop_asked: Callable[[], str]
    ask: Callable[[str], bool] = lambda question: False


@dataclass(frozen=True)
class Parts:
    """What a run is made of, built from its configuration.

    Attributes:
        kernels: of compiled passes, for the run and for what is measured before it.
        feed: one for the run and for what is measured before it: on a GPU it may hold the whole set.
        measuring: which scores; None for none.
    """

    config: Config
    store: ImageSet
    device: torch.device
    objective: Objective
    precision: str
    feed: Feed
    measuring: ScorePlan | None
    kernels: Kernels = field(default_factory=dict)

    def lasting(self, config: Config) -> Parts:
        """The same with `config`, which differs in lengths, intervals, batch, ways to compute or running average alone."""
        return replace(self, config=config, measuring=self.measuring if config.train.score_images else None)

    def state(self) -> State:
        return State(self.config, self.spec, self.classes, self.device, self.condition)

    def steps(self, note: Callable[[str], None] = lambda line: None) -> Steps:
        """note: is told where steps are not done in the fastest way, and why."""
        config, images = self.config, self.config.train.images
        recorder = recorder_for(self.device, note) if config.train.record and not self.own else Recorder()
        compiler = (
            Compiler(inductor, self.precision, note, self.kernels)
            if config.train.compile is True and not self.own
            else Compiler()
        )
        total = images if isinstance(images, int) else 1
        return Steps(config, self.objective, self.precision, total, recorder, compiler)

    @property
    def own(self) -> bool:
        """Whether the user wrote a part: it may read and change what neither a recording nor a compiler can know of."""
        return "custom" in (self.config.generator.kind, self.config.critic.kind, self.config.objective.kind)

    @property
    def spec(self) -> ImageSpec:
        return spec_of(self.config, self.store)

    @property
    def condition(self) -> int:
        """Channels of what networks are given beside latent and image; 0 for nothing."""
        return condition_channels(self.config)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the classes that are trained with."""
        return tuple(self.store.class_names) if self.config.train.conditional else ()

    @property
    def classes(self) -> int:
        return len(self.class_names)


def build(
    config: Config, store: ImageSet, device: torch.device, precision: str, measuring: ScorePlan | None = None
) -> Parts:
    """The parts, once everything that can be refused has been looked at."""
    check_schedules(config.optimizer.generator, config.optimizer.critic)
    train, data = config.train, config.data
    changed = None if data.augment == AugmentConfig() else data.augment
    shown = spec_of(config, store)
    feed = Feed(store, train.seed, device, train.conditional, data.mirror, shown, changed, data.dequantise)
    parts = Parts(config, store, device, build_objective(config.objective), precision, feed, measuring)
    if config.train.conditional and not store.labelled:
        raise ConfigError(
            "--conditional",
            f"{config.data.source} has no classes",
            "give (image, class) for each"
            if config.data.source.startswith(PREFIX)
            else "put every image into a sub-folder, one a class, and none beside them",
        )
    critic = build_critic(config.critic, parts.spec, parts.classes, condition=parts.condition)
    if refusal := parts.objective.refuses(traits_of(critic)):
        what, _, do = refusal.rpartition("; ")
        raise ConfigError("critic.norm", what, do)
    _refuse_quirks(config, parts.objective)
    if parts.objective.constraint is not None and config.critic.equalised:
        what = "scales the weights that clipping has just bounded, so that next to nothing would be left of a score"
        raise ConfigError("critic.equalised", what, "leave it out, or use a gradient penalty in place of clipping")
    rehearse(config, parts.spec, parts.classes, parts.condition, parts.objective)
    if train.micro_batch and (
        mixes := mixing_part(config, parts.spec, parts.classes, parts.condition, parts.objective)
    ):
        what = f"{mixes}, so a part of a batch is not a part of the step"
        raise ConfigError("train.micro_batch", what, "use a smaller --batch in its place")
    bounded = parts.objective.penalties or config.objective.constraint.kind != "none"
    if parts.objective.wasserstein and not bounded:
        raise ConfigError(
            "objective",
            "a Wasserstein critic with neither a penalty nor weight clipping has no bound",
            "set a penalty's weight above 0, or objective.constraint.kind=weight-clipping",
        )
    return parts


def _refuse_quirks(config: Config, objective: Objective) -> None:
    """What a quirk of a seed cannot be combined with."""
    if config.cycle.split_updates and (objective.penalties or objective.generator_needs_real or objective.drift):
        what = "makes a critic's step of two halves, and penalties, drift and relativistic losses need both at once"
        raise ConfigError("cycle.split_updates", what, "leave it out, or use a loss with weight clipping")
    if config.cycle.reuse == "everything" and config.cycle.generator_batch not in (0, config.train.batch):
        what = "gives the generator the critic's latents, of which there are as many as a batch has"
        raise ConfigError("cycle.reuse", f'"everything" {what}', "leave cycle.generator_batch out")
    if config.train.micro_batch and objective.drift is not None and objective.drift.of == "half-sum-real":
        what = "depends on the size of the batch, so that parts of it make another sum"
        raise ConfigError("objective.drift.of", f'"half-sum-real" {what}', "leave train.micro_batch out")
    if objective.l1 and config.data.condition == "none":
        what = "needs the real image that a generated one should resemble"
        raise ConfigError("objective.l1", what, "train on pairs with --set data.condition=edges, or leave it out")


class Run:
    """A run directory and everything that works in it.

    Args:
        saved: the checkpoint to resume from; None for a new run.
        weights: of another model, to begin with.
        tensorboard: write for TensorBoard too.
        started_s: time.monotonic() when the invocation began; budget_s: seconds that it may take.
        cache: where features of real images are kept.
    """

    def __init__(
        self,
        path: Path,
        parts: Parts,
        terminal: Terminal,
        cache: Path,
        started_s: float,
        budget_s: float | None,
        saved: RunState | None,
        weights: Weights | None = None,
        tensorboard: bool = False,
    ) -> None:
        self.path, self.parts, self.terminal, self.saved, self._cache = path, parts, terminal, saved, cache
        self._started_s, self._budget_s = started_s, math.inf if budget_s is None else budget_s
        self.state, self.feed = parts.state(), parts.feed
        self._console = terminal.console(path)
        self._log = LogFile(path / directory.LOG)
        self._board = TensorBoard(path / FOLDER)
        more: dict[str, Listener] = {"tensorboard": self._board} if tensorboard else {}
        measured = parts.measuring
        self._best = BestScore(measured.best if measured else "")
        self.bus = Bus(
            {
                "metrics.csv": MetricsCsv(path / directory.METRICS, measured.names if measured else ()),
                "best score": self._best,
                "events.jsonl": EventsLog(path / directory.EVENTS),
                "sample sheets": SampleSheets(path),
                "losses.png": LossPlot(path, loss_guide(parts.config.objective)),
                "log.txt": Console(self._log, path),
                "console": self._console,
                **more,
            }
        )
        if saved:
            self.bus.load(saved.listeners)
            self._load(saved)
        elif weights:
            for line in start_from(self.state, weights, parts.class_names).lines:
                terminal.note(line)

    def train(self) -> str:
        """Goes on to the end, the budget or a signal; tells which: "done", "time-budget" or "signal"."""
        parts, train = self.parts, self.parts.config.train
        plan = self._plan()
        sampler = Sampler(parts.config, parts.spec, parts.classes, parts.store)
        stop = self.terminal.stop_asked
        loop = Loop(
            self.state,
            self.feed,
            parts.steps(self.terminal.note),
            plan,
            self.bus,
            sampler,
            self.save,
            stop,
            self._scorer(),
        )
        about = f"training on {describe_device(parts.device)} in {train.precision}; results go to {self.path}"
        self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {about}\n")
        self.terminal.note(about)
        reals = first_images(parts.store, sampler.count, parts.spec)
        left_s = 0.0 if math.isinf(self._budget_s) else max(self._started_s + self._budget_s - time.monotonic(), 0.0)
        seen = self.state.counters.images_seen
        try:
            reason = loop.run(
                Started(seen, plan.total_images, parts.store.count, reals, self.saved is not None, left_s)
            )
        finally:
            self._console.close()
            self._log.close()
            self._board.close()
        self._write_page()
        learnt = self.state.counters.images_seen - seen
        if reason == "time-budget" and learnt < FEW_IMAGES:
            self.terminal.note(
                f"the time budget left room for {learnt:,} images, too few to learn from; give a longer one"
            )
        return reason

    def _scorer(self) -> Scorer | None:
        parts = self.parts
        if parts.measuring is None or not parts.config.train.score_images:
            return None
        return Scorer(parts.measuring, parts.config, parts.store, parts.spec, parts.class_names, self._cache)

    def _write_page(self) -> None:
        """report.html; a page that cannot be made costs nothing but itself."""
        try:
            self.terminal.note(f"look at: {write_report(self.path)}")
        except (OSError, UserError) as error:
            self.terminal.note(f"the page of the run could not be made: {error}")

    def save(self) -> Path:
        """Writes a checkpoint, and the model file where this moment is the best so far; gives the checkpoint's path."""
        parts, seen = self.parts, self.state.counters.images_seen
        names = parts.class_names
        saved = RunState(
            path=self.path,
            model=self.state.model_tensors(),
            optimizer=self.state.optimizer_tensors(),
            **self.state.values(),
            feed_position=self.feed.position,
            listeners=self.bus.state(),
            config_fields=parts.config.model_dump(mode="json"),
            fingerprint=parts.store.fingerprint,
            spec=parts.spec,
            class_names=names,
            condition=parts.condition,
        )
        model, folder, best = self.path / directory.GENERATOR, self.path / directory.CHECKPOINTS, self._best
        if best.keeps(seen) or not model.exists():
            card = Card(parts.spec, parts.config.generator, parts.config.objective.kind, names, seen, parts.condition)
            try:  # before the checkpoint: it may be ahead, not behind
                write_generator(model, self.state.average, card)
            except UserError:
                best.lost()
                raise
        path = saved.save(folder)
        keep = None if best.images_seen is None else folder / f"{best.images_seen:09d}"
        checkpoints.thin(folder, self._plan().total_images, keep)
        return path

    def _plan(self) -> Plan:
        train = self.parts.config.train
        lengths = (train.images, train.tick_images, train.sample_images, train.snapshot_images)
        assert "auto" not in (*lengths, train.score_images)
        return Plan(*lengths, self._started_s, self._budget_s, train.score_images)  # type: ignore[arg-type]

    def _load(self, saved: RunState) -> None:
        if differs := tensor_mismatch(saved.model, self.state.model_tensors()):
            do = "use the code that the run began with, or start a new run"
            raise ModelError(self.path, f"its checkpoint does not fit the networks: {differs}", do)
        try:
            self.state.load(saved.model, saved.optimizer, saved.engine_values)
            self.feed.position = saved.feed_position
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            what = f"the checkpoint does not fit the configuration ({str(error).splitlines()[0]})"
            raise ModelError(self.path, what, "start a new run") from error
