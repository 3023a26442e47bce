"""MIND: closed forms, a reference in float64, intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kantor.metrics import mind as module
from kantor.metrics.mind import DIRECTIONS, mind, orthogonal_lines


def normal(n: int, d: int, seed: int, scale: float = 1.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)) * scale)


def reference(x: Tensor, y: Tensor) -> float:
    """By the merged steps of both quantile functions."""
    costs, n, m = [], len(x), len(y)
    ends = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    for line in orthogonal_lines(x.shape[1], DIRECTIONS).numpy():
        a, b = np.sort(x.double().numpy() @ line), np.sort(y.double().numpy() @ line)
        gaps = a[ends[:-1] // m] - b[ends[:-1] // n]
        costs.append((np.diff(ends) * gaps**2).sum() / (n * m))
    return 3 * x.shape[1] * float(np.mean(costs))


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 75), (33, 100), (100, 33), (2, 64)])
@pytest.mark.parametrize("d", [1, 7, 1500])
def test_equals_the_reference_for_any_numbers_of_images(n: int, m: int, d: int) -> None:
    x, y = normal(n, d, 1, 1.5).float(), normal(m, d, 2).float() + 0.5
    assert mind(x, y, replicates=2)[0] == pytest.approx(reference(x, y), rel=1e-9)
    assert mind(y, x, replicates=2)[0] == pytest.approx(mind(x, y, replicates=2)[0], rel=1e-9)


def test_a_shift_costs_three_times_its_square() -> None:
    x = normal(60, 16, 0)
    shift = normal(1, 16, 1)
    assert mind(x, x + shift)[0] == pytest.approx(3 * float(shift.square().sum()), rel=1e-9)


def test_a_shift_of_repeated_images_costs_the_same() -> None:
    """The distance of distributions: repeating all images twice or thrice changes nothing."""
    x, shift = normal(20, 8, 0), normal(1, 8, 1)
    repeated = mind(x.repeat(3, 1), x.repeat(2, 1) + shift)[0]
    assert repeated == pytest.approx(3 * float(shift.square().sum()), rel=1e-9)


def test_equal_images_cost_nothing() -> None:
    x = normal(60, 16, 0).float()
    value, (low, high) = mind(x, x[torch.randperm(60, generator=torch.Generator().manual_seed(0))])
    assert value == pytest.approx(0, abs=1e-12) and low == pytest.approx(0, abs=1e-9) and high < 1e-9


def test_gaussians_have_a_closed_form() -> None:
    """Along each line the distance of N(a, s^2) and N(b, t^2) is (a - b)^2 + (s - t)^2."""
    x, y = normal(8000, 4, 0, 2.0) + 0.5, normal(6000, 4, 1)
    assert mind(x, y, replicates=2)[0] == pytest.approx(3 * 4 * (0.25 + 1), rel=0.03)


def test_lines_are_orthonormal_and_uniform() -> None:
    lines = orthogonal_lines(8, 1024)
    assert lines.shape == (1024, 8)
    for group in lines.view(-1, 8, 8):
        assert torch.allclose(group @ group.T, torch.eye(8, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(lines.mean(0), torch.zeros(8, dtype=torch.float64), atol=0.05)  # deviation 0.011
    fourth = lines.pow(4).mean(0)  # of a uniform direction: 3 / (D (D + 2))
    assert torch.allclose(fourth, torch.full((8,), 3 / 80, dtype=torch.float64), atol=0.01)
    few = orthogonal_lines(2000, 64)
    assert torch.allclose(few @ few.T, torch.eye(64, dtype=torch.float64), atol=1e-12)


def test_blocks_of_lines_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(30, 9, 0, 1.5), normal(40, 9, 1)
    whole = mind(x, y, 3)
    monkeypatch.setattr(module, "_BLOCK", 100)
    value, ends = mind(x, y, 3)
    assert value == pytest.approx(whole[0], rel=1e-12) and ends == pytest.approx(whole[1], rel=1e-12)
    other = mind(x, y, 4)  # another seed resamples otherwise, along the same lines
    assert other[0] == value and other[1] != ends


@pytest.mark.parametrize(("scale", "shift", "n"), [(1.0, 0.0, 200), (1.2, 0.0, 200), (1.0, 0.3, 300), (2.0, 1.0, 150)])
def test_intervals_hold_the_mean_of_many_samples(scale: float, shift: float, n: int) -> None:
    real = normal(200, 16, 99)
    results = [mind(normal(n, 16, seed, scale) + shift, real, seed, 100) for seed in range(60)]
    mean = np.mean([value for value, _ in results])
    assert np.mean([low <= mean <= high for _, (low, high) in results]) >= 0.85
    widths = np.mean([high - low for _, (low, high) in results])
    assert widths < 2 * 3.92 * np.std([value for value, _ in results])
