"""What the curves of a run say, in plain words. Each sentence names the figures it rests on."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
_FEW = 12


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


def gap_words(values: Column, wasserstein: bool) -> str:
    """On the critic's gap, or the Wasserstein estimate, which is the same difference under a bound."""
    healthy = (
        "Healthy: it rises quickly at the start, then falls slowly as the pictures get better."
        if wasserstein
        else "Healthy: it levels off. Growing on and on means that the critic wins."
    )
    now = {
        "short": "There are too few rows yet to say more.",
        "level": "Here it has been level over the last half of the run.",
        "rising": "Here it was still rising over the last half of the run"
        + (": the critic is still finding differences." if wasserstein else ": watch whether the pictures get worse."),
        "falling": "Here it was still falling over the last half of the run"
        + (": the pictures may well get better with more training." if wasserstein else "."),
    }[trend(values)]
    return f"{healthy} {now}"


def generator_words(values: Column) -> str:
    return (
        "What the generator minimises. It may wander: it is measured by a critic that changes, so it tells no quality."
    )


def penalty_words(values: Column) -> str:
    values = values[np.isfinite(values)]
    last = values[-max(1, len(values) // 4) :]
    return f"Times its weight. It should soon be small and calm; its median over the last quarter is {np.median(last):.3g}."


def gradient_words(values: Column, penalties: Collection[str]) -> str:
    """penalties: the kinds that are at work: "two-sided", "one-sided", "zero-centred"."""
    values = values[np.isfinite(values)]
    median = float(np.median(values[-max(1, len(values) // 4) :]))
    if set(penalties) == {"two-sided"}:
        verdict = "as it should be" if 0.8 <= median <= 1.3 else "further from 1 than is usual"
        return f"The penalty draws it to 1. Its median over the last quarter is {median:.3g}: {verdict}."
    if set(penalties) == {"one-sided"}:
        verdict = "as it should be" if median <= 1.3 else "further above 1 than is usual"
        return f"The penalty keeps it from rising above 1. Its median over the last quarter is {median:.3g}: {verdict}."
    return f"How steep the critic's score is at the pictures. Calm is good, jumps are not. Its median over the last quarter is {median:.3g}."


def critic_words(values: Column) -> str:
    return "What the critic minimises, its penalty aside."


def health(columns: Mapping[str, Column]) -> list[str]:
    """What to know about the run as a whole."""
    lines = []
    skipped = float(np.nansum(columns.get("skipped_steps", np.zeros(0))))
    if skipped:
        lines.append(
            f"{skipped:,.0f} steps were skipped because a gradient was not finite. A few at the start are harmless; "
            "many mean that the learning rate is too high."
        )
    rate = columns.get("images_per_second", np.zeros(0))
    rate = rate[np.isfinite(rate)]
    if len(rate):
        low, middle, high = np.percentile(rate, [10, 50, 90])
        lines.append(
            f"Speed: {middle:,.0f} pictures a second (median; nine of ten rows above {low:,.0f}, one of ten above "
            f"{high:,.0f})."
        )
    return lines
