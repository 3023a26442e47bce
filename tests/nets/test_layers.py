"""Minibatch stddev, dropout and the equalised learning rate, against what the papers write."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kantor.config.networks import BatchNormConfig, DcganCritic
from kantor.config.optimizer import AdamConfig
from kantor.engine import optimizers
from kantor.nets import build_critic, ops
from kantor.nets.layers import Dropout, MinibatchStddev, normalisation, reseed_dropout
from kantor.types import ImageSpec
from support.engine_fakes import feed, parts, same


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("group", "count", "size"), [("batch", 6, 6), (4, 8, 4), (4, 6, 3), (4, 7, 1), (8, 4, 4)])
def test_minibatch_stddev_against_numpy(group: str | int, count: int, size: int) -> None:
    """Group g holds the images g, g + groups, g + 2 groups ..., as in the code of ProGAN."""
    x = numbers(count, 3, 2, 5)
    got = MinibatchStddev(group)(x)  # type: ignore[arg-type]
    assert got.shape == (count, 4, 2, 5)
    assert torch.equal(got[:, :3], x)
    groups = count // size
    for g in range(groups):
        members = x.numpy()[g::groups]
        expected = np.sqrt(members.var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(got[g::groups, 3].numpy(), expected, rtol=1e-12)


def test_minibatch_stddev_of_equal_images_has_a_finite_slope() -> None:
    """A generator that has collapsed must not make the critic's gradient infinite."""
    x = numbers(1, 2, 3, 3).repeat(4, 1, 1, 1).requires_grad_()
    (slope,) = torch.autograd.grad(MinibatchStddev("batch")(x)[:, 2].sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope.square().sum(), x)
    assert torch.isfinite(slope).all()
    assert torch.isfinite(bend).all()


@pytest.mark.parametrize("scale", [True, False])
def test_batch_norm_against_numpy(scale: bool) -> None:
    """(x - mean) / sqrt(variance + eps), a factor and a shift; statistics <- decay x old + (1 - decay) x new."""
    layer = normalisation("batch", 3, BatchNormConfig(decay=0.6, scale=scale, eps=0.05)).double()
    names = {name for name, _ in layer.named_parameters()}
    assert names == ({"weight", "bias"} if scale else {"bias"})
    assert layer.state_dict().keys() == names | {"running_mean", "running_var", "num_batches_tracked"}
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, -2.0, 0.5]))
        if scale:
            layer.weight.copy_(torch.tensor([2.0, 3.0, -1.0]))
    shift = layer.bias.detach().numpy()[:, None, None]
    factor = np.array([2.0, 3.0, -1.0])[:, None, None] if scale else 1.0
    x = 3 * numbers(4, 3, 5, 2) + 1
    mean, variance = (getattr(x.numpy(), name)(axis=(0, 2, 3), keepdims=True) for name in ("mean", "var"))
    expected = (x.numpy() - mean) / np.sqrt(variance + 0.05) * factor + shift
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-10)
    unbiased = variance * 40 / 39
    np.testing.assert_allclose(layer.running_mean, 0.4 * mean.ravel(), rtol=1e-10)
    np.testing.assert_allclose(layer.running_var, 0.6 + 0.4 * unbiased.ravel(), rtol=1e-10)
    means, variances = layer.running_mean.numpy()[:, None, None], layer.running_var.numpy()[:, None, None]
    quiet = (x.numpy() - means) / np.sqrt(variances + 0.05) * factor + shift
    np.testing.assert_allclose(layer.eval()(x).detach().numpy(), quiet, rtol=1e-10)


def test_batch_norm_without_a_factor_has_its_derivatives() -> None:
    layer = normalisation("batch", 2, BatchNormConfig(scale=False)).double()
    x = numbers(3, 2, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)
    torch.testing.assert_close(torch.autograd.grad(layer(x).sum(), layer.bias)[0], torch.full((2,), 12.0).double())


def test_default_batch_norm_equals_torch() -> None:
    """To the bit, running statistics too."""
    x, ours, theirs = numbers(4, 3, 5, 2).float(), normalisation("batch", 3), nn.BatchNorm2d(3)
    assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))


def test_dropout_keeps_the_mean_and_drops_its_rate() -> None:
    layer = Dropout(0.3)
    y = layer(torch.ones(100, 1000))
    assert abs((y == 0).float().mean().item() - 0.3) < 5 * np.sqrt(0.21 / 1e5)
    torch.testing.assert_close(y[y > 0], torch.full_like(y[y > 0], 1 / 0.7))
    assert torch.equal(layer.eval()(y), y)


def test_dropout_is_a_function_of_seed_layer_and_pass() -> None:
    x, before = torch.ones(4, 50), torch.random.get_rng_state()
    network = nn.Sequential(Dropout(0.5), Dropout(0.5))
    outputs = []
    for seed in (1, 1, 2):
        reseed_dropout(network, seed)
        outputs.append([network(x), network(x), network[0](x)])
    assert all(torch.equal(a, b) for a, b in zip(outputs[0], outputs[1], strict=True))
    assert not torch.equal(outputs[0][0], outputs[2][0])  # another seed
    assert not torch.equal(outputs[0][0], outputs[0][1])  # another pass
    reseed_dropout(network, 1)
    assert not torch.equal(network[0](x), network[1](x))  # another layer
    assert torch.equal(torch.random.get_rng_state(), before)  # the global generator is not used


def test_training_with_dropout_resumes_bit_for_bit() -> None:
    """Two cycles, then two more: the same as four, with the copies made in between."""
    overrides = {"critic.dropout": 0.4, "critic.minibatch_stddev": "batch"}
    whole, steps = parts("wgan-gp", overrides)
    source = feed()
    for _ in range(4):
        steps.cycle(whole, source)
    first, steps = parts("wgan-gp", overrides)
    source = feed()
    for _ in range(2):
        steps.cycle(first, source)
    second, steps = parts("wgan-gp", overrides)
    saved = copy.deepcopy((first.model_tensors(), first.optimizer_tensors(), first.values()))
    second.load(*saved)
    again = feed()
    again.position = source.position
    for _ in range(2):
        steps.cycle(second, again)
    assert same(whole.model_tensors(), second.model_tensors())
    other, steps = parts("wgan-gp", {**overrides, "critic.dropout": 0.0})
    source = feed()
    for _ in range(4):
        steps.cycle(other, source)
    assert not same(whole.model_tensors(), other.model_tensors())


def test_equalised_layer_is_the_layer_with_scaled_weights() -> None:
    plain, x = nn.Conv2d(6, 5, 3, padding=1), numbers(4, 6, 7, 7).float()
    scaled = nn.Sequential(nn.Conv2d(6, 5, 3, padding=1))
    scaled[0].load_state_dict(plain.state_dict())
    ops.equalise(scaled)
    expected = nn.functional.conv2d(x, plain.weight * (2 / (6 * 9)) ** 0.5, plain.bias, padding=1)
    torch.testing.assert_close(scaled(x), expected)
    assert copy.deepcopy(scaled)(x).equal(scaled(x))


def test_equalised_weights_start_with_deviation_1() -> None:
    network = build_critic(DcganCritic(equalised=True, width=32), ImageSpec(32, 32, 3))
    kernels = [p for p in network.parameters() if p.ndim == 4]
    assert kernels
    for kernel in kernels:
        assert abs(kernel.std().item() - 1) < 5 / np.sqrt(2 * kernel.numel())
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    assert abs(first.weight.std().item() / (2 / 48) ** 0.5 - 1) < 0.1


def test_adam_moves_every_equalised_layer_by_the_same_fraction() -> None:
    """The point of it: a step moves each weight by the rate relative to its deviation, whatever the fan-in."""
    network = build_critic(DcganCritic(equalised=True, width=8), ImageSpec(16, 16, 1)).to(
        memory_format=torch.channels_last
    )
    optimizer = optimizers.build_optimizer(AdamConfig(lr=1e-3, betas=(0.0, 0.99)), network)
    before = [m.weight.detach().clone() for m in network.modules() if isinstance(m, nn.Conv2d)]
    loss = network(numbers(8, 1, 16, 16).float()).square().mean()
    optimizers.set_rate(optimizer, 1e-3)
    optimizers.apply(optimizer, torch.autograd.grad(loss, list(network.parameters())))
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for layer, old in zip(layers, before, strict=True):
        moved = (layer.weight.detach() - old).abs()
        share = moved[moved > 0].median() / (2 / ops.fan_in(layer)) ** 0.5
        assert abs(share.item() / 1e-3 - 1) < 0.01
