"""Repeats of one training with several seeds, one after another: the same command again skips what is done and goes on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from kantor.app.training.check_options import preset_of
from kantor.app.training.options import TrainOptions
from kantor.app.training.run_name import run_name
from kantor.app.training.start import train
from kantor.app.training.terminal import Terminal
from kantor.config.io import layered, read_toml, resolve
from kantor.config.schema import Config
from kantor.errors import DivergedError
from kantor.runs import directory


class Series(NamedTuple):
    """What became of the repeats: directories of those that ended, why the last one ended, and one that diverged, if any."""

    runs: tuple[Path, ...]
    reason: str
    diverged: DivergedError | None = None


def train_series(options: TrainOptions, terminal: Terminal, begin: Callable[[], None] = lambda: None) -> Series:
    """Trains one run for each of `options.seeds`; a run that diverges does not keep the next ones from being trained.

    Ends after a run that a signal stopped. Data are packed once, by the first run; a time budget is that of each run.

    Args:
        begin: called before each run.
    """
    seeds = options.seeds or ()
    name = options.name or _name(options)
    runs: list[Path] = []
    reason, diverged = "done", None
    for i, seed in enumerate(seeds, 1):
        begin()
        terminal.note(f"run {i} of {len(seeds)}: seed {seed}")
        repeat = replace(
            options, seeds=None, seed=seed, name=f"{name}-seed{seed}", in_series=True, started_s=time.monotonic()
        )
        try:
            path, reason = train(repeat, terminal)
        except DivergedError as error:
            diverged = error
            terminal.note(f"seed {seed} diverged: {error}")
            continue
        runs.append(path)
        if reason != "dry-run":
            options = _as_narrow(options, path)
        if reason not in ("done", "time-budget", "dry-run"):
            terminal.note(
                f"stopped in run {i} of {len(seeds)}; the same command goes on, and skips the runs that are done"
            )
            break
    return Series(tuple(runs), reason, diverged)


def _as_narrow(options: TrainOptions, run: Path) -> TrainOptions:
    """The options with the widths that a run has chosen, where they leave them to it: repeats are of the same networks."""
    wanted = resolve(options.preset, options.config_file, options.fields)
    undecided = [name for name in ("generator", "critic") if getattr(wanted, name).slim == "auto"]
    if not undecided:
        return options
    file = run / directory.CONFIG
    chosen = layered(Config(), read_toml(file), str(file))
    widths = {f"{name}.slim": getattr(chosen, name).slim for name in undecided}
    return replace(options, overrides={**options.overrides, **widths})


def compare_line(runs: Sequence[Path], folder: Path) -> str:
    """The command that compares runs."""
    more = [] if folder == Path("runs") else ["--runs", str(folder)]
    return shlex.join(["compare", *_shortest(runs), *more])


def _shortest(runs: Iterable[Path]) -> list[str]:
    return [str(directory.number_of(run)) for run in runs]


def _name(options: TrainOptions) -> str:
    """The name that a run of these options gets, without a seed."""
    preset = preset_of(options)
    return run_name(resolve(options.preset, options.config_file, options.fields), preset)
