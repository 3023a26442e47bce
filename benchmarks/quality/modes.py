"""Stacked digits: three digits as the channels of one image, 1,000 modes, recognised by kantor-small's classifier of digits."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from kantor.metrics.diversity import coverage
from kantor.metrics.extractors import extractor
from kantor.metrics.features import BATCH, extract
from kantor.metrics.modes import CHANNEL_HEADS, Modes, modes_by_classifiers, with_channel_classifiers
from quality.datasets import digits_of

DIGITS = "digits"
"""The name under which modes are in the table of scores, as if it were an extractor."""


def mode_scores(images: np.ndarray, data: Path) -> dict[str, Any]:
    """Modes among images uint8 [N, H, W, 3], and the reverse KL divergence of their frequencies from equal ones."""
    modes, find = _modes()
    covered = coverage(find(images), modes.expected)
    return {"real": "", "modes": covered.covered, "modes_kl": round(covered.kl, 4)}


def accuracy(data: Path, count: int) -> tuple[float, float]:
    """Share of the first `count` real images whose (channels, all three digits) are recognised."""
    digits = np.load(digits_of(data))[:count]
    _, find = _modes()
    found = find(np.load(data, mmap_mode="r")[:count])
    right = np.stack([found // 100, found // 10 % 10, found % 10], 1) == digits
    return float(right.mean()), float(right.all(1).mean())


@cache
def _modes() -> tuple[Modes, Any]:
    network = with_channel_classifiers(extractor("kantor-small"))
    modes = modes_by_classifiers(network, CHANNEL_HEADS, "digits of the three channels")

    def find(images: np.ndarray) -> np.ndarray:
        """int64 [N], in the order of the images."""
        features = extract((images[start : start + BATCH] for start in range(0, len(images), BATCH)), network)
        found = np.empty(len(images), np.int64)
        found[features.order] = modes.find(features, False)
        return found

    return modes, find
