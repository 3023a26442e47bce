"""What the critic's scores of real and generated images say."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kantor.metrics.bootstrap import counts, interval
from kantor.metrics.inputs import MetricInputs
from kantor.metrics.score import Score
from kantor.random import derive

Floats = NDArray[np.float64]


def critic_scores(inputs: MetricInputs) -> dict[str, Score]:
    """Whether the critic tells real from generated images, and training from held-out ones."""
    assert inputs.critic is not None
    training, held_out = inputs.critic.training, inputs.critic.held_out
    t, effect = t_test(training, inputs.critic.generated)
    real_t, real_effect = t_test(training[::2], training[1::2])
    scores = {"critic_t@critic": Score(t, reals=real_t), "critic_effect@critic": Score(effect, reals=real_effect)}
    if held_out is not None and len(held_out) > 1:
        gap = float(training.mean() - held_out.mean())
        training_means, held_out_means = (
            counts(len(side), derive(inputs.seed, purpose)) @ side / len(side)
            for purpose, side in (("learnt", training), ("held", held_out))
        )
        scores["held_out_gap@critic"] = Score(gap, interval(gap, training_means - held_out_means), 0.0)
    return scores


def t_test(real: Floats, generated: Floats) -> tuple[float, float]:
    """Test of critic scores of real [n] and generated [m] images, n and m at least 2: positive if real ones are higher.

    Returns:
        t of Welch 1947, the difference of the means by its standard error, which grows with the root of the number of
        images; and Cohen's d, the difference by the pooled standard deviation, which does not.
    """
    n, m = len(real), len(generated)
    a, b = float(real.var(ddof=1)), float(generated.var(ddof=1))
    squared_error = a / n + b / m
    difference = float(real.mean() - generated.mean())
    if squared_error == 0:
        return math.copysign(math.inf, difference) if difference else 0.0, 0.0
    pooled = ((n - 1) * a + (m - 1) * b) / (n + m - 2)
    return difference / math.sqrt(squared_error), difference / math.sqrt(pooled)
