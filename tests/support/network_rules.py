"""What every kind of network is checked for."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def check_registry_rules(make: object, inputs: Tensor, labels: Tensor | None) -> None:
    """What holds for generators and critics alike: seeds, gradients, state."""
    network = make(0)  # type: ignore[operator]
    output = network(inputs, labels)
    assert output.dtype == torch.float32
    assert torch.isfinite(output).all()
    gradients = torch.autograd.grad(output.square().sum(), list(network.parameters()))
    for (name, _), gradient in zip(network.named_parameters(), gradients, strict=True):
        assert torch.isfinite(gradient).all(), name
        assert gradient.abs().max() > 0 or name.endswith("projection.embedding.weight"), name
    first, again, other = weights(make(0)), weights(make(0)), weights(make(1))  # type: ignore[operator]
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if first[name].is_floating_point() and first[name].std(correction=0) > 0]
    assert drawn
    assert not any(torch.equal(first[name], other[name]) for name in drawn)
    twin = make(1)  # type: ignore[operator]
    twin.load_state_dict(network.state_dict())
    assert torch.equal(twin.eval()(inputs, labels), network.eval()(inputs, labels))


def others_change(network: nn.Module, inputs: Tensor, labels: Tensor | None) -> bool:
    """Whether a sample's output depends on the others of its batch, in training mode."""
    network.train()
    changed = inputs.clone()
    changed[0] = numbers(*inputs.shape[1:], seed=99)
    before, after = network(inputs, labels), network(changed, labels)
    assert not torch.allclose(before[0], after[0], rtol=1e-4, atol=1e-7)
    gap, size = (before[1:] - after[1:]).abs().max(), before.abs().max()
    assert gap > 1e-3 * size or gap < 1e-5 * size  # nothing between: the verdict is clear
    return bool(gap > 1e-3 * size)


def bends(network: nn.Module, inputs: Tensor, labels: Tensor | None) -> bool:
    """Whether a sum of squares apart, the output has a second derivative with respect to the input."""
    network = network.double().eval()
    x = inputs.double().requires_grad_()
    (slope,) = torch.autograd.grad(network(x, labels).sum(), x, create_graph=True)
    if not slope.requires_grad:
        return False
    (bend,) = torch.autograd.grad(slope.square().sum(), x, allow_unused=True)
    return bend is not None and bool(bend.abs().max() > 1e-12 * slope.abs().max().detach() ** 2)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
