"""How to read the curves of a run: what healthy ones look like, for each family of objectives, and what is seen here.

The same sentences stand in losses.png and report.html; docs/losses.md says more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from kantor.config.objective import ObjectiveConfig
from kantor.report.curve_data import Column
from kantor.report.table import number_text

NEAR = 1.3
"""A gradient norm of up to so many times its target is near it."""
_LOW_RATIO = 0.8
"""Gradient norms below so many times their target are unusually low."""
_FEW_ROWS = 12


@dataclass(frozen=True)
class LossGuide:
    """How to read the curves of an objective.

    Attributes:
        gap, critic_loss, critic_scores, generator_loss, penalty, gradient_norm: one sentence for each panel; gap also
            for the Wasserstein estimate, which is the same number.
        rising: what it means if the gap still rises at the end; alarming_gap: from here on the critic wins.
        usual_ratio: gradient norms up to so many times their target are usual.
        penalty_kind: "two-sided", "one-sided" or "zero-centred"; "" with no penalty, or several kinds.
        target: the norm that the penalties pull to, or the limit they set.
    """

    gap: str = "Healthy: noisy but bounded. Growing without end: the critic wins."
    critic_loss: str = "What the critic minimizes, without its penalty."
    critic_scores: str = "Their difference is the gap."
    generator_loss: str = "May wander; it does not measure image quality."
    penalty: str = "Includes its weight. Steady is good, later jumps are not."
    gradient_norm: str = "Of the critic score. Steady is good, jumps are not."
    rising: str = "check whether the images get worse"
    alarming_gap: float = 0.0
    usual_ratio: float = NEAR
    penalty_kind: str = ""
    target: float = 1.0


_WASSERSTEIN = LossGuide(
    gap="Healthy: rises quickly at first, then falls slowly as the images improve.",
    critic_loss="Minus the Wasserstein estimate, without the penalty.",
    critic_scores="Their difference is the estimate; their level has no meaning.",
    penalty="Includes its weight. Follows the estimate, well below it.",
    rising="the critic still finds differences",
    alarming_gap=float("inf"),
    usual_ratio=2.0,  # short runs at 16x16 had norms up to 1.65
)
_CLIPPED = replace(
    _WASSERSTEIN,
    gap="Healthy: small, since weights are clipped; rises slowly for long, then levels off or falls.",
    critic_loss="Minus the Wasserstein estimate, exactly.",
    rising="usual for long where weights are clipped",
)
_RELATIVISTIC = LossGuide(
    gap="Healthy: erratic at first, then small, rising slowly and levelling off.",
    critic_loss="0.69 is an even match; less is healthy, 0 is not.",
    critic_scores="Their difference is the gap; their absolute level has no meaning.",
    generator_loss="0.69 is an even match; more is usual.",
    penalty="Includes its weight. Later it follows the gap calmly.",
    rising="healthy if it is slow and the images improve",
    alarming_gap=3.0,
)
_NON_SATURATING = LossGuide(
    critic_loss="1.39 is an even match; at 0 the critic has won.",
    critic_scores="Their difference is the gap. Both at 0: an even match.",
    generator_loss="0.69 is an even match; more is usual.",
)
_GUIDES = {
    "wgan": _WASSERSTEIN,
    "wgan-gp": _WASSERSTEIN,
    "wgan-lp": _WASSERSTEIN,
    "relativistic": _RELATIVISTIC,
    "dcgan": _NON_SATURATING,
    "dragan": _NON_SATURATING,
    "hinge": LossGuide(
        critic_loss="2 is an even match; at 0 the critic has won.",
        critic_scores="Their difference is the gap. Beyond 1 and −1 nothing is gained.",
    ),
    "lsgan": LossGuide(
        critic_loss="0.25 is an even match; at 0 the critic has won.",
        critic_scores="Targets: 1 and 0. Both at 0.5: an even match.",
        generator_loss="0.13 is an even match; more is usual.",
    ),
}
_GRADIENT = {"two-sided": "Target: {:g}", "one-sided": "Limit: {:g}", "zero-centred": "Target: 0"}


def loss_guide(objective: ObjectiveConfig) -> LossGuide:
    """How to read the curves of a run with this objective."""
    guide = _GUIDES.get(objective.kind, LossGuide())
    if guide is _WASSERSTEIN and objective.constraint.kind != "none":
        guide = _CLIPPED
    active = [penalty for penalty in objective.penalties.values() if penalty.weight]
    kinds = {(penalty.of, penalty.target, penalty.over) for penalty in active}
    if len(kinds) != 1:
        return guide
    ((kind, target, over),) = kinds
    if over == "columns":  # the curve is the norm of whole images
        return guide
    above = guide.usual_ratio > NEAR and kind != "zero-centred"
    rest = "; somewhat above it while the estimate is large." if above else ". Steady is good, later jumps are not."
    return replace(guide, gradient_norm=_GRADIENT[kind].format(target) + rest, penalty_kind=kind, target=target)


def trend(values: Column) -> str:
    """ "rising", "falling" or "level" over the last half: the two quarters' medians against the spread within them.

    "short" if there are fewer than 12 values.
    """
    values = values[np.isfinite(values)]
    if len(values) < _FEW_ROWS:
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
    direction, verdict = trend(values), ""
    if direction == "short":
        return f"{guide.gap} Too few rows yet to say more."
    if direction == "falling" and guide.alarming_gap == np.inf:
        verdict = "; the images may well improve with more training"
    elif direction == "rising":
        alarming = 0 < guide.alarming_gap <= _late_median(values)
        verdict = f"; from {guide.alarming_gap:g} on the critic wins" if alarming else f"; {guide.rising}"
    still = direction if direction == "level" else f"still {direction}"
    return f"{guide.gap} Here: {still} over the last half of the run{verdict}."


def gradient_words(values: Column, guide: LossGuide) -> str:
    """On the norm of the critic score's gradient, and how far it is from the penalty's target."""
    median, verdict = _late_median(values), ""
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
            f"Skipped {number_text(skipped)} steps with gradients that were not finite. A few at the start are harmless; "
            "many mean that the learning rate is too high."
        )
    speed = columns.get("images_per_second", np.zeros(0))
    speed = speed[np.isfinite(speed)]
    if len(speed):
        low, middle, high = np.percentile(speed, [10, 50, 90])
        lines.append(
            f"Speed: {number_text(middle)} images per second (median; 80% of measurements between {number_text(low)} and {number_text(high)})."
        )
    return lines
