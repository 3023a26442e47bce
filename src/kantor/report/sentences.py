"""What the curves of a run say, in plain words. Each sentence names the figures it rests on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kantor.report.loss_guide import NEAR, Reading

Column = NDArray[np.float64]
_FEW = 12
_BELOW = 0.8
"""A gradient norm of less than this times its target is further below it than is usual."""
_LONG = 1e12


def trend(values: Column) -> str:
    """ "rising", "falling" or "level" over the last half: the two quarters' medians against the spread within them.

    "short" where there are fewer than 12 values.
    """
    values = values[np.isfinite(values)]
    if len(values) < _FEW:
        return "short"
    half = values[len(values) // 2 :]
    first, last = half[: len(half) // 2], half[len(half) // 2 :]
    step = float(np.median(last) - np.median(first))
    noise = float(np.median(np.abs(np.diff(half)))) + 0.02 * float(np.median(np.abs(half)))
    if abs(step) <= max(noise, 1e-12):
        return "level"
    return "rising" if step > 0 else "falling"


def gap_words(values: Column, reading: Reading) -> str:
    """On the critic's gap, or the Wasserstein estimate, which is the same difference under a bound."""
    way = trend(values)
    if way == "short":
        return f"{reading.gap} There are too few rows yet to say more."
    if way == "level":
        return f"{reading.gap} Here it has been level over the last half of the run."
    if way == "falling":
        hope = ": the images may well get better with more training" if reading.too_far == np.inf else ""
        return f"{reading.gap} Here it was still falling over the last half of the run{hope}."
    far = 0 < reading.too_far <= _late_median(values)
    verdict = f"at {reading.too_far:g} and more the critic wins" if far else reading.rising
    return f"{reading.gap} Here it was still rising over the last half of the run: {verdict}."


def penalty_words(values: Column, reading: Reading) -> str:
    return f"{reading.penalty} Its median over the last quarter is {_late_median(values):.3g}."


def gradient_words(values: Column, reading: Reading) -> str:
    """On the norm of the score's gradient, and whether it is where the penalty draws it."""
    median = _late_median(values)
    verdict = ""
    if reading.drawn_to in ("two-sided", "one-sided"):
        ratio = median / reading.target
        if ratio > reading.steep:
            verdict = f": further above {reading.target:g} than is usual"
        elif ratio > NEAR:
            verdict = f": above {reading.target:g}, as is usual while the estimate is large"
        elif ratio >= _BELOW or reading.drawn_to == "one-sided":
            verdict = ": as it should be"
        else:
            verdict = f": further below {reading.target:g} than is usual"
    return f"{reading.gradient_norm} Its median over the last quarter is {median:.3g}{verdict}."


def _late_median(values: Column) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values[-max(1, len(values) // 4) :]))


def health(columns: Mapping[str, Column]) -> list[str]:
    """What to know about the run as a whole."""
    lines = []
    skipped = float(np.nansum(columns.get("skipped_steps", np.zeros(0))))
    if skipped:
        lines.append(
            f"{figure(skipped)} steps were skipped because a gradient was not finite. A few at the start are harmless; "
            "many mean that the learning rate is too high."
        )
    rate = columns.get("images_per_second", np.zeros(0))
    rate = rate[np.isfinite(rate)]
    if len(rate):
        low, middle, high = np.percentile(rate, [10, 50, 90])
        lines.append(
            f"Speed: {figure(middle)} images a second (median; nine of ten rows above {figure(low)}, one of ten above "
            f"{figure(high)})."
        )
    return lines


def figure(value: float, decimals: int = 0) -> str:
    """1,234.5; numbers that would fill the line are written 1.23e+45."""
    return f"{value:,.{decimals}f}" if abs(value) < _LONG else f"{value:.3g}"
