"""Trials: measurements on a throw-away copy of a run, of its speed and of its memory."""

from __future__ import annotations

import contextlib
import gc
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Self

import torch

from kantor.app.training.build import mixing
from kantor.app.training.parts import Parts
from kantor.config.io import overridden
from kantor.engine.device import return_memory
from kantor.errors import ResourceError, out_of_memory

CALIBRATION_S = 3.0


class Trial:
    """Trains copies of a run that are thrown away; rewinds the feed when the context ends.

    Cycles have their usual number of critic steps: an overdose may take longer than all the time there is. `note` is
    called with a line if steps cannot be recorded or compiled.
    """

    def __init__(self, parts: Parts, note: Callable[[str], None] = lambda line: None) -> None:
        self._parts, self._feed, self.steps = parts, parts.feed, parts.steps(note)
        cycle = self.steps.config.cycle
        if cycle.kind == "overdose":
            usual = overridden(self.steps.config, {"cycle.overdose_steps": cycle.critic_steps})
            self.steps = replace(self.steps, config=usual)

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
        state = self._parts.state()
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


@contextlib.contextmanager
def memory_errors(device: torch.device) -> Iterator[None]:
    """Raises MemoryError, having freed all that can be, if memory runs out within the context."""
    try:
        yield
        return
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they refer to the networks that filled the memory
    scalar = torch.ones((), requires_grad=True, device=device)
    torch.autograd.grad(scalar * 2, scalar)  # until then autograd keeps unfinished work, with its tensors
    gc.collect()
    return_memory()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    raise MemoryError


def fits_in_memory(parts: Parts) -> bool:
    """Whether there is enough memory for two cycles: optimizers have all their state from the second on."""
    with Trial(parts) as trial, contextlib.suppress(MemoryError), memory_errors(parts.device):
        trial.run(2)
        return True
    return False


@contextlib.contextmanager
def explain_out_of_memory(parts: Parts) -> Iterator[None]:
    """Raises ResourceError with a setting that fits if memory runs out within the context."""
    with contextlib.suppress(MemoryError), memory_errors(parts.device):
        yield
        return
    if fits_in_memory(parts):
        what = "out of memory outside the training step (the step itself fits): grids, scores, files"
        raise ResourceError("memory", what, "close other programs, or use a smaller --size or score.count")
    where = f"the memory of {'the GPU' if parts.device.type != 'cpu' else 'this machine'}"
    train, spec = parts.config.train, parts.spec
    largest = max(train.batch, parts.config.cycle.generator_batch)
    count = min(train.micro_batch or largest, largest)
    what = f"too small for {count} images of {spec.height}x{spec.width} at once"
    raise ResourceError(where, what, _what_fits(parts, count // 2))


def _what_fits(parts: Parts, count: int) -> str:
    """Names the largest of `count`, its half, quarter ... that fits in memory."""
    mixes = bool(mixing(parts)) or any(penalty.share < 1 for penalty in parts.objective.penalties.values())
    field = "train.batch" if mixes else "train.micro_batch"
    while count >= (2 if mixes else 1):
        if fits_in_memory(parts.with_config(overridden(parts.config, {field: count, "train.compile": False}))):
            if mixes:
                return f"use --batch {count}, which fits (tried); a step is on a whole batch, so this changes the run"
            return f"add --set train.micro_batch={count}, which fits (tried): the same steps, to rounding"
        count //= 2
    return "use a smaller --size or width"
