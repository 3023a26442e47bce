"""The losses of a run as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kantor.report.plots import without_abandoned
from kantor.report.words import figure

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


def loss_table(metrics: Mapping[str, NDArray[np.float64]], rows: int = ROWS) -> list[str]:
    """A head and at most `rows` lines, spread evenly over the run, the last row of the run among them.

    Each figure is the mean of the rows that its line stands for; counts are those at the end. Columns in which nothing
    was measured are left out. Rows that a roll-back undid do not count.
    """
    kept, _ = without_abandoned(metrics)
    count = len(kept.get("images_seen", ()))
    if not count:
        return []
    edges = np.unique(np.linspace(0, count, min(rows, count) + 1).astype(int))
    cells = []
    for name, title in COLUMNS.items():
        values = kept.get(name)
        if values is None or not np.isfinite(values).any():
            continue
        parts = np.split(values, edges[1:-1])
        if name in ("images_seen", "epoch"):
            column = [figure(part[-1] / (1000 if name == "images_seen" else 1), 1) for part in parts]
        else:
            column = [_mean(part, whole=name == "images_per_second") for part in parts]
        width = max(len(title), *map(len, column))
        cells.append([text.rjust(width) for text in [title, *column]])
    return ["  ".join(line) for line in zip(*cells, strict=True)]


def _mean(values: NDArray[np.float64], whole: bool) -> str:
    good = values[np.isfinite(values)]
    if not len(good):
        return "-"
    return figure(good.mean()) if whole else f"{good.mean():.4g}"
