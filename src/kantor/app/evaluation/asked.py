"""What a guided generator was asked for, and what its images have."""

from __future__ import annotations

import numpy as np
import torch

from kantor.app.evaluation.image_sets import GeneratedImages, RealImages
from kantor.controls import controls_of, guide_of
from kantor.data.loading.feed import to_float
from kantor.metrics.features import BATCH
from kantor.metrics.inputs import AskedControls
from kantor.sample.guided import controls_of_seeds


def asked_and_got(images: RealImages | GeneratedImages) -> AskedControls | None:
    """Of generated images the controls of their seeds, and those measured in them; None if there is no guide."""
    guide = guide_of(images.network) if isinstance(images, GeneratedImages) else None
    if guide is None or not isinstance(images, GeneratedImages):
        return None
    asked = controls_of_seeds(guide, [images.first_seed + i for i in range(len(images))])
    got = [
        controls_of(
            to_float(torch.from_numpy(images.images(np.arange(at, min(at + BATCH, len(images)))))), guide.controls
        )
        for at in range(0, len(images), BATCH)
    ]
    return AskedControls(guide.names, asked.astype(np.float64), torch.cat(got).numpy().astype(np.float64))
