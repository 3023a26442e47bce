"""`kantor train`."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
from pathlib import Path

import typer

from kantor.app.training.options import TrainOptions
from kantor.cli.imports import uncollected
from kantor.cli.terminal import show, show_progress


def train(options: TrainOptions) -> int:
    """Train a GAN on images, or resume a run.

    Without arguments it trains on coloured letters for five minutes.
    Images, losses and the trained generator appear in a new folder under runs/.
    Ctrl-C stops it with everything saved.
    """
    with uncollected():
        from kantor.app.training.interrupt import EXIT_CODES, Interrupt
        from kantor.app.training.start import train as job
        from kantor.app.training.terminal import Terminal
        from kantor.sinks.console import Console

    def console(folder: Path) -> Console:
        interrupt.saves = True
        return Console(folder=folder, program=called_as(sys.argv[0], shutil.which("kantor")))

    with Interrupt(EXIT_CODES, _stop_early, signal.SIG_DFL) as interrupt, show_progress() as progress_of:
        _, reason = job(options, Terminal(show, progress_of("packing"), console, interrupt.stop_asked, _ask))
    return interrupt.code if reason == "signal" else 0


def _stop_early(code: int) -> None:
    show("stopped before training began; run the same command again (packed images stay packed)")
    raise SystemExit(code)


def _ask(question: str) -> bool:
    """Asks the user at a terminal; without a terminal the answer is no."""
    try:
        interactive = sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):  # closed by whoever called us
        return False
    return interactive and typer.confirm(question, default=False)


def called_as(argv0: str, on_path: str | None) -> str:
    """How the program was called ("kantor", "python -m kantor"), so that commands shown can be copied.

    argv0: sys.argv[0]; on_path: `kantor` as a shell finds it.
    """
    path = Path(argv0)
    if path.name == "__main__.py":
        return "python -m kantor"
    if path.stem != "kantor" or argv0 == path.name or (on_path and path.absolute() == Path(on_path).absolute()):
        return "kantor"
    return shlex.quote(argv0)
