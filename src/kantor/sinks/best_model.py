"""Which checkpoint of a run was the best, by one of its scores."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from kantor.engine.events import Best, Event, Listener, Request, Save, Scored
from kantor.metrics.score import BETTER, LOWER, kind, may_differ_for


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
        self._before = self.state()
        self.value, self.images_seen, self._provenance = value, event.images_seen, provenance
        return [Best(event.images_seen, self.name, value), Save()]

    def lost(self) -> None:
        """Goes back to the best score before, whose generator is still there: the new one could not be written."""
        self.load(self._before)

    def keeps(self, images_seen: int) -> bool:
        """Whether the generator at `images_seen` is the one to keep."""
        return self.images_seen in (None, images_seen)

    def state(self) -> dict[str, Any]:
        return {"value": self.value, "images_seen": self.images_seen, "provenance": self._provenance}

    def load(self, state: dict[str, Any]) -> None:
        if self.name:  # else the best of an earlier call no longer matters
            self.value, self.images_seen = state["value"], state["images_seen"]
            self._provenance = dict(state["provenance"])
