"""Gradient penalties against closed forms, at batch sizes above 1, where the usual errors show."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kantor.config.objective import FakeProbe, InterpolatesProbe, PerturbedProbe, RealProbe
from kantor.objectives import penalties
from kantor.objectives.penalties import (
    GradientPenalty,
    gradient_norm,
    input_gradient,
    one_sided,
    two_sided,
    zero_centred,
)

Shape = tuple[int, int, int, int]
Critic = Callable[[Tensor], Tensor]
shapes = st.tuples(st.integers(2, 5), st.sampled_from([1, 3, 4]), st.integers(1, 7), st.integers(1, 7))
seeds = st.integers(0, 2**31)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradient_at(critic: Critic, points: Tensor) -> Tensor:
    points = points.detach().requires_grad_()
    return input_gradient(critic(points), points)


def linear(w: Tensor) -> Critic:
    return lambda x: x.flatten(1) @ w.flatten()


def quadratic(x: Tensor) -> Tensor:
    """Its gradient is x: the norm differs from sample to sample."""
    return 0.5 * x.flatten(1).square().sum(1)


def norms_by_hand(x: Tensor) -> Tensor:
    roots = [math.sqrt(sum(v * v for v in sample.flatten().tolist())) for sample in x]
    return torch.tensor(roots, dtype=x.dtype)


# --- closed forms ----------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(shape=shapes, seed=seeds, scale=st.floats(0.01, 5))
def test_linear_critic(shape: Shape, seed: int, scale: float) -> None:
    """Score w.x: the gradient is w everywhere."""
    w = (normal(*shape[1:], seed=seed) * scale).requires_grad_()
    norm = w.detach().norm()
    grad = gradient_at(linear(w), normal(*shape, seed=seed + 1))
    each = torch.ones(shape[0], dtype=torch.float64)
    torch.testing.assert_close(gradient_norm(grad), norm * each)
    torch.testing.assert_close(two_sided(grad), (norm - 1) ** 2 * each)
    torch.testing.assert_close(one_sided(grad), max(norm.item() - 1, 0) ** 2 * each)
    torch.testing.assert_close(zero_centred(grad), norm**2 * each)


@settings(max_examples=40, deadline=None)
@given(shape=shapes, seed=seeds, scale=st.floats(0.01, 5))
def test_linear_critic_learns_by_the_closed_form(shape: Shape, seed: int, scale: float) -> None:
    w = (normal(*shape[1:], seed=seed) * scale).requires_grad_()
    fixed = w.detach()
    norm = fixed.norm()
    grad = gradient_at(linear(w), normal(*shape, seed=seed + 1))
    expected = {
        two_sided: 2 * (norm - 1) * fixed / norm,
        one_sided: 2 * (norm - 1).clamp(min=0) * fixed / norm,
        zero_centred: 2 * fixed,
    }
    for of, closed in expected.items():
        got = torch.autograd.grad(of(grad).mean(), w, retain_graph=True)[0]
        torch.testing.assert_close(got, closed, rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(shape=shapes, seed=seeds)
def test_quadratic_critic_sample_by_sample(shape: Shape, seed: int) -> None:
    x = normal(*shape, seed=seed) * torch.linspace(0.1, 2, shape[0], dtype=torch.float64).view(-1, 1, 1, 1)
    grad, norms = gradient_at(quadratic, x), norms_by_hand(x)
    torch.testing.assert_close(two_sided(grad), (norms - 1) ** 2)
    torch.testing.assert_close(one_sided(grad), (norms - 1).clamp(min=0) ** 2)
    torch.testing.assert_close(zero_centred(grad), norms**2)


def test_r1_and_r2_of_a_quadratic_critic() -> None:
    """gamma / 2 |x|^2 with gamma = 1, and its gradient in the critic's scale a: a |x|^2."""
    real, fake = normal(3, 3, 4, 6, seed=1), 2 * normal(3, 3, 4, 6, seed=2)
    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for probe, batch in ((RealProbe(), real), (FakeProbe(), fake)):
        penalty = GradientPenalty(at=probe, of=zero_centred, weight=0.5, every=1)
        points = penalties.points(penalty.at, real, fake, uniform(3))
        got = penalty.weight * penalty.every * penalty.of(gradient_at(lambda x: a * quadratic(x), points))
        squares = batch.flatten(1).square().sum(1)
        torch.testing.assert_close(got, 0.5 * a.detach() ** 2 * squares)
        torch.testing.assert_close(torch.autograd.grad(got.mean(), a)[0], a.detach() * squares.mean())


# --- the errors of others give other numbers -------------------------------------------------------------------


def differs(wrong: Tensor, right: Tensor) -> bool:
    return not torch.allclose(wrong, right, rtol=0.01, atol=0.01)


def test_perfect_critic_costs_nothing_but_a_norm_over_the_batch_says_9() -> None:
    """torchgan: one norm for the batch. At batch 16 a 1-Lipschitz critic pays (sqrt(16) - 1)^2 = 9."""
    w = normal(3, 4, 6)
    grad = gradient_at(linear(w / w.norm()), normal(16, 3, 4, 6, seed=1))
    torch.testing.assert_close(two_sided(grad), torch.zeros(16, dtype=torch.float64))
    torch.testing.assert_close((grad.norm(2) - 1) ** 2, torch.tensor(9.0, dtype=torch.float64))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda g: g.norm(2), id="norm over the batch"),
        pytest.param(lambda g: g.norm(2, dim=1), id="norm over the channels, a value per pixel"),
        pytest.param(lambda g: g.norm(2, dim=2), id="norm over the height"),
        pytest.param(lambda g: g.flatten(1).abs().sum(1), id="L1"),
        pytest.param(lambda g: g.flatten(1).square().sum(1), id="no root"),
        pytest.param(lambda g: g.flatten(1).norm(dim=1).mean(), id="mean of norms, then squared"),
    ],
)
def test_known_wrong_norms_differ(wrong: Critic) -> None:
    x = normal(4, 3, 5, 2) * torch.tensor([0.1, 0.3, 1, 2], dtype=torch.float64).view(-1, 1, 1, 1)
    grad = gradient_at(quadratic, x)
    assert differs((wrong(grad) - 1).square().mean(), two_sided(grad).mean())


def test_interpolates_have_a_number_for_each_sample() -> None:
    real, fake, u = normal(5, 3, 4, 2, seed=1), 3 * normal(5, 3, 4, 2, seed=2), uniform(5, seed=3)
    points = penalties.points(InterpolatesProbe(), real, fake, u)
    one_by_one = torch.stack([u[i] * real[i] + (1 - u[i]) * fake[i] for i in range(5)])
    torch.testing.assert_close(points, one_by_one)
    right = two_sided(gradient_at(quadratic, points))
    for_the_batch = u[0] * real + (1 - u[0]) * fake
    wrong_sign = fake * (1 - u.view(-1, 1, 1, 1)) - real * u.view(-1, 1, 1, 1)
    a_pixel = torch.lerp(fake, real, uniform(5, 3, 4, 2, seed=4))
    for wrong in (for_the_batch, wrong_sign, a_pixel):
        assert differs(two_sided(gradient_at(quadratic, wrong)).mean(), right.mean())


@pytest.mark.parametrize("probe", [InterpolatesProbe(), PerturbedProbe(std=0.5)])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1, 1, 1), (3, 1, 2, 2)])
def test_another_count_of_uniforms_is_an_error_and_not_broadcast(
    probe: InterpolatesProbe | PerturbedProbe, shape: tuple[int, ...]
) -> None:
    x = normal(3, 1, 2, 2)
    with pytest.raises(ValueError, match="one number per sample"):
        penalties.points(probe, x, x, uniform(*shape), uniform(3, 1, 2, 2))


# --- probes -----------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(shape=shapes, seed=seeds)
def test_interpolates_lie_on_the_segment(shape: Shape, seed: int) -> None:
    real, fake = normal(*shape, seed=seed), normal(*shape, seed=seed + 1)
    u = uniform(shape[0], seed=seed + 2)
    points = penalties.points(InterpolatesProbe(), real, fake, u)
    to_fake, to_real, whole = (gradient_norm(d).double() for d in (points - fake, points - real, real - fake))
    torch.testing.assert_close(to_fake, u * whole)
    torch.testing.assert_close(to_real, (1 - u) * whole)


def test_interpolates_reach_both_ends() -> None:
    real, fake = normal(2, 1, 3, 3, seed=1), normal(2, 1, 3, 3, seed=2)
    points = penalties.points(InterpolatesProbe(), real, fake, torch.tensor([0.0, 1.0]))
    assert torch.equal(points[0], fake[0]) and torch.equal(points[1], real[1])


def test_interpolates_take_fakes_of_another_precision() -> None:
    """A generator under autocast hands out bfloat16."""
    real = normal(2, 1, 3, 3).float()
    points = penalties.points(InterpolatesProbe(), real, torch.zeros_like(real, dtype=torch.bfloat16), uniform(2))
    assert points.dtype == torch.float32


def test_perturbed_points() -> None:
    real, u, noise = normal(4, 3, 5, 2, seed=1), uniform(4, seed=2), uniform(4, 3, 5, 2, seed=3)
    points = penalties.points(PerturbedProbe(std=0.25), real, torch.zeros_like(real), u, noise)
    spread = math.sqrt(real.square().mean() - real.mean() ** 2)
    one_by_one = torch.stack([real[i] + u[i] * 0.25 * spread * noise[i] for i in range(4)])
    torch.testing.assert_close(points, one_by_one)


def test_perturbed_is_the_same_on_every_scale_of_pixels() -> None:
    """[-1, 1] or [0, 255]: the points move with the images."""
    real, u, noise = uniform(4, 3, 5, 2, seed=1), uniform(4, seed=2), uniform(4, 3, 5, 2, seed=3)
    small = penalties.points(PerturbedProbe(), real, real, u, noise)
    torch.testing.assert_close(penalties.points(PerturbedProbe(), 255 * real - 3, real, u, noise), 255 * small - 3)


def test_only_perturbed_points_need_noise() -> None:
    x = normal(2, 1, 2, 2)
    for probe in (InterpolatesProbe(), RealProbe(), FakeProbe()):
        penalties.points(probe, x, x, uniform(2))
    with pytest.raises(ValueError, match="noise"):
        penalties.points(PerturbedProbe(), x, x, uniform(2))


def test_probes_of_a_batch_return_it() -> None:
    real, fake = normal(2, 1, 2, 2, seed=1), normal(2, 1, 2, 2, seed=2)
    for probe, batch, images in ((RealProbe(), "real", real), (FakeProbe(), "fake", fake)):
        assert GradientPenalty(probe, zero_centred, 1.0).batch == batch
        assert penalties.points(probe, real, fake, uniform(2)) is images
    for probe in (InterpolatesProbe(), PerturbedProbe()):
        assert GradientPenalty(probe, two_sided, 1.0).batch is None


def test_probes_are_values() -> None:
    assert PerturbedProbe(std=0.5) == PerturbedProbe() and hash(InterpolatesProbe()) == hash(InterpolatesProbe())
    assert PerturbedProbe(std=0.5) != PerturbedProbe(std=0.6)


# --- second derivatives -----------------------------------------------------------------------------------------

FORMULAS = [two_sided, one_sided, zero_centred]


def smooth_critic(weights: tuple[Tensor, ...]) -> Critic:
    """3x3 convolution, tanh, dense, tanh, dense, all with biases: curved in the image and in the weights."""
    kernel, kernel_bias, dense, dense_bias, last = weights

    def critic(x: Tensor) -> Tensor:
        hidden = torch.nn.functional.conv2d(x, kernel, kernel_bias).tanh().flatten(1)
        return (hidden @ dense + dense_bias).tanh() @ last

    return critic


def smooth_weights() -> tuple[Tensor, ...]:
    shapes = [(2, 3, 3, 3), (2,), (4, 3), (3,), (3,)]  # 4x3 images leave 2x1 pixels of 2 channels
    return tuple(normal(*s, seed=i).requires_grad_() for i, s in enumerate(shapes))


def penalty_of(of: Callable[[Tensor], Tensor], x: Tensor) -> Callable[..., Tensor]:
    return lambda *weights: of(gradient_at(smooth_critic(weights), x)).mean()


@pytest.mark.parametrize("of", FORMULAS)
def test_gradient_in_every_weight_against_finite_differences(of: Callable[[Tensor], Tensor]) -> None:
    weights, x = smooth_weights(), normal(3, 3, 4, 3, seed=9)
    penalty = penalty_of(of, x)
    got = torch.autograd.grad(penalty(*weights), weights)
    step = 1e-5
    for which, w in enumerate(weights):
        expected = torch.zeros(w.numel(), dtype=torch.float64)
        for i in range(w.numel()):
            ends = []
            for sign in (1, -1):
                moved = [v.detach().clone() for v in weights]
                moved[which].view(-1)[i] += sign * step
                ends.append(penalty(*moved).item())
            expected[i] = (ends[0] - ends[1]) / (2 * step)
        torch.testing.assert_close(got[which].flatten(), expected, rtol=1e-5, atol=1e-7)
        assert got[which].abs().max() > 1e-4 or of is one_sided


@pytest.mark.parametrize("of", [two_sided, zero_centred])
def test_gradgradcheck(of: Callable[[Tensor], Tensor]) -> None:
    weights, x = smooth_weights(), normal(2, 3, 4, 3, seed=9)
    assert torch.autograd.gradcheck(penalty_of(of, x), weights, fast_mode=True)
    assert torch.autograd.gradgradcheck(penalty_of(of, x), weights, fast_mode=True)


@pytest.mark.parametrize("of", FORMULAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_gradient_has_a_finite_double_backward(of: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    w = torch.zeros(3, 4, 2, dtype=dtype, requires_grad=True)
    penalty = of(gradient_at(linear(w), torch.ones(3, 3, 4, 2, dtype=dtype)))
    assert torch.equal(penalty, torch.full((3,), float(of is two_sided), dtype=dtype))
    assert torch.equal(torch.autograd.grad(penalty.mean(), w)[0], torch.zeros_like(w))


def test_a_root_of_squares_has_no_finite_double_backward() -> None:
    w = torch.zeros(3, 4, 2, requires_grad=True)
    grad = gradient_at(linear(w), torch.ones(3, 3, 4, 2))
    wrong = (grad.square().sum((1, 2, 3)).sqrt() - 1).square().mean()
    assert torch.autograd.grad(wrong, w)[0].isnan().all()


@pytest.mark.parametrize("of", FORMULAS)
@pytest.mark.parametrize("size", [1e-30, 1e-22, 1e-19, 1e-10])
def test_tiny_gradients_stay_finite(of: Callable[[Tensor], Tensor], size: float) -> None:
    w = torch.full((3, 4, 2), size, requires_grad=True)
    back = torch.autograd.grad(of(gradient_at(linear(w), torch.ones(2, 3, 4, 2))).mean(), w)[0]
    assert back.isfinite().all() and back.abs().max() <= 4


def test_dead_sample_does_not_spoil_the_others() -> None:
    x = normal(3, 3, 4, 2)
    x[1] = 0
    a = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    penalty = two_sided(gradient_at(lambda v: a * quadratic(v), x))
    norms = x.flatten(1).norm(dim=1)
    got = torch.autograd.grad(penalty.mean(), a)[0]
    torch.testing.assert_close(got, (2 * (a.detach() * norms - 1) * norms).mean())


@pytest.mark.parametrize("of", FORMULAS)
def test_bfloat16_gradients_are_summed_in_float32(of: Callable[[Tensor], Tensor]) -> None:
    """4096 ones: a running sum in bfloat16 would stop at 256."""
    grad = torch.ones(2, 1, 64, 64, dtype=torch.bfloat16)
    assert gradient_norm(grad).tolist() == [64, 64]
    assert of(grad).dtype == torch.float32
    assert of(grad).tolist() == [4096.0 if of is zero_centred else 63.0**2] * 2


def test_penalty_changes_the_weights_under_autocast() -> None:
    """Mixed precision must not cut the second derivative."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.LeakyReLU(0.2), torch.nn.Flatten())
    net.append(torch.nn.Linear(8 * 4 * 3, 1))
    x = torch.randn(4, 3, 6, 5)

    def gradients() -> Tensor:
        penalty = two_sided(gradient_at(lambda v: net(v).squeeze(1), x)).mean()
        parts = torch.autograd.grad(penalty, list(net.parameters()), allow_unused=True)
        return torch.cat([p.float().flatten() for p in parts if p is not None])

    exact = gradients()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = gradients()
    assert exact.norm() > 0
    assert (rounded - exact).norm() < 0.05 * exact.norm()


# --- lazy -------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(every=st.integers(1, 40), weight=st.floats(1e-3, 1e3), cycles=st.integers(1, 5))
def test_lazy_weight_is_right_on_average(every: int, weight: float, cycles: int) -> None:
    penalty = GradientPenalty(at=RealProbe(), of=zero_centred, weight=weight, every=every)
    steps = range(every * cycles)
    total = sum(penalty.weight * penalty.every * penalty.due(step) for step in steps)
    assert total / len(steps) == pytest.approx(weight)
    assert penalty.due(0)
    assert sum(penalty.due(step) for step in steps) == cycles
