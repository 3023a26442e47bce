"""A U-Net that generates an image from a condition, another image (Ronneberger et al. 2015).

As in Isola et al. 2017, skip connections join layers of one size, so that a line of the condition stays where it is. Unlike
theirs, a latent is added at the smallest size, so that the same lines can get many colours. It is the same at all positions,
so that an image has one background and not a patchwork.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from kantor.config.networks import UnetGenerator
from kantor.nets import layers, ops
from kantor.nets.layer_order import LayerOrder
from kantor.types import ImageSpec


class Generator(nn.Module):
    """Strided convolutions down, then nearest-neighbour upsampling and convolutions up, with skip connections.

    (z [N, D], labels [N] or None, condition [N, K, H, W] in [-1, 1]) -> [N, C, H, W] in [-1, 1].

    Args:
        condition: K, channels of the condition.
    """

    order = LayerOrder(latent_axis={"base.weight": 1})

    def __init__(self, config: UnetGenerator, spec: ImageSpec, classes: int, condition: int) -> None:
        super().__init__()
        self.traits = layers.traits(config.norm)
        self.sizes = layers.ladder(spec.height, spec.width, round_up=True)
        widths = layers.channels(config.width, config.max_width, len(self.sizes))
        self.entry = ops.conv3x3(condition, widths[0])
        self.down = nn.ModuleList(
            ops.Conv2d(above, below, *layers.step(large, small), (1, 1))
            for (above, below), (large, small) in zip(pairwise(widths), pairwise(self.sizes), strict=True)
        )
        self.down_norms = nn.ModuleList(layers.normalisation(config.norm, w, config.batch_norm) for w in widths[1:])
        self.latent = layers.LabelledLatent(config.latent_dim, classes)
        self.base = nn.Linear(self.latent.dim, widths[-1])
        self.up = nn.ModuleList(ops.conv3x3(below + above, above) for above, below in pairwise(widths))
        self.up_norms = nn.ModuleList(layers.normalisation(config.norm, w, config.batch_norm) for w in widths[:-1])
        self.picture = ops.conv3x3(widths[0], spec.channels)

    def forward(self, z: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        if condition is None:
            raise ValueError("this generator needs a condition")
        x = ops.leaky_relu(self.entry(condition))
        skips = []
        for size, layer, norm in zip(self.sizes[1:], self.down, self.down_norms, strict=True):
            skips.append(x)
            x = ops.leaky_relu(norm(layer(_even(x, size))))
        x = x + self.base(self.latent(z, labels))[:, :, None, None]
        for rung in reversed(range(len(skips))):
            joined = torch.cat([layers.upsample(x, self.sizes[rung]), skips[rung]], dim=1)
            x = ops.leaky_relu(self.up_norms[rung](self.up[rung](joined)))
        return torch.tanh(self.picture(x))


def _even(x: Tensor, smaller: tuple[int, int]) -> Tensor:
    """Appends a row or column of zeros if half of an odd side is rounded up: strided convolutions round down."""
    below, beyond = (n % 2 if n > small else 0 for n, small in zip(x.shape[2:], smaller, strict=True))
    return nn.functional.pad(x, (0, beyond, 0, below)) if below or beyond else x
