"""Muon against a reference of its own: the textbook iteration in float64, and torch's Adam."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from kantor.config.optimizer import MuonConfig
from kantor.engine import optimizers
from kantor.engine.muon import as_matrix, orthogonalised


def textbook(matrix: Tensor) -> Tensor:
    """Newton-Schulz iteration on the matrix itself (Jordan et al. 2024), in float64."""
    x = matrix.double() / matrix.double().norm()
    if tall := len(x) > x.shape[1]:
        x = x.T
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


@pytest.mark.parametrize("shape", [(16, 16), (16, 288), (8, 9), (96, 12), (128, 1024)])
@pytest.mark.parametrize("condition", [1.0, 30.0, 1e6])
def test_orthogonalised_equals_the_textbook_and_keeps_singular_vectors(
    shape: tuple[int, int], condition: float
) -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    values = torch.logspace(0, -math.log10(condition), min(shape), dtype=torch.float64)
    matrix = u * values @ v
    mine = orthogonalised(matrix)
    torch.testing.assert_close(mine, textbook(matrix), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(orthogonalised(matrix.float()).double(), mine, rtol=1e-3, atol=1e-3)
    projected = u.T @ mine @ v.T
    torch.testing.assert_close(projected, torch.diag(projected.diag()), rtol=0, atol=1e-8)
    large = projected.diag()[values > 0.003 * values.norm()]
    assert 0.6 < large.min() and large.max() < 1.21


def test_orthogonalised_of_zeros_is_zero() -> None:
    assert torch.equal(orthogonalised(torch.zeros(8, 12)), torch.zeros(8, 12))


class Mixed(nn.Module):
    """Matrices tall, wide and channels-last, beside an embedding, narrow layers, biases and a frozen weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.base = nn.Linear(8, 24)
        self.convolution = nn.Conv2d(8, 12, 3)
        self.upwards = nn.ConvTranspose2d(12, 9, 2)
        self.picture = nn.Conv2d(9, 3, 3)
        self.labels = nn.Embedding(10, 16)
        self.fixed = nn.Linear(8, 8)
        self.fixed.weight.requires_grad_(False)
        self.to(memory_format=torch.channels_last)


def gradients_for(network: nn.Module, step: int) -> list[Tensor]:
    rng = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=rng) for p in network.parameters() if p.requires_grad]


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_muon_equals_a_reference_after_a_journey_through_a_file(momentum: float) -> None:
    network, oracle, lr = Mixed(), Mixed(), 0.01
    config = MuonConfig(lr=lr, betas=(momentum, 0.9))
    mine = optimizers.build_optimizer(config, network)
    named = {name: p for name, p in oracle.named_parameters() if p.requires_grad}
    matrices = [n for n in named if n in ("base.weight", "convolution.weight", "upwards.weight")]
    means = {name: torch.zeros(named[name].shape, dtype=torch.float64) for name in matrices}
    exact = {name: named[name].detach().double().clone() for name in matrices}
    adam = torch.optim.Adam([p for n, p in named.items() if n not in matrices], lr, (momentum, 0.9), foreach=False)
    for step in range(12):
        if step == 6:
            stored = {n: v.clone() for n, v in optimizers.state_tensors(mine, network)}
            assert any(name.endswith("/mean") for name in stored) == bool(momentum)
            mine = optimizers.build_optimizer(config, network)
            optimizers.load_state_tensors(mine, network, stored)
        gradients = gradients_for(network, step)
        assert optimizers.apply(mine, gradients) == 0
        for (name, parameter), gradient in zip(named.items(), gradients, strict=True):
            if name in matrices:
                means[name].mul_(momentum).add_(gradient, alpha=1 - momentum)
                flat = textbook(means[name].flatten(1))
                exact[name] -= lr * math.sqrt(max(flat.shape)) * flat.view_as(gradient)
            parameter.grad = gradient.clone()
        adam.step()
    for name, parameter in network.named_parameters():
        wanted = exact.get(name, dict(oracle.named_parameters())[name])
        torch.testing.assert_close(parameter.double(), wanted.double(), rtol=1e-4, atol=1e-5)


def test_a_step_has_a_root_mean_square_of_about_lr() -> None:
    layer = nn.Linear(300, 40)
    before = layer.weight.detach().clone()
    optimizer = optimizers.build_optimizer(MuonConfig(lr=0.02), layer)
    optimizers.apply(optimizer, gradients_for(layer, 0))
    assert (layer.weight - before).square().mean().sqrt().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_a_step_that_is_not_finite_changes_nothing(momentum: float) -> None:
    network = Mixed()
    optimizer = optimizers.build_optimizer(MuonConfig(lr=0.01, betas=(momentum, 0.9)), network)
    optimizers.apply(optimizer, gradients_for(network, 0))
    kept = {n: v.clone() for n, v in (network.state_dict() | dict(optimizers.state_tensors(optimizer, network))).items()}
    for spoiled, value in ((0, math.nan), (2, math.inf), (5, -math.inf)):
        gradients = gradients_for(network, 1)
        gradients[spoiled].view(-1)[0] = value
        assert optimizers.apply(optimizer, gradients) == 1
    now = network.state_dict() | dict(optimizers.state_tensors(optimizer, network))
    assert all(torch.equal(now[name], kept[name]) for name in kept)


def test_a_network_may_have_matrices_only_or_none() -> None:
    for network in (nn.Linear(8, 8, bias=False), nn.Linear(4, 4)):
        optimizer = optimizers.build_optimizer(MuonConfig(lr=0.01), network)
        before = network.weight.detach().clone()
        optimizers.apply(optimizer, gradients_for(network, 0))
        assert not torch.equal(network.weight, before)


def test_as_matrix_shares_memory() -> None:
    for weights in (torch.zeros(8, 9), torch.zeros(8, 3, 2, 2), torch.zeros(8, 3, 2, 2).to(memory_format=torch.channels_last)):
        as_matrix(weights).add_(1)
        assert (weights == 1).all()
