"""kantor train --dry-run: prints the decisions and leaves runs as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.commands import exit_of

TINY = ["--size", "16", "--device", "cpu", "--set", "data.glyphs.count=64"]
TINY += ["--set", "generator.width=4", "--set", "critic.width=4"]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def test_a_new_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "glyphs", *TINY, "--images", "6400", "--batch", "auto"]
    assert exit_of(*words, "--runs", tmp_path / "r", "--dry-run") == 0
    out = capsys.readouterr().out
    for row in (
        r"dataset +64 images, 16x16 RGB +glyphs", r"device +.+ as requested", r"train\.precision +\w+ ", r"train\.batch +\d+ +measured",
        r"train\.images +6,400 +as requested", r"train\.tick_images +\d+ +from the length",
    ):  # fmt: skip
        assert re.search(f"^{row}", out, re.MULTILINE), f"{row} in {out}"
    assert "metrics every" in out and "training on" not in out
    assert not (tmp_path / "r").exists()


def test_a_length_from_a_budget_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "glyphs", *TINY, "--time-budget", "20s", "--runs", tmp_path / "r"]
    assert exit_of(*words, "--dry-run") == 0
    assert re.search(r"^train\.images +[\d,]+ +fills \d+ s at", capsys.readouterr().out, re.MULTILINE)
    assert not (tmp_path / "r").exists()


def test_what_is_refused_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "glyphs", *TINY, "--images", "640", "--runs", tmp_path / "r"]
    assert exit_of(*words, "--dry-run", "--set", "critic.norm=batch") == 2
    assert "critic.norm: a gradient penalty" in capsys.readouterr().err


def test_a_resumed_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = ["--device", "cpu", "--runs", tmp_path / "r"]
    assert exit_of("train", "glyphs", *TINY, "--images", "64", *shared) == 0
    before = contents(tmp_path / "r")
    capsys.readouterr()
    assert exit_of("train", "--resume", "latest", "--images", "128", *shared, "--dry-run") == 0
    out = capsys.readouterr().out
    assert re.search(r"^resume +.*00000-glyphs-relativistic +from 64 images", out, re.MULTILINE)
    assert re.search(r"^train\.images +128 +the new length of the run", out, re.MULTILINE)
    assert contents(tmp_path / "r") == before
    run = next((tmp_path / "r").iterdir())
    for more in ([], ["--images", "64"], ["--time-budget", "1m"]):
        assert exit_of("train", "--resume", "latest", *more, *shared, "--dry-run") == 0
        line = f"{run} is finished at 64 images; to train on: kantor train --resume {run} --images 128\n"
        assert capsys.readouterr().out == line
