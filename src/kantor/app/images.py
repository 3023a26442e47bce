"""Pairs of condition and image, and resizing."""

from __future__ import annotations

import numpy as np
import torch

from kantor.alpha import premultiplied, straight
from kantor.data.loading.feed import shrink, to_float
from kantor.sample.generate import to_uint8
from kantor.types import Images, ImageSpec


def join_pairs(conditions: Images, images: Images) -> Images:
    """Places each grey condition to the left of its image: [N, H, W, 1] and [N, H, W, C] -> [N, H, 2W, C]."""
    left = np.repeat(conditions, images.shape[3], axis=3)
    left[..., 3:] = 255  # opaque
    return np.concatenate([left, images], axis=2)


def at_size(images: Images, spec: ImageSpec) -> Images:
    """Resizes uint8 [N, H, W, C] to `spec` as the feed does; colours are averaged premultiplied by alpha."""
    if images.shape[1:3] == spec[:2]:
        return images
    x = to_float(torch.from_numpy(images))
    if images.shape[3] == 4:
        return to_uint8(straight(shrink(premultiplied(x), spec.height, spec.width)))
    return to_uint8(shrink(x, spec.height, spec.width))
