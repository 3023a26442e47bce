"""Which generator of a run is drawn, as its checkpoints tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kantor.runs.moment import SavedChoice, moment_line, read_choice


def put(run: Path, images: int, state: Any) -> None:
    folder = run / "checkpoints" / f"{images:09d}"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(
        state if isinstance(state, str) else json.dumps({"listeners": {"best score": state}})
    )


def test_the_newest_readable_checkpoint_tells(tmp_path: Path) -> None:
    assert read_choice(tmp_path) is None
    put(
        tmp_path,
        999_999_999,
        {"value": None, "images_seen": None, "provenance": {}, "reason": "newest, because recall is 0"},
    )
    assert read_choice(tmp_path) == SavedChoice(999_999_999, None, "newest, because recall is 0")
    put(
        tmp_path,
        1_000_000_000,
        {"value": 1.0, "images_seen": 7, "provenance": {"name": "fd@x"}, "reason": "best by fd@x"},
    )
    assert read_choice(tmp_path) == SavedChoice(1_000_000_000, 7, "best by fd@x")
    put(tmp_path, 1_000_000_064, "damaged")
    put(tmp_path, 1_000_000_128, [])
    choice = read_choice(tmp_path)
    assert choice and choice.newest == 1_000_000_000 and choice.kept == 7


def test_a_disputed_best_is_not_kept() -> None:
    choice = SavedChoice(90, 7, "newest, because two extractors disagree")
    assert (choice.kept, choice.best, choice.best_reason) == (90, 7, "best by its score")
    newest_too = SavedChoice(90, 90, "newest, because two extractors disagree")
    assert (newest_too.kept, newest_too.best_reason) == (90, "best by its score")


def test_states_of_the_first_version(tmp_path: Path) -> None:
    put(tmp_path, 64, {"value": 1.0, "images_seen": 32, "provenance": {"name": "fd@x", "drawn": 5}})
    assert read_choice(tmp_path) == SavedChoice(64, 32, "best by fd@x")
    put(tmp_path, 128, {"value": None, "images_seen": None, "provenance": {}})
    assert read_choice(tmp_path) == SavedChoice(128, None, "newest")


@pytest.mark.parametrize(
    ("reason", "seen", "total", "line"),
    [
        ("best by fd@x", 120_000, 200_000, "model: best by fd@x, after 120,000 of 200,000 images"),
        ("best by fd@x (one extractor)", 5, 5, "model: best by fd@x (one extractor), after 5 images"),
        ("newest, because recall is 0", 5, 5, "model: newest, after 5 images; recall is 0, so no score chooses"),
        ("newest", 5, 5, "model: newest, after 5 images"),
        ("", 5, 7, "model: after 5 of 7 images"),
    ],
)
def test_the_line(reason: str, seen: int, total: int, line: str) -> None:
    assert moment_line(reason, seen, total) == line
