"""How long a run is to be: what the user asked for, in images, epochs or time, and what comes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from kantor.app.decisions import Filled, fill
from kantor.app.training.again import LENGTHS, Begun
from kantor.app.training.auto import DEFAULT_BUDGET_S, length_in_images, with_intervals
from kantor.app.training.options import TrainOptions
from kantor.app.training.run import Parts, Terminal
from kantor.app.training.trial import images_per_second
from kantor.config.schema import Config
from kantor.errors import ConfigError
from kantor.sinks.eta import duration


def length_given(options: TrainOptions) -> bool:
    return (options.epochs, options.images, options.budget_s) != (None, None, None)


def total_images(options: TrainOptions, count: int) -> int | None:
    if options.images is not None and options.epochs is not None:
        raise ConfigError("--images", "and --epochs both say how long", "give one of them")
    total = round(options.epochs * count) if options.epochs is not None else options.images
    if total is not None and total > 2**53:
        raise ConfigError(f"--epochs {options.epochs}", f"{total:,} images would take for ever", "write fewer")
    return total


def left_s(options: TrainOptions) -> float:
    """Seconds that this invocation has left, where its length is no other; at least one."""
    if options.budget_s is None and (options.images or options.epochs):
        return math.inf
    return max((options.budget_s or DEFAULT_BUDGET_S) - (time.monotonic() - options.started_s), 1.0)


def clock_after(what: str, options: TrainOptions, terminal: Terminal) -> TrainOptions:
    """Packing and compiling count towards the time budget, unless they took more than a quarter: then little would be learnt."""
    if options.budget_s is None and (options.images or options.epochs):
        return options
    budget_s = options.budget_s or DEFAULT_BUDGET_S
    spent_s = time.monotonic() - options.started_s
    if spent_s < budget_s / 4:
        return options
    terminal.note(f"{what} took {duration(spent_s)}; the time budget of {duration(budget_s)} begins now")
    return replace(options, started_s=time.monotonic())


def length(options: TrainOptions, parts: Parts) -> tuple[Config, list[Filled]]:
    """The length of the run in images, and the intervals that follow from it."""
    config = parts.config
    total = total_images(options, parts.store.count)
    filled: list[Filled] = []
    remaining_s = math.inf
    if total is not None:
        config, _ = fill(config, {"train.images": (total, "as asked for")})
    elif config.train.images == "auto":
        rate = images_per_second(parts.state(), parts.feed, parts.steps())
        remaining_s = left_s(options)
        reason = f"what {duration(remaining_s)} allow at {rate:,.0f} images a second"
        config, filled = fill(
            config, {"train.images": (length_in_images(rate, remaining_s, config.train.batch), reason)}
        )
    return with_intervals(config, "score.metrics" in options.fields, remaining_s, parts.store.count), filled


def resumed_length(options: TrainOptions, parts: Parts, seen: int, planned: bool, rate: Callable[[], float]) -> int:
    """The length of a run that goes on.

    A length asked for now holds. A run whose length came from a time budget, or that has reached its length, is
    lengthened by what a new time budget allows.

    Args:
        seen: images seen so far.
        planned: the length came from a time budget.
        rate: measures images a second.
    Raises:
        ConfigError: the run is longer already, or done.
    """
    length = parts.config.train.images
    assert isinstance(length, int)
    total = total_images(options, parts.store.count)
    if total is not None:
        if total < seen and total != length:  # the same call again is no fault: a run may overshoot by some of a cycle
            raise ConfigError("--resume", f"the run has seen {seen:,} images, more than {total:,}", "ask for more")
        return total
    if options.budget_s is not None and (planned or seen >= length):
        images = rate()
        return max(length, seen + length_in_images(images, left_s(options), parts.config.train.batch))
    if seen >= length:
        what = f"the run has reached its length of {length:,} images"
        raise ConfigError("--resume", what, "add a time budget, or a larger --images or --epochs, to go on")
    return length


def going_on(options: TrainOptions, config: Config, twin: Begun, count: int) -> TrainOptions | None:
    """The options that go on with a run to the length asked for now; None where it is as long already."""
    overrides = {name: value for name, value in options.overrides.items() if name not in LENGTHS}
    images = config.train.images
    if isinstance(images, int) and options.epochs is None and options.images is None:
        options = replace(options, images=images)
    options = replace(options, resume=str(twin.path), overrides=overrides, config_file=None)
    total = total_images(options, count)
    if total is not None:
        return options if total > twin.images_seen else None
    return options if options.budget_s is not None else replace(options, budget_s=DEFAULT_BUDGET_S)
