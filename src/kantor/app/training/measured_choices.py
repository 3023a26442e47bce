"""Decisions that are measured on trials: threads, batch and compiled steps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from kantor.app import environment
from kantor.app.decisions import Decisions
from kantor.app.training.parts import Parts
from kantor.app.training.trial import CALIBRATION_S, Trial, fits_in_memory
from kantor.app.training.validate_networks import mixing_layer
from kantor.config.io import overridden
from kantor.errors import ConfigError, ResourceError
from kantor.runs import directory

MAX_SEARCH_S = 30.0
BATCHES = (16, 32, 64, 128, 256, 512, 1024)
_NEARLY_AS_FAST = 0.95  # doubling the batch for 5 % more speed only means fewer steps on the same images
MIN_COMPILING_S = 120.0  # of what is left of a budget: in less, compiling does not pay
_WORTH_COMPILING = 1.05
_TURNS = 2


def choose_threads(decisions: Decisions, parts: Parts, config_file: Path | None) -> None:
    """Chooses how many threads train fastest on a CPU, unless OMP_NUM_THREADS says.

    Args:
        config_file: config.toml of a run to repeat takes its number of threads, since its numbers depend on them.
    """
    if parts.device.type != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return
    if config_file is not None:
        threads = environment.read(config_file.parent / directory.ENVIRONMENT).get("threads")
        if isinstance(threads, int) and 0 < threads <= (os.cpu_count() or 1):
            torch.set_num_threads(threads)
            decisions.record("threads", threads, f"as in {config_file.parent}")
            return
    eager = overridden(decisions.config, {"train.compile": False})  # compiled steps depend on the threads
    with Trial(parts.with_config(eager)) as trial:
        choice = fastest_threads(lambda: trial.images_per_second(CALIBRATION_S / 2))
    if choice is not None:
        decisions.record("threads", *choice)


def fastest_threads(images_per_second: Callable[[], float]) -> tuple[int, str] | None:
    """Sets the faster number of threads, all or one; returns it and the reason, None if there is no choice.

    Threads wait for each other at every operator: if one has to share its core, all of them crawl.
    """
    cores = torch.get_num_threads()
    if cores == 1:
        return None
    rates = {}
    for threads in (cores, 1):
        torch.set_num_threads(threads)
        rates[threads] = images_per_second()
    fastest = max(rates, key=lambda threads: rates[threads])
    torch.set_num_threads(fastest)
    measured = ", ".join(f"{rate:,.0f} images a second with {threads}" for threads, rate in rates.items())
    return fastest, f"measured {measured}"


def choose_batch(decisions: Decisions, parts: Parts, limit_s: float) -> None:
    """Chooses the fastest batch for `--batch auto`.

    Args:
        limit_s: about how long measuring may take.
    Raises:
        ConfigError: a network mixes the images of a batch, so that its size is part of what the network computes.
    """
    config = decisions.config
    if mixes := mixing_layer(config, parts.spec, parts.classes, parts.condition):
        what = f"{mixes}, so another batch is another network"
        raise ConfigError("--batch auto", what, "give a number, or a network without that layer")

    def rate_of(batch: int) -> float:
        rates: list[float] = []
        with Trial(parts.with_config(overridden(config, {"train.batch": batch, "train.compile": False}))) as trial:
            if not fits_in_memory(lambda: rates.append(trial.images_per_second(1.0)), parts.device):
                raise MemoryError
        return rates[0]

    decisions.set("train.batch", *fastest_batch(rate_of, parts.store.count, limit_s))


def fastest_batch(
    rate_of: Callable[[int], float], largest: int, limit_s: float, clock: Callable[[], float] = time.monotonic
) -> tuple[int, str]:
    """The smallest batch within 5 % of the fastest, and the reason.

    Args:
        rate_of: images per second with a batch of this size; raises MemoryError if it does not fit.
        largest: no batch exceeds it.
        limit_s: no batch is tried that would take the search past this.
    """
    rates: dict[int, float] = {}
    too_large, out_of_time = 0, False
    began_s = before_s = clock()
    for batch in [b for b in BATCHES if b <= max(largest, BATCHES[0])]:
        now_s = clock()
        if rates and (out_of_time := now_s - began_s + 2 * (now_s - before_s) > limit_s):
            break  # a trial of twice the batch takes up to twice as long
        before_s = now_s
        try:
            rates[batch] = rate_of(batch)
        except MemoryError:
            too_large = batch
            break
        best = max(rates.values())
        if len(rates) > 2 and max(list(rates.values())[-2:]) < _NEARLY_AS_FAST * best:
            break  # past the peak
    if not rates:
        raise ResourceError("--batch auto", f"not even a batch of {too_large} fits", "use a smaller --size or width")
    best = max(rates.values())
    chosen = next(batch for batch, rate in rates.items() if rate >= _NEARLY_AS_FAST * best)
    measured = ", ".join(f"{rate:,.0f} images a second at {batch}" for batch, rate in rates.items())
    if too_large:
        measured += f"; {too_large} does not fit"
    elif out_of_time:
        measured += "; larger ones would have taken too long"
    return chosen, f"measured {measured}; learning rates stay as they are"


def choose_compiled(decisions: Decisions, parts: Parts, note: Callable[[str], None], left_s: float) -> None:
    """Sets `train.compile` to true or false, unless it is false already.

    Decides on new networks, so that a resumed run decides as it did at its start. The run uses what is compiled here.

    Args:
        left_s: seconds that the run may take; "auto" does not compile if they are few.
    """
    before = decisions.config.train.compile
    if before is False:
        return
    compiled, reason = _compiled(decisions, parts, note, left_s)
    if compiled != before:
        decisions.set("train.compile", compiled, reason)


def _compiled(decisions: Decisions, parts: Parts, note: Callable[[str], None], left_s: float) -> tuple[bool, str]:
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
        for _ in range(_TURNS):
            for way in rates:
                rates[way] += way.images_per_second(CALIBRATION_S / 2) / _TURNS
    measured = f"measured {rates[compiled]:,.0f} images a second compiled and {rates[eager]:,.0f} otherwise"
    return rates[compiled] > _WORTH_COMPILING * rates[eager], measured
