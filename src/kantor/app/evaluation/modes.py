"""The modes of a dataset, and the provenance of its scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from kantor.app.evaluation.image_sets import RealImages
from kantor.config.data import DataConfig
from kantor.data.sources.recognise import GLYPHS
from kantor.metrics.features import RESIZE, Extractor, ImageFeatures
from kantor.metrics.modes import (
    CHANNEL_HEADS,
    Modes,
    modes_by_classifiers,
    modes_by_neighbours,
    with_channel_classifiers,
)

SCORES = 1
"""Version of the scores. Raise it if the same images would score differently."""


def with_mode_classifiers(network: Extractor, real: RealImages, data: DataConfig) -> Extractor:
    """The extractor with the classifiers for the modes of a dataset: the digit of each channel of stacked digits."""
    return with_channel_classifiers(network) if _stacked_digits(network, real, data) else network


def modes_kind(network: Extractor, real: RealImages, data: DataConfig | None) -> str | None:
    """What the modes of a dataset are; None if they are unknown. data: None for a part of a dataset, with some classes."""
    if data is not None and _stacked_digits(network, real, data):
        return "digits of the three channels"
    if data is not None and data.source == GLYPHS and not data.stack and {"letter", "hue"} <= network.classes.keys():
        return "letter x hue" if real.spec.channels == 3 else "letter"
    labels = real.store.labels(np.arange(real.store.count))
    return None if labels is None or len(np.unique(labels)) < 2 else "class"


def find_modes(network: Extractor, real: RealImages, features: ImageFeatures, data: DataConfig | None) -> Modes | None:
    """The modes of a dataset; None if they are unknown.

    Stacked digits have 1000, glyphs one for each letter in each hue; other datasets with labels have their classes.

    Args:
        network: as `with_mode_classifiers` returns it.
        features: of the real images.
        data: None for a part of a dataset, with some of its classes.
    """
    kind = modes_kind(network, real, data)
    if kind is None:
        return None
    if kind != "class":
        heads = CHANNEL_HEADS if kind.startswith("digits") else ("letter", "hue") if "hue" in kind else ("letter",)
        return modes_by_classifiers(network, heads, kind)
    all_labels = real.store.labels(np.arange(real.store.count))
    labels = real.labels(features.order)
    assert all_labels is not None and labels is not None
    present = np.unique(all_labels)
    names = [real.store.class_names[label] for label in present]
    shares = np.bincount(all_labels)[present] / len(all_labels)
    return modes_by_neighbours(features, np.searchsorted(present, labels), names, shares)


def _stacked_digits(network: Extractor, real: RealImages, data: DataConfig) -> bool:
    if not data.stack or real.spec.channels != 3 or "digit" not in network.classes or not real.store.labelled:
        return False
    names = [name.split() for name in real.store.class_names]
    return all(len(parts) == 3 and all(part in "0123456789" for part in parts) for parts in names)


def provenance(
    network: Extractor, real: RealImages, generated_count: int, modes: str | None, part: str = ""
) -> dict[str, Any]:
    """Everything that decides about the scores except the generator. Files and checkpoints hold these keys.

    Args:
        modes: what the modes are, if they are measured.
        part: "training" or "held out" if only that part of the dataset is the reference.
    """
    size = network.size or real.spec[:2]
    origin: dict[str, Any] = {
        "scores_version": SCORES,
        "extractor": network.name,
        "extractor_sha256": network.digest,
        "resize": f"{RESIZE} to {size[0]}x{size[1]}{'' if network.channels == 3 else ' grey'}",
        "images": str(real.spec),
        "drawn": generated_count,
        "reals": len(real),
        "reference": real.digest(),
    }
    origin |= {"reference_part": part} if part else {}
    origin |= {"transparency": "on mid-grey"} if real.spec.channels == 4 else {}
    return origin | ({"modes": modes} if modes is not None else {})
