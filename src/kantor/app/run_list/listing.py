"""The list of runs, as lines of a table."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import ascii_lowercase

from kantor.app.run_list.ranking import ORDERS
from kantor.app.run_list.summary import RunSummary, summarize
from kantor.errors import ModelError, did_you_mean, printable
from kantor.report.scores import number
from kantor.runs import directory
from kantor.sinks.timing import duration

HEAD = ("run", "objective", "data", "images", "state", "score", "time", "size", "began", "note")
_RIGHT = {"images", "score", "time", "size"}
_LONGEST = {"run": 40, "objective": 24, "data": 18, "note": 40}


def summaries(runs: Path, commands: Iterable[str] = ()) -> list[RunSummary]:
    """All runs in a folder, by number, with those that are damaged.

    Raises ModelError if there is no such folder. commands: what the user may have meant instead.
    """
    if (runs / directory.CONFIG).is_file():
        do = f"name the folder that it lies in, or see it with kantor report {runs}"
        raise ModelError(runs, "is a run, not a folder of runs", do)
    if not runs.is_dir():
        what = "is a file, not a folder of runs" if runs.exists() else "there is no such folder of runs"
        do = did_you_mean(str(runs), commands) or "train one with kantor train, or name the folder of your runs"
        raise ModelError(runs, what, do)
    return [summarize(run) for run in directory.numbered(runs)]


def table(runs: Sequence[RunSummary], sort: str | None, width: int | None = None) -> list[str]:
    """Lines of a table of runs, with what must be known to compare their scores below.

    Args:
        width: columns of the terminal, at which lines are cut; None for no limit.
    """
    name = sort if sort not in ORDERS else None
    marks = _marks(runs, name)
    rows = [_row(run, name, marks) for run in runs]
    columns = [head for i, head in enumerate(HEAD) if i < 5 or any(row[i] for row in rows)]
    cells = [[HEAD[i] for i in range(len(HEAD)) if HEAD[i] in columns]]
    cells += [[row[i] for i in range(len(HEAD)) if HEAD[i] in columns] for row in rows]
    lines = _aligned(cells, columns)
    if width is not None:
        lines = [line if len(line) <= width else line[: width - 1] + "…" for line in lines]
    if len({*marks.values()}) > 1:
        lines += ["", "scores with different letters were measured differently: do not compare them"]
    return lines


def _marks(runs: Sequence[RunSummary], sort: str | None) -> dict[Path, str]:
    """A letter for each way in which the shown scores were measured, by run."""
    ways: dict[tuple[str, str], str] = {}
    marks = {}
    for run in runs:
        if (shown := run.score(sort or run.main_score)) is not None:
            way = shown[0], run.measured_how(shown[0])
            marks[run.path] = ways.setdefault(way, _letter(len(ways)))
    return marks


def _letter(number: int) -> str:
    """a, b, ..., z, a2, b2, ..."""
    rounds, place = divmod(number, len(ascii_lowercase))
    return ascii_lowercase[place] + (str(rounds + 1) if rounds else "")


def _row(run: RunSummary, sort: str | None, marks: dict[Path, str]) -> tuple[str, ...]:
    shown = run.score(sort or run.main_score)
    several = len({*marks.values()}) > 1
    score = f"{shown[0]} {number(shown[1].value)}{f' {marks[run.path]}' if several else ''}" if shown else ""
    note = run.problem or printable(" ".join(run.note.split()))
    cells = {
        "run": printable(run.path.name),
        "objective": run.objective,
        "data": run.data,
        "images": "" if run.images_seen is None else f"{run.images_seen:,}",
        "state": run.state,
        "score": score,
        "time": "" if run.elapsed_s is None else duration(run.elapsed_s),
        "size": size_text(run.size),
        "began": time.strftime("%Y-%m-%d", time.localtime(run.began_s)) if run.began_s else "",
        "note": note,
    }
    return tuple(_short(cells[name], 200 if run.problem else _LONGEST.get(name, 60)) for name in HEAD)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _aligned(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (
        [
            text.rjust(width) if head in _RIGHT else text.ljust(width)
            for text, width, head in zip(row, widths, heads, strict=True)
        ]
        for row in rows
    )
    return ["  ".join(line).rstrip() for line in padded]


def size_text(count: int) -> str:
    """ "8.8 MB"."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{count} bytes" if unit == "bytes" else f"{size:.{0 if size >= 100 else 1}f} {unit}"
