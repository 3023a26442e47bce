"""Enlarges images by a whole factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def enlarged(image: NDArray[np.uint8], scale: int, smooth: bool = False) -> NDArray[np.uint8]:
    """uint8 [H, W, C] -> [scale H, scale W, C].

    Args:
        smooth: by Lanczos' filter, colours weighted by alpha, so that transparent ones leave no fringe; otherwise each
            pixel becomes a square.
    """
    if scale == 1:
        return image
    if not smooth:
        return image.repeat(scale, 0).repeat(scale, 1)
    height, width, channels = image.shape
    picture = Image.fromarray(np.ascontiguousarray(image[:, :, 0] if channels == 1 else image))
    large = picture.resize((width * scale, height * scale), Image.Resampling.LANCZOS)  # RGBA premultiplied by Pillow
    return np.asarray(large).reshape(height * scale, width * scale, channels)
