"""What the curves of a run say, in plain sentences with the numbers they rest on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kantor.report.curve_data import Column
from kantor.report.loss_guide import NEAR, LossGuide

_FEW = 12
_LOW_RATIO = 0.8
"""Gradient norms below so many times their target are unusually low."""
_LONG = 1e12


def trend(values: Column) -> str:
    """ "rising", "falling" or "level" over the last half: the two quarters' medians against the spread within them.

    "short" if there are fewer than 12 values.
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


def panel_words(panel: str, values: Column, guide: LossGuide) -> str:
    """What healthy looks like and what is seen here.

    Args:
        panel: attribute of `guide`: "gap", "penalty" ...
        values: the column that the panel shows.
    """
    if panel == "gap":
        return gap_words(values, guide)
    if panel == "penalty":
        return f"{guide.penalty} Median over the last quarter: {_late_median(values):.3g}."
    return gradient_words(values, guide) if panel == "gradient_norm" else str(getattr(guide, panel))


def gap_words(values: Column, guide: LossGuide) -> str:
    """On the critic gap, or the Wasserstein estimate, which is the same difference under a bound."""
    direction = trend(values)
    if direction == "short":
        return f"{guide.gap} Too few rows yet to say more."
    if direction == "level":
        return f"{guide.gap} Here: level over the last half of the run."
    if direction == "falling":
        hope = "; the images may well improve with more training" if guide.alarming_gap == np.inf else ""
        return f"{guide.gap} Here: still falling over the last half of the run{hope}."
    alarming = 0 < guide.alarming_gap <= _late_median(values)
    verdict = f"from {guide.alarming_gap:g} on the critic wins" if alarming else guide.rising
    return f"{guide.gap} Here: still rising over the last half of the run; {verdict}."


def gradient_words(values: Column, guide: LossGuide) -> str:
    """On the norm of the critic score's gradient, and how far it is from the penalty's target."""
    median = _late_median(values)
    verdict = ""
    if guide.penalty_kind in ("two-sided", "one-sided"):
        ratio = median / guide.target
        if ratio > guide.usual_ratio:
            verdict = f", further above {guide.target:g} than usual"
        elif ratio > NEAR:
            verdict = f", above {guide.target:g} as usual while the estimate is large"
        elif ratio >= _LOW_RATIO or guide.penalty_kind == "one-sided":
            verdict = ", as it should be"
        else:
            verdict = f", further below {guide.target:g} than usual"
    return f"{guide.gradient_norm} Median over the last quarter: {median:.3g}{verdict}."


def _late_median(values: Column) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values[-max(1, len(values) // 4) :]))


def health(columns: Mapping[str, Column]) -> list[str]:
    """Sentences about the run as a whole: skipped steps and speed."""
    lines = []
    skipped = float(np.nansum(columns.get("skipped_steps", np.zeros(0))))
    if skipped:
        lines.append(
            f"Skipped {figure(skipped)} steps with gradients that were not finite. A few at the start are harmless; "
            "many mean that the learning rate is too high."
        )
    speed = columns.get("images_per_second", np.zeros(0))
    speed = speed[np.isfinite(speed)]
    if len(speed):
        low, middle, high = np.percentile(speed, [10, 50, 90])
        lines.append(
            f"Speed: {figure(middle)} images per second (median; 80% of rows between {figure(low)} and {figure(high)})."
        )
    return lines


def figure(value: float, decimals: int = 0) -> str:
    """1,234.5; numbers that would fill the line are written 1.23e+45."""
    return f"{value:,.{decimals}f}" if abs(value) < _LONG else f"{value:.3g}"
