"""What a user asks about the runs in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kantor.app.flags import RunsOptions
from kantor.app.options import Options, option

# What the user reads is on one line, what Kantor does with it on the next.
# fmt: off


@dataclass(frozen=True, kw_only=True)
class FolderOptions(Options):
    """Which folder of runs, for commands about all of them."""

    folder: Path | None = option("Folder of runs", "DIR", positional=True, otherwise="that of --runs")
    runs: Path = option("Look for runs in this folder", "DIR", default=Path("runs"))
    json: bool = option("Print JSON and nothing else", default=False)

    @property
    def where(self) -> Path:
        return self.folder or self.runs


@dataclass(frozen=True, kw_only=True)
class ListOptions(FolderOptions):
    """Options of `kantor runs list`."""

    sort: str | None = option(
        "Sort by a score, such as fd or kid, best first; or newest, images, time or size", "SCORE", otherwise="by number",
    )


@dataclass(frozen=True, kw_only=True)
class BestOptions(FolderOptions):
    """Options of `kantor runs best`."""

    by: str | None = option("Compare by this score, such as kid", "SCORE", otherwise="that by which runs choose their best model")


@dataclass(frozen=True, kw_only=True)
class RenameOptions(RunsOptions):
    """Options of `kantor runs rename`."""

    run: str = option("Run: directory, number, name or latest", "RUN", required=True, complete="runs", positional=True)
    new: str = option("New name, without the number", "NEW", required=True, positional=True)


@dataclass(frozen=True, kw_only=True)
class NoteOptions(RunsOptions):
    """Options of `kantor runs note`."""

    run: str = option("Run: directory, number, name or latest", "RUN", required=True, complete="runs", positional=True)
    text: Sequence[str] | None = option('The note; "" removes it', "TEXT", repeat=True, positional=True, otherwise="print the note")


@dataclass(frozen=True, kw_only=True)
class DeleteOptions(RunsOptions):
    """Options of `kantor runs delete`."""

    named: Sequence[str] = option(
        "Runs: directories, numbers or whole names", "RUN", required=True, repeat=True, complete="runs", positional=True,
    )
    yes: bool = option("Delete without asking", default=False)
