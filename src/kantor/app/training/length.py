"""Chooses the length of a run, in images, from --images, --epochs or --time-budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from kantor.app.decisions import Decisions
from kantor.app.training.intervals import (
    DEFAULT_BUDGET_S,
    LEAST_COUNT,
    MIN_SCORED_IMAGES,
    length_in_images,
    third_figure,
    with_intervals,
)
from kantor.app.training.options import TrainOptions
from kantor.app.training.parts import Parts
from kantor.app.training.trial import Trial
from kantor.config.io import difference
from kantor.config.schema import Config
from kantor.engine.schedule import rate_after
from kantor.errors import ConfigError
from kantor.sinks.timing import duration


def total_images(options: TrainOptions, count: int) -> int | None:
    """The length in images that the flags set, of a training set of `count`; None if they set none.

    Raises ConfigError if it is too large.
    """
    total = round(options.epochs * count) if options.epochs is not None else options.images
    if total is not None and total > 2**53:
        raise ConfigError(f"--epochs {options.epochs}", f"{total:,} images would never end", "write fewer")
    return total


def budget_s(options: TrainOptions) -> float:
    """Seconds that a run may take; infinite if the length is in images or epochs."""
    if options.budget_s is not None:
        return options.budget_s
    return math.inf if options.images or options.epochs else DEFAULT_BUDGET_S


def left_s(options: TrainOptions) -> float:
    """Seconds left of the time budget, at least one."""
    return max(budget_s(options) - (time.monotonic() - options.started_s), 1.0)


def restart_clock(options: TrainOptions, after: str, note: Callable[[str], None]) -> TrainOptions:
    """`options` whose time budget starts now if `after` ("starting and packing") took more than a quarter of it."""
    elapsed_s = time.monotonic() - options.started_s
    if elapsed_s < budget_s(options) / 4:
        return options
    note(f"{after} took {duration(elapsed_s)}; the time budget of {duration(budget_s(options))} starts now")
    return replace(options, started_s=time.monotonic())


def choose_length(
    decisions: Decisions, parts: Parts, options: TrainOptions, seen: int = 0, rate: float | None = None
) -> float | None:
    """Sets the length of a new run, measured if it follows from a time budget, and the intervals.

    Args:
        seen: images that it begins at.
        rate: images a second, if measured already.
    Returns:
        The rate, as measured now if it had to be.
    Raises:
        ConfigError: it would end before that.
    """
    config, planned_s = decisions.config, math.inf
    earlier = config.train.images
    total = total_images(options, parts.store.count)
    if total is not None:
        require_more(total, f"--epochs {options.epochs:g}" if options.epochs else f"--images {total:,}", seen)
        decisions.set("train.images", total, "as requested", announce=False)
    elif config.train.images == "auto":
        rate = rate or _measured_rate(parts.with_config(config))
        planned_s = left_s(options)
        images = seen + length_in_images(rate, planned_s, config.train.batch)
        decisions.set("train.images", images, f"fills {duration(planned_s)} at {rate:,.0f} images a second")
    else:
        decisions.record("train.images", config.train.images, "as configured", announce=False)
    if _rates_after_horizon(config) and config.train.horizon_images in ("auto", config.train.images):
        decisions.set("train.horizon_images", decisions.config.train.images, "the length of the run", announce=False)
    _say_where_schedules_end(decisions)
    if seen and isinstance(earlier, int):
        _score_from_now_on(decisions, options, earlier)
    _choose_intervals(decisions, "score.metrics" in options.fields, planned_s, parts.store.count)
    return rate


def require_more(total: int, where: str, seen: int) -> None:
    """Raises ConfigError if a new run that begins at `seen` images would be over already."""
    if seen and total <= seen:
        what = f"the length is of both runs together, and the first has seen {seen:,} images"
        raise ConfigError(where, what, f"choose more, for example --images {2 * seen}")


def held_share(config: Config) -> float:
    """Share of a run for which its learning rates are held; 0 if no schedule falls towards the end of the run."""
    schedules = [c.schedule for c in (config.optimizer.critic, config.optimizer.generator)]
    holds = [schedule.hold for schedule in schedules if schedule.kind == "linear"]
    return min(holds) if holds and config.train.images == config.train.horizon_images else 0.0


class Lengths(NamedTuple):
    """How to choose another length for a run with a time budget, once: as late as possible, by the rate of training so far.

    It has to be done before any learning rate depends on it, so that the run remains the one that its final config.toml describes:
    when as many images are seen as would be held in the planned run, or in one that fills the time left.

    Attributes:
        total: the planned length.
        hold: share of the run for which its learning rates are held.
        every_images: how often one asks.
    """

    total: int
    hold: float
    every_images: int

    @classmethod
    def of(cls, config: Config) -> Lengths | None:
        """None if a run of this configuration is to keep its length."""
        total, hold = config.train.images, held_share(config)
        assert isinstance(total, int)
        every = max(int(hold * total / 50), config.train.batch)
        return cls(total, hold, every) if every <= hold * total / 5 else None

    def anew(self, seen: int, rate: float, left_s: float, batch: int) -> int | None:
        """The length that fills the time left at `rate` images a second, or the planned one if it is within a twentieth.

        None as long as the choice can wait.
        """
        if seen > self.hold * self.total:  # too late, in a short run of long cycles
            return self.total
        new = seen + length_in_images(rate, left_s, batch)
        if seen + 2 * self.every_images <= self.hold * min(self.total, new):
            return None
        new = max(new, math.ceil(seen / self.hold))
        unit = third_figure(new)
        new = -(-new // unit) * unit
        return self.total if abs(new - self.total) <= self.total / 20 else new


def resumed_length(options: TrainOptions, config: Config, count: int, seen: int, from_budget: bool) -> int | None:
    """The total length of a run that has seen `seen` images of a training set of `count`; None if a budget decides.

    A length in images or epochs replaces the old one. A time budget lengthens a run whose length came from a time budget
    (`from_budget`), and no other: what restarts a run again and again with one would never end. Raises ConfigError if the run
    is longer already.
    """
    length = config.train.images
    assert isinstance(length, int)
    total = total_images(options, count)
    if total is not None:
        if total < seen and total != length:  # equal is fine: a run may overshoot its total by part of a cycle
            flag = f"--epochs {options.epochs:g}" if options.images is None else f"--images {options.images:,}"
            raise ConfigError(flag, f"the run has already seen {seen:,} images", "choose more")
        return total
    return None if options.budget_s is not None and from_budget else length


def choose_resumed_length(
    decisions: Decisions, parts: Parts, options: TrainOptions, seen: int, total: int | None
) -> None:
    """Sets the length of a resumed run to `total`, measured if None, and its intervals.

    Intervals of scores are chosen again if scores are requested, or the run is no longer short.
    """
    config = decisions.config
    earlier = config.train.images
    assert isinstance(earlier, int)
    if total is None:
        rate = _measured_rate(parts.with_config(config))  # compiled, if that was decided
        total = max(earlier, seen + length_in_images(rate, left_s(options), config.train.batch))
    if total != earlier:
        decisions.set("train.images", total, "the new length of the run")
    else:
        decisions.record("train.images", total, "as before", announce=False)
    if _rates_after_horizon(config) and config.train.horizon_images == "auto":  # of a run begun before this field was
        decisions.set("train.horizon_images", earlier, "the length so far", announce=False)
    _say_where_schedules_end(decisions)
    _score_from_now_on(decisions, options, earlier)
    _choose_intervals(decisions, "score.metrics" in options.fields, math.inf, parts.store.count)


def _score_from_now_on(decisions: Decisions, options: TrainOptions, earlier: int) -> None:
    """Lets the intervals of scores be chosen again if scores are requested, or the run is no longer short.

    Without scores, their number of images was LEAST_COUNT unless the user set it, which then stays.
    """
    train = decisions.config.train
    assert isinstance(train.images, int)
    was_short = earlier < MIN_SCORED_IMAGES <= train.images
    unscored = train.score_images == 0 and "train.score_images" not in options.fields
    if unscored and ("score.metrics" in options.fields or was_short):
        chosen = {"train.score_images"} | ({"score.count"} if decisions.config.score.count == LEAST_COUNT else set())
        for field in sorted(chosen - options.fields.keys()):
            decisions.set(field, "auto", "", announce=False)


def _say_where_schedules_end(decisions: Decisions) -> None:
    """Announces schedules that end before the run, or after it."""
    rates, train = _rates_after_horizon(decisions.config), decisions.config.train
    if not rates or train.images == train.horizon_images:
        return
    assert isinstance(train.images, int) and isinstance(train.horizon_images, int)
    held = " and ".join(f"{rate:g}" for rate in rates)
    reason = f"learning rate {held} is held from there on; --init-from starts a schedule anew"
    if train.images < train.horizon_images:
        reason = "the run ends before its learning rate has fallen to the last one"
    decisions.record("train.horizon_images", train.horizon_images, reason)


def _rates_after_horizon(config: Config) -> list[float]:
    """Learning rates that are held after the horizon, each once; empty if no schedule depends on it."""
    rates = (rate_after(c) for c in (config.optimizer.critic, config.optimizer.generator))
    return list(dict.fromkeys(rate for rate in rates if rate is not None))


def _choose_intervals(decisions: Decisions, scored: bool, planned_s: float, count: int) -> None:
    """Sets the intervals that are "auto" or "epoch"."""
    decided = with_intervals(decisions.config, scored, planned_s, count)
    for field, (_, value) in difference(decisions.config, decided).items():
        decisions.set(field, value, "from the length", announce=False)


def _measured_rate(parts: Parts) -> float:
    with Trial(parts) as trial:
        return trial.images_per_second()
