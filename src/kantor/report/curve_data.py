"""Prepares columns of metrics.csv for painting: without rows that were undone, smoothed, in few points."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]

_PAINTABLE = 1e150
"""Differences and sums of larger numbers overflow."""


def without_abandoned(metrics: Mapping[str, Column]) -> tuple[dict[str, Column], Column]:
    """Drops rows that a roll-back undid and rows without a valid images_seen, and clips numbers beyond all bounds.

    Returns:
        The remaining rows of each column, with images_seen rising, and the images seen that the run was rolled back to:
        [roll-backs].
    """
    seen = metrics.get("images_seen", np.zeros(0))
    count = (seen >= 0) & (seen <= 2.0**53)  # NaN is neither
    seen = seen[count]
    later_least = np.minimum.accumulate(np.append(seen, np.inf)[::-1])[::-1][1:]
    keep = seen < later_least
    back = seen[1:][np.diff(seen) <= 0]
    return {name: np.clip(column[count][keep], -_PAINTABLE, _PAINTABLE) for name, column in metrics.items()}, back


def smooth(values: Column, window: int) -> Column:
    """Centred moving mean over `window` rows after a median over five, so that a lone spike leaves no plateau.

    The window is narrower at the start, where curves are steep. Ignores NaN; NaN where a window has nothing else.
    """
    calm = _median_of_five(values)
    finite = np.isfinite(calm)
    sums = np.append(0, np.cumsum(np.where(finite, calm, 0)))
    counts = np.append(0, np.cumsum(finite))
    at = np.arange(len(calm))
    half = np.minimum(window // 2, at)
    first, last = at - half, np.minimum(at + half + 1, len(calm))
    count = counts[last] - counts[first]
    return np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan)


def _median_of_five(values: Column) -> Column:
    padded = np.pad(values, 2, constant_values=np.nan)
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)  # NaN go last
    count = np.isfinite(windows).sum(1)
    rows = np.arange(len(values))
    middle = (windows[rows, np.maximum(count - 1, 0) // 2] + windows[rows, np.minimum(count // 2, 4)]) / 2
    return np.where(count > 0, middle, np.nan)


def extremes(values: Column, steps: int) -> NDArray[np.int64]:
    """Rows of the least and the greatest value of each of `steps` equal parts; all rows where there are no more.

    Parts without a number keep their first row, so that the gap in the curve stays.
    """
    if len(values) <= 2 * steps:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), steps + 1).astype(np.int64)
    rows = [0, len(values) - 1]
    for start, end in itertools.pairwise(edges):
        finite = start + np.flatnonzero(np.isfinite(values[start:end]))
        rows += [finite[values[finite].argmin()], finite[values[finite].argmax()]] if len(finite) else [start]
    return np.unique(rows)
