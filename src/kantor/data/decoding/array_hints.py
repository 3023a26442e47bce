"""Code that converts an array of other numbers to uint8 images, for messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNELS = (1, 3, 4)


def recipe(values: NDArray[Any], x: str = "x") -> str:
    """Returns code that converts the array `x`, and " if CONDITION" if there is one; `values` are some of its numbers."""
    kind = values.dtype.kind
    if kind == "b":
        return f"{x}.astype('uint8') * 255"
    if kind in "iu":
        return f"{x}.astype('uint8') if all lie in 0-255" if values.dtype != np.uint8 else x
    if kind != "f" or not values.size or not np.isfinite(values).any():
        return f"{x}.astype('uint8') of finite numbers from 0 to 255"
    if np.nanmin(values) < 0:
        return f"(({x} + 1) * 127.5).round().clip(0, 255).astype('uint8') if all lie in -1 to 1"
    factor = " * 255" if np.nanmax(values) <= 1 else ""
    return f"({x}{factor}).round().clip(0, 255).astype('uint8')"


def channels_first(shape: tuple[int, ...]) -> bool:
    """Whether an image of this shape is [C, H, W] rather than [H, W, C]."""
    return len(shape) == 3 and shape[0] in CHANNELS and shape[2] not in CHANNELS
