"""What scores are made of: the images of both sides, and what else is known of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kantor.metrics.bootstrap import REPLICATES
from kantor.metrics.extract import Gathered
from kantor.metrics.features import Extractor
from kantor.metrics.memorisation import Memory, remember
from kantor.metrics.modes import Modes
from kantor.types import Images

MOST_PAIRED = 2048
"""Images whose pairs are compared, and whose patches are."""
Pick = Callable[[NDArray[np.int64]], Images]


@dataclass(frozen=True)
class CriticScores:
    """What a critic makes of images that it learnt from, drawn ones, and real ones that it never saw (or None)."""

    reals: NDArray[np.float64]
    fakes: NDArray[np.float64]
    held_out: NDArray[np.float64] | None


@dataclass(frozen=True)
class Material:
    """All that scores are made of.

    Attributes:
        fakes, reals: images drawn, and those of the reference.
        pick_fakes, pick_reals: whole images, by their place in the stream that was gathered.
        fake_labels, real_labels: int64, of the rows of fakes and reals; None where there are no classes.
        training: all images that may have been copied; None where they are not known.
        held_out: real images that the generator did not learn from.
        modes: of the reference, where they are known.
        critic: its scores, where there is one.
        seed: of resampling and of random directions, pairs and places.
        replicates: resampled sets behind an interval.
        known: what the reals get, by name of the number: filled by the first evaluation, for the next ones of the same
            reals.
    """

    extractor: Extractor
    fakes: Gathered
    reals: Gathered
    pick_fakes: Pick
    pick_reals: Pick
    fake_labels: NDArray[np.int64] | None = None
    real_labels: NDArray[np.int64] | None = None
    training: Gathered | None = None
    held_out: Gathered | None = None
    modes: Modes | None = None
    critic: CriticScores | None = None
    seed: int = 0
    replicates: int = REPLICATES
    known: dict[str, float] = field(default_factory=dict)

    def reals_get(self, name: str, measure: Callable[[], float]) -> float:
        """What `measure` gives, once for these reals."""
        if name not in self.known:
            self.known[name] = measure()
        return self.known[name]

    @cached_property
    def halves(self) -> tuple[Gathered, Gathered]:
        """The reals as two sets: what a score makes of these is the best that a generator can hope for."""
        half = len(self.reals) // 2
        return self.reals.rows(slice(0, half)), self.reals.rows(slice(half, 2 * half))

    @cached_property
    def memory(self) -> Memory:
        """Distances to nearest images."""
        assert self.training is not None
        return remember(self.fakes, self.training, self.held_out, self.seed)

    @cached_property
    def within_classes(self) -> bool:
        """Whether pairs are of one class: where both sides have the same classes, and two images of one."""
        sides = (self.fake_labels, self.real_labels)
        return all(labels is not None and np.bincount(labels[:MOST_PAIRED]).max() > 1 for labels in sides)

    def key(self, name: str, space: str = "") -> str:
        return f"{name}@{space or self.extractor.name}"


class Picked:
    """Whole images as if they were one array uint8 [n, H, W, C], read when rows of it are asked for."""

    def __init__(self, pick: Pick, order: NDArray[np.int64]) -> None:
        self._pick, self._order = pick, order
        self.shape: tuple[int, ...] = (len(order), *pick(order[:1]).shape[1:])

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Images:
        return self._pick(self._order[rows])
