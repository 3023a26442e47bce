"""A generator that enlarges an image: residual blocks at its size, then pixel shuffle (SRResNet, Ledig et al. 2017).

What it computes is added to the image enlarged bicubically, and starts at zero: before training it is bicubic enlargement.
It has convolutions alone, so it takes images of any size. The latent is ignored, as in the paper: the small image says what
the large one shows, and a GAN whose generator has much to agree with learns to leave its noise out (Isola et al. 2017, 3.2).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from kantor.alpha import premultiplied
from kantor.config.networks import UpscaleGenerator
from kantor.errors import ConfigError
from kantor.nets import layers, ops
from kantor.types import ImageSpec

_SHARE = 0.2  # of a block's output that is added to its input (Wang et al. 2018, 3.1)


class Block(nn.Module):
    """x + 0.2 norm(conv(leaky_relu(norm(conv(x)))))."""

    def __init__(self, config: UpscaleGenerator) -> None:
        super().__init__()
        width = config.width
        self.first, self.second = ops.conv3x3(width, width), ops.conv3x3(width, width)
        self.first_norm = layers.normalisation(config.norm, width, config.batch_norm)
        self.second_norm = layers.normalisation(config.norm, width, config.batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        inner = ops.leaky_relu(self.first_norm(self.first(x)))
        larger: Tensor = x + _SHARE * self.second_norm(self.second(inner))
        return larger


class Generator(nn.Module):
    """(z, labels, both ignored, condition [N, C, H, W] in [-1, 1]) -> [N, C, H, W], within [-1, 1] but for overshoot at edges.

    The condition is an image in which each square of `times` pixels has one colour, with straight alpha.

    Args:
        condition: its channels, as many as those of the image.

    Attributes:
        times: by which `enlarged` multiplies height and width.
        reach: pixels of a small image between two that may depend on each other.
    """

    premultiplied = False  # see `build_generator`

    def __init__(self, config: UpscaleGenerator, spec: ImageSpec, classes: int, condition: int) -> None:
        super().__init__()
        if condition != spec.channels:
            what = f"makes images of {spec.channels} channels out of smaller ones of as many, not of {condition}"
            raise ConfigError("generator.kind = upscale", what, "use --set data.condition=smaller")
        self.traits, self.times = layers.traits(config.norm), config.times
        doublings = int(math.log2(config.times))
        self.reach = 2 * config.blocks + 2 + doublings + 2
        width = config.width
        self.entry = ops.conv3x3(spec.channels, width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.exit = ops.conv3x3(width, width)
        self.up = nn.ModuleList(ops.conv3x3(width, 4 * width) for _ in range(doublings))
        self.picture = ops.ZeroConv2d(width, spec.channels, 3, padding=1)

    def forward(self, z: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        if condition is None:
            raise ValueError("this generator needs a condition")
        small = condition[:, :, :: self.times, :: self.times]
        return self.enlarged(premultiplied(small) if self.premultiplied else small)

    def enlarged(self, small: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, times H, times W], both with colours as the network sees them, see `kantor.alpha`."""
        small = small.contiguous(memory_format=torch.channels_last)
        entry = ops.leaky_relu(self.entry(small))
        x = entry
        for block in self.blocks:
            x = block(x)
        x = entry + self.exit(x)
        for layer in self.up:
            x = ops.leaky_relu(nn.functional.pixel_shuffle(layer(x), 2))
        larger: Tensor = bicubic(small, self.times) + self.picture(x)
        return larger


def bicubic(images: Tensor, times: int) -> Tensor:
    """[N, C, H, W] -> [N, C, times H, times W] by cubic convolution (Keys 1981, with a = -1/2, as in Pillow)."""
    size = (images.shape[2] * times, images.shape[3] * times)
    return nn.functional.interpolate(images, size, mode="bicubic", align_corners=False, antialias=True)
