"""What two small samples say about the difference of their means: Welch's interval, and an exact permutation test.

Welch 1947, "The generalization of Student's problem when several different population variances are involved";
Satterthwaite 1946 for the degrees of freedom; Fisher 1935, section 21, for the permutations.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from kantor.metrics.bootstrap import Interval

MOST_WAYS = 20_000
_TINY = 1e-300


@dataclass(frozen=True)
class Difference:
    """The mean of one sample minus that of another.

    Attributes:
        interval: Welch's, at 95%; None if one sample has a single value, or neither has a spread.
        degrees: of freedom; 0 without an interval.
        as_large, ways: of the `ways` to deal all values into two samples of these sizes, `as_large` have means that differ
            at least as much: p = as_large / ways. Both are 0 if a sample has fewer than 3 values, or there are too many ways.
    """

    value: float
    interval: Interval | None
    degrees: float = 0.0
    as_large: int = 0
    ways: int = 0

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """The mean of `a` minus the mean of `b`, with what can be said of it.

    t = (mean a - mean b) / s, s^2 = var a / n_a + var b / n_b, degrees = s^4 / sum((var / n)^2 / (n - 1)).
    """
    value = statistics.fmean(a) - statistics.fmean(b)
    as_large, ways = _permutations(a, b)
    if min(len(a), len(b)) < 2:
        return Difference(value, None)
    parts = [statistics.variance(sample) / len(sample) for sample in (a, b)]
    if not sum(parts) > 0:
        return Difference(value, None, 0.0, as_large, ways)
    weights = sum((part / sum(parts)) ** 2 / (len(sample) - 1) for part, sample in zip(parts, (a, b), strict=True))
    reach = student_quantile(0.975, 1 / weights) * math.sqrt(sum(parts))
    return Difference(value, (value - reach, value + reach), 1 / weights, as_large, ways)


def _permutations(a: Sequence[float], b: Sequence[float]) -> tuple[int, int]:
    """(ways with a difference of means at least as large, all ways), of two samples of 3 or more values each."""
    ways = math.comb(len(a) + len(b), len(a))
    if min(len(a), len(b)) < 3 or ways > MOST_WAYS:
        return 0, 0
    values, total = [*a, *b], math.fsum([*a, *b])

    def distance(chosen: Sequence[float]) -> float:
        mine = math.fsum(chosen)
        return abs(mine / len(a) - (total - mine) / len(b))

    least = distance(a) - 1e-12 * max(map(abs, values))  # the same values in other parts differ by rounding
    return sum(distance(chosen) >= least for chosen in itertools.combinations(values, len(a))), ways


def student_quantile(p: float, degrees: float) -> float:
    """t with P(T <= t) = p, of Student's distribution with `degrees` of freedom, above 0; p in [0.5, 1)."""
    low, high = 0.0, 1.0
    while student_below(high, degrees) < p:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if student_below(middle, degrees) < p else (low, middle)
    return (low + high) / 2


def student_below(t: float, degrees: float) -> float:
    """P(T <= t) for t >= 0: 1 - I_x(degrees / 2, 1 / 2) / 2, x = degrees / (degrees + t^2)."""
    return 1 - _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by its continued fraction (Abramowitz and Stegun 1964, 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 500):  # Lentz's method
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / _not_zero(1 + term * d), _not_zero(1 + term / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
