"""Networks of 3x3 convolutions that change size by nearest-neighbour upsampling and average pooling.

Resizing and convolving apart leaves no checkerboards (Odena, Dumoulin and Olah 2016).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from kantor.config.networks import UpsamplingCritic, UpsamplingGenerator
from kantor.nets import layers, ops
from kantor.nets.freeze import Stages
from kantor.nets.layer_order import LayerOrder
from kantor.types import ImageSpec


class Generator(nn.Module):
    """Upsampling and convolutions from a latent to an image: (z [N, D], labels [N] or None) -> [N, C, H, W] in [-1, 1]."""

    order = LayerOrder(("layers", "norms"), {"base.weight": 1, "modulation.linear.weight": 1})

    def __init__(self, config: UpsamplingGenerator, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        self.traits = layers.traits(config.norm)
        self.sizes = layers.ladder(spec.height, spec.width, round_up=True)[::-1]
        widths = layers.channels(config.width, config.max_width, len(self.sizes) - 1)[::-1]
        self.latent = layers.LabelledLatent(config.latent_dim, classes)
        height, width = self.sizes[0]
        self.base = nn.Linear(self.latent.dim, widths[0] * height * width)
        inputs = [widths[0], *widths]
        self.layers = nn.ModuleList(ops.conv3x3(a, b) for a, b in zip(inputs, widths, strict=False))
        self.norms = nn.ModuleList(
            layers.normalisation(config.norm, w, config.batch_norm) for w in [widths[0], *widths]
        )
        self.modulation = layers.Modulation(self.latent.dim, inputs) if config.modulation else None
        self.picture = ops.conv3x3(widths[-1], spec.channels)

    def forward(self, z: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        latent = self.latent(z, labels)
        modulations = self.modulation(latent) if self.modulation else [None] * len(self.norms)
        x = self.base(latent).unflatten(1, (-1, *self.sizes[0]))
        x = x.contiguous(memory_format=torch.channels_last)  # else the layers up to the first convolution are not
        x = ops.leaky_relu(layers.normalised(x, self.norms[0], modulations[0]))
        for size, layer, norm, modulation in zip(
            self.sizes[1:], self.layers, self.norms[1:], modulations[1:], strict=True
        ):
            x = layers.normalised(layers.upsample_and_convolve(x, layer, size), norm, modulation)
            x = ops.leaky_relu(x)
        return torch.tanh(self.picture(x))


class Critic(nn.Module):
    """Convolutions and average pooling from an image to a score: (x [N, C, H, W], labels [N] or None) -> [N], unbounded."""

    def __init__(self, config: UpsamplingCritic, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        self.traits = layers.traits(config.norm, config.minibatch_stddev)
        self.sizes = layers.ladder(spec.height, spec.width, round_up=False)
        widths = layers.channels(config.width, config.max_width, len(self.sizes))
        self.picture = ops.conv3x3(spec.channels, widths[0])
        self.layers = nn.ModuleList(ops.conv3x3(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(layers.normalisation(config.norm, w, config.batch_norm) for w in widths[1:])
        self.dropouts = nn.ModuleList(layers.dropout(config.dropout) for _ in self.layers)
        self.stddev, more = layers.minibatch_stddev(config.minibatch_stddev)
        self.score = ops.Conv2d(widths[-1] + more, 1, self.sizes[-1])
        self.projection = layers.Projection(widths[-1], classes)

    def stages(self) -> Stages:
        """The layers that can be frozen: see kantor.nets.freeze."""
        return [(self.picture,), *zip(self.layers, self.norms, strict=True)]

    def forward(self, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        x = ops.leaky_relu(self.picture(x))
        for size, drop, layer, norm in zip(self.sizes[1:], self.dropouts, self.layers, self.norms, strict=True):
            x = ops.leaky_relu(norm(layers.pool(layer(drop(x)), size)))
        score: Tensor = self.score(self.stddev(x)).flatten() + self.projection(x, labels)
        return score
