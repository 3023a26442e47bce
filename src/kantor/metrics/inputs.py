"""What metrics are computed from: generated and real images, and what else is known of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kantor.metrics.bootstrap import REPLICATES
from kantor.metrics.features import Extractor, ImageFeatures
from kantor.metrics.memorisation import NearestImages, find_nearest_images
from kantor.metrics.modes import Modes
from kantor.metrics.precision_recall import Neighbourhoods, neighbourhoods
from kantor.types import Images

MAX_PAIRED_IMAGES = 2048
"""Images that swd and msssim take of each side, at most."""
MAX_NEIGHBOUR_IMAGES = 20_000
"""Images of each side that pairwise distances are computed of, at most: time grows with the square."""
ReadImages = Callable[[NDArray[np.int64]], Images]


class OrderedImages:
    """Whole images as one array uint8 [n, H, W, C], of which rows are read when they are indexed.

    Args:
        read: reads images by their index in a stream.
        order: int64 [n], that index of each row.
    """

    def __init__(self, read: ReadImages, order: NDArray[np.int64]) -> None:
        self._read, self._order = read, order
        self.shape: tuple[int, ...] = (len(order), *read(order[:1]).shape[1:])

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Images:
        return self._read(self._order[rows])


@dataclass(frozen=True)
class CriticScores:
    """Critic scores of training images, generated images, and real images that the critic never saw (or None)."""

    training: NDArray[np.float64]
    generated: NDArray[np.float64]
    held_out: NDArray[np.float64] | None


class AskedControls(NamedTuple):
    """Controls of generated images: see `kantor.controls`.

    Attributes:
        names: of the K controls.
        asked, got: float64 [n, K]: what the generator was asked for, and what is measured in its images.
    """

    names: tuple[str, ...]
    asked: NDArray[np.float64]
    got: NDArray[np.float64]


@dataclass(frozen=True)
class MetricInputs:
    """Everything that metrics are computed from.

    Attributes:
        generated, real: features of the generated images, and of the reference.
        read_generated, read_real: whole images by their index in the stream that features were extracted from.
        generated_labels, real_labels: int64, of the rows of `generated` and `real`; None without classes.
        training: all images that may have been copied; None if they are unknown.
        held_out: real images that the generator was not trained on.
        modes: of the reference, if they are known.
        critic: its scores, if there is a critic.
        controls: of a guided generator; else None.
        seed: of resampling, and of random directions, pairs and patches.
        replicates: resampled sets behind an interval.
        real_scores: what real images score, by name, as JSON values. The first evaluation fills it for the next ones
            of the same real images.
    """

    extractor: Extractor
    generated: ImageFeatures
    real: ImageFeatures
    read_generated: ReadImages
    read_real: ReadImages
    generated_labels: NDArray[np.int64] | None = None
    real_labels: NDArray[np.int64] | None = None
    training: ImageFeatures | None = None
    held_out: ImageFeatures | None = None
    modes: Modes | None = None
    critic: CriticScores | None = None
    controls: AskedControls | None = None
    seed: int = 0
    replicates: int = REPLICATES
    real_scores: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def halves(self) -> tuple[ImageFeatures, ImageFeatures]:
        """The real images as two sets. One half scored against the other is the best a generator can hope for."""
        half = len(self.real) // 2
        return self.real.rows(slice(0, half)), self.real.rows(slice(half, 2 * half))

    @cached_property
    def nearest_images(self) -> NearestImages:
        assert self.training is not None
        return find_nearest_images(self.generated, self.training, self.held_out, self.seed, self.real_scores)

    @cached_property
    def memberships(self) -> Neighbourhoods:
        """Of equally many images of each side: recall and coverage depend on both numbers."""
        count = min(len(self.generated), len(self.real), MAX_NEIGHBOUR_IMAGES)
        return neighbourhoods(self.generated.first(count).features, self.real.first(count).features)

    @cached_property
    def within_classes(self) -> bool:
        """Whether msssim pairs images of one class: both sides have the same classes, and two images of one."""
        sides = (self.generated_labels, self.real_labels)
        return all(labels is not None and np.bincount(labels[:MAX_PAIRED_IMAGES]).max() > 1 for labels in sides)
