"""The Fréchet distance between two sets of features (Heusel et al. 2017, "GANs trained by a two time-scale update
rule", eq. 6): both sets are taken for Gaussians, and W2 squared between these is exact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kantor.metrics.bootstrap import REPLICATES, Interval, counts, interval, mean_interval

LARGEST_RESAMPLED = 512
"""Features up to which resampled distances are computed; an eigenvalue problem each."""


class Moments(NamedTuple):
    """Mean float64 [D] and covariance float64 [D, D] (with n - 1) of n images' features."""

    mean: Tensor
    covariance: Tensor


def moments(features: Tensor) -> Moments:
    """Of float [n, D], n at least 2."""
    x = features.to(torch.float64)
    mean = x.mean(0)
    centred = x - mean
    return Moments(mean, centred.T @ centred / (len(x) - 1))


def distance(a: Moments, b: Moments) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), at least 0."""
    return _to(a.mean, _root(a.covariance), float(a.covariance.trace()), b)


def frechet(fakes: Tensor, reals: Tensor, seed: int = 0, replicates: int = REPLICATES) -> tuple[float, Interval]:
    """The distance of features [n, D] and [m, D], and its 95 % interval over the fakes.

    With few images the distance is too large by about D / n: distances of unlike n are not to be compared. Beyond
    `LARGEST_RESAMPLED` features the interval is that of the distance's first derivative, which a resampled set moves.
    """
    fake, real = moments(fakes), moments(reals)
    root, trace = _root(real.covariance), float(real.covariance.trace())
    value = _to(real.mean, root, trace, fake)
    if fakes.shape[1] > LARGEST_RESAMPLED:
        low, high = mean_interval(influences(fakes, reals).numpy(), seed, replicates)
        return value, (max(value + low, 0.0), value + high)
    found = [_to(real.mean, root, trace, one) for one in _resampled(fakes, fake.mean, seed, replicates)]
    return value, interval(value, found, low=0.0)


def _resampled(fakes: Tensor, mean: Tensor, seed: int, replicates: int) -> list[Moments]:
    """The moments of resampled fakes: of sums in float32, which the spread of the distances does not feel."""
    x = (fakes.to(torch.float64) - mean).float()
    n, found = len(x), []
    for times in torch.from_numpy(counts(n, seed, replicates)).float():
        shift = (times @ x / n).double()
        scatter = ((times[:, None] * x).T @ x).double()
        found.append(Moments(mean + shift, (scatter - n * torch.outer(shift, shift)) / (n - 1)))
    return found


def influences(fakes: Tensor, reals: Tensor) -> Tensor:
    """How much each of n fakes moves the distance: float64 [n], of mean 0.

    The derivative with respect to the fakes' covariance is I - T, where T is the optimal map between the Gaussians.
    """
    fake, real = moments(fakes), moments(reals)
    root = _root(real.covariance)
    values, vectors = torch.linalg.eigh(root @ fake.covariance @ root)
    kept = values > values.max() * 1e-12
    inverse = torch.where(kept, values.clamp(min=torch.finfo(torch.float64).tiny).rsqrt(), 0)
    slope = torch.eye(len(root), dtype=torch.float64) - root @ (vectors * inverse) @ vectors.T @ root
    x = fakes.to(torch.float64) - fake.mean
    moved: Tensor = 2 * x @ (fake.mean - real.mean) + ((x @ slope) * x).sum(1)
    return moved - moved.mean()


def _to(mean: Tensor, root: Tensor, trace: float, other: Moments) -> float:
    """The distance from the Gaussian of `mean` whose covariance has this root and trace."""
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
    """Small eigenvalue problems take 20 times as long where threads have to wait for a core that others keep busy."""
    threads = torch.get_num_threads()
    if size <= LARGEST_RESAMPLED:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
