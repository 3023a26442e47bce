"""Kernel inception distance (KID; Bińkowski et al. 2018, "Demystifying MMD GANs").

The squared maximum mean discrepancy of features under k(x, y) = (x.y / D + 1)^3. Unlike the Fréchet distance it is
unbiased for any number of images, and can come out a little below 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kantor.metrics.bootstrap import REPLICATES, Interval, counts, interval

ROWS = 1024


def kid(generated: Tensor, real: Tensor, seed: int = 0, replicates: int = REPLICATES) -> tuple[float, Interval]:
    """KID of features [n, D] and [m, D], and its 95% interval over the generated images.

    Uses all pairs, not random subsets: the estimate of least variance.
    """
    x, y = generated.float(), real.float()
    n, m = len(x), len(y)
    times = torch.from_numpy(counts(n, seed, replicates)).float()
    within, across = torch.zeros(replicates, dtype=torch.float64), torch.zeros(replicates, dtype=torch.float64)
    sum_within = sum_across = 0.0
    for start in range(0, n, ROWS):
        rows = slice(start, start + ROWS)
        kernel = _kernel(x[rows], x)
        kernel[torch.arange(len(kernel)), torch.arange(start, start + len(kernel))] = 0  # skips an image with itself
        sum_within += float(kernel.sum(dtype=torch.float64))
        within += ((times[:, rows] @ kernel) * times).sum(1, dtype=torch.float64)
        to_real = _kernel(x[rows], y).sum(1, dtype=torch.float64)
        sum_across += float(to_real.sum())
        across += times[:, rows].double() @ to_real
    within_real = _mean_kernel(y)
    value = sum_within / (n * (n - 1)) + within_real - 2 * sum_across / (n * m)
    pairs = n**2 - times.double().square().sum(1)  # of different images
    resampled = within / pairs + within_real - 2 * across / (n * m)
    return value, interval(value, resampled.numpy())


def _mean_kernel(y: Tensor) -> float:
    """Mean kernel of all pairs of different rows."""
    total = sum(float(_kernel(y[start : start + ROWS], y).sum(dtype=torch.float64)) for start in range(0, len(y), ROWS))
    with_itself = float((y.double().square().sum(1) / y.shape[1] + 1).pow(3).sum())
    return (total - with_itself) / (len(y) * (len(y) - 1))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1).pow(3)
