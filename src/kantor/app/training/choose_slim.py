"""Chooses and tells how narrow the networks of a run are: `--slim`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kantor.app.decisions import Decisions
from kantor.app.training.length import left_s
from kantor.app.training.options import TrainOptions
from kantor.app.training.parts import Parts
from kantor.app.training.time_to_see import about, images_to_see
from kantor.app.training.trial import Trial, memory_errors
from kantor.config.io import overridden

DIVISORS = (8, 4, 2, 1)
_TRIAL_S = 1.0
_SHARE = 0.75
_LONG_S = 3600.0
_LEAST_FACTOR = 1.5
"""Layers of twice the width take at least so many times as long."""


def choose_slim(decisions: Decisions, parts: Parts, options: TrainOptions) -> None:
    """Replaces "auto" in `generator.slim` and `critic.slim`, and records what slim networks have left of their parameters.

    Takes the widest networks whose first images can be recognised, by the table of `time_to_see`, within three quarters
    of the time budget, or of an hour if there is none: from the narrowest on, each is tried for about a second. A
    network whose divisor is a number keeps it.
    """
    networks = ("generator", "critic")
    automatic = [f"{name}.slim" for name in networks if getattr(decisions.config, name).slim == "auto"]
    if automatic:

        def rate_of(slim: int) -> float:
            fields = {**dict.fromkeys(automatic, slim), "train.compile": False}
            tried = parts.with_config(overridden(decisions.config, fields))
            with Trial(tried) as trial, memory_errors(parts.device):
                return trial.images_per_second(_TRIAL_S)

        images = images_to_see(decisions.config, parts.spec.height, parts.spec.width)
        slim, reason = widest(rate_of, images, min(left_s(options), _LONG_S))
        for field in automatic:
            decisions.set(field, slim, reason, announce=False)
        decisions.record("slim", slim, reason)
    slims = [getattr(decisions.config, name).slim for name in networks]
    if slims == [1, 1]:
        return
    counts = parameter_counts(parts.with_config(decisions.config))
    full = overridden(decisions.config, {f"{name}.slim": 1 for name in networks})
    for name, slim, count, whole in zip(
        networks, slims, counts, parameter_counts(parts.with_config(full)), strict=True
    ):
        if count != whole:
            decisions.record(f"{name}.slim", slim, f"{count:,} parameters of {whole:,}")


def parameter_counts(parts: Parts) -> tuple[int, int]:
    """Trained parameters of generator and critic, counted without allocating them."""
    with torch.device("meta"):
        sizes = [sum(weights.numel() for weights in build().parameters()) for build in (parts.generator, parts.critic)]
    return sizes[0], sizes[1]


def widest(rate_of: Callable[[int], float], images: float, time_s: float) -> tuple[int, str]:
    """The smallest divisor with which there is something to be seen in three quarters of the time, and why.

    Args:
        rate_of: images a second with widths divided by this number; raises MemoryError if it does not fit.
        images: that are shown until there is something to be seen.
    """
    limit_s = _SHARE * time_s
    chosen, reason, needed_s = DIVISORS[0], "not even that fits in memory", 0.0
    for slim in DIVISORS:
        if _LEAST_FACTOR * needed_s > limit_s:  # wider ones are not even tried
            break
        try:
            needed_s = images / rate_of(slim)
        except MemoryError:
            return chosen, f"{reason}; {slim} does not fit in memory" if needed_s else reason
        if slim < DIVISORS[0] and needed_s > limit_s:
            return chosen, f"{reason}, with {slim} about {about(needed_s)}"
        chosen, reason = slim, f"recognisable images after about {about(needed_s)}, in a run of {about(time_s)}"
        if needed_s > limit_s:
            reason += "; none fit, and these are the narrowest"
    return chosen, reason
