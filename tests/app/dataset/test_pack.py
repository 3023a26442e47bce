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
