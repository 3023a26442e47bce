"""95% intervals: how far a number would move with other generated images.

The images are resampled from themselves with replacement (Efron 1979, "Bootstrap methods"), and the number is computed
again for each resampled set. The copies in such a set bias distances upwards, so the spread is taken around the mean of
the resampled numbers, and centred on the measured value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kantor.random import derive

REPLICATES = 200
LEVEL = 0.95
Floats = NDArray[np.float64]
Interval = tuple[float, float]


def counts(n: int, seed: int, replicates: int = REPLICATES) -> Floats:
    """How often each of `n` images is in each resampled set: float64 [replicates, n], every row sums to n."""
    rng = np.random.Generator(np.random.PCG64(derive(seed, "bootstrap", n)))
    return np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(replicates)]).astype(np.float64)


def interval(value: float, resampled: Sequence[float] | Floats, low: float = -np.inf) -> Interval:
    """The 95% interval around `value`, at least `low`, from the same number of resampled sets."""
    numbers = np.asarray(resampled, np.float64)
    tails = (1 - LEVEL) / 2
    below, above = np.quantile(numbers, [tails, 1 - tails]) - numbers.mean()
    return max(value + float(below), low), value + float(above)


def fraction_interval(hits: Floats) -> Interval:
    """The interval of a fraction: the mean of `hits` [n], each 0 or 1 (Wilson 1927, "Probable inference").

    Unlike a bootstrap interval it is never empty, and stays within 0 and 1.
    """
    n, p, z = len(hits), float(hits.mean()), 1.959964
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return (float(middle - half) if p > 0 else 0.0), (float(middle + half) if p < 1 else 1.0)


def mean_interval(values: Floats, seed: int, replicates: int = REPLICATES, low: float = -np.inf) -> Interval:
    """The interval of the mean of `values` [n], one per image, at least `low`."""
    return interval(float(values.mean()), counts(len(values), seed, replicates) @ values / len(values), low)
