"""How fast a run is, how long it will take, and where its critic gap goes."""

from __future__ import annotations

import math


class Pace:
    """Throughput and time left of a run, smoothed over some fifteen seconds.

    Args:
        budget_s: seconds from `now_s` until the run must stop; 0 for no limit.
    """

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


class Trend:
    """A number and its direction."""

    def __init__(self) -> None:
        self.value = self._fast = self._slow = math.nan
        self._count = 0

    @property
    def known(self) -> bool:
        return math.isfinite(self.value)

    def add(self, value: float) -> None:
        self.value = value
        if math.isfinite(value):
            self._count += 1
            self._fast = value if self._count == 1 else self._fast + 0.4 * (value - self._fast)
            self._slow = value if self._count == 1 else self._slow + 0.08 * (value - self._slow)

    def words(self) -> str:
        """ "3.21, falling"."""
        text = f"{self.value:.3g}"
        if self._count < 4:
            return text
        change = (self._fast - self._slow) / (abs(self._slow) + 1e-9)
        return text + (", rising" if change > 0.05 else ", falling" if change < -0.05 else ", steady")


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
