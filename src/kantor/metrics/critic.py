"""What the critic's own scores say: whether it knows its training images by heart, and how well it tells fakes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class TTest(NamedTuple):
    """Welch's test of two means (Welch 1947).

    Attributes:
        t: the difference of the means by its standard error: it grows with the root of the number of images.
        degrees: of freedom.
        effect: the difference by the pooled standard deviation (Cohen's d): it does not grow.
    """

    t: float
    degrees: float
    effect: float


def t_test(reals: Values, fakes: Values) -> TTest:
    """Of the critic's scores of real [n] and drawn [m] images, both more than one: positive where reals score higher."""
    n, m = len(reals), len(fakes)
    a, b = float(reals.var(ddof=1)), float(fakes.var(ddof=1))
    error = a / n + b / m
    difference = float(reals.mean() - fakes.mean())
    if error == 0:
        return TTest(math.copysign(math.inf, difference) if difference else 0.0, float(n + m - 2), 0.0)
    degrees = error**2 / ((a / n) ** 2 / (n - 1) + (b / m) ** 2 / (m - 1))
    pooled = ((n - 1) * a + (m - 1) * b) / (n + m - 2)
    return TTest(difference / math.sqrt(error), degrees, difference / math.sqrt(pooled))
