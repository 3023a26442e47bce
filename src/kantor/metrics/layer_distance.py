"""How differently a network sees two images of the same thing, layer by layer (Zhang et al. 2018, "The unreasonable
effectiveness of deep features as a perceptual metric", without their learned weights)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kantor.alpha import premultiplied
from kantor.metrics.features import with_channels

Layers = Callable[[Tensor], Sequence[Tensor]]
"""float32 [N, 3, H, W] in [0, 255] -> outputs of some layers, float32 [N, K, h, w] each."""
_EPS = 1e-8


def layer_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """The distance of N pairs of images, given by the same layers, [N, K, h, w] each -> [N], from 0 for equal ones to 4.

    At each position of a layer channels are scaled to length 1; squared distances are averaged over positions, then layers.
    """
    distances = [(_unit(x) - _unit(y)).square().sum(1).mean((1, 2)) for x, y in zip(a, b, strict=True)]
    return torch.stack(distances).mean(0)


def _unit(x: Tensor) -> Tensor:
    """Features [N, K, h, w] of length 1 in K, float32 or larger; those of length 0 stay."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x * (x.square().sum(1, keepdim=True) + _EPS).rsqrt()


def on_grey(images: Tensor, premultiply: bool) -> Tensor:
    """float [N, C, H, W] in [-1, 1] -> [N, 3, H, W] in [0, 255]; colours are laid on mid-grey, as those of metrics.

    premultiply: RGBA images have straight colours.
    """
    if images.shape[1] == 4 and premultiply:
        images = premultiplied(images)
    return with_channels((images + 1) * 127.5, 3)
