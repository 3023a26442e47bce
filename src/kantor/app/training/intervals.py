"""Chooses length and intervals that are "auto"."""

from __future__ import annotations

import math
from typing import Any

from kantor.config.io import overridden
from kantor.config.schema import Config

DEFAULT_BUDGET_S = 300.0
MIN_SCORED_IMAGES = 5000
LEAST_COUNT = 500
MAX_SAMPLES, MIN_SAMPLES, SECONDS_PER_SAMPLE = 60, 10, 5.0  # a pair of grids with its frames takes some 50 ms
TRAINING_SHARE = 0.95  # of the budget; the rest is for grids, plots and checkpoints


def length_in_images(rate: float, budget_s: float, batch: int) -> int:
    """How many images a budget allows at `rate` images per second, rounded down to three figures."""
    images = max(rate * budget_s * TRAINING_SHARE, 10 * batch)
    unit = third_figure(images)
    return int(images // unit * unit)


def third_figure(number: float) -> int:
    """What the third figure of a number counts: 100 for 12,345; at least 1."""
    return int(10 ** max(0, int(math.log10(number)) - 2))


def with_intervals(config: Config, scored: bool = False, budget_s: float = math.inf, images: int = 1) -> Config:
    """`config` with the tick, sample, snapshot and score intervals that are "auto" or "epoch" chosen for its length.

    200 rows of metrics, or one every 4,000 images; up to 60 samples, at most one in 5 seconds of a budget, or one every
    100,000; 10 checkpoints, or one every 200,000; 8 scores, none in runs of less than 5,000 images. A score generates a
    twentieth of the images trained on between two scores: it costs a few hundredths of the time.

    Args:
        scored: the user asked for scores: a short run has one at its end.
        budget_s: seconds that the run is planned to take, if known.
        images: in the training set: the meaning of "epoch".
    """
    train = config.train
    assert isinstance(train.images, int)
    samples = min(MAX_SAMPLES, max(budget_s / SECONDS_PER_SAMPLE, MIN_SAMPLES))
    intervals = {
        "tick_images": min(train.images / 200, 4000),
        "sample_images": min(max(round_up(train.images / samples), 500), 100_000),
        "snapshot_images": min(max(train.images / 10, 2000), 200_000),
        "score_images": min(max(train.images / 8, MIN_SCORED_IMAGES), 500_000),
    }
    auto = [name for name in intervals if getattr(train, name) == "auto"]
    values: dict[str, Any] = {f"train.{name}": max(round_figure(intervals[name]), train.batch) for name in auto}
    epochs = [name for name in intervals if getattr(train, name) == "epoch"]
    values |= {f"train.{name}": max(images, train.batch) for name in epochs}
    if "score_images" in auto and (train.images < MIN_SCORED_IMAGES or not config.score.metrics):
        values["train.score_images"] = train.images if scored and config.score.metrics else 0
    if config.score.count == "auto":
        every = values.get("train.score_images", train.score_images)
        values["score.count"] = round_figure(min(max(every / 20, LEAST_COUNT), 5000))
    return overridden(config, values)


def intervals_line(config: Config) -> str:
    train = config.train
    line = f"metrics every {train.tick_images:,} images, samples every {train.sample_images:,}"
    line += f", a checkpoint every {train.snapshot_images:,}"
    return f"{line}, scores every {train.score_images:,}" if train.score_images else line


def round_up(value: float) -> int:
    """The smallest number of the form 1, 2 or 5 times a power of ten that is at least `value`."""
    figure = round_figure(value)
    return figure if figure >= value else figure * 5 // 2 if str(figure)[0] == "2" else figure * 2


def round_figure(value: float) -> int:
    """The largest number of the form 1, 2 or 5 times a power of ten that is at most `value`; at least 1."""
    if value < 1:
        return 1
    power = 10 ** int(math.log10(value))
    return int(next(digit for digit in (5, 2, 1) if digit * power <= value) * power)
