"""What healthy curves look like, one sentence a curve, for each family of objectives: the same under losses.png, on the
page of a run and, at length, in docs/losses.md."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kantor.config.schema import ObjectiveConfig

NEAR = 1.3
"""Up to so many times its target, a gradient norm is near it."""


@dataclass(frozen=True)
class Reading:
    """How to read the curves of an objective.

    Attributes:
        gap, critic_loss, scores, generator_loss, penalty, gradient_norm: one sentence on each panel, gap also on the
            Wasserstein estimate, which is the same number.
        rising: on a gap that still rises at the end; too_far: the gap from which that is bad news.
        steep: the gradient norm, in multiples of its target, from which it is further above it than is usual.
        drawn_to: "two-sided", "one-sided" or "zero-centred", as the penalties are; "" where there is none, or several.
        target: the norm that the penalties draw to, or keep below.
    """

    gap: str = "Healthy: noisy, within bounds. Growing on and on: the critic wins."
    critic_loss: str = "What the critic minimises, its penalty aside."
    scores: str = "The distance between both is the gap."
    generator_loss: str = "It may wander: no measure of quality."
    penalty: str = "Times its weight. Calm is good, jumps later on are not."
    gradient_norm: str = "Of the critic's score. Calm is good, jumps are not."
    rising: str = "watch whether the images get worse"
    too_far: float = 0.0
    steep: float = NEAR
    drawn_to: str = ""
    target: float = 1.0


WASSERSTEIN = Reading(
    gap="Healthy: it rises quickly at the start, then falls slowly as the images get better.",
    critic_loss="Minus the Wasserstein estimate; its penalty is not in it.",
    scores="Their distance is the estimate; their height has no meaning.",
    penalty="Times its weight. It goes with the estimate, well below it.",
    rising="the critic is still finding differences",
    too_far=float("inf"),
    steep=2.0,  # short runs at 16x16 had norms up to 1.65
)
_CLIPPED = replace(
    WASSERSTEIN,
    gap="Healthy: small, as weights are clipped; it rises slowly for long, then levels off or falls.",
    critic_loss="Minus the Wasserstein estimate, exactly.",
    rising="that is usual for long where weights are clipped",
)
_RELATIVISTIC = Reading(
    gap="Healthy: wild at first, then small; it rises slowly and levels off.",
    critic_loss="0.69 is an even match; less is healthy, 0 is not.",
    scores="Their distance is the gap; their height has no meaning.",
    generator_loss="0.69 is an even match, more is usual.",
    penalty="Times its weight. Later on it goes with the gap, calmly.",
    rising="that is healthy while it is slow and the images get better",
    too_far=3.0,
)
_NON_SATURATING = Reading(
    critic_loss="1.39 is an even match; at 0 the critic has won.",
    scores="Their distance is the gap. Both at 0: an even match.",
    generator_loss="0.69 is an even match, more is usual.",
)
_OF_KIND = {
    "wgan": WASSERSTEIN,
    "wgan-gp": WASSERSTEIN,
    "wgan-lp": WASSERSTEIN,
    "relativistic": _RELATIVISTIC,
    "dcgan": _NON_SATURATING,
    "dragan": _NON_SATURATING,
    "hinge": Reading(
        critic_loss="2 is an even match; at 0 the critic has won.",
        scores="Their distance is the gap. Beyond 1 and −1 nothing is gained.",
    ),
    "lsgan": Reading(
        critic_loss="0.25 is an even match; at 0 the critic has won.",
        scores="Drawn to 1 and 0. Both at 0.5: an even match.",
        generator_loss="0.13 is an even match, more is usual.",
    ),
}
_GRADIENT = {
    "two-sided": "Drawn to {:g}",
    "one-sided": "Kept to {:g} at most",
    "zero-centred": "Drawn to 0",
}


def reading_of(objective: ObjectiveConfig) -> Reading:
    """How to read the curves of a run with this objective."""
    reading = _OF_KIND.get(objective.kind, Reading())
    if reading is WASSERSTEIN and objective.constraint.kind != "none":
        reading = _CLIPPED
    active = [penalty for penalty in objective.penalties.values() if penalty.weight]
    kinds = {(penalty.of, penalty.target, penalty.over) for penalty in active}
    if len(kinds) == 1:
        ((kind, target, over),) = kinds
        if over == "columns":  # the curve is the norm of whole images
            return reading
        above = reading.steep > NEAR and kind != "zero-centred"
        rest = (
            "; somewhat above it while the estimate is large." if above else ". Calm is good, jumps later on are not."
        )
        reading = replace(reading, gradient_norm=_GRADIENT[kind].format(target) + rest, drawn_to=kind, target=target)
    return reading
