"""Precision, recall, density, coverage and memorisation on sets with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from kantor.metrics import memorisation
from kantor.metrics.critic_scores import t_test
from kantor.metrics.features import ImageFeatures
from kantor.metrics.memorisation import as_points, copy_test, mann_whitney, nearest_rows
from kantor.metrics.modes import modes_by_neighbours
from kantor.metrics.precision_recall import neighbourhoods


def normal(n: int, d: int = 8, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)) * scale).float()


def means(fakes: torch.Tensor, reals: torch.Tensor) -> dict[str, float]:
    return {name: float(one.mean()) for name, one in neighbourhoods(fakes, reals)._asdict().items()}


def test_neighbourhoods_agree_with_plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kantor.metrics.precision_recall.ROWS", 11)
    fakes, reals = normal(40, 3, 1, 1.3), normal(50, 3, 2)
    x, y = fakes.double().numpy(), reals.double().numpy()

    def ball(points: np.ndarray, i: int, k: int) -> float:
        return float(np.sort(np.linalg.norm(points - points[i], axis=1))[k])

    apart = np.linalg.norm(x[:, None] - y[None], axis=2)
    real3, real5 = (np.array([ball(y, j, k) for j in range(50)]) for k in (3, 5))
    fake3 = np.array([ball(x, i, 3) for i in range(40)])
    found = neighbourhoods(fakes, reals)
    np.testing.assert_array_equal(found.precision, (apart <= real3).any(1))
    np.testing.assert_array_equal(found.recall, (apart <= fake3[:, None]).any(0))
    np.testing.assert_allclose(found.density, (apart <= real5).sum(1) / 5)
    np.testing.assert_array_equal(found.coverage, (apart <= real5).any(0))


def test_coverage_of_equal_distributions_has_a_closed_form() -> None:
    """Naeem et al. 2020, eq. 7: 1 - (m-1)...(m-k) / ((n+m-1)...(n+m-k)); density is 1."""
    n, m, k = 300, 200, 5
    expected = 1 - np.prod([(m - i) / (n + m - i) for i in range(1, k + 1)])
    found = [means(normal(n, 4, 2 * i), normal(m, 4, 2 * i + 1)) for i in range(30)]
    assert np.mean([one["coverage"] for one in found]) == pytest.approx(expected, abs=0.01)
    assert np.mean([one["density"] for one in found]) == pytest.approx(1, abs=0.05)


def test_collapse_lowers_recall_and_noise_lowers_precision() -> None:
    reals = normal(500, 8, 0)
    collapsed = means(normal(500, 8, 1, 0.1), reals)
    noisy = means(normal(500, 8, 1, 3.0), reals)
    assert collapsed["precision"] > 0.95 and collapsed["recall"] < 0.05 and collapsed["coverage"] < 0.2
    assert noisy["precision"] < 0.3 and noisy["density"] < 0.2 and noisy["recall"] > 0.7


def test_one_image_repeated() -> None:
    reals = normal(200, 8, 0)
    found = means(reals[:1].expand(200, 8).clone(), reals)
    assert found["precision"] == 1 and found["recall"] == pytest.approx(1 / 200)
    assert found["coverage"] < 0.1


def test_a_set_against_itself_is_perfect() -> None:
    reals = normal(200, 8, 0)
    found = means(reals, reals)
    assert found["precision"] == found["recall"] == found["coverage"] == 1


def test_nearest_rows_agree_with_plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorisation, "ROWS", 7)
    x, y = normal(20, 5, 0), normal(60, 5, 1)
    distances, rows = nearest_rows(x, y, 3)
    apart = (x.double()[:, None] - y.double()[None]).norm(dim=2)
    np.testing.assert_array_equal(rows, apart.topk(3, largest=False).indices)
    np.testing.assert_allclose(distances, apart.topk(3, largest=False).values, rtol=1e-12)


def test_equal_images_are_skipped_on_request() -> None:
    y = torch.cat([normal(5, 4, 0), normal(5, 4, 0)])
    distances, rows = nearest_rows(y, y, 1, skip_equal=True)
    assert (distances > 0).all()
    assert (rows[:5, 0] % 5 != np.arange(5)).all()
    same, _ = nearest_rows(y, y)
    assert (same == 0).all()


def test_no_nearest_row_without_other_images() -> None:
    y = torch.zeros(3, 4)
    distances, rows = nearest_rows(y, y, 2, skip_equal=True)
    assert np.isinf(distances).all() and (rows == -1).all()


def test_pixel_distances_are_grey_levels() -> None:
    images = np.zeros((2, 4, 5, 3), np.uint8)
    images[1] = 10
    points = as_points(images)
    assert float((points[0] - points[1]).norm()) == pytest.approx(10, rel=1e-5)


def test_copies_are_found_and_fresh_images_are_not() -> None:
    training, held, fresh = normal(2000, 6, 0), normal(500, 6, 1), normal(500, 6, 2)
    yardstick = nearest_rows(held, training)[0][:, 0]
    copies = training[:500] + normal(500, 6, 3, 0.01)
    copied = copy_test(nearest_rows(copies, training)[0][:, 0], yardstick)
    honest = copy_test(nearest_rows(fresh, training)[0][:, 0], yardstick)
    assert copied.copied.mean() > 0.95 and copied.z < -20
    assert honest.copied.mean() < 0.04 and abs(honest.z) < 3
    assert copied.limit == honest.limit > 0


@pytest.mark.parametrize("ties", [False, True])
def test_rank_test_agrees_with_scipy(ties: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.3, 1, 40), rng.normal(0, 1, 50)
    if ties:
        x, y = x.round(), y.round()
    p = scipy.stats.mannwhitneyu(x, y, use_continuity=False, alternative="two-sided", method="asymptotic").pvalue
    z = mann_whitney(x, y)
    assert 2 * scipy.stats.norm.sf(abs(z)) == pytest.approx(p, rel=1e-9)
    assert mann_whitney(y, x) == pytest.approx(-z)
    assert mann_whitney(np.zeros(4), np.zeros(5)) == 0


def as_features(points: torch.Tensor) -> ImageFeatures:
    """Points as images of one row: their thumbnails and their features agree."""
    pixels = (points * 20 + 128).round().clip(0, 255).to(torch.uint8).numpy()
    return ImageFeatures(points, pixels[:, None, :, None], np.arange(len(points)))


def test_copies_and_collapse_are_at_zero_in_the_histograms() -> None:
    training = as_features(normal(300, 12, 0))
    copier = memorisation.find_nearest_images(as_features(training.features[:200]), training, None, 0).histograms
    assert np.mean(copier["real-fake"] == 0) > 0.5 and np.median(copier["real-real"]) > 1
    few = memorisation.find_nearest_images(as_features(normal(20, 12, 1).repeat(10, 1)), training, None, 0).histograms
    assert (few["fake-fake"] == 0).all() and np.isfinite(few["fake-fake"]).all()
    fresh = memorisation.find_nearest_images(as_features(normal(300, 12, 2)), training, None, 0).histograms
    medians = [float(np.median(one)) for one in fresh.values()]
    assert max(medians) < 1.15 * min(medians)


@pytest.mark.parametrize("h", [20, 100, 1000])
def test_fresh_images_are_copied_as_often_as_expected(h: int) -> None:
    rng = np.random.default_rng(h)
    found = [copy_test(rng.normal(10, 1, 2000), rng.normal(10, 1, h)) for _ in range(200)]
    assert np.mean([one.copied.mean() for one in found]) == pytest.approx(found[0].expected, rel=0.25)


def test_classes_of_many_equal_images() -> None:
    """More copies than candidates: equal images vote for each other, and a real image does not vote for itself."""
    reals = torch.cat([normal(40, 6, 0), normal(1, 6, 1).repeat(40, 1) + 3])
    labels = np.repeat([0, 1], 40)
    modes = modes_by_neighbours(as_features(reals), labels, ("a", "b"), np.array([0.5, 0.5]))
    np.testing.assert_array_equal(modes.find(as_features(reals), True), labels)
    np.testing.assert_array_equal(modes.find(as_features(reals[60:]), False), 1)
    far = torch.cat([normal(40, 6, 0), normal(1, 6, 2) + 30])  # alone: its own label does not count
    found = modes_by_neighbours(as_features(far), np.repeat([0, 1], [40, 1]), ("a", "b"), np.array([0.9, 0.1]))
    assert found.find(as_features(far), True)[40] == 0


def test_copy_test_without_real_distances() -> None:
    found = copy_test(np.array([0.0, 1.0]), np.array([np.inf]))
    assert found.copied.tolist() == [True, False] and found.z == 0


def test_t_test_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 2, 30), rng.normal(0, 1, 50)
    theirs = scipy.stats.ttest_ind(x, y, equal_var=False)
    t, effect = t_test(x, y)
    assert t == pytest.approx(theirs.statistic)
    pooled = np.sqrt((29 * x.var(ddof=1) + 49 * y.var(ddof=1)) / 78)
    assert effect == pytest.approx((x.mean() - y.mean()) / pooled)
    assert t_test(np.ones(3), np.ones(4)) == (0, 0)
