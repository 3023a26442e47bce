"""Trials: measurements on a throw-away copy of a run."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import torch

from kantor.app.training.parts import Parts
from kantor.config.io import overridden
from kantor.engine.device import return_memory
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.errors import out_of_memory

CALIBRATION_S = 3.0


class Trial:
    """Trains copies of a run that are thrown away; rewinds the feed when the context ends.

    Cycles have their usual number of critic steps: an overdose may take longer than all the time there is.

    Args:
        note: called with a line if steps cannot be recorded or compiled.
    """

    def __init__(self, parts: Parts, note: Callable[[str], None] = lambda line: None) -> None:
        self._parts, self._feed = parts, parts.feed
        self.steps = _without_overdose(parts.steps(note))

    def __enter__(self) -> Self:
        self._position = self._feed.position
        return self

    def __exit__(self, *error: object) -> None:
        self._feed.position = self._position

    def run(self, cycles: int) -> None:
        """Runs cycles from the first on: lazy penalties are due in its first step."""
        state = self._parts.state()
        for _ in range(cycles):
            self.steps.cycle(state, self._feed)
        state.tally.read()  # waits for the device

    def images_per_second(self, seconds: float = CALIBRATION_S) -> float:
        """Throughput of training, measured for about `seconds`."""
        state: State = self._parts.state()
        cycles = self.steps.objective.round_of_penalties
        began_s = time.monotonic()
        self.steps.cycle(state, self._feed)  # the first cycle warms up
        while True:
            start_s, seen_before = time.monotonic(), state.counters.images_seen
            for _ in range(cycles):  # whole rounds of lazy penalties
                self.steps.cycle(state, self._feed)
                if time.monotonic() - began_s > 3 * seconds:
                    break
            images = state.counters.images_seen - seen_before
            state.tally.read()  # waits for the device
            if time.monotonic() - began_s > seconds:
                return images / (time.monotonic() - start_s)

    def fits_in_memory(self) -> bool:
        """Whether there is enough memory for two cycles: optimizers have all their state from the second on."""
        return fits_in_memory(lambda: self.run(2), self._parts.device)


def fits_in_memory(attempt: Callable[[], object], device: torch.device) -> bool:
    """Whether there is enough memory to call `attempt`."""
    try:
        attempt()
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
    else:
        return True
    release_memory(device)
    return False


def release_memory(device: torch.device) -> None:
    """Frees what a backward pass held when an error interrupted it."""
    scalar = torch.ones((), requires_grad=True, device=device)
    torch.autograd.grad(
        scalar * 2, scalar
    )  # autograd keeps its unfinished work, with tensors, until it is called again
    gc.collect()
    return_memory()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _without_overdose(steps: Steps) -> Steps:
    cycle = steps.config.cycle
    if cycle.kind != "overdose":
        return steps
    return replace(steps, config=overridden(steps.config, {"cycle.overdose_steps": cycle.critic_steps}))
