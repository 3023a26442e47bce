"""The residual networks of WGAN-GP (Gulrajani et al. 2017 and its published code), for any size and number of channels.

At 64x64, with width 64, max_width 512 and no `block_bias`, they are those of the 64x64 experiments. At 32x32, with both widths
128 and a critic with `first="block", halvings=2, flat_blocks=2, head="mean", norm="none"`, they are those of CIFAR-10.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from kantor.config.networks import ResnetCritic, ResnetGenerator
from kantor.nets import ops
from kantor.nets.layers import (
    LabelledLatent,
    Projection,
    channels,
    dropout,
    ladder,
    minibatch_stddev,
    normalisation,
    pool,
    traits,
    upsample,
)
from kantor.types import ImageSpec

Size = tuple[int, int]


class Generator(nn.Module):
    """Residual blocks from a latent to an image, each doubling the size.

    (z [N, D], labels [N] or None) -> [N, C, H, W] in [-1, 1].
    """

    def __init__(self, config: ResnetGenerator, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        self.traits = traits(config.norm)
        sizes = ladder(spec.height, spec.width, round_up=True)[::-1]
        widths = channels(config.width, config.max_width, len(sizes))[::-1]
        self.latent = LabelledLatent(config.latent_dim, classes)
        self.smallest = sizes[0]
        self.base = ops.linear(self.latent.dim, widths[0] * sizes[0][0] * sizes[0][1])
        self.blocks = nn.ModuleList(
            UpBlock(a, b, size, config) for (a, b), size in zip(pairwise(widths), sizes[1:], strict=True)
        )
        self.norm = normalisation(config.norm, widths[-1], config.batch_norm)
        self.picture = ops.conv(widths[-1], spec.channels, (3, 3), (1, 1), (1, 1))

    def forward(self, z: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        x = self.base(self.latent(z, labels)).unflatten(1, (-1, *self.smallest))
        for block in self.blocks:
            x = block(x)
        return torch.tanh(self.picture(ops.relu(self.norm(x))))


class Critic(nn.Module):
    """Residual blocks from an image to a score.

    (x [N, C, H, W], labels [N] or None) -> [N], unbounded.
    """

    def __init__(self, config: ResnetCritic, spec: ImageSpec, classes: int = 0) -> None:
        super().__init__()
        sizes = ladder(spec.height, spec.width, round_up=False)
        sizes = sizes[: config.halvings + 1] if config.halvings else sizes
        widths = channels(config.width, config.max_width, len(sizes))
        steps = list(zip(pairwise(widths), sizes[1:], strict=True))
        if config.first == "block" and steps:
            (_, out), size = steps.pop(0)
            self.picture: nn.Module = FirstBlock(spec.channels, out, size)
        else:
            self.picture = ops.conv(spec.channels, widths[0], (3, 3), (1, 1), (1, 1))
        flat = [((widths[-1], widths[-1]), None)] * config.flat_blocks
        blocks = [DownBlock(a, b, size, config) for (a, b), size in [*steps, *flat]]
        self.blocks = nn.ModuleList(blocks)
        self.traits = traits(config.norm if blocks else "none", config.minibatch_stddev)
        self.dropouts = nn.ModuleList(dropout(config.dropout) for _ in blocks)
        self.last = ops.relu if config.head == "mean" else nn.Identity()  # the 64x64 critic of the paper has none
        self.mean = config.head == "mean"
        self.stddev, more = minibatch_stddev(config.minibatch_stddev)
        self.score = ops.conv(widths[-1] + more, 1, (1, 1) if self.mean else sizes[-1])
        self.projection = Projection(widths[-1], classes)

    def forward(self, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        x = self.picture(x)
        for drop, block in zip(self.dropouts, self.blocks, strict=True):
            x = block(drop(x))
        x = self.last(x)
        features = self.stddev(x)
        features = features.mean(dim=(2, 3), keepdim=True) if self.mean else features
        score: Tensor = self.score(features).flatten() + self.projection(x, labels)
        return score


class UpBlock(nn.Module):
    """Two convolutions and a shortcut; the first convolution works on the enlarged image."""

    def __init__(self, inputs: int, outputs: int, size: Size, config: ResnetGenerator) -> None:
        super().__init__()
        self.size = size
        self.norm1 = normalisation(config.norm, inputs, config.batch_norm)
        self.norm2 = normalisation(config.norm, outputs, config.batch_norm)
        self.conv1 = ops.conv(inputs, outputs, (3, 3), (1, 1), (1, 1), config.block_bias)
        self.conv2 = ops.conv(outputs, outputs, (3, 3), (1, 1), (1, 1))
        self.shortcut = ops.conv(inputs, outputs, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(upsample(ops.relu(self.norm1(x)), self.size))
        y = self.conv2(ops.relu(self.norm2(y)))
        # a 1x1 convolution commutes with upsampling: before it, it costs a quarter
        total: Tensor = y + upsample(self.shortcut(x), self.size)
        return total


class DownBlock(nn.Module):
    """Two convolutions and a shortcut, both pooled to `size`; None keeps the size, with an identity shortcut."""

    def __init__(self, inputs: int, outputs: int, size: Size | None, config: ResnetCritic) -> None:
        super().__init__()
        self.size = size
        self.norm1 = normalisation(config.norm, inputs, config.batch_norm)
        self.norm2 = normalisation(config.norm, inputs, config.batch_norm)
        self.conv1 = ops.conv(inputs, inputs, (3, 3), (1, 1), (1, 1), config.block_bias)
        self.conv2 = ops.conv(inputs, outputs, (3, 3), (1, 1), (1, 1))
        self.shortcut = ops.conv(inputs, outputs, (1, 1)) if size else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(ops.relu(self.norm1(x)))
        y = self.conv2(ops.relu(self.norm2(y)))
        total: Tensor = y + x if self.size is None else pool(y, self.size) + self.shortcut(pool(x, self.size))
        return total


class FirstBlock(nn.Module):
    """The critic's first block: neither norm nor activation precedes its first convolution."""

    def __init__(self, inputs: int, outputs: int, size: Size) -> None:
        super().__init__()
        self.size = size
        self.conv1 = ops.conv(inputs, outputs, (3, 3), (1, 1), (1, 1))
        self.conv2 = ops.conv(outputs, outputs, (3, 3), (1, 1), (1, 1))
        self.shortcut = ops.conv(inputs, outputs, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(ops.relu(self.conv1(x)))
        total: Tensor = pool(y, self.size) + self.shortcut(pool(x, self.size))
        return total
