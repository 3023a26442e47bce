"""Fidelity and diversity apart: how two sets of features lie on each other's manifolds.

The manifold of a set is estimated as the union of balls around its images, each with the distance to the k-th nearest
other image of the set as its radius. Precision and recall: Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing
generative models". Density and coverage: Naeem et al. 2020, "Reliable fidelity and diversity metrics". Clipped density and
clipped coverage: Salvy, Talbot and Thirion 2026, "Enhanced generative model evaluation with clipped density and coverage"
(ICLR; arXiv 2507.01761): no image counts more than once, and no ball is larger than the median one, so that outliers decide
nothing; both are calibrated so that 0.7 is the score of images of which 70% are as good as real ones, and 30% lie far from all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROWS = 1024
PRECISION_K, COVERAGE_K = 3, 5


class Neighbourhoods(NamedTuple):
    """One value per image; the scores are their means.

    Attributes:
        precision: float64 [n]: 1 if a generated image lies within the real manifold, else 0.
        recall: float64 [m]: 1 if a real image lies within the generated manifold, else 0.
        density: float64 [n]: number of real balls that contain a generated image, divided by k; 1 on average if both
            distributions are equal.
        coverage: float64 [m]: 1 if the ball of a real image contains a generated one, else 0.
        clipped_density: float64 [n]: number of clipped real balls that contain a generated image, divided by k, at most 1;
            divided by the mean of the same for the real images.
        coverage_share: float64 [m]: number of generated images in the ball of a real image, divided by k, at most 1; see
            `calibrated_coverage` for what the mean means.
        coverage_influence: float64 [n]: how much the mean of `coverage_share` loses without each generated image, times n.
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor
    clipped_density: Tensor
    coverage_share: Tensor
    coverage_influence: Tensor


def neighbourhoods(generated: Tensor, real: Tensor) -> Neighbourhoods:
    """Of features [n, D] and [m, D]; n and m must exceed `PRECISION_K` and `COVERAGE_K`."""
    centre = real.double().mean(0)
    x, y = generated.double() - centre, real.double() - centre
    n, m, k = len(x), len(y), COVERAGE_K
    nearest = nearest_others(y, max(PRECISION_K, k))
    precision_radii, real_radii = nearest[:, PRECISION_K - 1], nearest[:, k - 1]
    generated_radii = nearest_others(x, PRECISION_K)[:, -1]
    clipped_radii = real_radii.clamp(max=_median_square(real_radii))
    of_real = _others_around(y, clipped_radii).clamp(max=k).mean() / k
    precise, balls, clipped_balls = torch.zeros(n, dtype=torch.bool), torch.zeros(n), torch.zeros(n)
    influence, members, recall = torch.zeros(n, dtype=torch.float64), torch.zeros(m), torch.zeros(m, dtype=torch.bool)
    for rows, squares in squared_distances(y, x):
        inside = squares <= real_radii[rows, None]
        members[rows] = inside.sum(1).float()
        balls += inside.sum(0)
        clipped_balls += (squares <= clipped_radii[rows, None]).sum(0)
        precise |= (squares <= precision_radii[rows, None]).any(0)
        recall[rows] = (squares <= generated_radii).any(1)
        not_over = (members[rows] <= k).float()  # taking an image away changes the share
        influence += (not_over @ inside.float()).double()
    return Neighbourhoods(
        precision=precise.double(),
        recall=recall.double(),
        density=balls.double() / k,
        coverage=(members > 0).double(),
        clipped_density=clipped_balls.double().clamp(max=k) / k / of_real,
        coverage_share=members.double().clamp(max=k) / k,
        coverage_influence=influence * (n / (m * k)),
    )


def _median_square(squares: Tensor) -> float:
    """The square of the median of the roots of `squares` [m]."""
    ordered = squares.sort().values
    low, high = float(ordered[(len(ordered) - 1) // 2]), float(ordered[len(ordered) // 2])
    return low if low == high else ((math.sqrt(low) + math.sqrt(high)) / 2) ** 2


def calibrated_coverage(share: float | NDArray[np.float64], n: int, m: int) -> NDArray[np.float64]:
    """The fraction of n generated images which, if they are as good as real ones and the others lie outside of all balls, give
    a mean `share` in the balls of m real images: 0 to 1, in the shape of `share`.

    A ball that holds k of m - 1 other real images has a probability of Beta(k, m - k) (Wilks 1941), so the number of g
    good images in it is beta-binomial: the expected share is computed for each g from 0 to n, and inverted.
    """
    k, good = COVERAGE_K, np.arange(n + 1)
    expected = np.ones(n + 1)
    for inside in range(k):  # min(g, k) = k - sum of (k - j) [g = j]
        g = torch.from_numpy(good[inside:]).double()
        logs = torch.lgamma(g + 1) - torch.lgamma(g - inside + 1) - math.lgamma(inside + 1)
        logs += math.lgamma(k + inside) + torch.lgamma(m - k + g - inside) - torch.lgamma(m + g)
        logs += math.lgamma(m) - math.lgamma(k) - math.lgamma(m - k)
        expected[inside:] -= (k - inside) / k * logs.exp().numpy()
    expected[0] = 0
    return np.asarray(np.interp(share, expected, good / n))


def nearest_others(x: Tensor, k: int) -> Tensor:
    """Squared distances from each row of float64 [n, D] to its k nearest other rows, ascending: [n, k]."""
    distances = torch.empty(len(x), k, dtype=torch.float64)
    for rows, squares in _to_others(x):
        distances[rows] = squares.topk(k, largest=False).values
    return distances


def _others_around(x: Tensor, radii: Tensor) -> Tensor:
    """How many balls of squared `radii` [n] around the other rows of x [n, D] each row lies in: float64 [n]."""
    counts = torch.zeros(len(x), dtype=torch.float64)
    for rows, squares in _to_others(x):
        counts += (squares <= radii[rows, None]).sum(0)
    return counts


def _to_others(x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """`squared_distances(x, x)`, infinite from a row to itself."""
    for rows, squares in squared_distances(x, x):
        itself = torch.arange(len(squares))
        squares[itself, itself + rows.start] = torch.inf
        yield rows, squares


def squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of rows of |x_i - y_j|^2, float64 [rows, m], of centred x [n, D] and y [m, D].

    Distances within rounding error of 0 are set to 0, so that equal images are at distance 0.
    """
    x_squares, y_squares = x.square().sum(1), y.square().sum(1)
    for start in range(0, len(x), ROWS):
        rows = slice(start, min(start + ROWS, len(x)))
        lengths = x_squares[rows, None] + y_squares
        squares = lengths - 2 * x[rows] @ y.T
        yield rows, torch.where(squares <= lengths * 1e-13, 0.0, squares)
