"""`kantor evaluate --compare RUN`: the newest evaluation of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kantor.app.evaluation.earlier import read_earlier
from kantor.app.evaluation.options import EvaluateOptions
from kantor.errors import DataError


def options(runs: Path, compare: str) -> EvaluateOptions:
    return EvaluateOptions(subject="x", runs=runs, compare=Path(compare))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    run = tmp_path / "00003-fish"
    run.mkdir()
    (run / "config.toml").touch()
    return tmp_path


@pytest.mark.parametrize("named", ["3", "fish", "latest"])
def test_the_newest_evaluation_of_a_run(runs: Path, named: str) -> None:
    for number, fd in ((9, 1.0), (100000, 2.0)):
        folder = runs / "00003-fish" / "evaluations" / f"{number:05d}"
        folder.mkdir(parents=True)
        scores = {"metrics": {"fd@random": {"value": fd}}, "provenance": {"extractor": "random"}}
        (folder / "scores.json").write_text(json.dumps(scores))
    earlier = read_earlier(options(runs, named))
    assert earlier is not None and earlier["fd@random"].value == 2.0


def test_a_run_without_evaluations(runs: Path) -> None:
    with pytest.raises(DataError, match=r"00003-fish has not been evaluated; run kantor evaluate fish first"):
        read_earlier(options(runs, "fish"))


def test_neither_a_file_nor_a_run(runs: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.json: cannot be read"):
        read_earlier(options(runs, "nothing.json"))
