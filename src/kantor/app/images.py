"""Pairs of condition and image, and resizing."""

from __future__ import annotations

import numpy as np
import torch

from kantor.alpha import premultiplied, straight
from kantor.data.loading.feed import shrink, to_float
from kantor.sample.generate import to_uint8
from kantor.types import Images, ImageSpec


def join_pairs(conditions: Images, images: Images) -> Images:
    """Places each condition to the left of its image: [N, H, W, K] and [N, H, W, C] -> [N, H, 2W, the larger of both]."""
    channels = max(conditions.shape[3], images.shape[3])
    return np.concatenate([_widened(conditions, channels), _widened(images, channels)], axis=2)


def _widened(images: Images, channels: int) -> Images:
    """Grey as colour, and colour as opaque colour, where more channels are wanted."""
    if images.shape[3] == 1:
        images = np.repeat(images, min(channels, 3), axis=3)
    opaque = np.full((*images.shape[:3], channels - images.shape[3]), 255, np.uint8)
    return np.concatenate([images, opaque], axis=3)


def at_size(images: Images, spec: ImageSpec) -> Images:
    """Resizes uint8 [N, H, W, C] to `spec` as the feed does; colours are averaged premultiplied by alpha."""
    if images.shape[1:3] == spec[:2]:
        return images
    x = to_float(torch.from_numpy(images))
    if images.shape[3] == 4:
        return to_uint8(straight(shrink(premultiplied(x), spec.height, spec.width)))
    return to_uint8(shrink(x, spec.height, spec.width))
