"""How far a long piece of work is, where there is no bar to show it."""

from __future__ import annotations

import time
from collections.abc import Callable


class PlainProgress:
    """A line every few seconds with the time that is left.

    Args:
        doing: "packing", "drawing".
        show: shows a line.
    """

    def __init__(self, doing: str, show: Callable[[str], None]) -> None:
        self._doing, self._show = doing, show
        self._started_s = time.monotonic()
        self._next_s = self._started_s + 5
        self._first = -1

    def __call__(self, done: int, total: int, bad: int = 0) -> None:
        now = time.monotonic()
        if self._first < 0 and done:  # the start of the worker processes says nothing about the rate
            self._first, self._started_s = done, now
        if now < self._next_s or done <= self._first:
            return
        self._next_s = now + 5
        left_s = (now - self._started_s) / (done - self._first) * (total - done)
        unreadable = f", {bad:,} unreadable" if bad else ""
        self._show(f"{self._doing} {done:,} of {total:,}{unreadable}, about {left_s:.0f} s left")
