"""The operators that networks are made of. Networks use these and no others, so that they can be made faster here.

Weights start as drawn by `initialise`, from the run's seed, on the CPU: the same on every device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

Axes = tuple[int, int]


def linear(inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs)


def conv(
    inputs: int, outputs: int, kernel: Axes, stride: Axes = (1, 1), padding: Axes = (0, 0), bias: bool = True
) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)


def conv_transpose(inputs: int, outputs: int, kernel: Axes, stride: Axes = (1, 1), padding: Axes = (0, 0)) -> nn.Module:
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding)


def relu(x: Tensor) -> Tensor:
    return torch.relu(x)


def leaky_relu(x: Tensor) -> Tensor:
    """Slope 0.2 below zero (Radford et al. 2016)."""
    return nn.functional.leaky_relu(x, 0.2)


@torch.no_grad()
def initialise(network: nn.Module, seed: int, init: str, std: float = 0.02) -> None:
    """Draws all weights; biases are zero, embeddings start as they say.

    Args:
        init: "normal": deviation `std` (DCGAN: 0.02); "truncated-normal": the same, cut at two deviations, as
            TensorFlow draws it; "he": normal, deviation sqrt(2 / inputs) (He et al. 2015, equation 10); "glorot":
            uniform in +-sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010, equation 16); "one": normal, deviation 1.
    """
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            _draw(module, rng, init, std)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, float(getattr(module, "std", 1.0)), generator=rng)


def _draw(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, rng: torch.Generator, init: str, std: float) -> None:
    weight = module.weight
    match init:
        case "normal":
            weight.normal_(0.0, std, generator=rng)
        case "truncated-normal":
            nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std, generator=rng)
        case "he":
            weight.normal_(0.0, math.sqrt(2.0 / fan_in(module)), generator=rng)
        case "glorot":
            nn.init.xavier_uniform_(weight, generator=rng)
        case "one":
            weight.normal_(0.0, 1.0, generator=rng)
        case _:
            raise ValueError(f"no initialiser {init!r}")


def fan_in(module: nn.Module) -> float:
    """Inputs that meet in one output; of a transposed convolution, kernel / stride of each axis overlap.

    One that neither strides nor pads stands at the bottom of a generator, and meets a single pixel.
    """
    weight = module.weight
    assert isinstance(weight, Tensor)
    if not isinstance(module, nn.ConvTranspose2d):
        return weight[0].numel()
    overlap = math.prod(module.kernel_size) / math.prod(module.stride)
    alone = module.stride == (1, 1) and module.padding == (0, 0)
    return module.in_channels / module.groups * (1.0 if alone else overlap)


class _Scaled(nn.Module):
    """weight -> scale x weight."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale


def equalise(network: nn.Module) -> None:
    """Every layer uses its weights times sqrt(2 / inputs), so that all learn at one rate (Karras et al. 2018, 4.1).

    The stored weights, which the optimiser, the running average and clipping see, stay unscaled.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    for layer in layers:
        register_parametrization(layer, "weight", _Scaled(math.sqrt(2.0 / fan_in(layer))))
