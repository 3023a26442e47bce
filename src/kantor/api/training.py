"""Training from Python."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kantor.api.in_memory import keep
from kantor.api.model import Model, load
from kantor.app import units
from kantor.app.dataset.prepare import cache_folder
from kantor.app.training.length import TrainOptions
from kantor.app.training.run import Terminal
from kantor.app.training.start import train as _train
from kantor.engine.events import Event, Request, Save, Stop
from kantor.errors import ConfigError, UserError
from kantor.progress import Progress, silent
from kantor.runs import directory
from kantor.runs.events import read_events
from kantor.sinks.console import Console
from kantor.sinks.metrics_csv import read_metrics
from kantor.sinks.progress import ProgressLines
from kantor.types import Images


@dataclass(frozen=True)
class Run:
    """What training leaves.

    Attributes:
        path: the run directory.
        reason: why training ended: "done", "time-budget", "signal", or what `on_event` gave.
    """

    path: Path
    reason: str

    @property
    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """The columns of metrics.csv by name, each [rows]; what was not measured is NaN."""
        return read_metrics(self.path / directory.METRICS)

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What was found wrong while training, one entry a finding; empty where nothing was."""
        return [event for event in read_events(self.path / directory.EVENTS) if event.get("event") == "found"]

    def model(self) -> Model:
        """The trained generator."""
        return load(self.path)


def train(
    data: str | Path | Images | Sequence[Any] | None = None,
    *,
    labels: str | Path | Sequence[str | int] | NDArray[Any] | None = None,
    preset: str = "default",
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    images: int | str | None = None,
    time_budget: str | float | None = None,
    size: int | str | tuple[int, int] | None = None,
    crop: int | None = None,
    fit: str | None = None,
    channels: str | None = None,
    max_bad: str | float | None = None,
    mirror: bool = False,
    batch: int | Literal["auto"] | None = None,
    seed: int | None = None,
    conditional: bool = False,
    device: str = "auto",
    runs: str | Path = "runs",
    name: str | None = None,
    cache: str | Path | None = None,
    init_from: str | Path | Run | None = None,
    resume: str | Path | Run | None = None,
    compile: bool = False,
    tensorboard: bool = False,
    metrics: Sequence[str] | str | None = None,
    quiet: bool = False,
    on_event: Callable[[Event], object] | None = None,
) -> Run:
    """Trains a new run, or goes on with one. Ctrl-C (or a notebook's stop) saves it and returns.

    >>> import kantor
    >>> tiny = {"generator.width": 4, "critic.width": 4, "data.glyphs.count": 60}
    >>> run = kantor.train("glyphs", size=16, batch=8, images=160, overrides=tiny, quiet=True)
    >>> run.reason, len(run.metrics["critic_gap"]) > 0, run.findings
    ('done', True, [])
    >>> run.model().generate(seeds=range(3)).shape
    (3, 16, 16, 3)

    Args:
        data: what `kantor train` takes: a folder, archive, file, packed set or "glyphs", which None stands for; or the
            images themselves: uint8 [N, H, W] or [N, H, W, C], or a list of arrays or Pillow images of one size.
            They are kept in the cache, so that the run can be resumed. With `resume`: where the run's images lie
            now, if they have been moved.
        labels: "auto", "none" or a file, as on the command line; or the class of each image in memory.
        preset: a recipe, see `kantor.presets`; config: a configuration file; overrides: any fields of the
            configuration, whatever their order: {"critic.width": 32}.
        epochs, images, time_budget: how long: times that each image is shown; real images shown to the critic
            (200_000 or "200k"); seconds, or text such as "10m". With none of them, five minutes.
        size: of an image: 64, "48x96" or (48, 96), height first. crop, fit, channels, max_bad, mirror: as the flags.
        batch: images in a step; "auto" measures which is fastest.
        seed: chooses all random numbers. conditional: train with the classes.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        runs, name, cache: folder of run directories, name of this one, folder of packed images.
        init_from: start from the weights of another run, checkpoint or model file.
        resume: a run, its directory, number or "latest"; it goes on with its own data and configuration.
        compile: compile the steps, where that is measured to be faster.
        tensorboard: write everything for TensorBoard too.
        metrics: scores while training: ["fd", "kid"]; [] or "none" measures nothing.
        quiet: print nothing.
        on_event: called with every event (kantor.engine.events) in between two cycles; the run waits for it. It may
            return kantor.Save() or kantor.Stop("why"), or a list of them. What it raises ends the run with everything
            saved, and is raised again.
    Raises:
        UserError: as on the command line; str() is the same line, `exit_code` the same number.
    """
    folder = cache_folder(Path(cache) if cache is not None else None)
    given = _data_fields(data, labels, folder)
    fields = {"train.batch": None if batch == "auto" else batch, "train.seed": seed, "train.conditional": conditional or None, "train.compile": "auto" if compile is True else compile or None,
              "train.init_from": None if init_from is None else str(_path(init_from)), "data.crop": crop, "data.fit": fit,
              "data.size": units.size(size), "data.channels": channels,
              "data.max_bad": max_bad, "data.mirror": mirror or None,
              "score.metrics": units.names(metrics) if isinstance(metrics, str) else metrics}  # fmt: skip
    given |= {field: value for field, value in fields.items() if value is not None} | dict(overrides or {})
    budget_s = units.duration_s(time_budget, "time_budget") if isinstance(time_budget, str) else time_budget
    if budget_s is not None and not 0 < budget_s < math.inf:
        raise ConfigError("time_budget", f"{time_budget} is no time", 'give seconds, or text such as "10m"')
    if resume is not None and (preset != "default" or batch == "auto"):
        what = "a run goes on with its own configuration"
        raise ConfigError("resume", what, "leave preset and batch out")
    options = TrainOptions(
        preset=preset, config_file=Path(config) if config is not None else None, overrides=given, epochs=epochs,
        images=units.count(images, "images") if isinstance(images, str) else images, budget_s=budget_s, device=device, runs=Path(runs), name=name,
        resume=None if resume is None else str(_path(resume)), cache=folder, tensorboard=tensorboard, batch_auto=batch == "auto", started_s=time.monotonic(),
    )  # fmt: skip
    with _Interrupt() as interrupt:
        listener = _Listener(on_event)

        def console(path: Path) -> Any:
            interrupt.saves = True
            listener.console = None if quiet else Console(folder=path)
            return listener

        note: Callable[[str], None] = (lambda line: None) if quiet else _say
        packing: Progress = silent if quiet else ProgressLines("packing", _say)
        try:
            path, reason = _train(options, Terminal(note, packing, console, interrupt.reason))
        except UserError as error:
            if listener.error is not None:
                raise listener.error from error
            raise
    if listener.error is not None:
        raise listener.error
    return Run(path, reason)


def _data_fields(data: Any, labels: Any, cache: Path) -> dict[str, Any]:
    """The fields of [data] that say which images, and which classes."""
    file = labels if labels is None or isinstance(labels, str | Path) else None
    if data is None or isinstance(data, str | Path):
        if labels is not None and file is None:
            raise ConfigError("labels", "classes in a list go with images in memory", "name a file of labels")
        source = data
    else:
        source, kept = keep(data, None if file is not None else labels, cache)
        file = file or kept
    return {name: str(value) for name, value in (("data.source", source), ("data.labels", file)) if value is not None}


def _path(model: Any) -> Any:
    """Of a run its directory."""
    return model.path if isinstance(model, Run) else model


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


class _Listener:
    """What shows a run to its user: the console, a function, both or none.

    Attributes:
        error: what the function raised.
    """

    def __init__(self, function: Callable[[Event], object] | None) -> None:
        self.console: Console | None = None
        self.error: BaseException | None = None
        self._function = function

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        shown = self.console.on(event) if self.console else None
        return [*(shown or ()), *self._asked(event)]

    def _asked(self, event: Event) -> Iterable[Request]:
        if self._function is None or self.error is not None:
            return ()
        try:
            answer = self._function(event)
        except BaseException as error:
            self.error = error
            return (Stop("signal"),)
        answers = answer if isinstance(answer, list | tuple) else (answer,)
        return [one for one in answers if isinstance(one, Save | Stop)]

    def state(self) -> dict[str, Any]:
        return self.console.state() if self.console else {}

    def load(self, state: dict[str, Any]) -> None:
        if self.console:
            self.console.load(state)

    def close(self) -> None:
        if self.console:
            self.console.close()


class _Interrupt:
    """Ctrl-C asks for an end after this cycle; a second one, or one before training has begun, ends at once.

    Attributes:
        saves: training has begun.
    """

    def __init__(self) -> None:
        self.saves = False
        self._asked = False

    def reason(self) -> str:
        return "signal" if self._asked else ""

    def __enter__(self) -> _Interrupt:
        self._listens = threading.current_thread() is threading.main_thread()  # no other thread may
        self._before = signal.signal(signal.SIGINT, self._on) if self._listens else None
        return self

    def __exit__(self, *error: object) -> None:
        if self._listens:
            signal.signal(signal.SIGINT, self._before or signal.SIG_DFL)

    def _on(self, number: int, frame: Any) -> None:
        if self._asked or not self.saves:
            raise KeyboardInterrupt
        self._asked = True
