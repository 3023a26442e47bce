"""Batch norm, rectifier and convolution in one operator: the values and gradients of three, of a whole batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kantor.config.networks import DownLayer, StackCritic, StackGenerator, UpLayer
from kantor.nets import build_critic, build_generator, normalised_convolution, ops
from kantor.nets.double_backward import Geometry
from kantor.nets.normalised_convolution import pays
from kantor.types import ImageSpec

SPEC = ImageSpec(16, 16, 3)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer is large, and two or three images of the middle ones are computed at once."""
    monkeypatch.setattr(normalised_convolution, "LARGE", 1)
    monkeypatch.setattr(normalised_convolution, "PART", 1000)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], Geometry]] = {
    "to images": ((3, 6, 3, 3), Geometry((1, 1), (1, 1), (1, 1), False, (0, 0), 1)),
    "between many channels": ((5, 6, 3, 3), Geometry((2, 2), (1, 1), (1, 1), False, (0, 0), 1)),
    "doubling": ((6, 5, 4, 4), ops.DOUBLING),
    "doubling, to images": ((6, 3, 4, 4), ops.DOUBLING),
}


def apart(norm: nn.BatchNorm2d, y: Tensor, weight: Tensor, bias: Tensor, slope: float, how: Geometry) -> Tensor:
    x = nn.functional.leaky_relu(norm(y), slope)
    convolution = nn.functional.conv_transpose2d if how.transposed else nn.functional.conv2d
    return convolution(x, weight, bias, how.stride, how.padding)


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_values_gradients_and_statistics_are_those_of_three_operators(name: str, slope: float) -> None:
    shape, how = CONVOLUTIONS[name]
    inputs = [(numbers(7, 6, 8, 8) * 2 + 1).requires_grad_(), numbers(*shape).requires_grad_(), numbers(1, 7)[0]]
    y, weight = inputs[:2]
    bias = inputs[2][: shape[1] if how.transposed else shape[0]].clone().requires_grad_()
    norm = nn.BatchNorm2d(6, 1e-3, 0.01).double()
    with torch.no_grad():
        norm.weight.copy_(numbers(6))
        norm.bias.copy_(numbers(6) / 3)
    other, parameters = copy.deepcopy(norm), (y, weight, bias)
    expected = apart(other, y, weight, bias, slope, how)
    grad = numbers(*expected.shape)
    by_expected = torch.autograd.grad(expected, [*parameters, *other.parameters()], grad)
    given = y * 1  # whose memory is used again
    found = normalised_convolution.normalised_convolution(given, norm, slope, weight, bias, how)
    torch.testing.assert_close(found, expected)
    by_found = torch.autograd.grad(found, [*parameters, *norm.parameters()], grad)
    torch.testing.assert_close(by_found, by_expected)
    assert list(norm.state_dict()) == list(other.state_dict())
    torch.testing.assert_close(list(norm.buffers()), list(other.buffers()))


@pytest.mark.usefixtures("in_parts")
def test_second_derivatives_are_those_of_three_operators() -> None:
    shape, how = CONVOLUTIONS["between many channels"]
    weight, bias = numbers(*shape).requires_grad_(), numbers(5)
    slopes = []
    for operator in (normalised_convolution.normalised_convolution, None):
        y = numbers(7, 6, 8, 8).requires_grad_()
        norm = nn.BatchNorm2d(6).double()
        z = apart(norm, y, weight, bias, 0.2, how) if operator is None else operator(y, norm, 0.2, weight, bias, how)
        (slope,) = torch.autograd.grad(z.square().sum(), y, create_graph=True)
        slopes.append(torch.autograd.grad(slope.square().sum(), [y, weight, norm.weight]))
    torch.testing.assert_close(*slopes)


@pytest.mark.usefixtures("in_parts")
def test_a_second_backward_pass_is_refused_where_memory_was_used_again() -> None:
    shape, how = CONVOLUTIONS["to images"]
    y = numbers(7, 6, 8, 8).requires_grad_() * 1
    z = normalised_convolution.normalised_convolution(y, nn.BatchNorm2d(6).double(), 0.0, numbers(*shape), None, how)
    z.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="inplace"):
        z.sum().backward()


# --- networks -------------------------------------------------------------------------------------------------------

UP = [UpLayer(width=8, kernel=3, upsample=True), UpLayer(width=8, kernel=3), UpLayer(width=6, kernel=3, upsample=True)]
GENERATOR = StackGenerator(kind="stack", latent_dim=4, base=(4, 4, 8), norm="batch", layers=[*UP, UpLayer(kernel=3)])
CRITIC = StackCritic(
    kind="stack",
    norm="batch",
    norm_first=True,
    layers=[DownLayer(width=w, kernel=3, stride=s) for w, s in ((8, 1), (8, 4))],
)


def outcome(network: nn.Module, x: Tensor) -> list[Tensor]:
    network = copy.deepcopy(network).double()
    x = x.clone().requires_grad_()
    y = network(x)
    gradients = torch.autograd.grad(y.square().sum(), [x, *network.parameters()])
    return [y.detach(), *gradients, *network.buffers(), network.eval()(x).detach()]


BUILDERS: list[tuple[Callable[..., nn.Module], Any, tuple[int, ...]]] = [
    (build_generator, GENERATOR, (7, 4)),
    (build_critic, CRITIC, (7, 3, 16, 16)),
]


@pytest.mark.parametrize(("build", "config", "shape"), BUILDERS, ids=["generator", "critic"])
def test_a_large_network_computes_what_a_small_one_does(
    build: Callable[..., nn.Module], config: Any, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build(config, SPEC, 0, 1)
    expected = outcome(network, numbers(*shape))
    used = []
    for name in ("normalised_convolution", "pays"):
        monkeypatch.setattr(normalised_convolution, "LARGE", 1)
        original = getattr(normalised_convolution, name)
        monkeypatch.setattr(f"kantor.nets.same_padding.{name}", lambda *a, f=original, n=name: used.append(n) or f(*a))
    monkeypatch.setattr(normalised_convolution, "PART", 1000)
    torch.testing.assert_close(outcome(network, numbers(*shape)), expected)
    assert "normalised_convolution" in used


def test_small_layers_and_those_out_of_training_stay_as_they_are() -> None:
    norm, y = nn.BatchNorm2d(8), torch.empty(1, 8, 2, 2).expand(1 << 21, -1, -1, -1)
    assert pays(y, norm)
    assert not pays(y[: 1 << 20], norm)
    assert not pays(y, norm.eval())
