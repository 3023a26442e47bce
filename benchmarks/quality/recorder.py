"""The clock of a contestant, in its own process: only training counts, and weights are kept at the marks.

Needs nothing but numpy, so that contestants of any framework can use it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

W = TypeVar("W")
Images = np.ndarray  # uint8 [N, H, W, C]


@dataclass(frozen=True)
class Moment(Generic[W]):
    """What was known when a mark was reached.

    Attributes:
        mark_s, seconds: of training: as planned, and as it came.
        wall_s: since the process was started, everything included.
        images: real images shown to the critic.
    """

    mark_s: float
    seconds: float
    wall_s: float
    images: int
    weights: W


class Recorder(Generic[W]):
    """Times cycles and keeps weights.

    Args:
        spec: as the parent writes it: "marks", "started_s" (time.time() when the process was started), "folder".
        take: copies the weights that would be used if training ended now.
    """

    def __init__(
        self, spec: dict[str, Any], take: Callable[[], W], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._marks = list(spec["marks"])
        self._started_s, self._folder = spec["started_s"], Path(spec["folder"])
        self._take, self._clock = take, clock
        self._moments: list[Moment[W]] = []
        self._start_up_s: float | None = None
        self._wall_s = self._peak_mb = 0.0
        self.seconds, self.images = 0.0, 0

    @property
    def done(self) -> bool:
        return not self._marks

    def cycle(self, cycle: Callable[[], int]) -> None:
        """Runs and times one cycle, which returns how many real images it showed to the critic."""
        if self._start_up_s is None:
            self._start_up_s = time.time() - self._started_s
        began_s = self._clock()
        self.images += cycle()
        self.seconds += self._clock() - began_s
        while self._marks and self.seconds >= self._marks[0]:
            self._keep()

    def close(self) -> None:
        """Ends the clock: a run that ended before a mark has its last weights there."""
        while self._marks:
            self._keep()
        self._wall_s = time.time() - self._started_s
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._peak_mb = peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)

    def write(self, generate: Callable[[W], Images], more: dict[str, Images] | None = None, **facts: Any) -> None:
        """Writes the images of every moment, then `run.json`. more: images of the end that came about otherwise, by kind."""
        self._folder.mkdir(parents=True, exist_ok=True)
        rows: list[dict[str, Any]] = []
        for moment in self._moments:
            row = {key: value for key, value in asdict(_without_weights(moment)).items() if key != "weights"}
            same = rows and rows[-1]["seconds"] == moment.seconds
            row |= {"which": "weights", "file": rows[-1]["file"] if same else f"images-{moment.mark_s:g}.npy"}
            if not same:
                np.save(self._folder / row["file"], generate(moment.weights))
            rows.append(row)
        for kind, images in (more or {}).items():
            np.save(self._folder / f"images-{kind}.npy", images)
            rows.append({**rows[-1], "which": kind, "file": f"images-{kind}.npy"})
        facts |= {"start_up_s": self._start_up_s, "wall_s": self._wall_s, "peak_mb": self._peak_mb, "moments": rows}
        partial = self._folder / "run.json.partial"
        partial.write_text(json.dumps(facts, indent=1))
        partial.replace(self._folder / "run.json")

    def _keep(self) -> None:
        same = self._moments and self._moments[-1].seconds == self.seconds
        weights = self._moments[-1].weights if same else self._take()
        wall_s = time.time() - self._started_s
        self._moments.append(Moment(self._marks.pop(0), self.seconds, wall_s, self.images, weights))


def _without_weights(moment: Moment[Any]) -> Moment[None]:
    return Moment(moment.mark_s, moment.seconds, moment.wall_s, moment.images, None)
