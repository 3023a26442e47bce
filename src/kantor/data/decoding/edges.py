"""Outlines of images (extra `edges`): dark on white, a pixel wide.

J. Canny 1986, "A computational approach to edge detection", as in scikit-image: an edge starts where the blurred
brightness changes by 1/40 of its range per pixel, and continues down to half of that (0.2 and 0.1 of Sobel's sums,
which are eight times the change).
"""

from __future__ import annotations

import importlib.util

import numpy as np
from numpy.typing import NDArray

from kantor.errors import ResourceError


def require_edges(field: str = "data.edges", what: str = "outlines") -> None:
    """Raises ResourceError if scikit-image is not installed."""
    if importlib.util.find_spec("skimage") is None:
        raise ResourceError(field, f"{what} need scikit-image", "pip install 'kantor[edges]'")


def outlines(grey: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Returns uint8 [H, W]: 0 on an outline of `grey`, else 255; `sigma` pixels blur it first."""
    from skimage.feature import canny  # takes a second to load

    edges = canny(grey.astype(np.float64) / 255, sigma=sigma, low_threshold=0.1, high_threshold=0.2)  # type: ignore[no-untyped-call]
    return np.where(edges, 0, 255).astype(np.uint8)
