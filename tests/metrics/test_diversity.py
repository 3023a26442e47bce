"""Similarity of pairs, class scores and covered modes against closed forms, plain loops and torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from torch import nn
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)
from torchmetrics.image.inception import InceptionScore

from kantor.metrics import diversity
from kantor.metrics.diversity import (
    WEIGHTS,
    coverage,
    inception_style_score,
    ms_ssim,
    pair_similarity,
    pairs_of,
    scales_of,
)


def images(seed: int, n: int, size: tuple[int, int] = (32, 32), channels: int = 3) -> np.ndarray:
    """uint8 [n, H, W, C], smooth with noise."""
    rng = np.random.default_rng([13, seed])
    smooth = ndimage.gaussian_filter(rng.normal(size=(n, *size, channels)), (0, 3, 3, 0)) * 500
    return (128 + smooth + rng.normal(size=smooth.shape) * 8).clip(0, 255).astype(np.uint8)


def alike(seed: int, n: int, size: tuple[int, int] = (32, 32), channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Images and the same with noise of different strength."""
    x = images(seed, n, size, channels)
    strength = np.linspace(0, 80, n)[:, None, None, None]
    noise = np.random.default_rng([17, seed]).normal(size=x.shape) * strength
    return x, (x + noise).clip(0, 255).astype(np.uint8)


def tensor(x: np.ndarray, kind: type = np.float64) -> torch.Tensor:
    return torch.from_numpy(x.transpose(0, 3, 1, 2).astype(kind))


def similarity(x: np.ndarray, y: np.ndarray) -> torch.Tensor:
    """Of uint8 [N, H, W, C], computed in float32."""
    return ms_ssim(tensor(x, np.float32), tensor(y, np.float32))


# MS-SSIM


def plain_ms_ssim(x: np.ndarray, y: np.ndarray, scales: int) -> float:
    """Of one pair [C, H, W], in float64, as in the paper."""
    line = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    line /= line.sum()

    def window(a: np.ndarray) -> np.ndarray:
        a = ndimage.correlate1d(ndimage.correlate1d(a, line, axis=1), line, axis=2)
        return a[:, 5:-5, 5:-5]

    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    product = 1.0
    for scale in range(scales):
        mx, my = window(x), window(y)
        vx, vy, vxy = window(x * x) - mx**2, window(y * y) - my**2, window(x * y) - mx * my
        structure = (2 * vxy + 7.65**2) / (vx + vy + 7.65**2)
        light = (2 * mx * my + 2.55**2) / (mx**2 + my**2 + 2.55**2)
        term = (light * structure if scale == scales - 1 else structure).mean()
        product *= max(term, 0) ** weights[scale]
        h, w = (side // 2 * 2 for side in x.shape[1:])
        x, y = ((a[:, 0:h:2, 0:w:2] + a[:, 1:h:2, 0:w:2] + a[:, 0:h:2, 1:w:2] + a[:, 1:h:2, 1:w:2]) / 4 for a in (x, y))
    return product


SIZES = [((11, 11), 1), ((21, 40), 1), ((32, 32), 2), ((45, 33), 2), ((64, 64), 3), ((100, 91), 4), ((176, 180), 5)]


@pytest.mark.parametrize(("size", "scales"), SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_ms_ssim_equals_a_plain_implementation(size: tuple[int, int], scales: int, channels: int) -> None:
    assert scales_of(*size) == scales
    x, y = alike(0, 4, size, channels)
    expected = [plain_ms_ssim(*pair, scales) for pair in zip(tensor(x).numpy(), tensor(y).numpy(), strict=True)]
    assert ms_ssim(tensor(x), tensor(y)).numpy() == pytest.approx(expected, abs=1e-12)
    assert similarity(x, y).numpy() == pytest.approx(expected, abs=1e-5)
    assert expected[0] == pytest.approx(1) and expected == sorted(expected, reverse=True)


@pytest.mark.parametrize(("size", "scales"), SIZES)
def test_ms_ssim_agrees_with_the_terms_of_torchmetrics(size: tuple[int, int], scales: int) -> None:
    """Its SSIM includes the border, with mirrored pixels; ours is its map without the border."""
    a, b = alike(1, 4, size, channels=1 if scales > 3 else 3)
    x, y = tensor(a), tensor(b)
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    expected = np.ones(4)
    for scale in range(scales):
        shared = {"data_range": 255.0, "reduction": "none"}
        if scale == scales - 1:
            _, whole = structural_similarity_index_measure(x, y, return_full_image=True, **shared)
            term = whole[:, :, 5:-5, 5:-5].mean((1, 2, 3))
        else:
            _, term = structural_similarity_index_measure(x, y, return_contrast_sensitivity=True, **shared)
        expected *= term.clamp(min=0).numpy() ** weights[scale]
        x, y = nn.functional.avg_pool2d(x, 2), nn.functional.avg_pool2d(y, 2)
    assert ms_ssim(tensor(a), tensor(b)).numpy() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (192, 192)])
def test_ms_ssim_is_close_to_torchmetrics(size: tuple[int, int]) -> None:
    """Only the border at the last scale differs."""
    a, b = alike(2, 4, size, channels=1)
    scales = scales_of(*size)
    betas = tuple(weight / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales])
    expected = multiscale_structural_similarity_index_measure(
        tensor(a), tensor(b), data_range=255.0, betas=betas, normalize="relu", reduction="none"
    )
    assert similarity(a, b).numpy() == pytest.approx(expected.numpy(), abs=0.06)


def test_ms_ssim_of_extremes() -> None:
    x = images(0, 5)
    assert similarity(x, x).numpy() == pytest.approx(1, abs=1e-6)
    assert similarity(x, 255 - x).numpy() == pytest.approx(0)
    black, white = np.zeros((1, 16, 16, 1), np.uint8), np.full((1, 16, 16, 1), 255, np.uint8)
    assert float(similarity(black, white)) == pytest.approx(2.55**2 / (255**2 + 2.55**2), rel=1e-3)
    assert float(similarity(white, white)) == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(11, 40), st.integers(11, 40), st.sampled_from([1, 3, 4]))
def test_ms_ssim_stays_in_range_and_is_symmetric(seed: int, height: int, width: int, channels: int) -> None:
    x, y = np.random.default_rng(seed).integers(0, 256, (2, 3, height, width, channels), dtype=np.uint8)
    found = similarity(x, y)
    assert bool(((found >= 0) & (found <= 1 + 1e-6)).all())
    assert torch.allclose(found, similarity(y, x), atol=1e-6)


def test_ms_ssim_does_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = alike(0, 20)
    whole = similarity(x, y)
    monkeypatch.setattr(diversity, "PIXELS", 32 * 32 * 3 * 3)
    assert torch.allclose(similarity(x, y), whole, atol=1e-6)


# pairs


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.integers(1, 8), st.integers(0, 2**31))
def test_pairs_are_of_two_images_of_one_class(n: int, classes: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, n) * 3 - 4
    assume(len(np.unique(labels)) < n)
    first, second = pairs_of(n, seed, 200, labels)
    assert (first != second).all() and (labels[first] == labels[second]).all()
    assert first.min() >= 0 and second.min() >= 0 and max(first.max(), second.max()) < n


def test_pairs_are_even_and_a_function_of_seed_and_count() -> None:
    first, second = pairs_of(6, 1, 30000)
    assert (
        stats.chisquare(np.bincount(first * 6 + second, minlength=36).reshape(6, 6)[~np.eye(6, dtype=bool)]).pvalue
        > 1e-3
    )
    labels = np.array([0, 1, 0, 1, 0, 2])
    first, second = pairs_of(6, 1, 30000, labels)
    table = np.bincount(first * 6 + second, minlength=36).reshape(6, 6)
    assert table[5].sum() == table[:, 5].sum() == 0
    assert stats.chisquare(table[[0, 0, 2, 2, 4, 4], [2, 4, 0, 4, 0, 2]]).pvalue > 1e-3
    assert table.sum(1)[:5] / 30000 == pytest.approx(0.2, abs=0.01)
    again = pairs_of(100, 5, 10)
    assert all((a == b).all() for a, b in zip(again, pairs_of(100, 5, 10), strict=True))
    assert (again[0] != pairs_of(100, 6, 10)[0]).any()
    assert all((a == b).all() for a, b in zip(again, pairs_of(100, 5, 10, np.full(100, 7)), strict=True))
    assert (pairs_of(2, 0, 4)[0] == 1 - pairs_of(2, 0, 4)[1]).all()


def test_pair_similarity_sees_collapse() -> None:
    x = images(0, 40)
    found = pair_similarity(x, 0, 200)
    first, second = pairs_of(40, 0, 200)
    assert found[0] == pytest.approx(float(similarity(x[first], x[second]).mean()))
    assert found[1][0] <= found[0] <= found[1][1]
    assert pair_similarity(np.repeat(x[:1], 40, 0), 0, 50)[0] == pytest.approx(1, abs=1e-6)
    classes = np.repeat(np.arange(4), 10)
    noise = np.random.default_rng(0).normal(size=(40, 32, 32, 3)) * 10
    within = (x[classes * 10] + noise).clip(0, 255).astype(np.uint8)
    assert pair_similarity(within, 0, 200, classes)[0] > pair_similarity(within, 0, 200)[0] + 0.3 > 0.3


def test_interval_accounts_for_pairs_that_share_images() -> None:
    """The mean over many samples of few images lies in most intervals, despite many pairs."""
    shades = np.linspace(0, 255, 24)[:, None, None, None] * np.ones((24, 16, 16, 1))
    some = [
        np.random.default_rng(i).normal(shades[np.random.default_rng(i).integers(24, size=20)], 40) for i in range(40)
    ]
    found = [pair_similarity(x.clip(0, 255).astype(np.uint8), i, 300) for i, x in enumerate(some)]
    mean = np.mean([value for value, _ in found])
    assert np.mean([low <= mean <= high for _, (low, high) in found]) >= 0.8


# class scores


def test_score_of_confident_and_even_classes_is_their_number() -> None:
    for classes in (2, 10, 50):
        logits = torch.eye(classes).repeat(40, 1) * 1000
        score, (low, high) = inception_style_score(logits, 0)
        assert score == pytest.approx(classes, rel=1e-9)
        assert 1 <= low <= score <= high
        certain = torch.where(torch.eye(classes) > 0, 0.0, -math.inf).repeat(3, 1)
        assert inception_style_score(certain, 0)[0] == pytest.approx(classes, rel=1e-9)


def test_score_of_identical_images_is_one() -> None:
    logits = torch.randn(7, generator=torch.Generator().manual_seed(0)).repeat(50, 1)
    score, (low, high) = inception_style_score(logits, 0)
    assert (score, low, high) == pytest.approx((1, 1, 1))


def test_score_of_two_uneven_classes() -> None:
    logits = torch.tensor([[200.0, 0.0]] * 30 + [[0.0, 200.0]] * 10)
    expected = math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert inception_style_score(logits, 0)[0] == pytest.approx(expected)


class Same(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 30.0])
def test_score_agrees_with_torchmetrics(scale: float) -> None:
    logits = torch.randn(300, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * scale
    metric = InceptionScore(feature=Same(), splits=1)
    metric.update(logits)
    assert inception_style_score(logits, 0)[0] == pytest.approx(float(metric.compute()[0]), rel=1e-12)
    assert inception_style_score(logits.float(), 0)[0] == pytest.approx(float(metric.compute()[0]), rel=1e-5)


def test_score_intervals_cover_the_mean() -> None:
    found = []
    for i in range(80):
        rng = torch.Generator().manual_seed(i)
        found.append(inception_style_score(torch.randn(200, 5, generator=rng) * 2, i))
    mean = np.mean([score for score, _ in found])
    assert np.mean([low <= mean <= high for _, (low, high) in found]) >= 0.85


# modes


def test_coverage_by_hand() -> None:
    found = coverage(np.array([0, 0, 0, 2]), np.ones(4))
    assert found.covered == 2
    assert found.kl == pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1))
    expected = np.array([6.0, 1.0, 2.0, 1.0])
    assert coverage(np.array([0, 0, 0, 2]), expected).kl == pytest.approx(stats.entropy([3, 0, 1, 0], expected))
    assert 1 <= found.covered_interval[0] <= 2 <= found.covered_interval[1] <= 4


def test_coverage_of_expected_frequencies_and_of_one_mode() -> None:
    even = coverage(np.tile(np.arange(50), 40), np.ones(50))
    assert (even.covered, even.covered_interval) == (50, (50, 50))
    assert even.kl == pytest.approx(0, abs=1e-12)
    assert even.kl_interval[0] == 0
    one = coverage(np.full(100, 3), np.ones(50))
    assert (one.covered, one.kl) == (1, pytest.approx(math.log(50)))
    assert one.kl_interval == pytest.approx((one.kl, one.kl))
    for n in range(1, 6):
        few = coverage(np.arange(n), np.ones(6))
        assert few.covered_interval[0] <= n <= few.covered_interval[1] <= 6
    lone = coverage(np.zeros(5, np.int64), np.ones(1))
    assert (lone.covered, lone.kl) == (1, 0)


def test_a_perfect_generator_of_stacked_mnist() -> None:
    """All modes, and a divergence of about (modes - 1) / (2 N)."""
    found = coverage(np.random.default_rng(0).integers(1000, size=26000), np.ones(1000))
    assert found.covered == 1000
    assert found.kl == pytest.approx(999 / 52000, rel=0.15)


def test_coverage_intervals_cover_the_mean() -> None:
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.full(40, 0.7))
    draws = [coverage(rng.choice(40, size=600, p=shares), np.ones(40), seed=i) for i in range(100)]
    for name in ("kl", "covered"):
        mean = np.mean([getattr(one, name) for one in draws])
        inside = [low <= mean <= high for low, high in (getattr(one, f"{name}_interval") for one in draws)]
        assert np.mean(inside) >= 0.85, name
