"""Places images next to each other and resizes them."""

from __future__ import annotations

import numpy as np
import torch

from kantor.data.loading.feed import shrink, to_float
from kantor.sample.generate import to_uint8
from kantor.types import Images, ImageSpec


def beside(conditions: Images, images: Images) -> Images:
    """Each grey condition on the left of its image: [N, H, W, 1] and [N, H, W, C] -> [N, H, 2W, C]."""
    channels = images.shape[3]
    shown = np.repeat(conditions, channels, axis=3)
    if channels == 4:
        shown[..., 3] = 255
    return np.concatenate([shown, images], axis=2)


def at_size(images: Images, spec: ImageSpec) -> Images:
    """uint8 [N, H, W, C] brought down to `spec` as the feed does it."""
    if images.shape[1:3] == spec[:2]:
        return images
    return to_uint8(shrink(to_float(torch.from_numpy(images)), spec.height, spec.width))
