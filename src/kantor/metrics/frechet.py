"""Fréchet distance between two sets of features (FID; Heusel et al. 2017, "GANs trained by a two time-scale update rule").

Equation 6: the squared 2-Wasserstein distance between Gaussians with the means and covariances of both sets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kantor.metrics.bootstrap import REPLICATES, Interval, counts, interval, mean_interval

LARGEST_RESAMPLED = 512
"""Number of features up to which intervals are resampled, with one eigenvalue problem per set."""


class Moments(NamedTuple):
    """Mean float64 [D] and covariance float64 [D, D] (with n - 1) of n images' features."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor) -> Moments:
    """Moments of float [n, D], n at least 2."""
    x = features.to(torch.float64)
    mean = x.mean(0)
    centred = x - mean
    return Moments(mean, centred.T @ centred / (len(x) - 1))


def frechet(generated: Tensor, real: Tensor, seed: int = 0, replicates: int = REPLICATES) -> tuple[float, Interval]:
    """|m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) of features [n, D] and [m, D], at least 0; and its 95% interval over
    the generated images.

    With few images the distance is too large by about D / n: compare distances of equal n only. Beyond
    `LARGEST_RESAMPLED` features the interval resamples the first derivative of the distance, which is cheap.
    """
    x, y = moments(generated), moments(real)
    root, trace = _root(y.covariance), float(y.covariance.trace())
    value = _distance(y.mean, root, trace, x)
    if generated.shape[1] > LARGEST_RESAMPLED:
        low, high = mean_interval(influences(generated, real).numpy(), seed, replicates)
        return value, (max(value + low, 0.0), value + high)
    resampled = [_distance(y.mean, root, trace, other) for other in _resampled(generated, x.mean, seed, replicates)]
    return value, interval(value, resampled, low=0.0)


def frechet_of_few(
    generated: Tensor, real: Tensor, seed: int = 0, replicates: int = REPLICATES
) -> tuple[float, Interval]:
    """As `frechet`, of fewer images than features, and quick: no matrix is larger than the number of images.

    With centred features X [n, D] and Y [m, D], the trace of (A^1/2 B A^1/2)^1/2 is the sum of the singular values of X Y^T
    / sqrt((n - 1) (m - 1)). The interval is resampled, whatever the number of features.
    """
    y = real.to(torch.float64)
    mean = y.mean(0)
    y = (y - mean) / math.sqrt(len(y) - 1)
    trace, x = float(y.square().sum()), generated.to(torch.float64)
    products = x @ y.T  # [n, m]: those of a resampled set are sums of these

    def distance(times: Tensor) -> float:
        """times: how often each image is in the set, [n]."""
        n = float(times.sum())
        mean_x, root = times @ x / n, times.sqrt()[:, None]
        scatter = float((times @ x.square()).sum() - n * mean_x.square().sum()) / (n - 1)
        with _one_thread(len(x)):
            shared = float(torch.linalg.svdvals(root * (products - times @ products / n)).sum()) / math.sqrt(n - 1)
        return max(float((mean_x - mean).square().sum()) + scatter + trace - 2 * shared, 0.0)

    value = distance(torch.ones(len(x), dtype=torch.float64))
    resampled = [distance(times.double()) for times in torch.from_numpy(counts(len(x), seed, replicates))]
    return value, interval(value, resampled, low=0.0)


def _resampled(generated: Tensor, mean: Tensor, seed: int, replicates: int) -> list[Moments]:
    """Moments of resampled sets. Sums in float32 are precise enough for the spread of the distances."""
    x = (generated.to(torch.float64) - mean).float()
    n, resampled = len(x), []
    for times in torch.from_numpy(counts(n, seed, replicates)).float():
        shift = (times @ x / n).double()
        scatter = ((times[:, None] * x).T @ x).double()
        resampled.append(Moments(mean + shift, (scatter - n * torch.outer(shift, shift)) / (n - 1)))
    return resampled


def influences(generated: Tensor, real: Tensor) -> Tensor:
    """How much each of n generated images moves the distance: float64 [n], of mean 0.

    The derivative with respect to their covariance is I - T, where T is the optimal map between the Gaussians.
    """
    a, b = moments(generated), moments(real)
    root = _root(b.covariance)
    values, vectors = torch.linalg.eigh(root @ a.covariance @ root)
    positive = values > values.max() * 1e-12
    inverse = torch.where(positive, values.clamp(min=torch.finfo(torch.float64).tiny).rsqrt(), 0)
    slope = torch.eye(len(root), dtype=torch.float64) - root @ (vectors * inverse) @ vectors.T @ root
    x = generated.to(torch.float64) - a.mean
    change: Tensor = 2 * x @ (a.mean - b.mean) + ((x @ slope) * x).sum(1)
    return change - change.mean()


def _distance(mean: Tensor, root: Tensor, trace: float, other: Moments) -> float:
    """Distance from the Gaussian of `mean` whose covariance has this root and trace."""
    product = root @ other.covariance @ root
    with _one_thread(len(product)):
        shared = float(torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum())
    shift = float((mean - other.mean).square().sum())
    return float(np.maximum(shift + trace + float(other.covariance.trace()) - 2 * shared, 0.0))


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


@contextmanager
def _one_thread(size: int) -> Iterator[None]:
    """Small eigenvalue problems take 20 times as long if their threads compete for busy cores."""
    threads = torch.get_num_threads()
    if size <= LARGEST_RESAMPLED:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
