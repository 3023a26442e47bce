"""One-sided Shampoo against a reference of its own, by eigenvectors in float64, and torch's Adam."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from kantor.config.optimizer import ShampooConfig
from kantor.engine import optimizers
from kantor.engine.shampoo import as_matrix, inverse_root


def root_by_eigenvectors(covariance: Tensor) -> Tensor:
    """What `inverse_root` computes, eigenvalue by eigenvalue."""
    values, vectors = torch.linalg.eigh(covariance.double())
    norm = values.norm()
    roots = (values.clamp(min=0) / norm).sqrt()
    mapped, slopes = roots.clone(), torch.ones_like(roots)
    for _ in range(5):
        slopes = slopes * (3.4445 - 4.7750 * mapped**2 + 2.0315 * mapped**4)
        mapped = roots * slopes
    return (vectors * (slopes / norm.sqrt())) @ vectors.T


def covariance_of(side: int, condition: float) -> Tensor:
    torch.manual_seed(0)
    vectors, _ = torch.linalg.qr(torch.randn(side, side, dtype=torch.float64))
    return 0.01 * (vectors * torch.logspace(0, -math.log10(condition), side, dtype=torch.float64)) @ vectors.T


@pytest.mark.parametrize("side", [8, 33, 128])
@pytest.mark.parametrize("condition", [1.0, 100.0, 1e5, 1e12])
def test_inverse_root_by_eigenvectors(side: int, condition: float) -> None:
    covariance = covariance_of(side, condition)
    root = inverse_root(covariance)
    torch.testing.assert_close(root, root_by_eigenvectors(covariance), rtol=1e-7, atol=1e-7 * root.norm().item())
    single = inverse_root(covariance.float()).double()
    assert (single - root).norm() < 0.01 * root.norm()
    whitened = torch.linalg.eigvalsh(root @ covariance @ root)
    values = torch.linalg.eigvalsh(covariance)
    assert whitened.max() < 1.46
    assert whitened[values > 1e-5 * values.norm()].min() > 0.45
    assert torch.linalg.eigvalsh(root).max() < 500 / values.norm().sqrt()


@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-23, 1e-16, 1e15])
def test_inverse_root_of_tiny_and_large_covariances_is_finite(size: float) -> None:
    root = inverse_root(size * covariance_of(16, 100).float())
    assert torch.isfinite(root).all()
    assert root.norm() <= 500 * 4 / 1e-8


def test_weights_stay_finite_where_no_gradient_comes() -> None:
    layer = nn.Linear(12, 16)
    optimizer = optimizers.build_optimizer(ShampooConfig(lr=0.01), layer)
    optimizers.apply(optimizer, gradients_for(layer, 0))
    kept = layer.weight.detach().clone()
    for _ in range(1000):
        optimizers.apply(optimizer, [torch.zeros_like(p) for p in layer.parameters()])
    assert torch.equal(layer.weight, kept)
    optimizers.apply(optimizer, [1e-14 * g for g in gradients_for(layer, 1)])
    assert torch.isfinite(layer.weight).all()


def test_a_gradient_of_low_rank_gives_a_step_of_low_rank() -> None:
    """In bfloat16, as torch.optim.Muon iterates, most of the step would be rounding (findings/torch_muon_low_rank.sh)."""
    torch.manual_seed(0)
    layer = nn.Linear(256, 64, bias=False)
    before = layer.weight.detach().clone()
    optimizer = optimizers.build_optimizer(ShampooConfig(lr=0.01), layer)
    optimizers.apply(optimizer, [torch.randn(64, 2) @ torch.randn(2, 256)])
    energy = torch.linalg.svdvals(layer.weight.detach() - before).square()
    assert energy[2:].sum() < 1e-4 * energy.sum()


def test_a_float64_network() -> None:
    layers = nn.Linear(12, 16), nn.Linear(12, 16).double()
    layers[1].load_state_dict(layers[0].state_dict())
    for layer in layers:
        optimizer = optimizers.build_optimizer(ShampooConfig(lr=0.01, betas=(0.5, 0.9)), layer)
        for step in range(5):
            optimizers.apply(optimizer, [g.to(layer.weight.dtype) for g in gradients_for(layers[0], step)])
    torch.testing.assert_close(layers[0].weight.double(), layers[1].weight, rtol=1e-4, atol=1e-5)


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


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.9), (0.6, 0.9), (0.0, 0.0)])
def test_steps_equal_a_reference_after_a_journey_through_a_file(momentum: float, decay: float) -> None:
    network, oracle, lr = Mixed(), Mixed(), 0.01
    config = ShampooConfig(lr=lr, betas=(momentum, decay))
    mine = optimizers.build_optimizer(config, network)
    named = {name: p for name, p in oracle.named_parameters() if p.requires_grad}
    matrices = ["base.weight", "convolution.weight", "upwards.weight"]
    exact = {name: named[name].detach().double().flatten(1) for name in matrices}
    means = {name: torch.zeros_like(value) for name, value in exact.items()}
    covariances = {name: torch.zeros(min(value.shape), min(value.shape)).double() for name, value in exact.items()}
    adam = torch.optim.Adam([p for n, p in named.items() if n not in matrices], lr, (momentum, decay), foreach=False)
    for step in range(1, 13):
        if step == 6:
            stored = {n: v.clone() for n, v in optimizers.state_tensors(mine, network)}
            mine = optimizers.build_optimizer(config, network)
            optimizers.load_state_tensors(mine, network, stored)
        gradients = gradients_for(network, step)
        assert optimizers.apply(mine, gradients) == 0
        for (name, parameter), gradient in zip(named.items(), gradients, strict=True):
            parameter.grad = gradient.clone()
            if name not in matrices:
                continue
            flat = gradient.double().flatten(1)
            tall = len(flat) > flat.shape[1]
            covariance = flat.T @ flat if tall else flat @ flat.T
            means[name] = momentum * means[name] + (1 - momentum) * flat
            covariances[name] = decay * covariances[name] + (1 - decay) * covariance
            root = root_by_eigenvectors(covariances[name] / (1 - decay**step))
            mean = means[name] / (1 - momentum**step)
            exact[name] -= lr * math.sqrt(max(flat.shape)) * (mean @ root if tall else root @ mean)
        adam.step()
    for name, parameter in network.named_parameters():
        wanted = exact[name].view_as(parameter) if name in exact else dict(oracle.named_parameters())[name]
        torch.testing.assert_close(parameter.double(), wanted.double(), rtol=1e-3, atol=1e-4)


def test_a_step_has_a_root_mean_square_of_about_lr() -> None:
    layer = nn.Linear(300, 40)
    before = layer.weight.detach().clone()
    optimizer = optimizers.build_optimizer(ShampooConfig(lr=0.02), layer)
    optimizers.apply(optimizer, gradients_for(layer, 0))
    assert (layer.weight - before).square().mean().sqrt().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_a_step_that_is_not_finite_changes_nothing(momentum: float, before: int) -> None:
    networks = Mixed(), Mixed()
    mine, other = (
        optimizers.build_optimizer(ShampooConfig(lr=0.01, betas=(momentum, 0.9)), network) for network in networks
    )
    for step in range(before):
        for optimizer in (mine, other):
            optimizers.apply(optimizer, gradients_for(networks[0], step))
    for spoiled, value in ((0, math.nan), (2, math.inf), (5, -math.inf)):
        gradients = gradients_for(networks[0], 50)
        gradients[spoiled].view(-1)[0] = value
        assert optimizers.apply(mine, gradients) == 1
    for step in (60, 61):
        for optimizer in (mine, other):
            assert optimizers.apply(optimizer, gradients_for(networks[0], step)) == 0
    states = [
        n.state_dict() | dict(optimizers.state_tensors(o, n)) for n, o in zip(networks, (mine, other), strict=True)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_network_may_have_matrices_only_or_none() -> None:
    for network in (nn.Linear(8, 8, bias=False), nn.Linear(4, 4)):
        optimizer = optimizers.build_optimizer(ShampooConfig(lr=0.01), network)
        before = network.weight.detach().clone()
        optimizers.apply(optimizer, gradients_for(network, 0))
        assert not torch.equal(network.weight, before)


def test_as_matrix_shares_memory() -> None:
    for weights in (
        torch.zeros(8, 9),
        torch.zeros(8, 3, 2, 2),
        torch.zeros(8, 3, 2, 2).to(memory_format=torch.channels_last),
    ):
        as_matrix(weights).add_(1)
        assert (weights == 1).all()
