"""The line of Python that makes uint8 images of an array of other numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CHANNELS = (1, 3, 4)


def recipe(some: NDArray[Any], x: str = "x") -> str:
    """Code that converts an array, and where it needs saying, what must hold for that.

    Args:
        some: numbers of the array, by which the range is guessed.
        x: what the array is called.
    """
    kind = some.dtype.kind
    if kind == "b":
        return f"{x}.astype('uint8') * 255"
    if kind in "iu":
        return f"{x}.astype('uint8') if all lie in 0-255" if some.dtype != np.uint8 else x
    if kind != "f" or not some.size or not np.isfinite(some).any():
        return f"{x}.astype('uint8') of finite numbers from 0 to 255"
    if np.nanmin(some) < 0:
        return f"(({x} + 1) * 127.5).round().clip(0, 255).astype('uint8') if all lie in -1 to 1"
    factor = " * 255" if np.nanmax(some) <= 1 else ""
    return f"({x}{factor}).round().clip(0, 255).astype('uint8')"


def channels_first(shape: tuple[int, ...]) -> bool:
    """Whether an image of this shape is [C, H, W] rather than [H, W, C]."""
    return len(shape) == 3 and shape[0] in CHANNELS and shape[2] not in CHANNELS
