"""`kantor pack`: what goes beyond a source packed into a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from kantor.data.loading.store import Store
from support.commands import exit_of


@pytest.mark.parametrize("choose", ["first", "random"])
def test_converting_some_images_of_a_packed_dataset(
    choose: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--cache", tmp_path / "cache", "--set"]
    assert exit_of("pack", "glyphs", "--out", tmp_path / "set", *words, "data.glyphs.count=30") == 0
    limit = ["data.limit=10", "--set", f"data.choose={choose}"]
    assert exit_of("pack", tmp_path / "set", "--out", tmp_path / "tar", "--format", "webdataset", *words, *limit) == 0
    out = capsys.readouterr().out
    assert "wrote 10 images, 32x32 RGB, as webdataset" in out
    assert "data.channels = rgb: 30 of 30 sampled images have colour" in out
    assert exit_of("pack", tmp_path / "tar", "--out", tmp_path / "again", "--cache", tmp_path / "cache") == 0
    assert Store.open(tmp_path / "again").count == 10


def test_fields_of_training_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--inspect"], ["--format", "tfrecord"]):
        words = ["pack", "glyphs", "--out", tmp_path / "set", *more, "--set", "data.limit=9", "--set", "train.batch=4"]
        assert exit_of(*words) == 2
        text = "error: --set train.batch: packing reads [data] alone; leave it out, and give it to kantor train\n"
        assert capsys.readouterr().err == text
    assert not list(tmp_path.iterdir())


def test_converting_says_nothing_about_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--out", tmp_path / "records", "--format", "tfrecord", "--cache", tmp_path / "c", "--size", "16"]
    assert exit_of("pack", "glyphs", *words, "--set", "data.glyphs.count=30") == 0
    out = capsys.readouterr().out
    assert "wrote 30 images, 16x16 RGB, as tfrecord" in out
    assert "batch" not in out and "memorize" not in out
