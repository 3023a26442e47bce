"""The residual networks of WGAN-GP (Gulrajani et al. 2017 and its published code), for any size and number of channels.

At 64x64, with width 64, max_width 512 and no `block_bias`, they are those of the 64x64 experiments. At 32x32, with both widths
128 and a critic with `first="block", halvings=2, flat_blocks=2, head="mean", norm="none"`, they are those of CIFAR-10.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from kantor.config.networks import ResnetCritic, ResnetGenerator
from kantor.nets import layers, ops
from kantor.nets.freeze import Stages
from kantor.nets.layer_order import LayerOrder
from kantor.types import ImageSpec

Size = tuple[int, int]


class Generator(nn.Module):
    """Residual blocks from a latent to an image: (z [N, D], labels [N] or None) -> [N, C, H, W] in [-1, 1]."""

    order = LayerOrder(("blocks",), {"base.weight": 1})

    def __init__(self, config: ResnetGenerator, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        self.traits = layers.traits(config.norm)
        sizes = layers.ladder(spec.height, spec.width, round_up=True)[::-1]
        widths = layers.channels(config.width, config.max_width, len(sizes))[::-1]
        self.latent = layers.LabelledLatent(config.latent_dim, classes)
        self.smallest = sizes[0]
        self.base = nn.Linear(self.latent.dim, widths[0] * sizes[0][0] * sizes[0][1])
        self.blocks = nn.ModuleList(
            UpBlock(a, b, size, config) for (a, b), size in zip(pairwise(widths), sizes[1:], strict=True)
        )
        self.norm = layers.normalisation(config.norm, widths[-1], config.batch_norm)
        self.picture = ops.conv3x3(widths[-1], spec.channels)

    def forward(self, z: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        x = self.base(self.latent(z, labels)).unflatten(1, (-1, *self.smallest))
        for block in self.blocks:
            x = block(x)
        return torch.tanh(self.picture(ops.relu(self.norm(x))))


class Critic(nn.Module):
    """Residual blocks from an image to a score: (x [N, C, H, W], labels [N] or None) -> [N], unbounded."""

    def __init__(self, config: ResnetCritic, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        sizes = layers.ladder(spec.height, spec.width, round_up=False)
        sizes = sizes[: config.halvings + 1] if config.halvings else sizes
        widths = layers.channels(config.width, config.max_width, len(sizes))
        steps = list(zip(pairwise(widths), sizes[1:], strict=True))
        if config.first == "block" and steps:
            (_, out), size = steps.pop(0)
            self.picture: nn.Module = DownBlock(spec.channels, out, size, config, first=True)
        else:
            self.picture = ops.conv3x3(spec.channels, widths[0])
        flat = [((widths[-1], widths[-1]), None)] * config.flat_blocks
        blocks = [DownBlock(a, b, size, config) for (a, b), size in [*steps, *flat]]
        self.blocks = nn.ModuleList(blocks)
        self.traits = layers.traits(config.norm if blocks else "none", config.minibatch_stddev)
        self.dropouts = nn.ModuleList(layers.dropout(config.dropout) for _ in blocks)
        self.mean = config.head == "mean"
        self.stddev, more = layers.minibatch_stddev(config.minibatch_stddev)
        self.score = ops.Conv2d(widths[-1] + more, 1, (1, 1) if self.mean else sizes[-1])
        self.projection = layers.Projection(widths[-1], classes)

    def stages(self) -> Stages:
        """The layers that can be frozen: see kantor.nets.freeze."""
        return [(self.picture,), *((block,) for block in self.blocks)]

    def forward(self, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        x = self.picture(x)
        for drop, block in zip(self.dropouts, self.blocks, strict=True):
            x = block(drop(x))
        x = ops.relu(x) if self.mean else x  # the 64x64 critic of the paper has no activation here
        features = self.stddev(x)
        features = features.mean(dim=(2, 3), keepdim=True) if self.mean else features
        score: Tensor = self.score(features).flatten() + self.projection(x, labels)
        return score


class UpBlock(nn.Module):
    """Two convolutions and a shortcut, at `size`, which may be twice the input's."""

    def __init__(self, inputs: int, outputs: int, size: Size, config: ResnetGenerator) -> None:
        super().__init__()
        self.size = size
        self.norm1 = layers.normalisation(config.norm, inputs, config.batch_norm)
        self.norm2 = layers.normalisation(config.norm, outputs, config.batch_norm)
        self.conv1 = ops.conv3x3(inputs, outputs, config.block_bias)
        self.conv2 = ops.conv3x3(outputs, outputs)
        self.shortcut = ops.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = layers.upsample_and_convolve(ops.relu(self.norm1(x)), self.conv1, self.size)
        y = self.conv2(ops.relu(self.norm2(y)))
        # a 1x1 convolution commutes with upsampling: before it, it costs a quarter
        total: Tensor = y + layers.upsample(self.shortcut(x), self.size)
        return total


class DownBlock(nn.Module):
    """Two convolutions and a shortcut, both pooled to `size`; None keeps the size, with an identity shortcut.

    Args:
        first: on an image, where neither norm nor activation precedes the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, size: Size | None, config: ResnetCritic, first: bool = False) -> None:
        super().__init__()
        self.size, self.first = size, first
        hidden, norm = (outputs, "none") if first else (inputs, config.norm)
        self.norm1 = layers.normalisation(norm, inputs, config.batch_norm)
        self.norm2 = layers.normalisation(norm, hidden, config.batch_norm)
        self.conv1 = ops.conv3x3(inputs, hidden, first or config.block_bias)
        self.conv2 = ops.conv3x3(hidden, outputs)
        self.shortcut = ops.Conv2d(inputs, outputs, 1) if size else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x if self.first else ops.relu(self.norm1(x)))
        y = self.conv2(ops.relu(self.norm2(y)))
        if self.size is not None:
            y, x = layers.pool(y, self.size), layers.pool(x, self.size)
        total: Tensor = y + self.shortcut(x)
        return total
