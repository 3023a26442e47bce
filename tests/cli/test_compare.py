"""`kantor compare` and `kantor train --seeds` as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.commands import TINY, exit_of
from support.made_runs import made_run


@pytest.mark.usefixtures("cache")
def test_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kantor.app.comparison.figures.overlay_svg", lambda *_: "<svg></svg>")
    made_run(tmp_path / "runs", "fish", fd=3)
    made_run(tmp_path / "runs", "bird", "dcgan", fd=2)
    assert exit_of("compare", "fish", "bird") == 0
    out = capsys.readouterr().out
    assert out.startswith("             fd@kantor-small ↓") and "is an anecdote" in out
    assert (tmp_path / "runs" / "comparisons" / "00000" / "compare.html").is_file()
    assert exit_of("runs") == 0 and "comparisons" not in capsys.readouterr().out
    assert exit_of("compare", "fish") == 2
    assert exit_of("compare", "fish", "shark") == 4
    assert exit_of("compare") == 2


def test_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["--set", "data.glyphs.count=40", "--images", "16", "--name", "x"]
    assert exit_of("train", "glyphs", *TINY, *few, "--seeds", "1,2") == 0
    out = capsys.readouterr().out
    assert "run 2 of 2: seed 2" in out and out.rstrip().endswith("compare 0 1")
    assert [run.name for run in sorted((tmp_path / "runs").iterdir())] == ["00000-x-seed1", "00001-x-seed2"]
    assert exit_of("train", "--seeds", "1,2", "--seed", "3") == 2
