"""The Fréchet and the kernel distance against closed forms, scipy and naive sums."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from kantor.metrics import frechet as frechets
from kantor.metrics.bootstrap import counts, fraction_interval, interval, mean_interval
from kantor.metrics.frechet import Moments, frechet, frechet_of_few, influences, moments
from kantor.metrics.kernel import kid


def gaussian(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(1000 + d).normal(size=(d, d)) / np.sqrt(d)
    return torch.from_numpy(rng.normal(size=(n, d)) @ mix * scale + shift)


def distance(a: Moments, b: Moments) -> float:
    return frechets._distance(a.mean, frechets._root(a.covariance), float(a.covariance.trace()), b)


def test_gaussians_with_diagonal_covariances_have_a_closed_form() -> None:
    a = torch.rand(6, dtype=torch.float64) + 0.1
    b = torch.rand(6, dtype=torch.float64) + 0.1
    m = torch.randn(6, dtype=torch.float64)
    found = distance(Moments(m * 0, a.diag()), Moments(m, b.diag()))
    assert found == pytest.approx(float(m.square().sum() + (a.sqrt() - b.sqrt()).square().sum()), rel=1e-12)


def test_scaled_set_has_a_closed_form() -> None:
    """x and 2x: covariances C and 4C, which commute."""
    x = gaussian(500, 5, 0)
    expected = float(x.mean(0).square().sum() + moments(x).covariance.trace())
    assert frechet(2 * x, x, replicates=1)[0] == pytest.approx(expected, rel=1e-10)


def test_moments_are_numpys() -> None:
    x = gaussian(50, 4, 3)
    found = moments(x)
    np.testing.assert_allclose(found.mean, x.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(x.numpy(), rowvar=False), rtol=1e-12)


@pytest.mark.parametrize("n", [40, 300])
def test_frechet_agrees_with_scipys_matrix_root(n: int) -> None:
    """Also with fewer images than features, where covariances are singular."""
    x, y = gaussian(n, 60, 1, 1.3, 0.2), gaussian(n, 60, 2)
    a, b = moments(x), moments(y)
    root = scipy.linalg.sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    expected = float((a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace())
    expected -= 2 * np.trace(root).real
    assert frechet(x, y, replicates=1)[0] == pytest.approx(expected, rel=1e-5)


def test_frechet_agrees_with_torchmetrics() -> None:
    image = pytest.importorskip("torchmetrics.image.fid")
    x, y = gaussian(200, 16, 5, 1.2), gaussian(300, 16, 6)
    a, b = moments(x), moments(y)
    theirs = image._compute_fid(a.mean, a.covariance, b.mean, b.covariance)
    assert frechet(x, y, replicates=1)[0] == pytest.approx(float(theirs), rel=1e-9)


def test_frechet_distance_of_a_set_to_itself_is_zero() -> None:
    x = gaussian(400, 32, 0)
    assert frechet(x, x, replicates=1)[0] == pytest.approx(0, abs=1e-6)


def test_distances_do_not_depend_on_the_order() -> None:
    x, y = gaussian(300, 16, 0).float(), gaussian(300, 16, 1).float()
    mixed = x[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    assert frechet(mixed, y, replicates=1)[0] == pytest.approx(frechet(x, y, replicates=1)[0], rel=1e-10)
    assert kid(mixed, y, replicates=1)[0] == pytest.approx(kid(x, y, replicates=1)[0], rel=1e-4)


def test_influences_are_the_derivative() -> None:
    """Adding one more copy of a generated image with weight e moves the distance by e times its influence."""
    x, y = gaussian(200, 5, 0, 1.5, 0.3), gaussian(300, 5, 1)
    found = influences(x, y)
    real, step = moments(y), 1e-6
    for i in (0, 7):
        weights = torch.full((200,), 1 / 200, dtype=torch.float64) * (1 - step)
        weights[i] += step
        mean = weights @ x
        covariance = ((x - mean) * weights[:, None]).T @ (x - mean) * 200 / 199
        moved = distance(real, Moments(mean, covariance)) - distance(real, moments(x))
        assert moved / step == pytest.approx(float(found[i]), rel=2e-2, abs=2e-2)


def test_linear_interval_is_close_to_the_resampled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = gaussian(400, 8, 0, 1.4, 0.5), gaussian(400, 8, 1)
    value, resampled = frechet(x, y, 0, 400)
    monkeypatch.setattr(frechets, "LARGEST_RESAMPLED", 4)
    again, linear = frechet(x, y, 0, 400)
    assert again == value
    widths = [ends[1] - ends[0] for ends in (resampled, linear)]
    assert widths[1] == pytest.approx(widths[0], rel=0.25)


@pytest.mark.parametrize("name", ["fd", "kid"])
def test_intervals_cover_the_mean(name: str) -> None:
    """The mean over many samples of generated images lies in the interval of one sample, about 19 times in 20."""
    y = gaussian(400, 4, 9)
    measure = frechet if name == "fd" else kid
    draws = [gaussian(200, 4, 100 + i, 1.3, 0.3) for i in range(60)]
    found = [measure(x, y, i, 100) for i, x in enumerate(draws)]
    mean = np.mean([value for value, _ in found])
    covered = np.mean([ends[0] <= mean <= ends[1] for _, ends in found])
    assert covered >= 0.85


def test_kid_is_the_naive_sum() -> None:
    x, y = gaussian(37, 6, 0, 1.1), gaussian(53, 6, 1)

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a @ b / 6 + 1) ** 3)

    own = np.mean([k(x[i], x[j]) for i in range(37) for j in range(37) if i != j])
    theirs = np.mean([k(y[i], y[j]) for i in range(53) for j in range(53) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    assert kid(x, y, replicates=1)[0] == pytest.approx(own + theirs - 2 * across, rel=1e-4)


def test_kid_agrees_with_torchmetrics_on_one_subset() -> None:
    theirs = pytest.importorskip("torchmetrics.image.kid")
    x, y = gaussian(64, 12, 0, 1.1), gaussian(64, 12, 1)
    expected = theirs.poly_mmd(x, y, degree=3, gamma=None, coef=1.0)
    assert kid(x, y, replicates=1)[0] == pytest.approx(float(expected), rel=1e-4)


def test_kid_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = gaussian(300, 8, 0, 1.1), gaussian(250, 8, 1)
    whole = kid(x, y, 3)
    monkeypatch.setattr("kantor.metrics.kernel.ROWS", 70)
    blocks = kid(x, y, 3)
    assert blocks[0] == pytest.approx(whole[0], rel=1e-5)
    np.testing.assert_allclose(blocks[1], whole[1], rtol=1e-3)


def test_kid_is_unbiased_where_the_frechet_distance_is_not() -> None:
    draws = [(gaussian(100, 8, 2 * i), gaussian(100, 8, 2 * i + 1)) for i in range(60)]
    kids = np.array([kid(x, y, replicates=1)[0] for x, y in draws])
    assert abs(kids.mean()) < 3 * kids.std() / np.sqrt(len(kids))
    assert np.mean([frechet(x, y, replicates=1)[0] for x, y in draws]) > 0.1


def test_resampled_sets_have_as_many_images() -> None:
    found = counts(50, 0, 20)
    assert found.shape == (20, 50)
    assert (found.sum(1) == 50).all()
    assert not np.array_equal(found, counts(50, 1, 20))
    np.testing.assert_array_equal(found, counts(50, 0, 20))


def test_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(2, 3, 2000)
    low, high = mean_interval(values, 0, 2000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert low < values.mean() < high


@pytest.mark.parametrize(("hits", "n"), [(0, 12), (3, 20), (20, 20), (500, 2000)])
def test_interval_of_a_fraction_is_wilsons(hits: int, n: int) -> None:
    from scipy.stats import binomtest

    wanted = binomtest(hits, n).proportion_ci(method="wilson")
    found = fraction_interval(np.repeat([1.0, 0.0], [hits, n - hits]))
    assert found == pytest.approx((wanted.low, wanted.high), abs=1e-6)


def test_interval_lies_around_the_value_whatever_the_bias() -> None:
    low, high = interval(1.0, np.linspace(4.0, 6.0, 1001))
    assert (low, high) == pytest.approx((1 - 0.95, 1 + 0.95))
    assert interval(0.1, np.linspace(0.0, 2.0, 101), low=0.0)[0] == 0.0


@pytest.mark.parametrize(("n", "m", "features"), [(40, 50, 130), (60, 30, 20), (33, 33, 33)])
def test_distance_of_few_images(n: int, m: int, features: int) -> None:
    """The same number, and the same interval as by resampling moments."""
    generator = torch.Generator().manual_seed(n)
    x, y = (torch.randn(count, features, generator=generator) for count in (n, m))
    x = x * 1.5 + 0.3
    value, (low, high) = frechet_of_few(x, y, seed=3, replicates=20)
    expected, (expected_low, expected_high) = frechet(x, y, seed=3, replicates=20)
    assert value == pytest.approx(expected, rel=1e-7)  # that takes roots of rounded zeros
    assert (low, high) == pytest.approx((expected_low, expected_high), rel=1e-4)  # sums in float32
    assert low < value < high
    assert frechet_of_few(y, y, replicates=1)[0] == pytest.approx(0, abs=1e-8)
