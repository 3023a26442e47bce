"""metrics.csv: one row per tick."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.engine.events import Event, Request, Saved, Scored, Started, Tick
from kantor.errors import DataError
from kantor.runs.directory import require_file
from kantor.sinks.lines import LinesListener

COLUMNS = (
    "attempt", "epoch", "images_seen", "seconds", "critic_loss", "critic_real", "critic_fake", "critic_gap",
    "wasserstein_estimate", "generator_loss", "penalty", "gradient_norm", "critic_lr", "generator_lr",
    "skipped_steps", "images_per_second",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][\w@:./-]*")


class MetricsCsv(LinesListener):
    """Writes a row per tick to `path`. Missing values are empty, numbers have nine digits.

    The columns `scores` hold what was measured since the row before.
    """

    def __init__(self, path: Path, scores: Sequence[str] = ()) -> None:
        super().__init__(path)
        self._columns = (*COLUMNS, *scores)
        self._scored: dict[str, float] = {}

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        match event:
            case Started():
                if self._open(self._loaded_offset if event.resumed else 0).offset:  # a resumed file keeps its columns
                    self._columns = tuple(self.path.read_text("utf-8").partition("\n")[0].split(","))
                self._header()
            case Scored():
                self._scored |= event.values
            case Tick():
                self._header()
                self._lines.line(",".join(self._cells(event)))
                self._scored = {}
            case Saved():
                self.sync()
        return None

    def state(self) -> dict[str, Any]:
        scored = {name: value for name, value in self._scored.items() if math.isfinite(value)}
        return {**super().state(), "scored": scored}

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self._scored = dict(state.get("scored", {}))

    def _header(self) -> None:
        if self._lines.offset == 0:
            self._lines.line(",".join(self._columns))

    def _cells(self, tick: Tick) -> list[str]:
        values: dict[str, float] = {
            **{name: value for name, value in self._scored.items() if math.isfinite(value)},
            **tick.values,
            "attempt": tick.attempt,
            "epoch": tick.epoch,
            "images_seen": tick.images_seen,
            "seconds": tick.elapsed_s,
            "images_per_second": tick.images_per_second,
        }
        return [_cell(values[name]) if name in values else "" for name in self._columns]


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{float(value):.9g}"


def read_metrics(path: Path, length: int | None = None) -> dict[str, NDArray[np.float64]]:
    """The columns of a metrics.csv, each float64 [rows]; an empty cell is NaN.

    Skips a last line without its end: the run is still writing it, or was killed. Without a file, there are no columns.

    Args:
        length: bytes to read; None reads all.
    Raises:
        DataError: not a file, no header, a row of another length than the header, or a cell that is not a number.
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
            raise DataError(path, what, "delete that line; the others are usable") from None
    return {name: table[:, i].copy() for i, name in enumerate(names)}


def _check_header(path: Path, names: list[str], rows: list[list[str]]) -> None:
    """Raises DataError if the first line is wrong: rows of one length are trusted more than a header of another."""
    sizes = {len(cells) for cells in rows}
    odd = len(sizes) == 1 and sizes != {len(names)} and tuple(names[: len(COLUMNS)]) != COLUMNS
    header = ",".join(COLUMNS)
    if names != [""] and all(map(_is_number, names)):
        more = ", followed by the names of the scores" if max(sizes, default=0) > len(COLUMNS) else ""
        raise DataError(path, "the header is missing", f"insert this line at the top: {header}{more}")
    wrong = "images_seen" not in names or len({*names}) < len(names) or not all(map(_NAME.fullmatch, names))
    if wrong or odd:
        do = f"replace it with: {header}" if sizes <= {len(COLUMNS)} else "delete the file, or restore a copy"
        raise DataError(path, "line 1 is not a header for the lines below", do)


def _is_number(cell: str) -> bool:
    try:
        float(cell or 0)
    except ValueError:
        return False
    return True
