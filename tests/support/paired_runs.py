"""Runs on pairs of images and conditions, stopped and resumed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from kantor.errors import DataError
from support.resume_child import train_until
from support.run_results import assert_same, results_of


def assert_goes_on_from_copies(tmp_path: Path, source: Path, fields: dict[str, Any]) -> None:
    """A run on pairs goes on bit for bit; where the images are gone, both packed copies serve."""
    cache, fields = tmp_path / "cache", fields | {"data.source": str(source)}
    unbroken, _ = train_until(None, "painter-colours", "float32", tmp_path / "a", cache, overrides=fields)
    wanted = results_of(unbroken)
    run, reason = train_until(2, "painter-colours", "float32", tmp_path / "b", cache, overrides=fields)
    assert reason == "signal"
    source.rename(tmp_path / "away")
    notes: list[str] = []
    run, reason = train_until(None, "painter-colours", "float32", tmp_path / "b", cache, run, notes)
    assert any("using its packed copies in the cache" in note for note in notes)
    assert reason == "done"
    assert_same(run, wanted)
    shutil.rmtree(cache)
    with pytest.raises(DataError, match="no longer there"):
        train_until(None, "painter-colours", "float32", tmp_path / "b", cache, run, images=200)
