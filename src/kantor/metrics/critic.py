"""What the critic's own scores say: how well it tells real from generated images."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class TTest(NamedTuple):
    """Welch's test of two means (Welch 1947).

    Attributes:
        t: difference of the means by its standard error: grows with the root of the number of images.
        degrees: of freedom.
        effect: difference by the pooled standard deviation (Cohen's d): does not grow with the number of images.
    """

    t: float
    degrees: float
    effect: float


def t_test(real: Values, generated: Values) -> TTest:
    """Test of critic scores of real [n] and generated [m] images, n and m at least 2: positive if real ones are higher."""
    n, m = len(real), len(generated)
    a, b = float(real.var(ddof=1)), float(generated.var(ddof=1))
    squared_error = a / n + b / m
    difference = float(real.mean() - generated.mean())
    if squared_error == 0:
        return TTest(math.copysign(math.inf, difference) if difference else 0.0, float(n + m - 2), 0.0)
    degrees = squared_error**2 / ((a / n) ** 2 / (n - 1) + (b / m) ** 2 / (m - 1))
    pooled = ((n - 1) * a + (m - 1) * b) / (n + m - 2)
    return TTest(difference / math.sqrt(squared_error), degrees, difference / math.sqrt(pooled))
