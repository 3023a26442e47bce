"""Which generator of a run is kept in generator.safetensors, by one of its scores."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from kantor.engine.events import Best, Event, Found, Kept, Listener, Request, Save, Scored
from kantor.metrics.moment import (
    EXTRACTORS_DISAGREE,
    Choice,
    Measured,
    choose_moment,
    disagreement,
    distances,
    needs_second_opinion,
    recall,
)
from kantor.metrics.score import Score, current_names, may_differ_for, provenance_of


class BestScore(Listener):
    """Remembers which generator is to be kept, and asks for a checkpoint when that is another one.

    Args:
        name: of the score that chooses: "fd@kantor-small"; "" if the newest generator is always kept.

    Attributes:
        choice: by the rules of `choose_moment`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.choice = self._before = Choice()

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        if not isinstance(event, Scored) or not self.name:
            return None
        new, before = self._measured(event), self.choice
        choice = choose_moment(before, new)
        if choice == before:
            return None
        self._before, self.choice = before, choice
        answers: list[Event | Request] = []
        if choice.best is new:
            answers.append(Best(event.images_seen, self.name, new.value))
        if before.best and choice.newest_because == EXTRACTORS_DISAGREE:
            answers.append(_disagreement(before.best, new))
        return [*answers, self._kept(event.images_seen), Save()]

    def wants_second_opinion(self, event: Scored) -> bool:
        """Whether to measure the distance in a second extractor too, which takes longer than all other scores."""
        return bool(self.name) and needs_second_opinion(self.choice, self._measured(event))

    def moment(self, newest: int) -> int:
        """images_seen of the generator to keep, where the newest has seen `newest` images."""
        return newest if self.choice.best is None or self.choice.newest_because else self.choice.best.images_seen

    @property
    def best_images(self) -> int | None:
        """images_seen of the best by its score, which may be kept later even if the newest is kept now."""
        return self.choice.best.images_seen if self.choice.best else None

    def written(self) -> None:
        """The generator of this choice is in the model file: `lost` does not go back beyond it."""
        self._before = self.choice

    def lost(self) -> None:
        """Goes back to the choice before, whose generator is still there: the new one could not be written."""
        self.choice = self._before

    def forget(self) -> None:
        """Keeps the newest from now on, until there is a new best: the checkpoint of the best is gone."""
        self.choice = self._before = Choice()

    def state(self) -> dict[str, Any]:
        best = self.choice.best
        found: dict[str, Any] = {"value": None, "images_seen": None, "provenance": {}}
        if best is not None:
            found = {
                "value": best.value,
                "images_seen": best.images_seen,
                "provenance": {**best.provenance, "name": best.name},
                "recall": best.recall,
                "distances": {name: [value, *ends] for name, (value, ends) in best.distances.items()},
            }
        return {**found, "newest_because": self.choice.newest_because, "reason": self.choice.reason}

    def load(self, state: dict[str, Any]) -> None:
        if not self.name:  # the best of an earlier call no longer matters
            return
        best = None
        if state["images_seen"] is not None:
            provenance = current_names(state["provenance"])
            best = Measured(
                state["images_seen"],
                provenance.pop("name", self.name),
                state["value"],
                state.get("recall"),
                _loaded_distances(state),
                _of_score(self.name, provenance),
            )
        self.choice = self._before = Choice(best, state.get("newest_because", ""))

    def _kept(self, images_seen: int) -> Kept:
        return Kept(images_seen, self.moment(images_seen), self.choice.reason)

    def _measured(self, event: Scored) -> Measured:
        scores = {name: Score.from_json(score) for name, score in event.details.items()}
        return Measured(
            event.images_seen,
            self.name,
            event.values.get(self.name, math.nan),
            recall(scores, self.name),
            distances(scores),
            _of_score(self.name, event.provenance),
        )


def _disagreement(best: Measured, new: Measured) -> Found:
    message = (
        f"two extractors disagree on the generators after {new.images_seen:,} and {best.images_seen:,} images: "
        f"{disagreement(best, new)} now; the newest is kept, look at the images of both"
    )
    evidence = {f"fd@{name} at {m.images_seen}": value for m in (best, new) for name, (value, _) in m.distances.items()}
    return Found(new.images_seen, "features-disagree", message, evidence)


def _of_score(name: str, provenance: Any) -> dict[str, Any]:
    """What must be equal for two scores of this name to be compared."""
    free = may_differ_for(name)
    return {key: value for key, value in provenance_of(name, provenance).items() if key not in free}


def _loaded_distances(state: dict[str, Any]) -> dict[str, tuple[float, tuple[float, float]]]:
    """Also from a state of the first version, which had whole scores if there were two extractors."""
    if "distances" in state:
        return {name: (value, (low, high)) for name, (value, low, high) in state["distances"].items()}
    return distances({name: Score.from_json(score) for name, score in state.get("details", {}).items()})
