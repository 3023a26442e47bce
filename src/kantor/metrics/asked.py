"""How well a guided generator does what it is asked: controls asked for against those of its images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kantor.metrics.bootstrap import Interval, mean_interval
from kantor.metrics.inputs import MetricInputs
from kantor.metrics.score import Score

Floats = NDArray[np.float64]
_QUANTILE = 1.959964  # of 97.5% of a normal distribution


def control_scores(inputs: MetricInputs) -> dict[str, Score]:
    """Of each control the correlation and the mean absolute error, and the lowest of all correlations."""
    assert inputs.controls is not None
    names, asked, got = inputs.controls
    found = {name: correlation(asked[:, k], got[:, k]) for k, name in enumerate(names)}
    known = [pair for pair in found.values() if math.isfinite(pair[0])]
    lowest = min(known, default=(math.nan, (math.nan, math.nan)))
    scores = {"controls@pixels": Score(*lowest)}
    for k, name in enumerate(names):
        errors = np.abs(asked[:, k] - got[:, k])
        ends = mean_interval(errors, inputs.seed, inputs.replicates, low=0.0)
        scores[f"controls_{name}@pixels"] = Score(*found[name])
        scores[f"controls_error_{name}@pixels"] = Score(float(errors.mean()), ends)
    return scores


def correlation(a: Floats, b: Floats) -> tuple[float, Interval]:
    """Pearson's correlation of two rows of n > 3 numbers and its 95% interval (Fisher 1921); nan where one is constant."""
    if min(a.std(), b.std()) < 1e-9:
        return math.nan, (math.nan, math.nan)
    r = float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1))
    centre, half = math.atanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)), _QUANTILE / math.sqrt(len(a) - 3)
    return r, (math.tanh(centre - half), math.tanh(centre + half))
