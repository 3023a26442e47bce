"""DCGAN (Radford, Metz and Chintala 2016), for any size and number of channels.

At 64x64 and width 64 they are the paper's: 512-256-128-64 channels from the latent, 4x4 kernels, stride 2.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from kantor.config.networks import DcganCritic, DcganGenerator
from kantor.errors import ConfigError
from kantor.nets import layers, ops
from kantor.nets.freeze import Stages
from kantor.nets.layer_order import LayerOrder
from kantor.types import ImageSpec


class Generator(nn.Module):
    """Transposed convolutions from a latent to an image: (z [N, D], labels [N] or None) -> [N, C, H, W] in [-1, 1]."""

    order = LayerOrder(("layers", "norms"), {"layers.0.weight": 0}, first="layers.0")

    def __init__(self, config: DcganGenerator, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        self.traits = layers.traits(config.norm)
        self.sizes = layers.ladder(spec.height, spec.width, round_up=True)[::-1]
        widths = [*layers.channels(config.width, config.max_width, len(self.sizes) - 1)[::-1], spec.channels]
        self.latent = layers.LabelledLatent(config.latent_dim, classes)
        convs = [ops.ConvTranspose2d(self.latent.dim, widths[0], self.sizes[0], bias=config.bias)]
        for i, (small, large) in enumerate(pairwise(self.sizes)):
            kernel, stride = layers.step(large, small)
            convs.append(ops.ConvTranspose2d(widths[i], widths[i + 1], kernel, stride, (1, 1), bias=config.bias))
        self.layers = nn.ModuleList(convs)
        self.norms = nn.ModuleList(layers.normalisation(config.norm, w, config.batch_norm) for w in widths[:-1])

    def forward(self, z: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        x = self.latent(z, labels)[:, :, None, None]
        for (height, width), layer, norm in zip(self.sizes, self.layers, self.norms, strict=False):
            x = ops.relu(norm(layer(x)[:, :, :height, :width]))
        height, width = self.sizes[-1]
        return torch.tanh(self.layers[-1](x)[:, :, :height, :width])


class Critic(nn.Module):
    """Strided convolutions from an image to a score: (x [N, C, H, W], labels [N] or None) -> [N], unbounded."""

    def __init__(self, config: DcganCritic, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        sizes = layers.ladder(spec.height, spec.width, round_up=False)
        if config.activated_score and config.norm == "layer":
            what = "layer norm makes every score 0: the mean of a single number is that number"
            raise ConfigError("critic.activated_score", what, 'choose norm = "batch" or "none"')
        # with small images there is no layer between first and last
        norm = config.norm if len(sizes) > 2 or config.activated_score else "none"
        self.traits = layers.traits(norm, config.minibatch_stddev)
        widths = [spec.channels, *layers.channels(config.width, config.max_width, len(sizes) - 1)]
        convs, norms = [], []
        for i, (large, small) in enumerate(pairwise(sizes)):
            kernel, stride = layers.step(large, small)
            convs.append(ops.Conv2d(widths[i], widths[i + 1], kernel, stride, (1, 1)))
            norms.append(layers.normalisation(norm if i else "none", widths[i + 1], config.batch_norm))
        self.layers, self.norms = nn.ModuleList(convs), nn.ModuleList(norms)
        self.dropouts = nn.ModuleList(layers.dropout(config.dropout if i else 0.0) for i in range(len(convs)))
        self.stddev, more = layers.minibatch_stddev(config.minibatch_stddev)
        self.score = ops.Conv2d(widths[-1] + more, 1, sizes[-1])
        self.activated_score, self.bare_first = config.activated_score, config.bare_first
        self.score_norm = layers.normalisation(norm if config.activated_score else "none", 1, config.batch_norm)
        self.projection = layers.Projection(widths[-1], classes)

    def stages(self) -> Stages:
        """The layers that can be frozen: see kantor.nets.freeze."""
        return list(zip(self.layers, self.norms, strict=True))

    def forward(self, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        for number, (drop, layer, norm) in enumerate(zip(self.dropouts, self.layers, self.norms, strict=True)):
            x = norm(layer(drop(x)))
            x = x if self.bare_first and number == 0 else ops.leaky_relu(x)
        score = self.score(self.stddev(x))
        if self.activated_score:
            score = ops.leaky_relu(self.score_norm(score))
        total: Tensor = score.flatten() + self.projection(x, labels)
        return total
