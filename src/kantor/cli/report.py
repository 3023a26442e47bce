"""`kantor report`."""

from __future__ import annotations

from dataclasses import dataclass

from kantor.app.flags import RunsOptions
from kantor.app.options import option
from kantor.cli.terminal import show, tell
from kantor.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ReportOptions(RunsOptions):
    """Options of `kantor report`."""

    run: str = option("Run: directory, number, name or latest", "RUN", complete="runs", positional=True)
    table: bool = option("Print a table of losses instead", default=False)
    epochs: bool = option("Print one line per epoch, with --table", default=False)


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
