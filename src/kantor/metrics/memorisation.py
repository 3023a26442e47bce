"""Does a generator copy its training images?

Distances in pixels are root mean square differences in grey levels, 0 to 255; in features, Euclidean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kantor.metrics.features import ImageFeatures
from kantor.random import random_rows

ROWS = 512
_EXACT_ROWS = 8
_SPARE, _COPIES = 4, 12
"""Candidates beyond the nearest, since rough distances are rounded; and where rows equal to the point are skipped."""
COPY_QUANTILE = 0.01
MAX_COPY_TESTED = 1000
PIXELS = "pixels"

Distances = NDArray[np.float64]


class CopyTest(NamedTuple):
    """How near generated images lie to training images, compared with how near real images do.

    Attributes:
        copied: bool [n]: nearer than all but 1% of the real images.
        z: of the Mann-Whitney test of both samples of distances (Meehan et al. 2020, "A non-parametric test to detect
            data-copying in generative models", over the whole space): below -3, generated images lie nearer.
        limit: the distance up to which a generated image counts as copied.
        expected: the expected fraction of fresh images within `limit`: near 0.01, more with few real images.
    """

    copied: NDArray[np.bool_]
    z: float
    limit: float
    expected: float


def as_points(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, h, w, C] -> float32 [N, D] whose Euclidean distances are root mean square differences in grey levels."""
    flat = torch.from_numpy(images.reshape(len(images), -1)).float()
    return flat.sub_(127.5).div_(math.sqrt(flat.shape[1]))


def nearest_rows(
    points: Tensor, among: Tensor, k: int = 1, skip_equal: bool = False, skip_self: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The k nearest rows of `among` [m, D] for each of `points` [n, D]: distances and rows, both [n, k].

    Args:
        skip_equal: skip rows equal to the point: itself, and exact copies of it.
        skip_self: `points` are the first rows of `among`; skip a point's own row, but not exact copies of it.
    Returns:
        Distances in ascending order; infinite, with row -1, if there are fewer than k.
    """
    distances = np.full((len(points), k), np.inf)
    rows = np.full((len(points), k), -1, np.int64)
    squares = among.square().sum(1)
    for start in range(0, len(points), ROWS):
        block = slice(start, start + ROWS)
        part = points[block]
        own = torch.arange(start, start + len(part)) if skip_self else None
        rough = squares - 2 * part @ among.T  # squared distances minus the point's own square
        if own is not None:
            rough[torch.arange(len(part)), own] = torch.inf
        found = _nearest(rough, part, among, k, k + _SPARE, skip_equal, own)
        if skip_equal and bool((short := found[0].isinf().any(1)).any()):  # several equal rows
            again = _nearest(rough[short], part[short], among, k, k + _SPARE + _COPIES, True, None)
            for whole, some in zip(found, again, strict=True):
                whole[short, : some.shape[1]] = some
        best, best_rows = found
        distances[block, : best.shape[1]] = best.numpy()
        rows[block, : best.shape[1]] = best_rows.masked_fill(best.isinf(), -1).numpy()
    return distances, rows


def _nearest(
    rough: Tensor, points: Tensor, among: Tensor, k: int, candidates: int, skip_equal: bool, own: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The k nearest of the `candidates` that are nearest in `rough`: float64 distances and rows, [n, k] each."""
    chosen = rough.topk(min(candidates, len(among)), largest=False).indices
    exact = torch.empty(chosen.shape, dtype=torch.float64)
    for start in range(0, len(points), _EXACT_ROWS):
        some = slice(start, start + _EXACT_ROWS)
        exact[some] = (points[some].double()[:, None] - among[chosen[some]].double()).norm(dim=2)
    if skip_equal:
        exact.masked_fill_(exact == 0, torch.inf)
    if own is not None:
        exact.masked_fill_(chosen == own[:, None], torch.inf)
    best, which = exact.topk(min(k, exact.shape[1]), largest=False, sorted=True)
    return best, chosen.gather(1, which)


def copy_test(generated: Distances, real: Distances) -> CopyTest:
    """Judges distances to the nearest training image.

    Args:
        generated: float64 [n].
        real: float64 [m], of real images outside the training set, or of training images to their nearest other one.
            Infinite distances are skipped.
    """
    real = real[np.isfinite(real)]
    if not len(real):
        return CopyTest(generated == 0, 0.0, 0.0, 0.0)
    limit = float(np.quantile(real, COPY_QUANTILE))
    below = COPY_QUANTILE * (len(real) - 1) + 1  # real distances up to the limit; one more is expected among m + 1
    return CopyTest(generated <= limit, mann_whitney(generated, real), limit, below / (len(real) + 1))


def mann_whitney(x: Distances, y: Distances) -> float:
    """z of the rank sum test (Mann and Whitney 1947), corrected for ties: negative if x tends to be smaller."""
    both = np.concatenate([x, y])
    n, m = len(x), len(y)
    _, index, times = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[index]
    u = ranks[:n].sum() - n * (n + 1) / 2
    total = n + m
    ties = float((times.astype(np.float64) ** 3 - times).sum()) / (total * (total - 1)) if total > 1 else 0.0
    variance = n * m / 12 * (total + 1 - ties)
    return float((u - n * m / 2) / math.sqrt(variance)) if variance > 0 else 0.0


class NearestImages(NamedTuple):
    """The nearest training images of some generated images, by space: "pixels" and "features".

    Attributes:
        rows: of the training images, int64 [n, 3].
        distances: to these, float64 [n, 3].
        copy_tests: by space.
        histograms: by "real-real", "fake-fake", "real-fake": distances in pixels to the nearest other image, of
            equally many real images (the three histograms of the fish generator; exact copies are at 0).
    """

    rows: Mapping[str, NDArray[np.int64]]
    distances: Mapping[str, Distances]
    copy_tests: Mapping[str, CopyTest]
    histograms: Mapping[str, Distances]


def find_nearest_images(
    generated: ImageFeatures,
    training: ImageFeatures,
    held_out: ImageFeatures | None,
    seed: int,
    known: dict[str, Any] | None = None,
) -> NearestImages:
    """Compares the first `MAX_COPY_TESTED` generated images with all training images.

    Real images for comparison are the held-out ones, or else a random sample of training images.

    Args:
        known: distances between real images by name, which are the same for all generators; missing ones are added.
    """
    generated, known = generated.first(MAX_COPY_TESTED), {} if known is None else known
    sample = random_rows(len(training), MAX_COPY_TESTED, seed)

    def between_reals(name: str, measure: Callable[[], Distances]) -> Distances:
        key = f"nn/{seed}/{name}"
        if key not in known:
            known[key] = measure().tolist()
        return np.asarray(known[key], np.float64)

    def to_training(space: str, among: Tensor) -> Distances:
        real = among[sample] if held_out is None else _points(held_out.first(MAX_COPY_TESTED), space)
        return nearest_rows(real, among, skip_equal=True)[0][:, 0]

    rows, distances, copy_tests = {}, {}, {}
    for space in (PIXELS, "features"):
        among, queries = _points(training, space), _points(generated, space)
        distances[space], rows[space] = nearest_rows(queries, among, 3)
        real_distances = between_reals(space, partial(to_training, space, among))
        copy_tests[space] = copy_test(distances[space][:, 0], real_distances)
        if space == PIXELS:
            reals, fakes = among[sample], queries
    histograms = {
        "real-real": between_reals("real-real", lambda: nearest_rows(reals, reals, skip_self=True)[0][:, 0]),
        "fake-fake": nearest_rows(fakes, fakes, skip_self=True)[0][:, 0],
        "real-fake": nearest_rows(fakes, reals)[0][:, 0],
    }
    return NearestImages(rows, distances, copy_tests, histograms)


def _points(images: ImageFeatures, space: str) -> Tensor:
    return as_points(images.thumbs) if space == PIXELS else images.features
