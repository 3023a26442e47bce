"""Does a generator copy the images that it learnt from?

Distances in pixels are the root of the mean square difference of grey levels, 0 to 255; in features, lengths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kantor.metrics.extract import Gathered
from kantor.random import permute

ROWS = 512
SUSPECT_SHARE = 0.01
MOST_SUSPECTS = 1000
PIXELS = "pixels"
SPACES = (PIXELS, "features")

Distances = NDArray[np.float64]


class Copying(NamedTuple):
    """How near fakes lie to the training images, beside how near real ones do.

    Attributes:
        copied: bool [n]: nearer than all but 1 % of the reals are.
        z: of the Mann-Whitney test of both samples of distances (Meehan et al. 2020, "A non-parametric test to detect
            data-copying in generative models", over the whole space): below -3 the fakes lie nearer than real ones do.
        limit: the distance below which a fake counts as copied.
        expected: the share of fresh images that lie below it: near 0.01, more where there are few reals.
    """

    copied: NDArray[np.bool_]
    z: float
    limit: float
    expected: float


def as_points(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, h, w, C] as float32 [N, D] whose Euclidean distances are root mean square grey levels."""
    flat = torch.from_numpy(images.reshape(len(images), -1)).float()
    return flat.sub_(127.5).div_(math.sqrt(flat.shape[1]))


def nearest(
    points: Tensor, among: Tensor, k: int = 1, skip_equal: bool = False, own: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The k nearest rows of `among` [m, D] for each of `points` [n, D]: distances and rows, both [n, k].

    Args:
        skip_equal: rows that are equal to the point do not count: the point itself, and exact copies of it.
        own: the points are the first rows of `among`, and a point's own row does not count; an exact copy of it does.
    Returns:
        Distances in ascending order; infinite, with row -1, where there are fewer than k.
    """
    distances = np.full((len(points), k), np.inf)
    rows = np.full((len(points), k), -1, np.int64)
    squares = among.square().sum(1)
    for start in range(0, len(points), ROWS):
        part = points[start : start + ROWS]
        rough = squares - 2 * part @ among.T  # but for the point's own square
        if own:
            rough[torch.arange(len(part)), torch.arange(start, start + len(part))] = torch.inf
        candidates = rough.topk(min(k + 4 + 12 * skip_equal, len(among)), largest=False).indices
        exact = (part.double()[:, None] - among[candidates].double()).norm(dim=2)
        if skip_equal:
            exact = exact.masked_fill(exact == 0, torch.inf)
        if own:
            exact = exact.masked_fill(candidates == torch.arange(start, start + len(part))[:, None], torch.inf)
        best, which = exact.topk(min(k, exact.shape[1]), largest=False, sorted=True)
        found = candidates.gather(1, which).masked_fill(best.isinf(), -1)
        distances[start : start + len(part), : best.shape[1]] = best.numpy()
        rows[start : start + len(part), : best.shape[1]] = found.numpy()
    return distances, rows


def copying(fakes: Distances, reals: Distances) -> Copying:
    """Judges distances to the nearest training image.

    Args:
        fakes: float64 [n].
        reals: float64 [m], of real images that are not in the training set, or of training images to their nearest
            other one; infinite ones do not count.
    """
    reals = reals[np.isfinite(reals)]
    if not len(reals):
        return Copying(fakes == 0, 0.0, 0.0, 0.0)
    limit = float(np.quantile(reals, SUSPECT_SHARE))
    below = SUSPECT_SHARE * (len(reals) - 1) + 1  # reals at or below it, of which one more than these is expected
    return Copying(fakes <= limit, mann_whitney(fakes, reals), limit, below / (len(reals) + 1))


def mann_whitney(x: Distances, y: Distances) -> float:
    """z of the rank sum test (Mann and Whitney 1947), with the correction for ties: negative where x lies lower."""
    both = np.concatenate([x, y])
    n, m = len(x), len(y)
    _, place, times = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[place]
    u = ranks[:n].sum() - n * (n + 1) / 2
    total = n + m
    ties = float((times.astype(np.float64) ** 3 - times).sum()) / (total * (total - 1)) if total > 1 else 0.0
    variance = n * m / 12 * (total + 1 - ties)
    return float((u - n * m / 2) / math.sqrt(variance)) if variance > 0 else 0.0


@dataclass(frozen=True)
class Memory:
    """Nearest images of some of the fakes, in pixels and in features.

    Attributes:
        nearest: by space, "pixels" or "features": the rows of the nearest training images, int64 [n, 3].
        distances: by space: the distances to these [n, 3].
        judged: by space.
        histograms: by "real-real", "fake-fake", "real-fake": distance in pixels to the nearest other image of a set as
            large as the fakes' (the three histograms of the fish generator; exact copies are at 0).
    """

    nearest: Mapping[str, NDArray[np.int64]]
    distances: Mapping[str, Distances]
    judged: Mapping[str, Copying]
    histograms: Mapping[str, Distances]


def remember(fakes: Gathered, training: Gathered, held_out: Gathered | None, seed: int) -> Memory:
    """Distances of the first `MOST_SUSPECTS` fakes to all training images, judged by those of real ones."""
    fakes = fakes.first(MOST_SUSPECTS)
    some = np.sort(permute(np.arange(min(MOST_SUSPECTS, len(training))), len(training), seed))
    rows, distances, judged, histograms = {}, {}, {}, {}
    for space in SPACES:
        points, among = _points(fakes, space), _points(training, space)
        distances[space], rows[space] = nearest(points, among, 3)
        reals = among[some] if held_out is None else _points(held_out.first(MOST_SUSPECTS), space)
        yardstick, _ = nearest(reals, among, skip_equal=True)
        judged[space] = copying(distances[space][:, 0], yardstick[:, 0])
        if space == PIXELS:
            sample = among[some]
            pairs = {"real-real": (sample, sample), "fake-fake": (points, points), "real-fake": (points, sample)}
            histograms = {name: nearest(x, y, own=x is y)[0][:, 0] for name, (x, y) in pairs.items()}
    return Memory(rows, distances, judged, histograms)


def _points(images: Gathered, space: str) -> Tensor:
    return as_points(images.thumbs) if space == PIXELS else images.features
