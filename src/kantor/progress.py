"""How far a long piece of work is: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

LINE_EVERY_S = 5.0
_MEASURED_S = 1.0  # in less, a rate is not known


class Progress(Protocol):
    """Called now and then with what is done, out of how many, and how many of the former were rejected."""

    def __call__(self, done: int, total: int, rejected: int = 0, /) -> None: ...


ProgressOf = Callable[[str], Progress]
"""progress_of("packing") -> the progress of packing."""


def silent(_done: int, _total: int, _rejected: int = 0, /) -> None:
    """Shows nothing."""


def all_silent(_doing: str) -> Progress:
    """Shows nothing of any work."""
    return silent


@contextlib.contextmanager
def show_progress(show: Callable[[str], None], terminal: bool) -> Iterator[ProgressOf]:
    """Yields progress_of("packing"): bars on standard output if that is a terminal, else lines that `show` shows."""
    with contextlib.ExitStack() as bars:

        def bar(doing: str) -> Progress:
            begun = ProgressBar(doing)
            bars.callback(begun.stop)
            return begun

        yield bar if terminal else lambda doing: ProgressLines(doing, show)


class ProgressLines:
    """A line every five seconds, with the time left, by `show`. doing: "packing", "generating"."""

    def __init__(self, doing: str, show: Callable[[str], None]) -> None:
        self._doing, self._show = doing, show
        self._started_s = time.monotonic()
        self._next_line_s = self._started_s + LINE_EVERY_S
        self._first = self._last = -1

    def __call__(self, done: int, total: int, rejected: int = 0, /) -> None:
        now_s = time.monotonic()
        if done < self._last:  # other work: images were looked at, and are packed now
            self._first = -1
        self._last = done
        if self._first < 0 and done:  # the start of the worker processes says nothing about the speed
            self._first, self._started_s = done, now_s
        if now_s < self._next_line_s or done <= self._first or now_s < self._started_s + _MEASURED_S:
            return
        self._next_line_s = now_s + LINE_EVERY_S
        left_s = (now_s - self._started_s) / (done - self._first) * (total - done)
        rejections = f", {rejected:,} rejected" if rejected else ""
        self._show(f"{self._doing} {done:,} of {total:,}{rejections}, about {left_s:.0f} s left")


class ProgressBar:
    """A bar with the time left, from the first call until all is done; a later call begins a new one."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._bar: Any = None

    def __call__(self, done: int, total: int, rejected: int = 0, /) -> None:
        if self._bar is None:
            self._begin(total)
        rejections = f"{rejected:,} rejected" if rejected else ""
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, rejections=rejections)
        if done >= total:
            self.stop()

    def stop(self) -> None:
        """Takes the bar off the terminal and gives the cursor back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _begin(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[rejections]}"))
        self._bar = Progress(TextColumn(self._doing, markup=False), *columns, transient=True)
        self._bar.add_task(self._doing, total=total, rejections="")
        self._bar.start()
