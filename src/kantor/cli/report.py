"""`kantor report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kantor.app.flags import Runs
from kantor.app.options import Flag, Options
from kantor.cli.terminal import show, tell
from kantor.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    """Options of `kantor report`."""

    run: Annotated[str, Flag("Run: directory, number, name or latest", metavar="RUN", complete="runs", positional=True)]
    table: Annotated[bool, Flag("Print a table of losses instead")] = False
    epochs: Annotated[bool, Flag("Print one line per epoch, with --table")] = False
    runs: Runs = Path("runs")


def report(options: ReportOptions) -> None:
    """Write the report of a run: images over time, loss curves and what they mean, settings, how to repeat it.

    The report is one file, report.html in the run directory, and works offline.
    """
    from kantor.app import report as job

    if options.epochs and not options.table:
        raise ConfigError("--epochs", "changes the table of losses, not the page", "add --table")
    if options.table:
        for line in job.table(options.run, options.runs, options.epochs):
            tell(line)
        return
    show(f"page: {job.report(options.run, options.runs)}")
