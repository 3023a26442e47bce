"""Runs `kantor train`, of whichever checkout PYTHONPATH names: python -m quality.run_kantor SPEC.json.

The command itself runs, with its calibration, schedules, scores, grids and checkpoints; only its loop gets a clock around
each training cycle. The user's time budget decides on the horizon of schedules, as it does for a user. It then ends after
that many images, or as many seconds of training: what is not training (scores, grids, checkpoints) is not counted.
"""

from __future__ import annotations

import dataclasses
import json
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np

from quality.datasets import channels
from quality.recorder import Recorder

FIRST_SEED = 5_000_000
"""Of the latents of images to score: others than the grids show."""


def budget_s(spec: dict[str, Any]) -> float:
    """Seconds that the run is to train: up to the last mark, unless its options have a `budget`."""
    return float(spec["options"].get("budget", spec["marks"][-1]))


def arguments(spec: dict[str, Any]) -> list[str]:
    """The command line: options with a dot are fields, others but `budget` are flags."""
    words = ["train", spec["data"], "--time-budget", f"{budget_s(spec):g}s", "--seed", str(spec["seed"])]
    words += ["--runs", str(Path(spec["folder"]) / "runs"), "--name", "run"]
    words += channels(Path(spec["data"]))
    for name, value in spec["options"].items():
        if name == "budget":
            continue
        words += ["--set", f"{name}={value}"] if "." in name else [f"--{name}", *([value] if value else [])]
    return words


class Timed:
    """Puts a clock around the cycles of `engine.loop.Loop`, which only a run uses, not its calibration."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec, self.recorder = spec, None
        self.loop: Any = None

    def install(self) -> None:
        from kantor.engine.loop import Loop

        run = Loop.run

        def timed(loop: Any, *arguments: Any, **keywords: Any) -> Any:
            self._wrap(loop)
            return run(loop, *arguments, **keywords)

        Loop.run = timed  # type: ignore[method-assign]

    def _wrap(self, loop: Any) -> None:
        packed = loop.feed.dataset if hasattr(loop.feed, "dataset") else loop.feed.store  # until 0.1
        wanted, found = np.load(self._spec["data"], mmap_mode="r").shape[1:], tuple(packed.spec)
        if wanted != found:
            sys.exit(f"{self._spec['data']}: images are {wanted}, but Kantor trains on {found}")
        recorder: Recorder[dict[str, Any]] = Recorder(self._spec, self._take)
        cycle, stop_asked = loop.steps.cycle, loop.stop_asked

        def timed_cycle(state: Any, feed: Any) -> None:
            def counted() -> int:
                before = state.counters.images_seen
                cycle(state, feed)
                return int(state.counters.images_seen - before)

            recorder.cycle(counted)

        loop.steps.cycle = timed_cycle
        end_s = budget_s(self._spec)
        loop.stop_asked = lambda: "time-budget" if recorder.seconds >= end_s else stop_asked()
        loop.plan = dataclasses.replace(loop.plan, budget_s=math.inf)
        self.loop, self.recorder = loop, recorder  # type: ignore[assignment]

    def _take(self) -> dict[str, Any]:
        """The EMA of the generator, which samples and checkpoints show."""
        return {name: value.clone() for name, value in self.loop.state.average.state_dict().items()}

    def generate(self, weights: dict[str, Any]) -> np.ndarray:
        from kantor.sample.latents import latents

        try:
            from kantor.sample.generate import generate_images
        except ImportError:  # until 0.1
            from kantor.sample.draw import draw as generate_images  # type: ignore[import-not-found, no-redef]
        network, config = self.loop.state.average, self.loop.steps.config.generator
        network.load_state_dict(weights)
        seeds = range(FIRST_SEED, FIRST_SEED + self._spec["count"])
        return np.asarray(generate_images(network, latents(seeds, config.latent_dim, config.latent)))


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    timed = Timed(spec)
    timed.install()
    sys.argv = ["kantor", *arguments(spec)]
    code: Any = 0
    try:
        runpy.run_module("kantor", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    if timed.recorder is None or code not in (0, None):
        sys.exit(code or 1)
    timed.recorder.close()
    import kantor

    (run,) = (Path(spec["folder"]) / "runs").glob("*-run")
    seeds = range(FIRST_SEED, FIRST_SEED + spec["count"])
    file = np.asarray(kantor.load(run).generate(seeds=seeds))
    config = timed.loop.steps.config.train
    horizon = getattr(timed.loop.steps, "horizon_images", config.images)  # which may have changed in the run
    timed.recorder.write(timed.generate, {"file": file}, precision=config.precision, horizon_images=horizon)


if __name__ == "__main__":
    main()
