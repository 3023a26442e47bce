"""Which checkpoint of a run was the best, by one of its scores."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from kantor.engine.events import Best, Event, Found, Listener, Request, Save, Scored
from kantor.metrics.score import BETTER, LOWER, Score, Scores, current_names, kind, may_differ_for


class BestScore(Listener):
    """Remembers the best score of a run, and asks for a checkpoint when there is a better one.

    A score measured in another way than the best so far replaces it, since the two cannot be compared.

    Args:
        name: of the score: "fd@kantor-small"; "" if the newest generator counts as the best.

    Attributes:
        value, images_seen: of the best so far; None before the first.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.value: float | None = None
        self.images_seen: int | None = None
        self._provenance: dict[str, Any] = {}
        self._details: dict[str, Any] = {}
        self._before = self.state()

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        if not isinstance(event, Scored) or not math.isfinite(value := event.values.get(self.name, math.nan)):
            return None
        free = may_differ_for(self.name)
        provenance = {key: value for key, value in event.provenance.items() if key not in free} | {"name": self.name}
        if self.value is not None and provenance == self._provenance:
            lower_is_better = BETTER.get(kind(self.name), LOWER) == LOWER
            if not (value < self.value if lower_is_better else value > self.value):
                return None
        disagreement = self._disagreement(event) if provenance == self._provenance else ""
        self._before = self.state()
        self.value, self.images_seen, self._provenance = value, event.images_seen, provenance
        self._details = {name: dict(score) for name, score in event.details.items()}
        best = Best(event.images_seen, self.name, value)
        return [best, *([Found(event.images_seen, "features-disagree", disagreement)] if disagreement else []), Save()]

    def _disagreement(self, event: Scored) -> str:
        """Whether the distances of this best generator and of the one before differ in direction between features."""
        if not event.provenance.get("more_features") or not self._details:
            return ""
        now, before = (
            Scores({name: Score.from_json(score) for name, score in details.items()})
            for details in (event.details, self._details)
        )
        line = now.compare(before).disagreement
        return f"the new best checkpoint by {self.name}: {line}" if line else ""

    def lost(self) -> None:
        """Goes back to the best score before, whose generator is still there: the new one could not be written."""
        self.load(self._before)

    def keeps(self, images_seen: int) -> bool:
        """Whether the generator at `images_seen` is the one to keep."""
        return self.images_seen in (None, images_seen)

    def state(self) -> dict[str, Any]:
        found = {"value": self.value, "images_seen": self.images_seen, "provenance": self._provenance}
        return {**found, "details": self._details} if "more_features" in self._provenance else found

    def load(self, state: dict[str, Any]) -> None:
        if self.name:  # else the best of an earlier call no longer matters
            self.value, self.images_seen = state["value"], state["images_seen"]
            self._provenance, self._details = current_names(state["provenance"]), dict(state.get("details", {}))
