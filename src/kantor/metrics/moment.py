"""Which generator of a run is the one to keep: the best by its score, or the newest while no score can be trusted.

A distance between features may prefer noise to poor images. So while recall is 0 the newest is kept; and where two
extractors order the best and the newest by their Fréchet distances in opposite ways, the newest is kept too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kantor.metrics.bootstrap import Interval
from kantor.metrics.score import BETTER, LOWER, Score, kind

RECALL_IS_ZERO, EXTRACTORS_DISAGREE = "recall is 0", "two extractors disagree"


@dataclass(frozen=True)
class Measured:
    """A generator with what its scores say.

    Attributes:
        images_seen: when it was measured.
        name, value: of the score that chooses: "fd@kantor-small".
        recall: None if it was not measured.
        distances: Fréchet distance and its 95% interval, by extractor.
        provenance: what must be equal for the values to be comparable.
    """

    images_seen: int
    name: str
    value: float
    recall: float | None = None
    distances: Mapping[str, tuple[float, Interval]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def comparable(self, other: Measured) -> bool:
        return self.name == other.name and self.provenance == other.provenance

    def beats(self, other: Measured) -> bool:
        lower_is_better = BETTER.get(kind(self.name), LOWER) == LOWER
        return self.value < other.value if lower_is_better else self.value > other.value


class Choice(NamedTuple):
    """The generator to keep.

    Attributes:
        best: the best by its score among those to be trusted; None before there is one.
        newest_because: why the newest is kept instead; "" if `best` is kept.
    """

    best: Measured | None = None
    newest_because: str = ""

    @property
    def keeps_newest(self) -> bool:
        return self.best is None or bool(self.newest_because)

    @property
    def reason(self) -> str:
        """ "best by fd@kantor-small (one extractor)", "newest, because recall is 0", "newest"."""
        if self.best is None or self.newest_because:
            return f"newest, because {self.newest_because}" if self.newest_because else "newest"
        return f"best by {self.best.name}{'' if len(self.best.distances) > 1 else ' (one extractor)'}"


def choose_moment(before: Choice, new: Measured) -> Choice:
    """The choice after one more generator was measured.

    1. A score that is no number changes nothing.
    2. With a recall of 0, `new` cannot be the best: an earlier best stays; if there is none, the newest is kept.
    3. The first with a recall above 0 is the best, and so is the first that is measured in another way.
    4. If two extractors disagree on it and the best, the newest is kept, and the best stays to compare with.
    5. Else the better of the two by the score is the best, and is kept.

    A recall that was not measured counts as above 0.
    """
    best = before.best
    if not math.isfinite(new.value):
        return before
    if new.recall == 0:
        return Choice(best, "" if best else RECALL_IS_ZERO)
    if best is None or not new.comparable(best):
        return Choice(new)
    if disagreement(best, new):
        return Choice(best, EXTRACTORS_DISAGREE)
    return Choice(new if new.beats(best) else best)


def disagreement(best: Measured, new: Measured) -> str:
    """Which extractors see `new` closer to the real images than `best`, and which farther; "" if they do not disagree.

    Only distances count whose 95% intervals do not overlap.
    """
    closer, farther = [], []
    for extractor, (_, (low, high)) in new.distances.items():
        if extractor in best.distances:
            _, (best_low, best_high) = best.distances[extractor]
            closer += [extractor] if high < best_low else []
            farther += [extractor] if low > best_high else []
    if not (closer and farther):
        return ""
    return f"fd is lower with {', '.join(closer)}, higher with {', '.join(farther)}"


def needs_second_opinion(before: Choice, new: Measured) -> bool:
    """Whether the distance in a second extractor can change the choice, now or once `new` is the best."""
    best = before.best
    if new.recall == 0 or not math.isfinite(new.value):
        return False
    if best is None or not new.comparable(best) or new.beats(best):
        return True
    shared = [(new.distances[name][1], best.distances[name][1]) for name in new.distances if name in best.distances]
    return any(high < best_low or low > best_high for (low, high), (best_low, best_high) in shared)


def distances(scores: Mapping[str, Score]) -> dict[str, tuple[float, Interval]]:
    """Fréchet distances and intervals by extractor, of scores by name; without those that are no numbers."""
    found = {name.partition("@")[2]: score for name, score in scores.items() if kind(name) == "fd"}
    return {
        extractor: (score.value, score.interval)
        for extractor, score in found.items()
        if score.interval is not None and all(map(math.isfinite, (score.value, *score.interval)))
    }


def recall(scores: Mapping[str, Score], name: str) -> float | None:
    """Recall in the features of the score `name`, else in those measured first; None if it is unknown."""
    found = {n.partition("@")[2]: score.value for n, score in scores.items() if kind(n) == "recall"}
    value = found.get(name.partition("@")[2], next(iter(found.values()), math.nan))
    return value if math.isfinite(value) else None
