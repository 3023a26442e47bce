"""Time in a run: how fast it is, how long it will take, and when costly work is due."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Pace:
    """Throughput and time left of a run, smoothed over some 15 s. budget_s: from `now_s` to its end; 0 for no limit."""

    def __init__(self, total_images: int = 1, budget_s: float = 0, images_seen: int = 0, now_s: float = 0) -> None:
        self.total_images, self.images_seen = max(1, total_images), images_seen
        self.budget_s = budget_s if math.isfinite(budget_s) else 0.0
        self.started_s = self.now_s = now_s
        self._images = self._seconds = 0.0
        self._from = (images_seen, now_s)

    def at(self, images_seen: int, now_s: float) -> None:
        """Records where the run is."""
        self.images_seen, self.now_s = images_seen, now_s
        images, seconds = images_seen - self._from[0], now_s - self._from[1]
        if images < 0:  # rolled back
            self._from = (images_seen, now_s)
        elif images and seconds >= 0.5:
            keep = math.exp(-seconds / 15)
            self._images, self._seconds = self._images * keep + images, self._seconds * keep + seconds
            self._from = (images_seen, now_s)

    @property
    def images_per_second(self) -> float:
        """Throughput; 0 while unknown."""
        return self._images / self._seconds if self._seconds else 0.0

    def fraction(self) -> float:
        """How much of the run is done, by images or by time, whichever ends first: 0 to 1."""
        by_time = (self.now_s - self.started_s) / self.budget_s if self.budget_s else 0.0
        return min(1.0, max(self.images_seen / self.total_images, by_time))

    def percent(self) -> int:
        return int(100 * self.fraction())

    def left_s(self) -> float | None:
        """Seconds to the end; None while unknown."""
        times = [(self.total_images - self.images_seen) / self.images_per_second] if self.images_per_second else []
        if self.budget_s:
            times.append(self.budget_s - (self.now_s - self.started_s))
        return max(0.0, min(times)) if times else None


class Throttle:
    """Limits costly work that may be put off to a small fraction of the time, from how long it took the last time.

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


def duration(seconds: float) -> str:
    """A time span: "35 s", "4 min", "1 h 12 min", "2 d 3 h"."""
    if seconds < 59.5:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def throughput(images_per_second: float) -> str:
    """ "128 images/s", "1.5 images/s"."""
    return f"{images_per_second:.{0 if images_per_second >= 10 else 1}f} images/s"
