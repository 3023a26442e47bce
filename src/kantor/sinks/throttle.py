"""Limits costly work that may be put off to a small fraction of the time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Throttle:
    """Says when work is due again, from how long it took the last time.

    Args:
        fraction: of the time that the work may take. The first time is free.
        clock: seconds.
    """

    def __init__(self, fraction: float = 0.005, clock: Callable[[], float] = time.monotonic) -> None:
        self._fraction, self._clock, self._next_s = fraction, clock, -math.inf

    def due(self) -> bool:
        return self._clock() >= self._next_s

    @contextmanager
    def doing(self) -> Iterator[None]:
        """Wraps the work, to time it."""
        started_s = self._clock()
        yield
        ended_s = self._clock()
        self._next_s = ended_s + (ended_s - started_s) / self._fraction
