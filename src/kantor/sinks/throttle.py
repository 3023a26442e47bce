"""Costly work that may be put off is done no oftener than a small share of the time allows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Sparing:
    """Tells when work is to be done again, from how long it took the last time.

    Args:
        share: of the time that the work may take. The first time is free.
        clock: seconds.
    """

    def __init__(self, share: float = 0.005, clock: Callable[[], float] = time.monotonic) -> None:
        self._share, self._clock, self._next_s = share, clock, -math.inf

    def due(self) -> bool:
        return self._clock() >= self._next_s

    @contextmanager
    def doing(self) -> Iterator[None]:
        """Around the work."""
        began_s = self._clock()
        yield
        ended_s = self._clock()
        self._next_s = ended_s + (ended_s - began_s) / self._share
