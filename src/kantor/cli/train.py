"""`kantor train`."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from kantor.app import units
from kantor.cli import completion
from kantor.cli.options import (
    Cache,
    Channels,
    Crop,
    Device,
    Fit,
    Labels,
    MaxBad,
    Size,
    data_overrides,
    show,
    show_progress,
)  # fmt: skip
from kantor.cli.program import called_as
from kantor.config.io import parse_override
from kantor.errors import ConfigError

_SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGUSR1": 138}


def add_to(app: typer.Typer) -> None:
    app.command("train")(train)


def train(
    data: Annotated[
        str | None,
        typer.Argument(
            help="Folder of images, archive, array, IDX, TFRecord, Parquet or packed set; none: coloured letters.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Recipe to start from; see kantor presets.", autocompletion=completion.presets)
    ] = "default",
    config: Annotated[
        Path | None, typer.Option(help="Configuration file; a run's config.toml repeats it.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.FIELD=VALUE",
            help="Any field of the configuration.",
            show_default=False,
            autocompletion=completion.fields,
        ),
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", "--outdir", help="Folder for run directories.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run.", show_default=False)] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Length: times that each image is shown.", show_default=False)
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="Length in images shown: 200000, 200k.", show_default=False)
    ] = None,
    kimg: Annotated[float | None, typer.Option(hidden=True)] = None,
    time_budget: Annotated[
        str | None, typer.Option(help="Time for this invocation: 90s, 10m, 1h30m.", show_default=False)
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="Images in a step; auto measures which is fastest.", show_default=False)
    ] = None,
    device: Device = "auto",
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="Chooses all random numbers.", show_default=False)
    ] = None,
    conditional: Annotated[bool, typer.Option("--conditional", help="Train with class labels.")] = False,
    mirror: Annotated[bool, typer.Option("--mirror", help="Show images mirrored as often as not.")] = False,
    init_from: Annotated[
        str | None,
        typer.Option(help="Start from the weights of another run, checkpoint or model file.", show_default=False),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            help="Go on with a run: its folder, number, or latest.", show_default=False, autocompletion=completion.runs
        ),
    ] = None,
    compile_: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the steps first (half a minute or more), and keep that where it is measured to be faster.",
        ),
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write everything for TensorBoard too, into the run directory.")
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Scores while training, with commas: fd, kid, is, pr, dc, swd, msssim, modes, w2, sinkhorn; or none. "
            "[fd,kid,pr]",
            show_default=False,
        ),
    ] = None,
    cache: Cache = None,
    size: Size = None,
    crop: Crop = None,
    fit: Fit = None,
    channels: Channels = None,
    labels: Labels = None,
    max_bad: MaxBad = None,
) -> int:
    """Train a GAN on images, or go on with a run.

    With no argument it learns coloured letters for five minutes.
    Images, losses and the trained generator appear in a new folder under runs/.
    Ctrl-C stops it with everything saved.
    """
    started_s = time.monotonic()
    if resume is not None and preset != "default":
        raise ConfigError("--resume", "goes on with the run's own configuration", "leave --preset out")
    if resume is not None and batch == "auto":
        raise ConfigError("--batch auto", "and --resume: a run goes on with its own batch", "leave one of them out")
    overrides: dict[str, Any] = data_overrides(size, crop, fit, channels, labels, max_bad)
    given = {
        "data.source": data,
        "train.batch": units.whole(batch, "--batch", 2) if batch not in (None, "auto") else None,
        "train.seed": seed,
        "train.conditional": conditional or None,
        "train.compile": "auto" if compile_ else None,
        "data.mirror": mirror or None,
        "train.init_from": init_from,
        "score.metrics": units.names(metrics) if metrics is not None else None,
    }
    overrides |= {field: value for field, value in given.items() if value is not None}
    overrides |= dict(parse_override(text) for text in set_ or [])
    if kimg is not None and images is not None:
        raise ConfigError("--kimg", "and --images both say how long", "give one of them")
    length = f"{kimg}k" if kimg is not None else images
    total = units.count(length, "--kimg" if kimg is not None else "--images") if length is not None else None
    return _run(
        {
            "preset": preset,
            "config_file": config,
            "overrides": overrides,
            "epochs": epochs,
            "images": total,
            "budget_s": units.duration_s(time_budget, "--time-budget") if time_budget else None,
            "device": device,
            "runs": runs,
            "name": name,
            "resume": resume,
            "cache": cache,
            "tensorboard": tensorboard,
            "batch_auto": batch == "auto",
            "started_s": started_s,
        }
    )


def _run(options: dict[str, Any]) -> int:
    from kantor.app.training.length import TrainOptions
    from kantor.app.training.run import Terminal
    from kantor.app.training.start import train as job
    from kantor.sinks.console import Console

    asked = _StopOnSignal()

    def console(folder: Path) -> Console:
        asked.saves = True
        return Console(folder=folder, program=called_as(sys.argv[0], shutil.which("kantor")))

    with show_progress() as progress_of:
        terminal = Terminal(show, progress_of("packing"), console, asked.reason, _ask)
        _, reason = job(TrainOptions(**options), terminal)
    return asked.code if reason == "signal" else 0


def _ask(question: str) -> bool:
    """Asked where somebody sits at a terminal; else the answer is no."""
    try:
        seated = sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):  # closed by whoever called us
        return False
    return seated and typer.confirm(question, default=False)


class _StopOnSignal:
    """Remembers the first signal, so that the cycle is finished and saved; a second one ends the process at once.

    Attributes:
        saves: training has begun; before that a signal ends the process, and a pack goes on from there next time.
    """

    def __init__(self) -> None:
        self.code = 0
        self.saves = False
        self._listen(self._on)

    def reason(self) -> str:
        return "signal" if self.code else ""

    def _on(self, number: int, frame: FrameType | None) -> None:
        self.code = _SIGNALS[signal.Signals(number).name]
        self._listen(signal.SIG_DFL)
        if not self.saves:
            show("stopped before training began; give the same command again (what is packed stays packed)")
            raise SystemExit(self.code)

    def _listen(self, handler: Any) -> None:
        for name in _SIGNALS:
            number = getattr(signal, name, None)  # Windows lacks some; nohup asks that SIGHUP be ignored
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)
