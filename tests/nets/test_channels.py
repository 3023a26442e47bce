"""Colour channels apart: what each branch sees, its blocks step by step, and second derivatives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kantor.config.networks import ChannelsCritic, ChannelsGenerator
from kantor.nets import build_critic, build_generator
from kantor.nets.channels import Block, Step
from kantor.nets.layers import normalisation
from kantor.objectives import penalties
from kantor.types import ImageSpec
from support.network_rules import check_registry_rules, numbers, parameters

RGB = ImageSpec(32, 32, 3)


def generator(spec: ImageSpec = RGB, seed: int = 0, **fields: Any) -> nn.Module:
    return build_generator(ChannelsGenerator(**{"width": 4, "latent_dim": 5, **fields}), spec, seed=seed)


def critic(spec: ImageSpec = RGB, seed: int = 0, classes: int = 0, condition: int = 0, **fields: Any) -> nn.Module:
    return build_critic(ChannelsCritic(**{"width": 4, **fields}), spec, classes, seed, condition)


def before_the_merge(network: nn.Module, x: Tensor) -> Tensor:
    """What the merging convolution gets."""
    seen: list[Tensor] = []
    hook = network.merge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))  # type: ignore[operator,union-attr]
    network(x)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_branch_of_the_critic_sees_its_own_channel_until_the_merge(norm: str, depth: int) -> None:
    network, x = critic(norm=norm, depth=depth), numbers(2, 3, 32, 32)
    features = before_the_merge(network, x)
    other = x.clone()
    other[:, 1] = numbers(2, 32, 32, seed=1)
    same = (before_the_merge(network, other) == features).flatten(2).all(2).all(0).view(3, -1).all(1)
    assert same.tolist() == [True, False, True]
    merged = critic(norm=norm, depth=depth, apart=False)
    assert not (before_the_merge(merged, other) == before_the_merge(merged, x)).flatten(2).all(2).any()


@pytest.mark.parametrize("trunk", [0, 1, 2, 3, 8])
def test_a_branch_of_the_generator_paints_its_own_channel(trunk: int) -> None:
    network, z = generator(trunk=trunk), numbers(2, 5)
    images = network(z)
    shared = min(trunk, 3)
    assert (len(network.trunk), len(network.branches), network.base.out_features) == (shared, 3 - shared, 16 * 16)  # type: ignore[arg-type,union-attr]
    of_green = [
        name for name, _ in network.named_parameters() if name.startswith("branches.") and name.split(".")[2] == "1"
    ]
    assert bool(of_green) == (shared < 3)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name in of_green or name.startswith("pictures.1."):
                weight.add_(0.1)
    same = (network(z) == images).flatten(2).all(2).all(0)
    assert same.tolist() == [True, False, True]


def test_all_branches_depend_on_the_trunk() -> None:
    network, z = generator(), numbers(2, 5)
    images = network(z)
    with torch.no_grad():
        network.trunk[0].filter.weight.add_(0.1)  # type: ignore[index,union-attr]
    assert not (network(z) == images).flatten(2).all(2).any()


@pytest.mark.parametrize(("spec", "condition", "count"), [(RGB, 0, 3), (ImageSpec(9, 16, 4), 0, 4), (RGB, 1, 4), (ImageSpec(8, 8, 1), 0, 1)])  # fmt: skip
def test_each_channel_has_a_branch(spec: ImageSpec, condition: int, count: int) -> None:
    """Those of a condition too."""
    network = critic(spec, condition=condition)
    inner = network.network if condition else network
    assert {len(blocks) for blocks in [inner.stems, *inner.branches]} == {count}  # type: ignore[union-attr,arg-type,misc]
    x = numbers(3, *spec[2:], *spec[:2])
    drawn = numbers(3, condition, *spec[:2]) if condition else None
    assert network(x, None, drawn).shape == (3,)


@pytest.mark.parametrize(
    "options", [{"depth": 2}, {"expand": 1}, {"expand": 6, "apart": False}, {"trunk": 0}, {"trunk": 3, "depth": 2}], ids=str
)  # fmt: skip
@pytest.mark.parametrize("init", ["normal", "truncated-normal", "he", "glorot", "tflib", "own"])
def test_options_and_initialisers(options: dict[str, Any], init: str) -> None:
    spec = ImageSpec(18, 15, 3)
    check_registry_rules(lambda seed: generator(spec, seed, init=init, init_std=0.1, **options), numbers(3, 5), None)
    for_critic = {key: value for key, value in options.items() if key != "trunk"}
    x = numbers(3, 3, 18, 15)
    check_registry_rules(lambda seed: critic(spec, seed, init=init, init_std=0.1, **for_critic), x, None)


@pytest.mark.parametrize(
    ("step", "hidden"),
    [
        (Step(4, 6, 3, (9, 8), (4, 4)), 12),
        (Step(8, 4, 3, (4, 4), (7, 8)), 12),
        (Step(4, 4, 1, (5, 8), (5, 4)), 4),
        (Step(4, 4, 2, (5, 3), (5, 3)), 8),
    ],
    ids=str,
)  # fmt: skip
def test_a_block_step_by_step(step: Step, hidden: int) -> None:
    do, block = nn.functional, Block(step, lambda width: normalisation("pixel", width))
    x = numbers(2, step.inputs, *step.before)
    assert (block.filter.in_channels, block.filter.groups) == (hidden, hidden)
    assert len(block.expand) == (0 if hidden == step.inputs else 2)

    def resized(y: Tensor) -> Tensor:
        for axis, (before, after) in enumerate(zip(step.before, step.after, strict=True), start=2):
            if after > before:
                y = y.repeat_interleave(2, axis).narrow(axis, 0, after)
            elif after < before:
                pairs = y.narrow(axis, 0, 2 * after).unflatten(axis, (after, 2))
                y = pairs.mean(axis + 1)
        return y

    y = do.leaky_relu(do.conv2d(x, block.expand[0].weight, block.expand[0].bias), 0.2) if len(block.expand) else x  # type: ignore[arg-type]
    filtered = [do.conv2d, block.filter.weight, block.filter.bias, 1, 1, 1, hidden]
    convolve, *how = filtered
    y = convolve(resized(y), *how) if block.grows else resized(convolve(y, *how))  # type: ignore[operator]
    y = y / (y.square().mean(1, keepdim=True) + 1e-8).sqrt()
    y = do.leaky_relu(y, 0.2)
    gate = block.gate
    squeezed = do.leaky_relu(y.mean((2, 3)) @ gate.squeeze.weight.T + gate.squeeze.bias, 0.2)
    factors = 2 / (1 + torch.exp(-(squeezed @ gate.excite.weight.T + gate.excite.bias)))
    y = do.conv2d(y * factors[:, :, None, None], block.project.weight, block.project.bias)
    expected = y + resized(x) if step.inputs == step.outputs else y
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
    assert block(x).shape == (2, step.outputs, *step.after)


@pytest.mark.parametrize("fields", [{}, {"apart": False}, {"norm": "layer"}, {"depth": 2, "equalised": True}, {"minibatch_stddev": "batch"}], ids=str)  # fmt: skip
def test_the_gradient_of_the_penalty_equals_finite_differences(fields: dict[str, Any]) -> None:
    """In float64, for all weights at once along a random line, and an image's gradient by the image; four images, no two alike."""
    network = critic(ImageSpec(10, 9, 3), seed=3, **fields).double()
    x = numbers(4, 3, 10, 9).double()

    def penalty(points: Tensor) -> Tensor:
        points = points.detach().requires_grad_()
        return penalties.two_sided(penalties.input_gradient(network(points), points)).mean()

    weights = list(network.parameters())
    slopes = torch.autograd.grad(penalty(x), weights, allow_unused=True)
    line = [numbers(*weight.shape, seed=n).double() * weight.std(correction=0) for n, weight in enumerate(weights)]
    expected = sum((s * d).sum() for s, d in zip(slopes, line, strict=True) if s is not None)
    step, values = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for weight, direction in zip(weights, line, strict=True):
                weight.add_(sign * step * direction)
        values.append(penalty(x).detach())
    torch.testing.assert_close((values[0] - values[1]) / (2 * step), expected, rtol=1e-5, atol=1e-8)


def test_gradcheck_of_a_block() -> None:
    block = Block(Step(2, 3, 2, (5, 4), (2, 2)), lambda width: normalisation("layer", width)).double()
    x = numbers(2, 2, 5, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(block, (x,))
    assert torch.autograd.gradgradcheck(block, (x,))


def test_parameters_as_counted_by_hand() -> None:
    """32x32 RGB, width 4: stems of 4x4, blocks 4-4, 4-8, 8-16 in each branch, a merge of 48, a score of 4x4."""

    def block(inputs: int, outputs: int, hidden: int) -> int:
        expand = (inputs + 1) * hidden if hidden != inputs else 0
        squeezed = max(1, inputs // 4)
        gate = (hidden + 1) * squeezed + (squeezed + 1) * hidden
        return expand + 10 * hidden + gate + (hidden + 1) * outputs

    branch = 4 * 16 + 4 + block(4, 4, 4) + block(4, 8, 16) + block(8, 16, 32)
    assert parameters(critic()) == 3 * branch + 48 * 48 + 48 + 48 * 16 + 1
    base, trunk, split = 6 * 16 * 16, block(16, 16, 64), 17 * 48
    side = block(16, 8, 32) + block(8, 4, 4) + 4 * 9 + 1
    assert parameters(generator()) == base + trunk + split + 3 * side
