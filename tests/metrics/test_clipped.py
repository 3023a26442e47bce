"""Clipped density and clipped coverage: plain loops, the calibration, outliers, intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from numpy.typing import NDArray

from kantor.metrics.bootstrap import mean_interval
from kantor.metrics.precision_recall import calibrated_coverage, neighbourhoods

Floats = NDArray[np.float64]
K = 5


def normal(n: int, d: int = 8, seed: int = 0, scale: float = 1.0) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, d)) * scale


def scores(x: Floats, y: Floats) -> tuple[float, float]:
    """Clipped density (not cut at 1) and clipped coverage."""
    found = neighbourhoods(torch.from_numpy(x), torch.from_numpy(y))
    share = float(found.coverage_share.mean())
    return float(found.clipped_density.mean()), float(calibrated_coverage(share, len(x), len(y)))


def plain_loops(x: Floats, y: Floats) -> tuple[float, float]:
    """Clipped density and the mean share of full balls, as the paper defines them (sections 3.1 and 3.2)."""
    to_real = [sorted(math.dist(a, b) for j, b in enumerate(y) if j != i) for i, a in enumerate(y)]
    radii = [distances[K - 1] for distances in to_real]
    clipped = [min(radius, float(np.median(radii))) for radius in radii]
    density = np.mean([min(sum(math.dist(a, b) <= r for b, r in zip(y, clipped, strict=True)), K) / K for a in x])
    balls = [(i, b, r) for i, (b, r) in enumerate(zip(y, clipped, strict=True))]
    of_real = [min(sum(math.dist(a, b) <= r for i, b, r in balls if i != j), K) / K for j, a in enumerate(y)]
    share = np.mean([min(sum(math.dist(a, b) <= r for a in x), K) / K for b, r in zip(y, radii, strict=True)])
    return float(density / np.mean(of_real)), float(share)


def test_copies_of_an_image_lie_in_each_others_balls() -> None:
    """Fifteen copies of each: a set against itself scores 1, not the many balls that each copy lies in."""
    y = np.repeat(normal(20), 15, axis=0)
    density, _ = plain_loops(y[::5], y)
    assert float(neighbourhoods(torch.from_numpy(y[::5]), torch.from_numpy(y)).clipped_density.mean()) == density == 1


@pytest.mark.parametrize(("n", "m", "scale"), [(40, 51, 1.3), (51, 40, 0.7), (60, 60, 1.0)])
def test_both_agree_with_plain_loops(monkeypatch: pytest.MonkeyPatch, n: int, m: int, scale: float) -> None:
    monkeypatch.setattr("kantor.metrics.precision_recall.ROWS", 11)
    x, y = normal(n, 3, 1, scale), normal(m, 3, 2)
    density, share = plain_loops(x, y)
    found = neighbourhoods(torch.from_numpy(x), torch.from_numpy(y))
    assert float(found.clipped_density.mean()) == pytest.approx(density, rel=1e-12)
    assert float(found.coverage_share.mean()) == pytest.approx(share, rel=1e-12)


def test_influences_are_what_is_lost_without_each_image() -> None:
    x, y = normal(30, 3, 1), normal(40, 3, 2)
    whole = neighbourhoods(torch.from_numpy(x), torch.from_numpy(y))
    for i in (0, 7, 29):
        rest = neighbourhoods(torch.from_numpy(np.delete(x, i, 0)), torch.from_numpy(y))
        lost = float(whole.coverage_share.mean() - rest.coverage_share.mean())
        assert float(whole.coverage_influence[i]) == pytest.approx(30 * lost, abs=1e-9)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (300, 200), (50, 400)])
def test_expected_shares_are_beta_binomial(n: int, m: int) -> None:
    """The fraction g / n is the calibrated coverage of the share that SciPy's distribution gives for g good images."""
    for good in (0, 1, K, n // 2, n):
        law = scipy.stats.betabinom(good, K, m - K)
        share = sum(min(j, K) / K * law.pmf(j) for j in range(good + 1))
        assert calibrated_coverage(share, n, m) == pytest.approx(good / n, abs=1e-7)
    assert calibrated_coverage(1.0, n, m) == 1 and calibrated_coverage(0.0, n, m) == 0


@pytest.mark.parametrize("bad", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("d", [4, 64])
def test_both_are_the_fraction_of_good_images(bad: float, d: int) -> None:
    """Far images in place of a fraction of good ones lower both by that fraction: the calibration."""
    results = []
    for seed in range(6):
        x = normal(500, d, 2 * seed)
        x[: int(bad * 500)] += 100
        results.append(scores(x, normal(500, d, 2 * seed + 1)))
    density, coverage = np.mean(results, 0)
    assert density == pytest.approx(1 - bad, abs=0.06) and coverage == pytest.approx(1 - bad, abs=0.06)


def test_outliers_among_the_real_images_decide_nothing() -> None:
    x, y = normal(300, 8, 1) + 4, normal(300, 8, 2)  # far from all but the outliers' balls
    y[:15] *= 40
    found = neighbourhoods(torch.from_numpy(x), torch.from_numpy(y))
    assert float(found.density.mean()) > 0.2  # the balls of outliers contain everything
    assert float(found.clipped_density.mean()) < 0.05


def test_one_image_repeated_looks_real_and_covers_little() -> None:
    y = normal(300, 8, 2)
    density, coverage = scores(np.repeat(y[:1] * 0.1, 300, 0), y)
    assert density > 0.9 and coverage < 0.2


def test_copies_of_the_real_images_are_good() -> None:
    y = normal(300, 8, 2)
    density, coverage = scores(y.copy(), y)
    assert density >= 1 and coverage == 1


@pytest.mark.parametrize("bad", [0.0, 0.3])
@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_intervals_hold_the_mean_of_many_samples(bad: float, scale: float) -> None:
    y, values, hits = normal(300, 8, 999), [], []
    for seed in range(60):
        x = normal(300, 8, seed, scale)
        x[np.random.default_rng(seed).random(300) < bad] += 100
        found = neighbourhoods(torch.from_numpy(x), torch.from_numpy(y))
        density, share = found.clipped_density.numpy(), float(found.coverage_share.mean())
        influence = found.coverage_influence.numpy()
        below, above = mean_interval(influence - influence.mean(), seed, 100)
        values.append((density.mean(), share))
        hits.append((mean_interval(density, seed, 100), (share + below, share + above)))
    for score in (0, 1):
        mean = np.mean([value[score] for value in values])
        assert np.mean([ends[score][0] <= mean <= ends[score][1] for ends in hits]) >= 0.8
