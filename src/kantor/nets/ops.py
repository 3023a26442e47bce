"""The operators that networks are made of. Networks use these and no others, so that they can be made faster here.

Weights start as drawn by `initialise`, from the run's seed, on the CPU: the same on every device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Axes = tuple[int, int]


def linear(inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs)


def conv(inputs: int, outputs: int, kernel: Axes, stride: Axes = (1, 1), padding: Axes = (0, 0)) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding)


def conv_transpose(inputs: int, outputs: int, kernel: Axes, stride: Axes = (1, 1), padding: Axes = (0, 0)) -> nn.Module:
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding)


def relu(x: Tensor) -> Tensor:
    return torch.relu(x)


def leaky_relu(x: Tensor) -> Tensor:
    """Slope 0.2 below zero (Radford et al. 2016)."""
    return nn.functional.leaky_relu(x, 0.2)


@torch.no_grad()
def initialise(network: nn.Module, seed: int, std: float | None) -> None:
    """Draws all weights: normal with `std` (DCGAN: 0.02), or, for None, He's sqrt(2 / fan-in); biases are zero.

    He et al. 2015, equation 10. Embeddings start as they say.
    """
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            weight = module.weight
            fan_in = weight[0].numel() if not isinstance(module, nn.ConvTranspose2d) else _fan_in_transposed(module)
            weight.normal_(0.0, math.sqrt(2.0 / fan_in) if std is None else std, generator=rng)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, float(getattr(module, "std", 1.0)), generator=rng)


def _fan_in_transposed(module: nn.ConvTranspose2d) -> float:
    """Inputs that meet in one output of a transposed convolution: kernel / stride of each axis overlap."""
    kernel = math.prod(module.kernel_size) / math.prod(module.stride)
    return module.in_channels * (kernel if module.stride != (1, 1) else 1.0)
