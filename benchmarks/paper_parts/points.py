"""Points in the plane that the papers train on, the networks for them, and the exact distance between two sets."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from kantor.metrics.transport import _assign

DATASETS = ("8gaussians", "25gaussians", "swissroll")
"""Those of Gulrajani et al. 2017, figure 1a, with the scales of the authors' gan_toy.py."""
DEVIATION = {"8gaussians": 0.02 / 1.414, "25gaussians": 0.05 / 2.828}


def centres(dataset: str) -> NDArray[np.float64]:
    """The middles of a mixture's Gaussians [K, 2]."""
    if dataset == "8gaussians":
        angles = np.arange(8) * math.pi / 4
        return 2 * np.stack([np.cos(angles), np.sin(angles)], 1) / 1.414
    side = np.arange(-2, 3) * 2 / 2.828
    return np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)


def real_points(dataset: str, count: int, random: np.random.Generator) -> Tensor:
    """float32 [count, 2]."""
    if dataset == "swissroll":  # as scikit-learn's make_swiss_roll(noise=0.25), of which axes 0 and 2 are used, / 7.5
        turn = 1.5 * math.pi * (1 + 2 * random.random(count))
        plane = np.stack([turn * np.cos(turn), turn * np.sin(turn)], 1)
        return torch.from_numpy(((plane + 0.25 * random.standard_normal((count, 2))) / 7.5).astype(np.float32))
    middles = centres(dataset)
    chosen = middles[random.integers(0, len(middles), count)]
    return torch.from_numpy((chosen + DEVIATION[dataset] * random.standard_normal((count, 2))).astype(np.float32))


def perceptron(outputs: int, width: int = 256) -> nn.Sequential:
    """Three hidden layers with ReLU, as in gan_toy.py, which has 512 units in each."""
    layers: list[nn.Module] = []
    for inputs in (2, width, width):
        layers += [nn.Linear(inputs, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def exact_w1(x: Tensor, y: Tensor) -> float:
    """The 1-Wasserstein distance of two sets of n points [n, 2]: the least mean distance of a one-to-one match."""
    cost = torch.cdist(x.double(), y.double()).numpy()
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())


def exact_critic(x: Tensor, y: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of an optimal critic on two sets of n points [n, 2], up to a constant: the dual of `exact_w1`.

    Their means differ by the distance, and no two points by more than what is between them.
    """
    cost = torch.cdist(x.double(), y.double()).numpy()
    f, g, _ = _assign(cost)
    return f, -g


def modes_hit(dataset: str, points: Tensor, per_mode: int = 10) -> tuple[int, float]:
    """Gaussians with at least `per_mode` of the points within four deviations, and the share of points within four of any."""
    distances = np.linalg.norm(points.double().numpy()[:, None] - centres(dataset)[None], axis=2)
    near = distances.min(1) < 4 * DEVIATION[dataset]
    counts = np.bincount(distances.argmin(1)[near], minlength=len(centres(dataset)))
    return int((counts >= per_mode).sum()), float(near.mean())
