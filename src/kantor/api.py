"""Kantor from Python: train, load and draw with the same words and the same errors as on the command line.

Everything here is also there as `kantor.NAME`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor import atomic
from kantor.app.data import cache_folder
from kantor.app.generate import class_number, load_model
from kantor.app.pack import pack_source
from kantor.app.parsing import duration_s
from kantor.app.report import read_events
from kantor.app.run import Terminal
from kantor.app.train import TrainOptions
from kantor.app.train import train as _train
from kantor.config.io import preset_names, preset_text
from kantor.data.sources.own import PREFIX
from kantor.data.sources.own import register as source
from kantor.engine.device import choose_device
from kantor.engine.events import Event
from kantor.errors import ConfigError, DataError
from kantor.nets import OWN_CRITICS, OWN_GENERATORS
from kantor.objectives.objective import register as objective
from kantor.runs import directory
from kantor.sample.draw import draw
from kantor.sample.latents import latents
from kantor.sample.walk import Easing, walk
from kantor.sinks.console import Console
from kantor.sinks.csv import read_metrics
from kantor.types import ImageSpec, Traits

__all__ = [
    "Model", "Run", "Traits", "critic", "generator", "load", "objective", "pack", "presets", "source",
    "train",
]  # fmt: skip

Pictures = NDArray[np.uint8]


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


@dataclass(frozen=True)
class Model:
    """A generator in evaluation mode.

    Attributes:
        network: the module: (latents [N, D], labels [N] or None) -> float32 [N, C, H, W] in [-1, 1].
        spec: size of its pictures.
        class_names: of a conditional model, in the order of its labels; else empty.
        images_seen: real pictures that its critic had been shown.
    """

    network: Any
    spec: ImageSpec
    class_names: tuple[str, ...]
    images_seen: int
    _card: Any

    @cached_property
    def latent_dim(self) -> int:
        return int(self._card.generator.latent_dim)

    def latents(self, seeds: Sequence[int] | int, truncation: float = 1.0) -> NDArray[np.float32]:
        """The latents of `seeds`, float32 [N, D]: the same for ever."""
        return latents(seeds, self.latent_dim, self._card.generator.latent, truncation)

    def generate(
        self,
        seeds: Sequence[int] | int,
        classes: Sequence[str | int] | str | int | None = None,
        truncation: float = 1.0,
    ) -> Pictures:
        """The pictures of `seeds`.

        Args:
            seeds: one or many. A seed is the same picture, however many are drawn together.
            classes: of a conditional model: names or numbers, one for all or one for each seed; None takes them in
                turn.
            truncation: below 1: more typical, less varied pictures.
        Returns:
            uint8 [N, H, W, C].
        Raises:
            ConfigError: a seed or class that is none.
        """
        z = self.latents(seeds, truncation)
        return draw(self.network, z, self._labels(classes, len(z)))

    def walk(
        self, seeds: Sequence[int], frames: int = 60, straight: bool = False, loop: bool = False,
        easing: Easing = "linear", truncation: float = 1.0, classes: str | int | None = None,
    ) -> Pictures:  # fmt: skip
        """Pictures on the way from seed to seed, as `kantor walk` draws them: uint8 [F, H, W, C].

        Args:
            frames: pictures from one seed to the next.
            classes: of all pictures; None takes the first class.
        """
        if len(seeds) < 2:
            raise ConfigError("seeds", "a walk leads from one seed to another", "name two or more")
        straight = straight or self._card.generator.latent == "uniform"
        z = walk(self.latents(seeds, truncation), frames, straight, loop, easing)
        return draw(self.network, z, self._labels(0 if classes is None else classes, len(z)))

    def _labels(self, classes: Sequence[str | int] | str | int | None, count: int) -> list[int] | None:
        if not self.class_names:
            if classes not in (None, 0):
                class_number(str(classes), self._card)
            return None
        if classes is None:
            return [i % len(self.class_names) for i in range(count)]
        given = [classes] * count if isinstance(classes, str | int) else list(classes)
        if len(given) != count:
            raise ConfigError("classes", f"{len(given)} classes for {count} seeds", "give one for all, or one a seed")
        return [self._number(one) for one in given]

    def _number(self, one: str | int) -> int:
        """A text is a name first, as on the command line; a number is always the label itself."""
        if isinstance(one, str):
            return class_number(one, self._card)
        if not 0 <= one < len(self.class_names):
            last = len(self.class_names) - 1
            raise ConfigError("classes", f"there is no class {one}", f"choose names, or numbers from 0 to {last}")
        return one


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
    batch: int | None = None,
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
        time_budget: seconds, or text such as "10m"; with none of epochs, images and this, five minutes.
        init_from: start from the weights of another run, checkpoint or model file.
        resume: a run directory, its number or "latest"; the run goes on with its own data and configuration.
        quiet: print nothing.
        on_event: called with every event (kantor.engine.events); it must not take long.
    Raises:
        UserError: as on the command line; str() is the same line, `exit_code` the same number.
    """
    fields = {"train.batch": batch, "train.seed": seed, "train.conditional": conditional or None, "data.size": size,
              "train.init_from": str(init_from) if init_from is not None else None}  # fmt: skip
    given = {field: value for field, value in fields.items() if value is not None} | dict(overrides or {})
    budget_s = duration_s(time_budget, "time_budget") if isinstance(time_budget, str) else time_budget
    folder = cache_folder(Path(cache) if cache is not None else None)
    if data is not None:
        given["data.source"] = str(data) if isinstance(data, str | Path) else str(_kept(data, folder))
    options = TrainOptions(
        preset=preset, config_file=Path(config) if config is not None else None, overrides=given, epochs=epochs,
        images=images, budget_s=budget_s, device=device, runs=Path(runs), name=name,
        resume=str(resume) if resume is not None else None, cache=folder, tensorboard=tensorboard, started_s=time.monotonic(),
    )  # fmt: skip
    with _stop_on_interrupt() as stop_asked:

        def console(path: Path) -> Any:
            return _Listener(None if quiet else Console(folder=path), on_event)

        note: Callable[[str], None] = (lambda line: None) if quiet else _say
        path, reason = _train(options, Terminal(note, lambda *_: None, console, stop_asked))
    return Run(path, reason)


def generator(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: registers a generator of your own, for `generator.kind = "custom"`, `generator.name = name`.

    What is decorated is called with (config, spec, classes) and gives a torch module with `traits`:
    (latents [N, D], labels [N] or None, condition) -> [N, C, H, W] in [-1, 1]. See docs/extend.md.
    """
    return _own(OWN_GENERATORS, name)


def critic(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: registers a critic of your own, for `critic.kind = "custom"`, `critic.name = name`.

    Like `generator`; the module is (pictures [N, C, H, W], labels [N] or None, condition) -> scores [N].
    """
    return _own(OWN_CRITICS, name)


def _own(registry: dict[str, Callable[..., Any]], name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(build: Callable[..., Any]) -> Callable[..., Any]:
        registry[name] = build
        return build

    return add


def load(
    model: str | Path,
    *,
    raw: bool = False,
    checkpoint: int | None = None,
    runs: str | Path = "runs",
    device: str = "cpu",
) -> Model:
    """A trained generator.

    Args:
        model: a run (directory, number, "latest"), a checkpoint in it, or a generator.safetensors.
        raw: the newest weights instead of their running average.
        checkpoint: an older one of the run, by its number of pictures.
    Raises:
        ModelError: there is no such model, or it is damaged.
    """
    network, card, _ = load_model(str(model), Path(runs), raw, checkpoint)
    return Model(network.to(choose_device(device)), card.spec, card.class_names, card.images_seen, card)


def pack(
    source: str | Path, out: str | Path, *, format: str = "npy", overwrite: bool = False, **fields: Any
) -> list[str]:
    """Brings pictures to one size, once, as `kantor pack` does.

    Args:
        fields: of the configuration's [data]: size="64", crop=108, fit="contain" ...
    Returns:
        What was done, in lines for people.
    """
    overrides = {"data.source": str(source)} | {f"data.{name}": value for name, value in fields.items()}
    return pack_source(overrides, Path(out), overwrite, lambda *_: None, format)


def presets() -> dict[str, str]:
    """The recipes that come with Kantor: name -> what it is.

    >>> import kantor
    >>> "wgan-gp" in kantor.presets()
    True
    """
    return {name: preset_text(name).splitlines()[0].removeprefix("# ") for name in preset_names()}


def _kept(pictures: Pictures, cache: Path) -> Path:
    """The pictures as a .npy file in the cache, named by what is in it."""
    if not isinstance(pictures, np.ndarray):
        do = f'register it with kantor.source("NAME", it), and train on "{PREFIX}NAME"'
        raise DataError("data", f"a {type(pictures).__name__} has no name that a run could remember", do)
    array = np.ascontiguousarray(pictures)
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        what = f"an array of {array.dtype}, shape {list(array.shape)}"
        raise DataError("data", what, "give uint8 pictures [count, height, width] or [count, height, width, channels]")
    digest = hashlib.sha256(repr(array.shape).encode() + array.data.cast("B")).hexdigest()
    path = cache / "arrays" / f"{digest[:32]}.npy"
    if not path.exists():
        buffer = io.BytesIO()
        np.save(buffer, array)
        atomic.make_folder(path.parent)
        atomic.write_bytes(path, buffer.getvalue())
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


@contextlib.contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], str]]:
    """Ctrl-C asks for an end after this cycle; a second one ends at once. Only the main thread can listen."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield lambda: ""
        return

    def on_signal(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield lambda: "signal" if asked.is_set() else ""
    finally:
        signal.signal(signal.SIGINT, before)
