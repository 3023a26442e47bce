"""Training from Python."""

from __future__ import annotations

import hashlib
import io
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kantor import atomic
from kantor.api.model import Model, Pictures, load
from kantor.app.cache import ARRAYS, mark_used
from kantor.app.data import Progress, cache_folder
from kantor.app.parsing import duration_s
from kantor.app.report import read_events
from kantor.app.run import Terminal
from kantor.app.train import TrainOptions
from kantor.app.train import train as _train
from kantor.data.sources.own import PREFIX
from kantor.engine.events import Event
from kantor.errors import ConfigError, DataError
from kantor.runs import directory
from kantor.sinks.console import Console
from kantor.sinks.csv import read_metrics
from kantor.sinks.progress import PlainProgress


@dataclass(frozen=True)
class Run:
    """What training leaves.

    Attributes:
        path: the run directory.
        reason: why training ended: "done", "time-budget" or "signal".
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
    data: str | Path | Pictures | None = None,
    *,
    preset: str = "default",
    config: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    epochs: int | None = None,
    images: int | None = None,
    time_budget: str | float | None = None,
    size: int | str | None = None,
    batch: int | Literal["auto"] | None = None,
    seed: int | None = None,
    conditional: bool = False,
    device: str = "auto",
    runs: str | Path = "runs",
    name: str | None = None,
    cache: str | Path | None = None,
    init_from: str | Path | None = None,
    resume: str | Path | None = None,
    tensorboard: bool = False,
    quiet: bool = False,
    on_event: Callable[[Event], None] | None = None,
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
            pictures themselves, uint8 [N, H, W] or [N, H, W, C], which are kept in the cache, so that the run can be
            resumed. With `resume`: where the run's pictures lie now, if they have been moved.
        overrides: any fields of the configuration: {"critic.width": 32}.
        batch: pictures in a step; "auto" measures which is fastest.
        time_budget: seconds, or text such as "10m"; with none of epochs, images and this, five minutes.
        init_from: start from the weights of another run, checkpoint or model file.
        resume: a run directory, its number or "latest"; the run goes on with its own data and configuration.
        quiet: print nothing.
        on_event: called with every event (kantor.engine.events); it must not take long.
    Raises:
        UserError: as on the command line; str() is the same line, `exit_code` the same number.
    """
    fields = {"train.batch": None if batch == "auto" else batch, "train.seed": seed, "train.conditional": conditional or None, "data.size": size,
              "train.init_from": str(init_from) if init_from is not None else None}  # fmt: skip
    given = {field: value for field, value in fields.items() if value is not None} | dict(overrides or {})
    budget_s = duration_s(time_budget, "time_budget") if isinstance(time_budget, str) else time_budget
    if budget_s is not None and not 0 < budget_s < math.inf:
        raise ConfigError("time_budget", f"{time_budget} is no time", 'give seconds, or text such as "10m"')
    if resume is not None and (preset != "default" or batch == "auto"):
        what = "a run goes on with its own configuration"
        raise ConfigError("resume", what, "leave preset and batch out")
    folder = cache_folder(Path(cache) if cache is not None else None)
    if data is not None:
        given["data.source"] = str(data) if isinstance(data, str | Path) else str(_kept(data, folder))
    options = TrainOptions(
        preset=preset, config_file=Path(config) if config is not None else None, overrides=given, epochs=epochs,
        images=images, budget_s=budget_s, device=device, runs=Path(runs), name=name,
        resume=str(resume) if resume is not None else None, cache=folder, tensorboard=tensorboard, batch_auto=batch == "auto", started_s=time.monotonic(),
    )  # fmt: skip
    with _Interrupt() as interrupt:

        def console(path: Path) -> Any:
            interrupt.saves = True
            return _Listener(None if quiet else Console(folder=path), on_event)

        note: Callable[[str], None] = (lambda line: None) if quiet else _say
        packing: Progress = (lambda *_: None) if quiet else PlainProgress("packing", _say)
        path, reason = _train(options, Terminal(note, packing, console, interrupt.reason))
    return Run(path, reason)


def _kept(pictures: Pictures, cache: Path) -> Path:
    """The pictures as a .npy file in the cache, named by what is in it."""
    if not isinstance(pictures, np.ndarray):
        do = f'register it with kantor.source("NAME", it), and train on "{PREFIX}NAME"'
        raise DataError(
            "data", f"pictures of type {type(pictures).__name__} have no name that a run could remember", do
        )
    array = np.ascontiguousarray(pictures)
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        what = f"an array of {array.dtype}, shape {list(array.shape)}"
        raise DataError("data", what, "give uint8 pictures [count, height, width] or [count, height, width, channels]")
    if not array.size:
        raise DataError("data", f"no pictures in an array of shape {list(array.shape)}", "give some")
    digest = hashlib.sha256(repr(array.shape).encode())
    digest.update(array.data)
    path = cache / ARRAYS / f"{digest.hexdigest()[:32]}.npy"
    if not path.exists():
        buffer = io.BytesIO()
        np.save(buffer, array)
        atomic.make_folder(path.parent)
        atomic.write_bytes(path, buffer.getbuffer())
    mark_used(path)
    return path


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


class _Listener:
    """What shows a run to its user: the console, a function, both or none."""

    def __init__(self, console: Console | None, function: Callable[[Event], None] | None) -> None:
        self._console, self._function = console, function

    def on(self, event: Event) -> Any:
        if self._function:
            self._function(event)
        return self._console.on(event) if self._console else None

    def state(self) -> dict[str, Any]:
        return self._console.state() if self._console else {}

    def load(self, state: dict[str, Any]) -> None:
        if self._console:
            self._console.load(state)

    def close(self) -> None:
        if self._console:
            self._console.close()


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
