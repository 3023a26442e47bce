"""Which moment of a run was the best, by one of its scores."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from kantor.engine.events import Best, Event, Request, Save, Scored
from kantor.metrics.score import BETTER, LOWER, kind, may_differ_for


class BestScore:
    """Remembers the best score of a run and asks for a checkpoint of that moment.

    Scores that were not measured in the same way as the best so far begin anew: they say nothing about it.

    Args:
        name: of the number: "fd@kantor-small"; "" where the newest moment counts as the best.

    Attributes:
        value, images_seen: of the best so far; None where there is none.
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
        alike = {name: told for name, told in event.provenance.items() if name not in free} | {"name": self.name}
        if self.value is not None and alike == self._provenance and not self._better(value, self.value):
            return None
        self._before = self.state()
        self.value, self.images_seen, self._provenance = value, event.images_seen, alike
        return [Best(event.images_seen, self.name, value), Save()]

    def lost(self) -> None:
        """The generator of the best moment could not be written: the best before it is still there."""
        self.load(self._before)

    def keeps(self, images_seen: int) -> bool:
        """Whether the generator of this moment is the one to keep."""
        return self.images_seen in (None, images_seen)

    def state(self) -> dict[str, Any]:
        return {"value": self.value, "images_seen": self.images_seen, "provenance": self._provenance}

    def load(self, state: dict[str, Any]) -> None:
        if self.name:  # else what an earlier call held for the best no longer matters
            self.value, self.images_seen = state["value"], state["images_seen"]
            self._provenance = dict(state["provenance"])

    def _better(self, value: float, than: float) -> bool:
        way = BETTER.get(kind(self.name), LOWER)
        return value < than if way == LOWER else value > than
