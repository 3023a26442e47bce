"""Training from Python."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from kantor.api.in_memory import DataKeywords, keep
from kantor.api.model import Model, load
from kantor.app.dataset.cache import cache_folder
from kantor.app.options import describe
from kantor.app.training.interrupt import Interrupt
from kantor.app.training.options import TrainOptions
from kantor.app.training.start import train as _train
from kantor.app.training.terminal import Terminal
from kantor.engine.events import Event, Request, Save, Stop
from kantor.errors import ConfigError, UserError
from kantor.progress import Progress, ProgressLines, silent
from kantor.runs import directory
from kantor.sinks.console import Console
from kantor.sinks.events_log import read_events
from kantor.sinks.metrics_csv import read_metrics
from kantor.types import Images


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: the run directory.
        reason: why training ended: "done", "time-budget", "signal", or the reason of a `kantor.Stop`.
    """

    path: Path
    reason: str

    @property
    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """The columns of metrics.csv by name, each [rows]; NaN where nothing was measured."""
        return read_metrics(self.path / directory.METRICS)

    @property
    def findings(self) -> list[dict[str, Any]]:
        """Problems found while training, one entry each."""
        return [event for event in read_events(self.path / directory.EVENTS) if event.get("event") == "found"]

    def model(self) -> Model:
        """The trained generator."""
        return load(self.path)


class TrainKeywords(DataKeywords, total=False):
    """Keywords of `train` and their types; `TrainOptions` declares what they mean."""

    preset: str
    config: str | Path | None
    overrides: Mapping[str, Any] | None
    name: str | None
    epochs: float | None
    images: int | str | None
    time_budget: float | str | None
    batch: int | Literal["auto"] | None
    slim: float | Literal["auto"] | None
    seed: int | None
    conditional: bool
    guide: str | Sequence[str] | None
    mirror: bool
    objects: str | None
    init_from: str | Path | Run | None
    keep_counters: bool
    resume: str | Path | Run | None
    compile: bool
    tensorboard: bool


def train(
    data: str | Path | Images | Sequence[Any] | None = None,
    *,
    labels: str | Path | Sequence[str | int] | NDArray[Any] | None = None,
    quiet: bool = False,
    on_event: Callable[[Event], object] | None = None,
    **options: Unpack[TrainKeywords],
) -> Run:
    """Trains a new run, or resumes one. Ctrl-C (or a notebook's stop button) saves it and returns.

    >>> import kantor
    >>> tiny = {"generator.width": 4, "critic.width": 4, "data.glyphs.count": 60}
    >>> run = kantor.train("glyphs", size=16, batch=8, images=160, overrides=tiny, quiet=True)
    >>> run.reason, len(run.metrics["critic_gap"]) > 0, run.findings
    ('done', True, [])
    >>> run.model().generate(seeds=range(3)).shape
    (3, 16, 16, 3)

    Args:
        data: what `kantor train` takes: a folder, archive, file, packed dataset or "glyphs", the default; or images in
            memory: uint8 [N, H, W] or [N, H, W, C], or a list of arrays or Pillow images of one size. They are written
            to the cache, so that the run can be resumed. With `resume`: where the images of the run have been moved to.
        labels: "auto", "none" or a file, as on the command line; or the class of each image in memory.
        quiet: print nothing.
        on_event: called with every event (kantor.engine.events) between two cycles; the run waits for it. It may
            return kantor.Save() or kantor.Stop("why"), or a list of them. What it raises ends the run with everything
            saved, and is raised again.
        {options}
    Raises:
        UserError: as on the command line; str() is the same line, `exit_code` the same number.
    """
    cache = cache_folder(options.get("cache"))
    words = {**options, "cache": cache, **_data_words(data, labels, cache)}
    asked = TrainOptions.from_words(words)
    errors: list[BaseException] = []
    with Interrupt(["SIGINT"], _stop_early, signal.default_int_handler) as interrupt:

        def console(path: Path) -> Console:
            interrupt.saves = True
            return _Listener(path, quiet, on_event, errors)

        note: Callable[[str], None] = (lambda line: None) if quiet else partial(print, flush=True)
        packing: Progress = silent if quiet else ProgressLines("packing", note)
        try:
            path, reason = _train(asked, Terminal(note, packing, console, lambda: "signal" if interrupt.code else ""))
        except UserError as error:
            if not errors:
                raise
            raise errors[0] from error
    if errors:
        raise errors[0]
    return Run(path, reason)


describe(train, TrainOptions)


def _stop_early(code: int) -> None:
    raise KeyboardInterrupt


def _data_words(data: Any, labels: Any, cache: Path) -> dict[str, str]:
    """Where images and classes lie; those in memory are written to the cache."""
    file = labels if labels is None or isinstance(labels, str | Path) else None
    if data is None or isinstance(data, str | Path):
        if labels is not None and file is None:
            raise ConfigError("labels", "a list of classes needs images in memory", "name a file of labels")
        source = data
    else:
        source, labels_file = keep(data, None if file is not None else labels, cache)
        file = file or labels_file
    return {word: str(value) for word, value in (("data", source), ("labels", file)) if value is not None}


class _Listener(Console):
    """Shows events, unless `quiet`, and passes them to a function; an error of the function ends the run.

    Args:
        errors: takes what the function raised.
    """

    def __init__(
        self, folder: Path, quiet: bool, function: Callable[[Event], object] | None, errors: list[BaseException]
    ) -> None:
        super().__init__(folder=folder)
        self._quiet, self._function, self._errors = quiet, function, errors

    def on(self, event: Event) -> Iterable[Event | Request]:
        if not self._quiet:
            super().on(event)
        if self._function is None or self._errors:
            return ()
        try:
            answer = self._function(event)
        except BaseException as error:
            self._errors.append(error)
            return (Stop("signal"),)
        answers = answer if isinstance(answer, list | tuple) else (answer,)
        return [answer for answer in answers if isinstance(answer, Save | Stop)]
