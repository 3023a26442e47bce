"""`kantor train`."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
from pathlib import Path

from kantor.app.training.options import TrainOptions
from kantor.cli.imports import without_collection
from kantor.cli.terminal import ask, show, show_progress


def train(options: TrainOptions) -> int:
    """Train a GAN on images, or resume a run.

    Without arguments it trains on coloured letters for five minutes.
    Images, losses and the trained generator appear in a new folder under runs/.
    Ctrl-C stops it with everything saved.
    """
    with without_collection():
        from kantor.app.training.interrupt import EXIT_CODES, Interrupt
        from kantor.app.training.series import compare_line, train_series
        from kantor.app.training.start import train as job
        from kantor.app.training.terminal import Terminal
        from kantor.sinks.console import Console

    program = called_as(sys.argv[0], shutil.which("kantor"))

    def console(folder: Path) -> Console:
        interrupt.saves = True
        return Console(folder=folder, program=program)

    def begin() -> None:
        interrupt.saves = False

    with Interrupt(EXIT_CODES, _stop_early, signal.SIG_DFL) as interrupt, show_progress() as progress_of:
        terminal = Terminal(show, progress_of("packing"), console, interrupt.stop_asked, ask)
        if options.seeds is None:
            _, reason = job(options, terminal)
        else:
            series = train_series(options, terminal, begin)
            reason = series.reason
            if len(series.runs) > 1 and reason in ("done", "time-budget"):
                show(f"compare them: {program} {compare_line(series.runs, options.runs)}")
            if series.diverged is not None and reason != interrupt.name:
                raise series.diverged
    return interrupt.code if reason and reason == interrupt.name else 0


def _stop_early(code: int) -> None:
    show("stopped before training began; run the same command again (packed images stay packed)")
    raise SystemExit(code)


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
