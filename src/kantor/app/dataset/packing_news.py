"""What the user learns while images are packed: how long it takes, and a sheet of what has been read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kantor import atomic
from kantor.config.schema import Config
from kantor.data.packing.pool import Row
from kantor.errors import UserError
from kantor.progress import Progress
from kantor.sample.grid import grid, png_bytes
from kantor.sinks.timing import Throttle, duration
from kantor.types import ImageSpec

SHEET = "packing.png"
"""Next to the run directories; samples/reals.png of the run takes its place."""
_SHOWN = 64
_MEASURED_S, _WORTH_TELLING_S = 1.0, 5.0
_EVERY_S = 2.0
_EVERY_FRACTION, _COST = 0.1, 0.05  # of the time so far; of the time to the next sheet


class PackingNews:
    """Tells how long packing takes, once that is known, and keeps a sheet of real images at `sheet`.

    Args:
        note: takes lines for the user.
        sheet: a PNG; None for none.
        planned: called before packing with the configuration, whose size is filled, and the spec of the images.
    """

    def __init__(
        self,
        note: Callable[[str], None],
        sheet: Path | None = None,
        planned: Callable[[Config, ImageSpec], None] = lambda config, spec: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.planned = planned
        self._note, self._path, self._clock = note, sheet, clock

    def begin(self, spec: ImageSpec, name: str, progress: Progress) -> Packing:
        """Follows one dataset of this name; `progress` is told what the result is told."""
        return Packing(self._note, self._path, spec, name, progress, self._clock)


class Packing:
    """One dataset on its way: progress and rows come in, lines and a sheet go out. See `PackingNews`."""

    def __init__(
        self,
        note: Callable[[str], None],
        path: Path | None,
        spec: ImageSpec,
        name: str,
        progress: Progress,
        clock: Callable[[], float],
    ) -> None:
        self._note, self._path, self._spec, self._name, self._progress = note, path, spec, name, progress
        self._clock, self._throttle = clock, Throttle(_COST, clock)
        self._began_s = clock()
        self._next_s = self._began_s + _EVERY_S
        self._first: tuple[int, float] | None = None
        self._done = self._total = 0
        self._told = self._shown = False
        self._rows: list[bytes] = []  # pixels of every step-th image
        self._step, self._seen = 1, 0

    def progress(self, done: int, total: int, rejected: int = 0, /) -> None:
        """Takes what `Progress` takes, passes it on, and tells once how long it takes."""
        self._progress(done, total, rejected)
        now_s = self._clock()
        if self._first is None or done < self._done:  # images are looked at first, and packed then
            self._first = done, now_s  # the start of the workers says nothing about the speed
        self._done, self._total = done, total
        (first, first_s), more = self._first, done - self._first[0]
        if self._told or not more or now_s - first_s < _MEASURED_S:
            return
        self._told = True
        seconds = (now_s - first_s) / more * (total - first)
        if seconds >= _WORTH_TELLING_S:
            self._note(f"packing {total:,} images takes about {duration(seconds)}")

    def rows(self, outcomes: Sequence[object]) -> None:
        """Takes the images that were just packed, and shows some of all now and then."""
        if self._path is None:
            return
        for row in outcomes:
            if isinstance(row, Row):
                if self._seen % self._step == 0:
                    self._rows.append(row.pixels)
                    if len(self._rows) > 2 * _SHOWN:
                        self._rows, self._step = self._rows[::2], 2 * self._step
                self._seen += 1
        if self._rows and self._clock() >= self._next_s and self._throttle.due():
            with self._throttle.doing():
                self._show(self._path)
            now_s = self._clock()
            self._next_s = now_s + max(_EVERY_S, _EVERY_FRACTION * (now_s - self._began_s))

    def _show(self, path: Path) -> None:
        chosen = np.unique(np.linspace(0, len(self._rows) - 1, min(_SHOWN, len(self._rows))).astype(int))
        images = np.stack([np.frombuffer(self._rows[i], np.uint8).reshape(self._spec) for i in chosen])
        caption = f"{self._name}: {len(images):,} of {self._seen:,} images read so far"
        with contextlib.suppress(UserError, OSError):  # packing does not depend on it
            atomic.make_folder(path.parent)
            atomic.write_bytes(path, png_bytes(grid(images, caption=caption)))
            if not self._shown:
                self._shown = True
                self._note(f"images read so far: {path}")
