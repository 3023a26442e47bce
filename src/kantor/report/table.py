"""The losses of a run as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kantor.report.curve_data import without_abandoned

COLUMNS = {
    "images_seen": "kimg",
    "epoch": "epoch",
    "critic_loss": "critic loss",
    "critic_gap": "critic gap",
    "generator_loss": "generator loss",
    "penalty": "penalty",
    "gradient_norm": "gradient norm",
    "images_per_second": "images/s",
}
ROWS = 24
_SHORT_S = 100
_LONG = 1e12
EPOCH_COLUMNS = {
    "images_seen": "kimg",
    "critic_loss": "critic loss",
    "critic_real": "real",
    "critic_fake": "fake",
    "generator_loss": "generator loss",
    "penalty": "penalty",
    "gradient_norm": "gradient norm",
}
"""Means over an epoch; real and fake are critic scores."""


def loss_table(metrics: Mapping[str, NDArray[np.float64]], rows: int = ROWS) -> list[str]:
    """A header and at most `rows` lines, spread evenly over the run, up to its last row.

    Each number is the mean of the rows of its line; counts are those of the last one. Skips columns without numbers,
    and rows that a roll-back undid.
    """
    kept, _ = without_abandoned(metrics)
    count = len(kept.get("images_seen", ()))
    if not count:
        return []
    edges = np.unique(np.linspace(0, count, min(rows, count) + 1).astype(int))
    return _side_by_side(_cells(kept, COLUMNS, np.split(np.arange(count), edges[1:-1])))


def epoch_table(metrics: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """A header, a line per epoch and a line about the whole run; nothing if no row has an epoch.

    Line k is the mean over rows with k - 1 < epoch <= k; an epoch in which no row ends (rows longer than epochs) has no
    line. Seconds of an epoch are interpolated between rows. An incomplete last epoch shows its percentage. Skips rows
    that a roll-back undid.
    """
    kept, _ = without_abandoned(metrics)
    epoch = kept.get("epoch", np.zeros(0))
    rows = np.flatnonzero(np.isfinite(epoch) & (epoch > 0))
    epoch = epoch[rows]
    if not len(epoch):
        return []
    numbers, which = np.unique(np.ceil(epoch), return_inverse=True)
    groups = [rows[which == i] for i in range(len(numbers))]
    last = epoch.max()
    fraction = 1 - (numbers[-1] - last)
    part = f" ({np.floor(100 * fraction):.0f}%)" if fraction < 1 else ""
    names = ["epoch", *map(number_text, numbers)]
    padded = [*(name + " " * len(part) for name in names[:-1]), names[-1] + part]
    cells = [padded, *_cells(kept, EPOCH_COLUMNS, groups)]
    seconds = kept.get("seconds", np.full(len(rows), np.nan))[rows]
    timed = np.isfinite(seconds)
    if not timed.any():
        return _side_by_side(cells)
    ends = np.interp([numbers - 1, np.minimum(numbers, last)], np.append(0, epoch[timed]), np.append(0, seconds[timed]))
    cells.append(["seconds", *(number_text(span_s, 1 if span_s < _SHORT_S else 0) for span_s in ends[1] - ends[0])])
    return [*_side_by_side(cells), _pace(last, ends[1, -1])]


def _pace(epochs: float, seconds: float) -> str:
    """ "15 epochs in 1:02:03, 248 s an epoch"."""
    minutes, rest = divmod(round(seconds), 60)
    each = seconds / epochs
    count = number_text(epochs) if float(epochs).is_integer() else number_text(epochs, 2)
    per = f"{each:.3g}" if each < _SHORT_S else number_text(each)
    return f"{count} epoch{'' if epochs == 1 else 's'} in {number_text(minutes // 60)}:{minutes % 60:02}:{rest:02}, {per} s an epoch"


def _cells(
    kept: Mapping[str, NDArray[np.float64]], titles: Mapping[str, str], groups: list[NDArray[np.int64]]
) -> list[list[str]]:
    """A title and a text for each group of rows, for each column that holds a number."""
    cells = []
    for name, title in titles.items():
        values = kept.get(name, np.zeros(0))
        if not np.isfinite(values).any():
            continue
        if name in ("images_seen", "epoch"):
            unit = 1000 if name == "images_seen" else 1
            texts = [number_text(values[group[-1]] / unit, 1) for group in groups]
        else:
            texts = [_mean(values[group], whole=name == "images_per_second") for group in groups]
        cells.append([title, *texts])
    return cells


def _side_by_side(columns: list[list[str]]) -> list[str]:
    """Joins columns into lines, each column aligned right."""
    aligned = [[text.rjust(max(map(len, column))) for text in column] for column in columns]
    return ["  ".join(line) for line in zip(*aligned, strict=True)]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines: the first column aligned left, the others right."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))])
        for first, *rest in rows
    ]


def _mean(values: NDArray[np.float64], whole: bool) -> str:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "-"
    return number_text(finite.mean()) if whole else f"{finite.mean():.4g}"


def number_text(value: float, decimals: int = 0) -> str:
    """1,234.5; numbers that would fill the line are written 1.23e+45."""
    return f"{value:,.{decimals}f}" if abs(value) < _LONG else f"{value:.3g}"
