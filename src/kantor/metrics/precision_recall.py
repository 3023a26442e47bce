"""Fidelity and diversity apart: how two sets of features lie on each other's manifolds.

The manifold of a set is estimated as the union of balls around its images, each with the distance to the k-th nearest
other image of the set as its radius. Precision and recall: Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing
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
    """One value per image; the scores are their means.

    Attributes:
        precision: float64 [n]: 1 if a generated image lies within the real manifold, else 0.
        recall: float64 [m]: 1 if a real image lies within the generated manifold, else 0.
        density: float64 [n]: number of real balls that contain a generated image, divided by k; 1 on average if both
            distributions are equal.
        coverage: float64 [m]: 1 if the ball of a real image contains a generated one, else 0.
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


def neighbourhoods(generated: Tensor, real: Tensor) -> Neighbourhoods:
    """Of features [n, D] and [m, D]; n and m must exceed `PRECISION_K` and `COVERAGE_K`."""
    centre = real.double().mean(0)
    x, y = generated.double() - centre, real.double() - centre
    real_radii = radii(y, (PRECISION_K, COVERAGE_K))
    generated_radii = radii(x, (PRECISION_K,))
    n, m = len(x), len(y)
    precision, density = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    recall, coverage = torch.zeros(m, dtype=torch.float64), torch.zeros(m, dtype=torch.float64)
    for rows, squares in squared_distances(x, y):
        inside = squares <= real_radii[:, 1]
        precision[rows] = (squares <= real_radii[:, 0]).any(1).double()
        density[rows] = inside.sum(1).double() / COVERAGE_K
        coverage = torch.maximum(coverage, inside.any(0).double())
        recall = torch.maximum(recall, (squares <= generated_radii[rows]).any(0).double())
    return Neighbourhoods(precision, recall, density, coverage)


def radii(x: Tensor, ks: tuple[int, ...]) -> Tensor:
    """Squared distance of each row of float64 [n, D] to its k-th nearest other row: [n, len(ks)]."""
    squared_radii = torch.empty(len(x), len(ks), dtype=torch.float64)
    for rows, squares in squared_distances(x, x):
        itself = torch.arange(len(squares))
        squares[itself, itself + rows.start] = torch.inf
        squared_radii[rows] = squares.topk(max(ks), largest=False).values[:, [k - 1 for k in ks]]
    return squared_radii


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
