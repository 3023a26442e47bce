"""Quality apart from variety: where two sets of features lie in each other's neighbourhoods.

A set's manifold is the union of balls around its images, each as large as the distance to the k-th nearest other
image of that set. Precision and recall: Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing
generative models". Density and coverage: Naeem et al. 2020, "Reliable fidelity and diversity metrics".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

ROWS = 1024
PRECISION_K, COVERAGE_K = 3, 5


class Neighbourhoods(NamedTuple):
    """What each image says; the scores are their means.

    Attributes:
        precision: float64 [n]: a fake lies on the manifold of the reals: 0 or 1.
        recall: float64 [m]: a real lies on the manifold of the fakes.
        density: float64 [n]: balls of reals around a fake, by k; 1 on average where both are alike.
        coverage: float64 [m]: there is a fake in the ball of a real.
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


def neighbourhoods(
    fakes: Tensor, reals: Tensor, precision_k: int = PRECISION_K, coverage_k: int = COVERAGE_K
) -> Neighbourhoods:
    """Of features [n, D] and [m, D]; each needs more images than k."""
    centre = reals.double().mean(0)
    x, y = fakes.double() - centre, reals.double() - centre
    among_reals = radii(y, (precision_k, coverage_k))
    among_fakes = radii(x, (precision_k,))
    n, m = len(x), len(y)
    precision, density = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    recall, covered = torch.zeros(m, dtype=torch.float64), torch.zeros(m, dtype=torch.float64)
    for rows, squares in squared_distances(x, y):
        inside = squares <= among_reals[:, 1]
        precision[rows] = (squares <= among_reals[:, 0]).any(1).double()
        density[rows] = inside.sum(1).double() / coverage_k
        covered = torch.maximum(covered, inside.any(0).double())
        recall = torch.maximum(recall, (squares <= among_fakes[rows]).any(0).double())
    return Neighbourhoods(precision, recall, density, covered)


def radii(x: Tensor, ks: tuple[int, ...]) -> Tensor:
    """Squared distance of each row of float64 [n, D] to its k-th nearest other row: [n, len(ks)]."""
    found = torch.empty(len(x), len(ks), dtype=torch.float64)
    for rows, squares in squared_distances(x, x):
        own = torch.arange(rows.start, rows.start + len(squares))
        squares[torch.arange(len(squares)), own] = torch.inf  # not the image itself
        nearest = squares.topk(max(ks), largest=False).values
        found[rows] = nearest[:, [k - 1 for k in ks]]
    return found


def squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of rows of |x_i - y_j|^2, float64 [rows, m], of x [n, D] and y [m, D] that lie around 0.

    What rounding cannot tell from 0 is 0: images that are the same are at no distance.
    """
    x_squares, y_squares = x.square().sum(1), y.square().sum(1)
    for start in range(0, len(x), ROWS):
        rows = slice(start, min(start + ROWS, len(x)))
        lengths = x_squares[rows, None] + y_squares
        squares = lengths - 2 * x[rows] @ y.T
        yield rows, torch.where(squares <= lengths * 1e-13, 0.0, squares)
