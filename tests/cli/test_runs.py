"""`kantor runs` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kantor import lock
from kantor.cli import terminal
from support.commands import exit_of
from support.made_runs import made_run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made_run(tmp_path / "runs", "fish", fd=3)
    made_run(tmp_path / "runs", "bird", fd=2)
    return tmp_path / "runs"


def listed(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    """The names of runs in the lines that a command prints."""
    assert exit_of("runs", *words) == 0
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]


def test_runs_alone_and_with_a_folder_is_a_list(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ["00000-fish", "00001-bird"]
    for words in ((), ("list",), ("runs",), ("list", runs), ("--runs", runs), (runs, "--sort", "time")):
        assert listed(capsys, *words) == both
    assert listed(capsys, "--sort", "fd") == both[::-1]
    runs.rename("list")
    assert listed(capsys, "./list") == both and listed(capsys, "list", "list") == both


def test_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("runs", "--json", "--sort", "fd") == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["name"] for run in found] == ["00001-bird", "00000-fish"]
    assert found[0]["scores"]["fd@kantor-small"]["value"] == 2 and found[0]["state"] == "finished"
    assert exit_of("runs", "best", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "00001-bird"


def test_a_folder_without_runs(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    assert exit_of("runs", "new") == 0
    assert "no runs in new yet" in capsys.readouterr().out
    assert exit_of("runs", "lst") == 4
    assert 'did you mean "list"' in capsys.readouterr().err
    assert exit_of("runs", "best", "new") == 4
    assert "no run has a score" in capsys.readouterr().err


def test_best(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("runs", "best", "--by", "fd") == 0
    assert capsys.readouterr().out.startswith("runs/00001-bird: fd@kantor-small 2 (1 to 3) at 1,000 images")
    assert exit_of("runs", "best", "--by", "fid") == 2
    assert '--by fid: no run has this score; did you mean "fd"?' in capsys.readouterr().err


def test_rename_and_note(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("runs", "rename", "fish", "shark") == 0
    assert (runs / "00000-shark").is_dir()
    assert exit_of("runs", "rename", "shark", "bird") == 2
    assert exit_of("runs", "rename", "shark") == 2
    assert exit_of("runs", "note", "shark", "wider", "than", "before") == 0
    capsys.readouterr()
    assert exit_of("runs", "note", "shark") == 0
    assert capsys.readouterr().out == "wider than before\n"
    assert exit_of("report", "0") == 0
    assert "wider than before" in (runs / "00000-shark" / "report.html").read_text("utf-8")
    assert exit_of("runs", "note", "shark", "") == 0
    assert not (runs / "00000-shark" / "note.txt").exists()
    with lock.locked(runs / "00000-shark"):
        assert exit_of("runs", "rename", "0", "whale") == 7


def test_delete_takes_yes_or_an_answer(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exit_of("runs", "delete", "fish") == 2
    assert "would delete 00000-fish, and nobody can be asked here; add --yes" in capsys.readouterr().err
    with lock.locked(runs / "00000-fish"):
        assert exit_of("runs", "delete", "bird", "fish", "--yes") == 7
    assert exit_of("runs", "delete", "bird", "7", "--yes") == 4
    assert len(list(runs.iterdir())) == 2
    asked: list[str] = []
    monkeypatch.setattr(terminal, "interactive", lambda: True)
    monkeypatch.setattr("kantor.cli.runs.interactive", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda question, default: asked.append(question) or "bird" in question)
    assert exit_of("runs", "delete", "fish", "bird") == 0
    assert [entry.name for entry in runs.iterdir()] == ["00000-fish"]
    assert "delete runs/00000-fish (" in asked[0] and "kB, 1,000 images seen)?" in asked[0]
    assert exit_of("runs", "delete", "fish", "--yes") == 0
    assert list(runs.iterdir()) == []
