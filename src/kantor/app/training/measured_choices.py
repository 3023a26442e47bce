"""Decisions that are measured on trials: threads, batch and compiled steps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from kantor import atomic
from kantor.app import environment
from kantor.app.decisions import Decisions
from kantor.app.training.build import mixing_layer
from kantor.app.training.length import budget_s, left_s, restart_clock
from kantor.app.training.options import TrainOptions
from kantor.app.training.parts import Parts
from kantor.app.training.trial import CALIBRATION_S, Trial, memory_errors
from kantor.config.io import overridden
from kantor.config.schema import Config
from kantor.engine.events import Event, Retuned
from kantor.errors import ConfigError, ResourceError
from kantor.runs import directory
from kantor.sinks.timing import duration

MAX_SEARCH_S = 30.0
BATCHES = (16, 32, 64, 128, 256, 512, 1024)
_NEARLY_AS_FAST = 0.95  # doubling the batch for 5% more speed only means fewer steps on the same images
MIN_COMPILING_S = 120.0  # of what is left of a budget: in less, compiling does not pay
_WORTH_COMPILING = 1.05


def choose_threads(decisions: Decisions, parts: Parts, config_file: Path | None) -> float | None:
    """Trains with all threads or with one, whichever is faster now on this CPU, unless OMP_NUM_THREADS says.

    Threads wait for each other at every operator: if one has to share its core, all of them crawl. A run repeated from
    its config.toml takes the same number of threads as before, since numbers depend on it.

    Returns images a second of eager training with these threads, if they were measured.
    """
    if parts.device.type != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return None
    if config_file is not None:
        threads = environment.read(config_file.parent / directory.ENVIRONMENT).get("threads")
        if isinstance(threads, int) and 0 < threads <= (os.cpu_count() or 1):
            torch.set_num_threads(threads)
            decisions.record("threads", threads, f"as in {config_file.parent}")
            return None
    if torch.get_num_threads() == 1:
        return None
    rates = rates_of_threads(parts.with_config(decisions.config), [torch.get_num_threads(), 1])
    fastest = max(rates, key=lambda threads: rates[threads])
    torch.set_num_threads(fastest)
    measured = ", ".join(f"{rate:,.0f} images a second with {threads}" for threads, rate in rates.items())
    decisions.record("threads", fastest, f"measured {measured}")
    return rates[fastest]


def rates_of_threads(parts: Parts, choices: Sequence[int]) -> dict[int, float]:
    """Images a second of training with each number of threads, of which PyTorch keeps the last."""
    eager = overridden(parts.config, {"train.compile": False})  # compiled steps depend on the threads
    rates = {}
    with Trial(parts.with_config(eager)) as trial:
        for threads in choices:
            torch.set_num_threads(threads)
            rates[threads] = trial.images_per_second(CALIBRATION_S / 2)
    return rates


def retune(parts: Parts, run: Path, images_seen: int) -> list[Event]:
    """Measures threads anew in a run on a CPU, and takes the fastest number, which environment.json keeps for a resumed run.

    Returns the event; none if OMP_NUM_THREADS says, or there is one core.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    choices = sorted({cores, torch.get_num_threads(), 1})
    if parts.device.type != "cpu" or "OMP_NUM_THREADS" in os.environ or len(choices) == 1:
        return []
    before = torch.get_num_threads()
    try:
        rates = rates_of_threads(parts, choices)
    finally:
        torch.set_num_threads(before)
    fastest = max(rates, key=lambda threads: rates[threads])
    if fastest != before:
        path = run / directory.ENVIRONMENT
        atomic.write_json(path, environment.read(path) | {"threads": fastest})
        torch.set_num_threads(fastest)
    return [Retuned(images_seen, fastest, rates)]


def steady_from(config: Config) -> int:
    """Images from which on all cycles are about as much work: networks have grown, and the first overdoses are over."""
    grown = max(getattr(network, "fade_images", 0) for network in (config.generator, config.critic))
    cycle = config.cycle
    overdoses = cycle.first_cycles * cycle.overdose_steps * config.train.batch if cycle.kind == "overdose" else 0
    return max(grown, overdoses)


def choose_batch(decisions: Decisions, parts: Parts, options: TrainOptions, note: Callable[[str], None]) -> None:
    """Chooses the fastest batch for `--batch auto`; raises ConfigError if its size is part of what a network computes."""
    if mixes := mixing_layer(parts):
        what = f"{mixes}, so another batch is another network"
        raise ConfigError("--batch auto", what, "give a number, or a network without that layer")

    def rate_of(batch: int) -> float:
        config = overridden(decisions.config, {"train.batch": batch, "train.compile": False})
        with Trial(parts.with_config(config)) as trial, memory_errors(parts.device):
            return trial.images_per_second(1.0)

    limit_s = min(MAX_SEARCH_S, budget_s(options) / 10)
    note(f"measuring which batch is fastest, for at most about {duration(limit_s)}")
    decisions.set("train.batch", *fastest_batch(rate_of, parts.store.count, limit_s))


def fastest_batch(
    rate_of: Callable[[int], float], largest: int, limit_s: float, clock: Callable[[], float] = time.monotonic
) -> tuple[int, str]:
    """The smallest batch within 5% of the fastest, and the reason.

    Args:
        rate_of: images per second with a batch of this size; raises MemoryError if it does not fit.
        largest, limit_s: no batch is tried that is larger, or would take the search past this time.
    """
    rates: dict[int, float] = {}
    ending = ""
    began_s = before_s = clock()
    for batch in [b for b in BATCHES if b <= max(largest, BATCHES[0])]:
        now_s = clock()
        if rates and now_s - began_s + 2 * (now_s - before_s) > limit_s:  # twice the batch takes up to twice as long
            ending = "; larger ones would have taken too long"
            break
        before_s = now_s
        try:
            rates[batch] = rate_of(batch)
        except MemoryError:
            ending = f"; {batch} does not fit"
            break
        best = max(rates.values())
        if len(rates) > 2 and max(list(rates.values())[-2:]) < _NEARLY_AS_FAST * best:
            break  # past the peak
    if not rates:
        raise ResourceError("--batch auto", f"not even a batch of {BATCHES[0]} fits", "use a smaller --size or width")
    best = max(rates.values())
    chosen = next(batch for batch, rate in rates.items() if rate >= _NEARLY_AS_FAST * best)
    measured = ", ".join(f"{rate:,.0f} images a second at {batch}" for batch, rate in rates.items())
    return chosen, f"measured {measured}{ending}; learning rates stay as they are"


def choose_compiled(
    decisions: Decisions, parts: Parts, options: TrainOptions, note: Callable[[str], None]
) -> TrainOptions:
    """Sets `train.compile` to true or false; returns the options, with a new clock if compiling took much of a budget.

    Decides on new networks, so that a resumed run decides as it did at its start. The run uses what is compiled here.
    """
    before = decisions.config.train.compile
    if before is False:
        return options
    compiled, reason = _compiled(decisions, parts, left_s(options), note)
    if compiled != before:
        decisions.set("train.compile", compiled, reason)
    if compiled and (options.budget_s is not None or options.resume is None):
        return restart_clock(options, "compiling", note)
    return options


def _compiled(decisions: Decisions, parts: Parts, left_s: float, note: Callable[[str], None]) -> tuple[bool, str]:
    automatic = decisions.config.train.compile == "auto"
    if parts.custom:
        return False, "custom networks and losses are not compiled"
    eager, compiled = (
        Trial(parts.with_config(overridden(decisions.config, {"train.compile": way})), note) for way in (False, True)
    )
    if not compiled.steps.compilable(parts.state()):
        return False, "networks with dropout are not compiled"
    if automatic and left_s < MIN_COMPILING_S:
        return False, "less than two minutes are left, too few to gain; --set train.compile=true compiles anyway"
    then = "; then both ways are measured" if automatic else ""
    note(f"compiling the steps: half a minute to some minutes, the first time{then}")
    with eager, compiled:
        compiled.run(1 + parts.objective.round_of_penalties)  # every kind of step
        if not compiled.steps.compiler.compiles:
            return False, "not possible here"
        if not automatic:
            return True, "as requested"
        rates = {eager: 0.0, compiled: 0.0}
        for trial in (eager, compiled, eager, compiled):
            rates[trial] += trial.images_per_second(CALIBRATION_S / 2) / 2
    measured = f"measured {rates[compiled]:,.0f} images a second compiled and {rates[eager]:,.0f} otherwise"
    return rates[compiled] > _WORTH_COMPILING * rates[eager], measured
