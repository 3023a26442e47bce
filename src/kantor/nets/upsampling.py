"""Networks of 3x3 convolutions that change size by nearest-neighbour upsampling and average pooling.

Resizing and convolving apart leaves no checkerboards (Odena, Dumoulin and Olah 2016).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from kantor.config.schema import UpsamplingCritic, UpsamplingGenerator
from kantor.nets import ops
from kantor.nets.layers import LabelledLatent, Projection, channels, ladder, normalisation, traits
from kantor.types import ImageSpec


class Generator(nn.Module):
    """Upsampling and convolutions from a latent to a picture.

    (z [N, D], labels [N] or None) -> [N, C, H, W] in [-1, 1].
    """

    def __init__(self, config: UpsamplingGenerator, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        self.traits = traits(config.norm)
        self.sizes = ladder(spec.height, spec.width, round_up=True)[::-1]
        widths = channels(config.width, config.max_width, len(self.sizes) - 1)[::-1]
        self.latent = LabelledLatent(config.latent_dim, classes)
        height, width = self.sizes[0]
        self.base = ops.linear(self.latent.dim, widths[0] * height * width)
        inputs = [widths[0], *widths]
        self.layers = nn.ModuleList(
            ops.conv(a, b, (3, 3), (1, 1), (1, 1)) for a, b in zip(inputs, widths, strict=False)
        )
        self.norms = nn.ModuleList(normalisation(config.norm, w) for w in [widths[0], *widths])
        self.picture = ops.conv(widths[-1], spec.channels, (3, 3), (1, 1), (1, 1))

    def forward(self, z: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        x = self.base(self.latent(z, labels)).unflatten(1, (-1, *self.sizes[0]))
        x = ops.leaky_relu(self.norms[0](x))
        for size, layer, norm in zip(self.sizes[1:], self.layers, self.norms[1:], strict=True):
            x = nn.functional.interpolate(x, scale_factor=2.0) if _doubled(x, size) else _resized(x, size)
            x = ops.leaky_relu(norm(layer(x)))
        return torch.tanh(self.picture(x))


class Critic(nn.Module):
    """Convolutions and average pooling from a picture to a score.

    (x [N, C, H, W], labels [N] or None) -> [N], unbounded.
    """

    def __init__(self, config: UpsamplingCritic, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        self.traits = traits(config.norm)
        self.sizes = ladder(spec.height, spec.width, round_up=False)
        widths = channels(config.width, config.max_width, len(self.sizes))
        self.picture = ops.conv(spec.channels, widths[0], (3, 3), (1, 1), (1, 1))
        self.layers = nn.ModuleList(ops.conv(a, b, (3, 3), (1, 1), (1, 1)) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(normalisation(config.norm, w) for w in widths[1:])
        self.score = ops.conv(widths[-1], 1, self.sizes[-1])
        self.projection = Projection(widths[-1], classes)

    def forward(self, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        x = ops.leaky_relu(self.picture(x))
        for (height, width), layer, norm in zip(self.sizes[1:], self.layers, self.norms, strict=True):
            factors = (x.shape[2] // height, x.shape[3] // width)
            x = ops.leaky_relu(norm(nn.functional.avg_pool2d(layer(x), factors)))
        score: Tensor = self.score(x).flatten() + self.projection(x, labels)
        return score


def _doubled(x: Tensor, size: tuple[int, int]) -> bool:
    return (2 * x.shape[2], 2 * x.shape[3]) == size


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels doubled along the axes that grow, then cut to size."""
    for axis in (2, 3):
        if size[axis - 2] > x.shape[axis]:
            x = x.repeat_interleave(2, dim=axis)
    return x[:, :, : size[0], : size[1]]
