"""How long it takes until something is to be seen is said before packing and before training, with what would fit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kantor.app.training import time_told
from kantor.app.training.options import TrainOptions
from kantor.app.training.rough_rate import rough_rate
from kantor.app.training.time_to_see import Outlook, about, images_to_see
from kantor.app.training.time_told import TimeTold
from kantor.config.io import resolve
from kantor.config.schema import Config
from kantor.types import ImageSpec
from support.commands import exit_of

CPU = torch.device("cpu")
TINY = {"generator.width": 4, "critic.width": 4}


def config(preset: str = "default", **fields: object) -> Config:
    return resolve(preset, overrides={"data.source": "fish", **{k.replace("__", "."): v for k, v in fields.items()}})


def outlook(
    side: int, rate: float, budget_s: float = math.inf, images: float = math.inf, preset: str = "default"
) -> list[str]:
    return Outlook(config(preset), ImageSpec(side, side, 3), rate, budget_s, images).lines()


def test_images_grow_with_the_side_and_differ_by_recipe() -> None:
    assert images_to_see(config(), 32, 32) == 100_000
    assert 2.3 < images_to_see(config(), 64, 64) / 100_000 < 2.5 and images_to_see(config(), 16, 64) == 100_000
    assert images_to_see(config(data__source="glyphs"), 32, 32) == 40_000, "letters are simple"
    recipes = [images_to_see(config(preset), 32, 32) for preset in ("default", "wgan-gp-tuned", "dcgan", "wgan-gp")]
    assert recipes == sorted(set(recipes)), "the default is the fastest, five critic steps the slowest"


def test_what_fits_is_one_line() -> None:
    (line,) = outlook(32, 400, budget_s=600)
    assert line.startswith("at 32x32 pixels the first recognisable images take about 4 min here (rough:")


def test_what_does_not_fit_names_the_size_that_does() -> None:
    first, second = outlook(128, 18, budget_s=600)
    assert first == (
        "at 128x128 pixels the first recognisable images take about 9 h here; "
        "this run of about 10 min ends before, with blots and outlines"
    )
    assert second == "at 32x32 about 6 min: --size 32"
    assert outlook(64, 100, budget_s=600)[0].endswith("ends before, with blots and outlines"), "clip art in ten minutes"
    assert outlook(128, 18, budget_s=300)[1] == "at 32x32 about 6 min: --size 32 --time-budget 10m"
    assert outlook(128, 18, images=20_000)[1] == "at 32x32 about 6 min: --size 32 --images 100k"
    assert outlook(128, 18, budget_s=100_000) == [
        "at 128x128 pixels the first recognisable images take about 9 h here",
        "at 64x64 about 55 min: --size 64",
    ], "more than an hour, though it fits"


def test_no_smaller_size_makes_sense() -> None:
    assert outlook(32, 200, budget_s=300)[1] == "to see more: --time-budget 15m"
    assert outlook(32, 200, images=50_000)[1] == "to see more: --images 100k"
    fixed = outlook(32, 20, budget_s=600, preset="fish32")
    assert "--size" not in fixed[1], "its networks have one size"
    (line,) = outlook(32, 10, budget_s=100_000)
    assert line.endswith("about 3 h here")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "5 s"),
        (33, "30 s"),
        (100, "2 min"),
        (366, "6 min"),
        (1500, "25 min"),
        (5400, "1.5 h"),
        (32_000, "9 h"),
        (3e5, "3 days"),
    ],
)
def test_about(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_the_rough_rate_falls_with_pixels_and_never_fails() -> None:
    small, large = (rough_rate(config(generator__width=4, critic__width=4), ImageSpec(s, s, 3), CPU) for s in (16, 128))
    assert small is not None and large is not None and 0 < large < small
    threads = torch.get_num_threads()
    assert rough_rate(config("fish32"), ImageSpec(32, 32, 3), CPU) is None, "fixed layers"
    assert rough_rate(config("painter-colours"), ImageSpec(64, 64, 3), CPU) is None, "pairs"
    refused = config(critic__norm="batch")
    assert rough_rate(refused, ImageSpec(32, 32, 3), CPU) is None, "the run says why it cannot be trained"
    assert torch.get_num_threads() == threads


def test_said_again_only_if_the_measured_rate_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_told, "rough_rate", lambda *_: 400.0)
    spec = ImageSpec(32, 32, 3)
    for measured, said in ((450.0, 1), (200.0, 2), (None, 1)):
        lines: list[str] = []
        told = TimeTold(TrainOptions(data="fish", budget_s=600.0), "auto", CPU, lines.append)
        told.before_packing(config(), spec)
        told.before_training(config(), spec, measured)
        assert len(lines) == said, measured
        assert [line.startswith("measured again: at 32x32") for line in lines] == [False, True][:said]
    trained, lines = config(train__init_from="runs/3"), []
    TimeTold(TrainOptions(data="fish"), "auto", CPU, lines.append).before_training(trained, spec, 100.0)
    TimeTold(TrainOptions(data="fish", images=640), "auto", CPU, lines.append).before_packing(config(), spec)
    TimeTold(TrainOptions(data="fish"), "auto", CPU, lines.append).before_training(config("upscale"), spec, 100.0)
    assert not lines, "a trained model and one that enlarges show something at once; ten steps are a trial"


def test_the_length_may_come_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """64x64 takes 238,000 images at 100 a second: 40 minutes."""
    monkeypatch.setattr(time_told, "rough_rate", lambda *_: 100.0)

    def said(length: int | str = "auto", **options: Any) -> str:
        lines: list[str] = []
        told = TimeTold(TrainOptions(data="fish", **options), length, CPU, lines.append)
        told.before_packing(config(), ImageSpec(64, 64, 3))
        return " ".join(lines)

    ends = "this run of about {} ends before"
    assert ends.format("5 min") in said(), "the default"
    assert ends.format("15 min") in said(budget_s=900.0)
    assert ends.format("10 min") in said(60_000), "as configured"
    assert ends.format("10 min") in said(60_000, budget_s=3600.0) and ends.format("2 min") in said(
        60_000, budget_s=120.0
    )
    assert ends.format("10 min") in said(500_000, images=60_000)
    assert "ends before" not in said(60_000, epochs=3.0), "images are not counted yet"
    lines: list[str] = []
    told = TimeTold(TrainOptions(data="fish", epochs=3.0), "auto", CPU, lines.append)
    told.before_training(config(train__images=60_000), ImageSpec(64, 64, 3), 100.0)
    assert ends.format("10 min") in lines[0]


def test_before_packing_and_in_a_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    words = ["train", tmp_path / "in", "--size", "256", "--images", "20k", "--device", "cpu", "--runs", tmp_path / "r"]
    words += ["--dry-run", "--set", "generator.width=4", "--set", "critic.width=4", "--batch", "4"]
    assert exit_of(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    (told,) = [
        i
        for i, line in enumerate(lines)
        if line.startswith("at 256x256 pixels the first recognisable images take about")
    ]
    assert "ends before, with blots and outlines" in lines[told]
    assert "--size" in lines[told + 1]
    assert told < next(i for i, line in enumerate(lines) if line.startswith("packed 4 images")), "before packing"
    assert exit_of(*words) == 0
    assert "at 256x256 pixels the first recognisable" in capsys.readouterr().out, "packed already: before training"
