"""`kantor report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kantor.cli import completion
from kantor.cli.options import Runs, show, tell


def add_to(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    run: Annotated[str, typer.Argument(help="Run: directory, number, name or latest.", autocompletion=completion.runs)],
    table: Annotated[bool, typer.Option("--table", help="Print the losses instead.")] = False,
    epochs: Annotated[bool, typer.Option("--epochs", help="With --table: one line an epoch.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Make the page of a run: images over time, curves and what they say, settings, how to repeat it.

    It is one file, report.html in the run directory, and needs no network.
    """
    from kantor.app import report as job
    from kantor.errors import ConfigError

    if epochs and not table:
        raise ConfigError("--epochs", "is about the table of losses, not the page", "add --table")
    if table:
        for line in job.table(run, runs, epochs):
            tell(line)
        return
    show(f"page: {job.report(run, runs)}")
