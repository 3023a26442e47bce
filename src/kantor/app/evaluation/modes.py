"""What scores are made of, besides the images: the modes of a set, and where numbers come from."""

from __future__ import annotations

from typing import Any

import numpy as np

from kantor.app.evaluation.image_sets import Reals
from kantor.config.schema import DataConfig
from kantor.data.sources import GLYPHS
from kantor.metrics.extract import Gathered
from kantor.metrics.features import RESIZE, Extractor
from kantor.metrics.modes import Modes, by_classifiers, by_neighbours, channel_heads, reading_channels

SCORES = 1
"""Version of the scores: raised when a number of the same images would come out otherwise."""


def reading_modes(network: Extractor, reals: Reals, data: DataConfig) -> Extractor:
    """The extractor, with what it takes to tell the modes of a set: of stacked digits, the digit of each channel."""
    return reading_channels(network, "digit", 3) if _stacked_digits(network, reals, data) else network


def modes_of(network: Extractor, reals: Reals, looked_at: Gathered, data: DataConfig) -> Modes | None:
    """The modes of a set; None where nobody knows them.

    Stacked digits have 1000, the built-in letters one for each letter in each colour; other sets with labels have their
    classes.

    Args:
        network: as `reading_modes` gives it.
        looked_at: the reals through it.
    """
    if _stacked_digits(network, reals, data):
        return by_classifiers(network, channel_heads(3), "digits of the three channels")
    if data.source == GLYPHS and not data.stack and {"letter", "hue"} <= network.classes.keys():
        if reals.spec.channels == 3:
            return by_classifiers(network, ("letter", "hue"), "letter x hue")
        return by_classifiers(network, ("letter",), "letter")
    everyone = reals.store.labels(np.arange(reals.store.count))
    if everyone is None or len(present := np.unique(everyone)) < 2:
        return None
    labels = reals.labels(looked_at.order)
    assert labels is not None
    names = [reals.store.class_names[label] for label in present]
    shares = np.bincount(everyone)[present] / len(everyone)
    return by_neighbours(looked_at, np.searchsorted(present, labels), names, shares)


def _stacked_digits(network: Extractor, reals: Reals, data: DataConfig) -> bool:
    known = data.stack and reals.spec.channels == 3 and "digit" in network.classes and reals.store.labelled
    return bool(known) and _are_digits(reals.store.class_names)


def _are_digits(names: list[str]) -> bool:
    return all(len(parts := name.split()) == 3 and all(part in "0123456789" for part in parts) for name in names)


def provenance(network: Extractor, reals: Reals, drawn: int, modes: Modes | None, part: str = "") -> dict[str, Any]:
    """All that decides about the numbers, but for the generator itself.

    Args:
        part: "training" or "held out", where only these images of the set are the reference.
    """
    size = network.size or reals.spec[:2]
    found: dict[str, Any] = {
        "scores_version": SCORES,
        "extractor": network.name,
        "extractor_sha256": network.digest,
        "resize": f"{RESIZE} to {size[0]}x{size[1]}{'' if network.channels == 3 else ' grey'}",
        "pictures": str(reals.spec),
        "drawn": drawn,
        "reals": len(reals),
        "reference": reals.digest(),
    }
    if part:
        found["reference_part"] = part
    if modes is not None:
        found["modes"] = modes.kind
    return found
