"""What scores are made of, besides the pictures: the modes of a set, and where numbers come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kantor.app.reference import Reals, gathered
from kantor.config.schema import DataConfig
from kantor.data.sources import GLYPHS
from kantor.metrics.features import RESIZE, Extractor
from kantor.metrics.modes import Modes, by_classifiers, by_neighbours, reading_channels

SCORES = 1
"""Version of the scores: raised when a number of the same pictures would come out otherwise."""


def as_modes(network: Extractor, reals: Reals, data: DataConfig, cache: Path | None) -> tuple[Extractor, Modes | None]:
    """The extractor, perhaps with more classifiers, and the modes of a set; None where nobody knows them.

    Stacked digits have 1000, the built-in letters one for each letter in each colour; other sets with labels have their
    classes.
    """
    digits = data.stack and reals.spec.channels == 3 and "digit" in network.classes
    if digits and reals.store.labelled and _are_digits(reals.store.class_names):
        network, heads = reading_channels(network, "digit", 3)
        return network, by_classifiers(network, heads, "digits of the three channels")
    if data.source == GLYPHS and not data.stack and {"letter", "hue"} <= network.classes.keys():
        if reals.spec.channels == 3:
            return network, by_classifiers(network, ("letter", "hue"), "letter x hue")
        return network, by_classifiers(network, ("letter",), "letter")
    everyone = reals.store.labels(np.arange(reals.store.count))
    if everyone is None or len(present := np.unique(everyone)) < 2:
        return network, None
    looked_at = gathered(reals, network, cache=cache)
    labels = reals.labels(looked_at.order)
    assert labels is not None
    names = [reals.store.class_names[label] for label in present]
    shares = np.bincount(everyone)[present] / len(everyone)
    return network, by_neighbours(looked_at, np.searchsorted(present, labels), names, shares)


def _are_digits(names: list[str]) -> bool:
    return all(len(parts := name.split()) == 3 and all(part in "0123456789" for part in parts) for name in names)


def provenance(network: Extractor, reals: Reals, drawn: int, modes: Modes | None, part: str = "") -> dict[str, Any]:
    """All that decides about the numbers, but for the generator itself.

    Args:
        part: "training" or "held out", where only these pictures of the set are the reference.
    """
    size = network.size or reals.spec[:2]
    found: dict[str, Any] = {
        "scores_version": SCORES,
        "extractor": network.name,
        "extractor_sha256": network.digest,
        "resize": f"{RESIZE} to {size[0]}x{size[1]}",
        "pictures": str(reals.spec),
        "drawn": drawn,
        "reals": len(reals),
        "reference": reals.store.fingerprint,
    }
    if part:
        found["reference_part"] = part
    if modes is not None:
        found["modes"] = modes.kind
    return found
