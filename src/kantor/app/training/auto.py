"""Fills the fields that say "auto" and says why."""

from __future__ import annotations

import math
from typing import Any

from kantor.config.io import overridden
from kantor.config.schema import Config

DEFAULT_BUDGET_S = 300.0
FEWEST_SCORED = 5000
SHEETS, FEWEST_SHEETS, SECONDS_A_SHEET = 60, 10, 5.0  # a pair of sheets with its frames takes some 50 ms
RESERVE = 0.95  # of the budget; the rest is for sheets, plots and checkpoints


def length_in_images(rate: float, budget_s: float, batch: int) -> int:
    """How many images fit into a budget at `rate` images a second, rounded to three figures."""
    images = max(rate * budget_s * RESERVE, 10 * batch)
    unit = 10 ** max(0, int(math.log10(images)) - 2)
    return int(images // unit * unit)


def with_intervals(config: Config, scored: bool = False, budget_s: float = math.inf, images: int = 1) -> Config:
    """`config` with tick, sample, snapshot and score intervals for the length of the run, where they are "auto" or "epoch".

    200 rows of metrics, or one every 4,000 images; up to 60 sheets, at most one in 5 seconds of a budget, or one every
    100,000; 10 checkpoints, or one every 200,000; 8 scores, or one every 5,000 images in short runs, or every 500,000 in long ones;
    none in runs of less than 5,000 images. A score draws a twentieth of the images that are learnt from between two of them, 500 to 5,000: it
    costs a few hundredths of the time.

    Args:
        scored: scores were asked for: a short run has one at its end.
        budget_s: seconds that the run is planned to take, where that is known.
        images: of the set: what "epoch" stands for.
    """
    train = config.train
    assert isinstance(train.images, int)
    sheets = min(SHEETS, max(budget_s / SECONDS_A_SHEET, FEWEST_SHEETS))
    wanted = {
        "tick_images": min(train.images / 200, 4000),
        "sample_images": min(max(round_up(train.images / sheets), 500), 100_000),
        "snapshot_images": min(max(train.images / 10, 2000), 200_000),
        "score_images": min(max(train.images / 8, FEWEST_SCORED), 500_000),
    }
    auto = [name for name in wanted if getattr(train, name) == "auto"]
    values: dict[str, Any] = {f"train.{name}": max(round_figure(wanted[name]), train.batch) for name in auto}
    epochs = [name for name in wanted if getattr(train, name) == "epoch"]
    values |= {f"train.{name}": max(images, train.batch) for name in epochs}
    if "score_images" in auto and (train.images < FEWEST_SCORED or not config.score.metrics):
        values["train.score_images"] = train.images if scored and config.score.metrics else 0
    if config.score.count == "auto":
        every = values.get("train.score_images", train.score_images)
        values["score.count"] = round_figure(min(max(every / 20, 500), 5000))
    return overridden(config, values)


def intervals_line(config: Config) -> str:
    """The intervals in words."""
    rows, sheets, saves = config.train.tick_images, config.train.sample_images, config.train.snapshot_images
    line = f"a row of metrics every {rows:,} images, a sheet of samples every {sheets:,}, a checkpoint every {saves:,}"
    return f"{line}, scores every {config.train.score_images:,}" if config.train.score_images else line


def round_up(value: float) -> int:
    """The next higher number of the form 1, 2 or 5 times a power of ten, or `value` itself if it is one."""
    figure = round_figure(value)
    return figure if figure >= value else figure * 5 // 2 if str(figure)[0] == "2" else figure * 2


def round_figure(value: float) -> int:
    """The next lower number of the form 1, 2 or 5 times a power of ten; at least 1."""
    if value < 1:
        return 1
    power = 10 ** int(math.log10(value))
    return int(next(digit for digit in (5, 2, 1) if digit * power <= value) * power)
