"""metrics.csv: one row a tick."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.atomic import AppendFile
from kantor.engine.events import Event, Request, Saved, Scored, Started, Tick
from kantor.errors import DataError
from kantor.runs.directory import require_file

COLUMNS = (
    "attempt",
    "epoch",
    "images_seen",
    "seconds",
    "critic_loss",
    "critic_real",
    "critic_fake",
    "critic_gap",
    "wasserstein_estimate",
    "generator_loss",
    "penalty",
    "gradient_norm",
    "critic_lr",
    "generator_lr",
    "skipped_steps",
    "images_per_second",
)
TIME_COLUMNS = ("seconds", "images_per_second")
"""What differs between two runs that are equal."""


_NAME = re.compile(r"[A-Za-z_][\w@:./-]*")


class ResumableLines:
    """A file of lines that goes on where a checkpoint was taken.

    A run that starts afresh (because it was killed before its first checkpoint, say) starts the file afresh; one that
    is resumed cuts off what was written after its checkpoint, and keeps all whole lines where the checkpoint knows
    nothing of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: AppendFile | None = None
        self._offset: int | None = None

    def open(self, offset: int | None) -> AppendFile:
        """Cuts the file to `offset`, or to the last end of a line before it where somebody has edited it (None: to its
        last whole line), and makes it ready to grow."""
        self.close()
        self._file = AppendFile(self.path, None if offset is None else _end_of_line(self.path, offset))
        return self._file

    @property
    def file(self) -> AppendFile:
        return self._file or self.open(self._offset)

    def state(self) -> dict[str, Any]:
        """What is on the disk by now. Never fails: a full disk must not cost a checkpoint."""
        self.sync()
        return {"offset": self._file.offset if self._file else self._offset or 0}

    def load(self, state: dict[str, Any]) -> None:
        """The next line follows at the offset in `state`."""
        self.close()
        self._offset = int(state["offset"])

    @property
    def loaded_offset(self) -> int | None:
        """The offset that `load` was given; None where it was not called."""
        return self._offset

    def sync(self) -> None:
        if self._file:
            with contextlib.suppress(OSError):
                self._file.sync()

    def close(self) -> None:
        if self._file:
            self._file.close()
        self._file = None


class LinesListener:
    """A listener that writes lines to `path`; its state is how far."""

    def __init__(self, path: Path) -> None:
        self._lines = ResumableLines(path)

    def state(self) -> dict[str, Any]:
        return self._lines.state()

    def load(self, state: dict[str, Any]) -> None:
        self._lines.load(state)

    def close(self) -> None:
        self._lines.close()


class MetricsCsv(LinesListener):
    """Writes a row a tick to `path`. Missing values are empty, numbers have nine digits.

    Args:
        scores: names of the columns behind the others; a row has the scores that came since the row before.
    """

    def __init__(self, path: Path, scores: Sequence[str] = ()) -> None:
        super().__init__(path)
        self._columns = (*COLUMNS, *scores)
        self._scored: dict[str, float] = {}

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        match event:
            case Started():
                if self._lines.open(self._lines.loaded_offset if event.resumed else 0).offset:
                    self._columns = _first_line(self._lines.path)  # a file that goes on keeps its columns
                self._header()
            case Scored():
                self._scored |= event.values
            case Tick():
                self._header()
                self._lines.file.line(",".join(_cells(event, self._scored, self._columns)))
                self._scored = {}
            case Saved():
                self._lines.sync()
        return None

    def state(self) -> dict[str, Any]:
        scored = {name: value for name, value in self._scored.items() if math.isfinite(value)}
        return {**super().state(), "scored": scored}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self._scored = dict(state.get("scored", {}))

    def _header(self) -> None:
        if self._lines.file.offset == 0:
            self._lines.file.line(",".join(self._columns))


def _first_line(path: Path) -> tuple[str, ...]:
    with path.open(encoding="utf-8") as file:
        return tuple(file.readline().rstrip("\n").split(","))


def read_metrics(path: Path, length: int | None = None) -> dict[str, NDArray[np.float64]]:
    """The columns of a metrics.csv, each float64 [rows]; an empty cell is NaN.

    A last line without its end (the run is being written, or was killed) is left out. No file, no columns.

    Args:
        length: bytes to read; None reads all of them.
    Raises:
        DataError: no file, no header, a row has another number of cells than it, or a cell is no number.
    """
    require_file(path)
    if not path.exists():
        return {}
    *lines, _torn = path.read_bytes()[:length].decode("utf-8", errors="replace").split("\n")
    if not lines:
        return {}
    names, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    _check_header(path, names, rows)
    table = np.empty((len(rows), len(names)))
    for i, cells in enumerate(rows):
        try:
            if len(cells) != len(names):
                raise ValueError
            table[i] = [float(cell) if cell else np.nan for cell in cells]
        except ValueError:
            what = f"line {i + 2} is not a row of {len(names)} numbers"
            raise DataError(path, what, "delete that line; the others can be used") from None
    return {name: table[:, i].copy() for i, name in enumerate(names)}


def _check_header(path: Path, names: list[str], rows: list[list[str]]) -> None:
    """Raises DataError where the first line is at fault: rows that all agree are more to be trusted than it is."""
    sizes = {len(cells) for cells in rows}
    odd = len(sizes) == 1 and sizes != {len(names)} and tuple(names[: len(COLUMNS)]) != COLUMNS
    header = ",".join(COLUMNS)
    if names != [""] and all(map(_is_number, names)):
        more = ", with the names of the scores behind it" if max(sizes, default=0) > len(COLUMNS) else ""
        raise DataError(path, "the header is missing", f"put this line above all others: {header}{more}")
    wrong = "images_seen" not in names or len({*names}) < len(names) or not all(map(_NAME.fullmatch, names))
    if wrong or odd:
        do = f"write it anew: {header}" if sizes <= {len(COLUMNS)} else "delete the file, or bring back a copy"
        raise DataError(path, "line 1 is not the header of the lines below", do)


def _is_number(cell: str) -> bool:
    try:
        float(cell or 0)
    except ValueError:
        return False
    return True


def _end_of_line(path: Path, offset: int) -> int:
    """`offset`, where a line of the file ends there, else where the last one before it ends."""
    data = path.read_bytes()[:offset] if path.exists() else b""
    return data.rfind(b"\n") + 1


def _cells(tick: Tick, scores: Mapping[str, float], columns: Sequence[str]) -> list[str]:
    values: dict[str, float] = {
        **{name: value for name, value in scores.items() if math.isfinite(value)},
        **tick.values,
        "attempt": tick.attempt,
        "epoch": tick.epoch,
        "images_seen": tick.images_seen,
        "seconds": tick.elapsed_s,
        "images_per_second": tick.images_per_second,
    }
    return [_cell(values[name]) if name in values else "" for name in columns]


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{float(value):.9g}"
