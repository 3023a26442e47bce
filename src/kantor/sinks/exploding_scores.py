"""Ends a run that is beyond hope though every step is finite: with learning rates of 90, for example."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from kantor.engine.events import Event, Found, Listener, Request, Sampled, Started, Stop, Tick
from kantor.types import Images

EXPLODING_SCORES = "exploding-scores"
"""Name of the finding, and reason of the end."""
LARGEST_SCORE, LARGEST_SLOPE = 1e6, 1e3
"""Of a critic. Unbounded scores of healthy runs reach some thousands, logits some tens; gradients that are penalised, some tens."""
TICKS, SHEETS = 5, 3
"""In a row."""
ALL, BOTH_ENDS, FEW_REALS = 0.999, 0.05, 0.5


@dataclass(frozen=True)
class Signs:
    """Signs of an explosion, each counted without a break.

    Attributes:
        ticks: in which the critic's scores or its gradients were too large.
        half_sheets: whose images hold nothing but the least and the greatest value, unlike the real ones: the weights of the
            generator are so large that no gradient comes through its last layer. A sheet of one value alone, which may be a
            collapse that passes, counts half.
    """

    ticks: int = 0
    half_sheets: int = 0

    @property
    def told(self) -> str:
        """What is wrong, in a few words; "" as long as there is hope."""
        if self.ticks >= TICKS:
            return (
                f"scores above {LARGEST_SCORE:,.0f}, or gradients above {LARGEST_SLOPE:,.0f}, in {TICKS} ticks in a row"
            )
        if self.half_sheets >= 2 * SHEETS:
            return "sheet after sheet, every generated value is the least or the greatest possible"
        return ""


def counted(signs: Signs, event: Event, any_size: bool, real_ends: float) -> Signs:
    """The signs after one more event.

    Args:
        any_size: the critic's scores may be of any size: of custom networks, or if the loss does not bound them and no
            penalty does.
        real_ends: fraction of the values of real images that are the least or the greatest possible.
    """
    if isinstance(event, Tick):
        score, slope = (
            max(abs(event.values.get(name, 0.0)) for name in names)
            for names in (("critic_real", "critic_fake"), ("gradient_norm",))
        )
        exceeds = not any_size and (score > LARGEST_SCORE or slope > LARGEST_SLOPE)
        return replace(signs, ticks=signs.ticks + 1 if exceeds else 0)
    if isinstance(event, Sampled):
        least, greatest = ends(event.fixed)
        saturated = real_ends < FEW_REALS and least + greatest >= ALL
        weight = 2 if min(least, greatest) >= BOTH_ENDS else 1
        return replace(signs, half_sheets=signs.half_sheets + weight if saturated else 0)
    return signs


def ends(images: Images) -> tuple[float, float]:
    """Fractions of the values of uint8 images that are 0 and 255."""
    return float(np.mean(images == 0)), float(np.mean(images == 255))


class ExplodingScores(Listener):
    """Stops a run when `counted` has found enough signs. The state is saved, and an earlier best model stays.

    Args:
        any_size: see `counted`.
    """

    def __init__(self, any_size: bool) -> None:
        self.signs = Signs()
        self._any_size, self._real_ends, self._found = any_size, 1.0, False

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        if isinstance(event, Started) and event.reals.size:
            self._real_ends = sum(ends(event.reals))
        self.signs = counted(self.signs, event, self._any_size, self._real_ends)
        if self._found or not (told := self.signs.told) or not isinstance(event, Tick | Sampled):
            return None
        self._found = True  # a sheet of the same cycle follows its tick
        evidence = (
            dict(event.values)
            if isinstance(event, Tick)
            else dict(zip(("least", "greatest"), ends(event.fixed), strict=True))
        )
        return [Found(event.images_seen, EXPLODING_SCORES, f"beyond hope: {told}", evidence), Stop(EXPLODING_SCORES)]

    def state(self) -> dict[str, Any]:
        return asdict(self.signs)

    def load(self, state: dict[str, Any]) -> None:
        self.signs = Signs(**state)
