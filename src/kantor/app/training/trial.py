"""What is measured on a copy of a run that is thrown away."""

from __future__ import annotations

import copy
import os
import time
from dataclasses import replace

import torch

from kantor.config.io import overridden
from kantor.data.loading.feed import Feed
from kantor.engine.state import State
from kantor.engine.steps import Steps

CALIBRATION_S = 3.0


def fastest_threads(state: State, feed: Feed, steps: Steps) -> tuple[int, str]:
    """How many threads to train with on a processor, and why: all, or one where others keep the cores busy.

    Threads wait for each other at every operator: where one has to share its core, all of them crawl.
    """
    cores = torch.get_num_threads()
    if state.device.type != "cpu" or cores == 1 or "OMP_NUM_THREADS" in os.environ:
        return cores, "as set"
    rates = {}
    for threads in (cores, 1):
        torch.set_num_threads(threads)
        rates[threads] = images_per_second(state, feed, steps, CALIBRATION_S / 2)
    best = max(rates, key=lambda threads: rates[threads])
    torch.set_num_threads(best)
    found = ", ".join(f"{rate:,.0f} images a second with {threads}" for threads, rate in rates.items())
    return best, f"measured {found}"


def images_per_second(state: State, feed: Feed, steps: Steps, seconds: float = CALIBRATION_S) -> float:
    """Rate of training, measured for some seconds on a copy that is thrown away.

    In ordinary cycles: an overdose of critic steps may take longer than all that there is time for.
    """
    if steps.config.cycle.kind == "overdose":
        usual = overridden(steps.config, {"cycle.overdose_steps": steps.config.cycle.critic_steps})
        steps = replace(steps, config=usual)
    trial, position = copy.deepcopy(state), feed.position
    try:
        return _rate(trial, feed, steps, seconds)
    finally:
        feed.position = position


def _rate(trial: State, feed: Feed, steps: Steps, seconds: float) -> float:
    cycles = steps.objective.round_of_penalties
    began_s, seen = time.monotonic(), 0
    steps.cycle(trial, feed)  # the first cycle warms up
    while True:
        start_s, before = time.monotonic(), trial.counters.images_seen
        for _ in range(cycles):  # whole rounds of lazy penalties
            steps.cycle(trial, feed)
            if time.monotonic() - began_s > 3 * seconds:
                break
        seen = trial.counters.images_seen - before
        trial.tally.read()  # waits for the device
        if time.monotonic() - began_s > seconds:
            return seen / (time.monotonic() - start_s)
