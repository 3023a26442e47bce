"""Notices that training has become much slower: another program has taken the processor, say."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from kantor.engine import events
from kantor.sinks.timing import throughput

TICKS = 3
"""So many slow ticks in a row make a slump."""
_HALF, _OVER = 0.5, 0.75  # of the usual rate: a tick is slow; a slump has ended
_USUAL, _FEWEST = 50, 5  # ticks whose median is the usual rate: at most, at least
_SHORTEST_S = 1.0  # of the slow ticks together: shorter ones say nothing


class Rates(NamedTuple):
    """Images a second before a slump and in it."""

    before: float
    now: float


class Slump:
    """Finds slumps in a series of ticks, each once: three ticks in a row at half the median rate of those before."""

    def __init__(self) -> None:
        self._usual: deque[float] = deque(maxlen=_USUAL)
        self._slow: list[tuple[float, float]] = []  # images, seconds
        self._told = False

    def add(self, images: float, seconds: float) -> Rates | None:
        """Takes the next tick, its time without samples, scores and saves; returns the rates if it completes a slump."""
        rate = images / max(seconds, 1e-9)
        if len(self._usual) < _FEWEST:
            self._usual.append(rate)
            return None
        usual = statistics.median(self._usual)
        if rate > _HALF * usual:
            self._slow.clear()
            self._told = self._told and rate < _OVER * usual
            if not self._told:
                self._usual.append(rate)
            return None
        self._slow.append((images, seconds))
        spent_s = sum(seconds for _, seconds in self._slow)
        if self._told or len(self._slow) < TICKS or spent_s < _SHORTEST_S:
            return None
        self._told = True
        return Rates(usual, sum(images for images, _ in self._slow) / spent_s)


class SlumpWatch(events.Listener):
    """Says once in each slump that there is one; after the next save it may have threads measured anew.

    Args:
        steady_from: images from which on a cycle is as much work as those after it.
        retune: measures, and returns what it chose; None leaves the threads alone.
    """

    def __init__(self, steady_from: int = 0, retune: Callable[[int], Iterable[events.Event]] | None = None) -> None:
        self._steady_from, self._retune, self._total = steady_from, retune, 0
        self._begin()

    def on(self, event: events.Event) -> Iterable[events.Event | events.Request] | None:
        match event:
            case events.Started() | events.Replanned():
                self._total = event.total_images
                if isinstance(event, events.Started):
                    self._begin()
            case events.Tick():
                return self._tick(event)
            case events.Saved() if self._pending and self._retune and event.images_seen < self._total:
                chosen = list(self._retune(event.images_seen))
                self._begin()
                return chosen
        return None

    def _begin(self) -> None:
        self._slump, self._pending = Slump(), False
        self._last: tuple[int, float] | None = None  # images seen, seconds

    def _tick(self, tick: events.Tick) -> Iterable[events.Event]:
        last, self._last = self._last, (tick.images_seen, tick.elapsed_s)
        # the first tick holds what is loaded, compiled or recorded once
        if last is None or last[0] < self._steady_from or tick.images_seen <= last[0]:
            return ()
        rates = self._slump.add(tick.images_seen - last[0], tick.elapsed_s - last[1] - tick.aside_s)
        if rates is None:
            return ()
        self._pending = True
        now = throughput(rates.now)
        shorter = f"{rates.before:.{0 if rates.before >= 10 else 1}f}"
        message = f"rate has fallen from {shorter} to {now} for three ticks: is something else running?"
        return (events.Found(tick.images_seen, "slump", message, {"before": rates.before, "now": rates.now}),)
