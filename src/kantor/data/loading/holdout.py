"""Splits images into a training set and a held-out set.

Whether an image is held out depends on its own bytes alone: not on its name or place, nor on the other images. So exact
copies stay together, and adding images moves none of those that were there.
"""

from __future__ import annotations

import numpy as np

from kantor.data.loading.image_set import ImageSet, Subset


def split(images: ImageSet, fraction: float) -> tuple[Subset, Subset]:
    """Returns (training set, held-out set); about `fraction` of the images are held out."""
    first_bytes = np.ascontiguousarray(images.digests()[:, :8]).view(">u8")[:, 0]
    held_out = first_bytes.astype(np.float64) / 2.0**64 < fraction
    return Subset(images, np.flatnonzero(~held_out)), Subset(images, np.flatnonzero(held_out))
