"""--slim: the widths that fit into the time, said and kept in config.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from unittest import mock

import pytest

from kantor.app.training.choose_slim import widest
from support.commands import exit_of

RATES = {8: 800.0, 4: 400.0, 2: 100.0, 1: 20.0}


@pytest.mark.parametrize(
    ("time_s", "slim", "why"),
    [
        (10_000, 1, "recognisable images after about 85 min, in a run of 3 h"),  # 100,000 images at 20 a second
        (3600, 2, "recognisable images after about 17 min, in a run of 60 min, with 1 about 85 min"),
        (400, 4, "recognisable images after about 4 min, in a run of 7 min"),  # 2 would take 1,000 s: not tried
        (10, 8, "recognisable images after about 2 min, in a run of 10 s; none fit, and these are the narrowest"),
    ],
)
def test_the_widest_that_fits(time_s: float, slim: int, why: str) -> None:
    assert widest(RATES.__getitem__, 100_000, time_s) == (slim, why)


def test_wider_ones_are_not_tried_if_that_is_hopeless() -> None:
    tried = []
    widest(lambda slim: tried.append(slim) or RATES[slim], 100_000, 10)  # type: ignore[func-returns-value]
    assert tried == [8]


def test_memory_limits_the_width() -> None:
    def rate_of(slim: int) -> float:
        if slim < 4:
            raise MemoryError
        return 1e6

    slim, why = widest(rate_of, 100_000, 1000)
    assert slim == 4 and why.endswith("; 2 does not fit in memory")


def test_a_slim_run_says_what_is_left_and_keeps_its_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--size", "16", "--batch", "8", "--images", "16", "--metrics", "none", "--set", "data.glyphs.count=60"]
    run = tmp_path / "runs" / "00000-slim"
    assert (
        exit_of("train", "--preset", "wgan-gp", "--slim", "8", *words, "--runs", str(run.parent), "--name", "slim") == 0
    )
    told = capsys.readouterr().out
    assert "generator.slim" in told and "critic.slim" in told and "parameters of " in told
    config = tomllib.loads((run / "config.toml").read_text())
    assert (config["generator"]["width"], config["generator"]["slim"], config["critic"]["slim"]) == (64, 8, 8)
    again = tmp_path / "again"
    assert exit_of("train", "--config", str(run / "config.toml"), "--runs", str(again)) == 0  # not slim twice
    weights = [next(folder.glob("*/generator.safetensors")).read_bytes() for folder in (run.parent, again)]
    assert weights[0] == weights[1]
    report = (run / "report.html").read_text()
    assert "dcgan, width 8, " in report  # what was trained, not what the preset says
    assert exit_of("generate", str(run), "--count", "2", "--out", str(tmp_path / "images")) == 0


def test_auto_chooses_a_number(tmp_path: Path) -> None:
    words = [
        "--size",
        "16",
        "--batch",
        "8",
        "--metrics",
        "none",
        "--time-budget",
        "3s",
        "--set",
        "data.glyphs.count=60",
    ]
    assert exit_of("train", "--preset", "wgan-gp", "--slim", "auto", *words, "--runs", str(tmp_path)) == 0
    config = tomllib.loads(next(tmp_path.glob("*/config.toml")).read_text())
    assert config["generator"]["slim"] == config["critic"]["slim"] == 8


def test_auto_takes_the_widths_of_the_other_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--preset", "wgan-gp", "--size", "16", "--batch", "8", "--metrics", "none", "--images", "16",
             "--set", "data.glyphs.count=60", "--runs", str(tmp_path)]  # fmt: skip
    assert exit_of(*words, "--slim", "16", "--name", "first") == 0
    with mock.patch("kantor.app.training.choose_slim.widest", side_effect=AssertionError):
        assert exit_of(*words, "--slim", "auto", "--init-from", "first", "--name", "second") == 0
    assert "takes 100% of the generator's weights and 100% of the critic's" in capsys.readouterr().out
    config = tomllib.loads((tmp_path / "00001-second" / "config.toml").read_text())
    assert config["generator"]["slim"] == config["critic"]["slim"] == 16


@pytest.mark.parametrize("given", ["0", "65", "thin", "nan"])
def test_a_bad_number_is_refused(given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("train", "--slim", given, "--runs", str(tmp_path)) == 2
    assert (
        capsys.readouterr().err
        == f"error: --slim {given}: is not a number from 1 to 64; write for example 4, or auto\n"
    )
