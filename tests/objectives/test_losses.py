"""Losses against independent formulas in numpy and scipy, finite differences, and their optima."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, log_expit, xlogy
from torch import Tensor

from kantor.objectives import losses

Array = NDArray[np.float64]


def cross_entropy(label: float, score: Array) -> Array:
    p = expit(score)
    return -xlogy(label, p) - xlogy(1 - label, 1 - p)


# Written from the papers, not from the code: probabilities and labels where the code has softplus of logits.
FORMULAS = {
    "wasserstein_critic": lambda r, f: -(r - f),
    "wasserstein_generator": lambda r, f: -f,
    "non_saturating_critic": lambda r, f: cross_entropy(1, r) + cross_entropy(0, f),
    "non_saturating_generator": lambda r, f: cross_entropy(1, f),
    "least_squares_critic": lambda r, f: ((r - 1) ** 2 + (f - 0) ** 2) / 2,
    "least_squares_generator": lambda r, f: (f - 1) ** 2 / 2,
    "hinge_critic": lambda r, f: np.maximum(0, 1 - r) + np.maximum(0, 1 + f),
    "relativistic_critic": lambda r, f: -log_expit(r - f),
    "relativistic_generator": lambda r, f: -log_expit(f - r),
}
NAMES = sorted(FORMULAS)
GENERATORS = [name for name in NAMES if name.endswith("generator")]
score_lists = st.lists(
    st.tuples(st.floats(-15, 15), st.floats(-15, 15)),
    min_size=2,
    max_size=9,
)


def scores(*values: float, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype)


def test_every_loss_is_checked() -> None:
    found = {name for name in vars(losses) if name.endswith(("_critic", "_generator"))}
    assert found == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(pairs=score_lists)
def test_formula(name: str, pairs: list[tuple[float, float]]) -> None:
    real, fake = np.array(pairs).T
    got = getattr(losses, name)(torch.from_numpy(real.copy()), torch.from_numpy(fake.copy()))
    assert got.shape == (len(pairs),)
    np.testing.assert_allclose(got.numpy(), FORMULAS[name](real, fake), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_against_finite_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    real, fake = (torch.randn(6, generator=generator, dtype=torch.float64) * 2 for _ in range(2))
    loss = getattr(losses, name)
    leaves = real.clone().requires_grad_(), fake.clone().requires_grad_()
    got = torch.autograd.grad(loss(*leaves).sum(), leaves, allow_unused=True)
    step = 1e-6
    for which in (0, 1):
        ends = [[x + s * step * (i == which) for i, x in enumerate((real, fake))] for s in (1, -1)]
        expected = (loss(*ends[0]) - loss(*ends[1])) / (2 * step)
        mine = torch.zeros_like(real) if got[which] is None else got[which]
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", [n for n in GENERATORS if n != "relativistic_generator"])
def test_generators_ignore_real_scores(name: str) -> None:
    fake = scores(-1.5, 0.25, 4)
    loss = getattr(losses, name)
    assert torch.equal(loss(scores(1, 2, 3), fake), loss(scores(-9, 0, 7), fake))


@pytest.mark.parametrize("name", ["relativistic_critic", "relativistic_generator", "wasserstein_critic"])
@settings(max_examples=40, deadline=None)
@given(pairs=score_lists, shift=st.floats(-50, 50))
def test_depends_on_the_difference_alone(name: str, pairs: list[tuple[float, float]], shift: float) -> None:
    real, fake = torch.tensor(pairs, dtype=torch.float64).T
    loss = getattr(losses, name)
    torch.testing.assert_close(loss(real + shift, fake + shift), loss(real, fake), rtol=1e-9, atol=1e-10)


def test_relativistic_pairs_sample_by_sample() -> None:
    """Not against the mean of the other batch, which is RaGAN and gives other numbers."""
    real, fake = scores(0, 2, -1), scores(1, -3, 0.5)
    paired = torch.stack([losses.relativistic_critic(r[None], f[None])[0] for r, f in zip(real, fake, strict=True)])
    torch.testing.assert_close(losses.relativistic_critic(real, fake), paired)
    average = torch.nn.functional.softplus(-(real - fake.mean()))
    assert not torch.allclose(paired.mean(), average.mean(), atol=1e-2)


def test_relativistic_generator_is_the_critic_with_roles_exchanged() -> None:
    real, fake = scores(0.3, 2), scores(-1, 4)
    assert torch.equal(losses.relativistic_generator(real, fake), losses.relativistic_critic(fake, real))


def test_least_squares_is_zero_at_its_labels() -> None:
    ones, zeros = torch.ones(3), torch.zeros(3)
    assert torch.equal(losses.least_squares_critic(ones, zeros), zeros)
    assert torch.equal(losses.least_squares_generator(zeros, ones), zeros)
    assert torch.equal(losses.least_squares_critic(zeros, ones), ones)  # 1/2 + 1/2


def test_hinge_is_flat_beyond_its_margins() -> None:
    real, fake = scores(1.01, 5).requires_grad_(), scores(-1.01, -7).requires_grad_()
    loss = losses.hinge_critic(real, fake)
    slopes = torch.autograd.grad(loss.sum(), (real, fake))
    assert not loss.any() and not slopes[0].any() and not slopes[1].any()
    inside = losses.hinge_critic(scores(0.5), scores(-0.5))
    torch.testing.assert_close(inside, scores(1.0))


def test_non_saturating_at_equal_scores() -> None:
    """2 log 2 where the critic cannot tell (Goodfellow et al. 2014, theorem 1: -log 4 before the sign)."""
    torch.testing.assert_close(losses.non_saturating_critic(scores(0, 0), scores(0, 0)), scores(*[2 * np.log(2)] * 2))


def test_non_saturating_generator_keeps_its_slope_where_the_saturating_one_loses_it() -> None:
    fake = scores(-30, -50).requires_grad_()
    slope = torch.autograd.grad(losses.non_saturating_generator(scores(0, 0), fake).sum(), fake)[0]
    torch.testing.assert_close(slope, scores(-1, -1))


@pytest.mark.parametrize("name", NAMES)
def test_finite_at_large_scores(name: str) -> None:
    real, fake = scores(1e4, -1e4, 1e4, dtype=torch.float32), scores(-1e4, 1e4, 1e4, dtype=torch.float32)
    leaves = real.requires_grad_(), fake.requires_grad_()
    loss = getattr(losses, name)(*leaves)
    slopes = torch.autograd.grad(loss.sum(), leaves, allow_unused=True)
    assert loss.isfinite().all()
    assert all(s.isfinite().all() for s in slopes if s is not None)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_scores_are_summed_in_float32(name: str) -> None:
    """Scores that bfloat16 holds exactly, with differences and sums that it cannot hold."""
    real = torch.tensor([256.0, 258.0, 3.0, -1.0] * 64, dtype=torch.bfloat16)
    fake = torch.tensor([1.0, 0.5, 2.015625, 5.0] * 64, dtype=torch.bfloat16)
    loss = getattr(losses, name)(real, fake)
    assert loss.dtype == loss.mean().dtype == torch.float32
    expected = FORMULAS[name](real.double().numpy(), fake.double().numpy())
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss.mean().item(), expected.mean(), rtol=1e-5, atol=1e-6)


def test_float64_stays() -> None:
    for name in NAMES:
        assert getattr(losses, name)(scores(1, 2), scores(3, 4)).dtype == torch.float64
