"""Chooses the length of a run, in images, from --images, --epochs or --time-budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from kantor.app.decisions import Decisions
from kantor.app.training.intervals import DEFAULT_BUDGET_S, MIN_SCORED_IMAGES, length_in_images, with_intervals
from kantor.app.training.options import TrainOptions
from kantor.app.training.parts import Parts
from kantor.app.training.trial import Trial
from kantor.config.io import difference
from kantor.config.schema import Config
from kantor.errors import ConfigError
from kantor.sinks.eta import duration


def with_epochs_of(config: Config, options: TrainOptions) -> TrainOptions:
    """`options` with the epochs of the configuration if no flag sets a length."""
    has_length = (options.epochs, options.images, options.budget_s) != (None, None, None)
    if config.train.images == "auto" and config.train.epochs and not has_length:
        return replace(options, epochs=config.train.epochs)
    return options


def total_images(options: TrainOptions, count: int) -> int | None:
    """The length in images that the flags set; None if they set none. count: images in the training set.

    Raises:
        ConfigError: two lengths, or one that is too large.
    """
    if options.images is not None and options.epochs is not None:
        raise ConfigError("--images", "and --epochs both set the length", "give one of them")
    total = round(options.epochs * count) if options.epochs is not None else options.images
    if total is not None and total > 2**53:
        raise ConfigError(f"--epochs {options.epochs}", f"{total:,} images would never end", "write fewer")
    return total


def left_s(options: TrainOptions) -> float:
    """Seconds left of the time budget, at least one; infinite if the length is in images or epochs."""
    if options.budget_s is None and (options.images or options.epochs):
        return math.inf
    return max((options.budget_s or DEFAULT_BUDGET_S) - (time.monotonic() - options.started_s), 1.0)


def restart_clock(options: TrainOptions, after: str, note: Callable[[str], None]) -> TrainOptions:
    """`options` whose time budget starts now if `after` ("packing") took more than a quarter of it."""
    if options.budget_s is None and (options.images or options.epochs):
        return options
    budget_s = options.budget_s or DEFAULT_BUDGET_S
    elapsed_s = time.monotonic() - options.started_s
    if elapsed_s < budget_s / 4:
        return options
    note(f"{after} took {duration(elapsed_s)}; the time budget of {duration(budget_s)} starts now")
    return replace(options, started_s=time.monotonic())


def choose_length(decisions: Decisions, parts: Parts, options: TrainOptions) -> None:
    """Sets the length of a new run, measured if it follows from a time budget, and the intervals."""
    config, budget_s = decisions.config, math.inf
    total = total_images(options, parts.store.count)
    if total is not None:
        decisions.set("train.images", total, "as requested", announce=False)
    elif config.train.images == "auto":
        rate = _measured_rate(parts.with_config(config))
        budget_s = left_s(options)
        images = length_in_images(rate, budget_s, config.train.batch)
        decisions.set("train.images", images, f"fills {duration(budget_s)} at {rate:,.0f} images a second")
    else:
        decisions.record("train.images", config.train.images, "as configured", announce=False)
    choose_intervals(decisions, "score.metrics" in options.fields, budget_s, parts.store.count)


def choose_intervals(decisions: Decisions, scored: bool, budget_s: float, count: int) -> None:
    """Sets the intervals that are "auto" or "epoch"; arguments as of `with_intervals`."""
    decided = with_intervals(decisions.config, scored, budget_s, count)
    for field, (_, value) in difference(decisions.config, decided).items():
        decisions.set(field, value, "from the length", announce=False)


def choose_resumed_length(
    decisions: Decisions, parts: Parts, options: TrainOptions, seen: int, from_budget: bool
) -> None:
    """Sets the length of a resumed run. seen, from_budget: as of `resumed_length`."""
    config = decisions.config
    decided = parts.with_config(config)  # compiled, if that was decided
    total = resumed_length(options, config, parts.store.count, seen, from_budget, lambda: _measured_rate(decided))
    if total != config.train.images:
        decisions.set("train.images", total, "the new length of the run")
    else:
        decisions.record("train.images", total, "as before", announce=False)


def choose_resumed_intervals(decisions: Decisions, before: Config, options: TrainOptions, count: int) -> None:
    """Sets intervals that are "auto", and score intervals too if scores are requested or the run is no longer short."""
    images, earlier_images = decisions.config.train.images, before.train.images
    assert isinstance(images, int) and isinstance(earlier_images, int)
    scored = "score.metrics" in options.fields
    was_short = earlier_images < MIN_SCORED_IMAGES <= images
    unscored = before.train.score_images == 0 and "train.score_images" not in options.fields
    if unscored and (scored or was_short):
        for field in sorted({"train.score_images", "score.count"} - options.fields.keys()):
            decisions.set(field, "auto", "", announce=False)
    choose_intervals(decisions, scored, math.inf, count)


def resumed_length(
    options: TrainOptions, config: Config, count: int, seen: int, from_budget: bool, rate: Callable[[], float]
) -> int:
    """The total length of a resumed run in images.

    A length in images or epochs replaces the old one. A time budget lengthens a run that has reached its length, or
    whose length came from a time budget.

    Args:
        count: images in the training set.
        seen: images seen so far.
        from_budget: the length came from a time budget.
        rate: measures images per second.
    Raises:
        ConfigError: the run is longer already, or done.
    """
    length = config.train.images
    assert isinstance(length, int)
    total = total_images(options, count)
    if total is not None:
        if total < seen and total != length:  # equal is fine: a run may overshoot its total by part of a cycle
            raise ConfigError(
                "--resume", f"the run has seen {seen:,} images, more than {total:,}", "choose a larger length"
            )
        return total
    if options.budget_s is not None and (from_budget or seen >= length):
        images_per_second = rate()
        return max(length, seen + length_in_images(images_per_second, left_s(options), config.train.batch))
    if seen >= length:
        what = f"the run has reached its length of {length:,} images"
        raise ConfigError("--resume", what, "add a time budget, or a larger --images or --epochs, to continue")
    return length


def _measured_rate(parts: Parts) -> float:
    with Trial(parts) as trial:
        return trial.images_per_second()
