"""A run of 5690a5f, which does not name the rules of packing, goes on when its packed dataset is gone (run-5690a5f)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kantor.config.io import read_toml
from kantor.data.loading import layout
from kantor.errors import ConfigError, DataError
from kantor.runs.run_state import RunState
from support.fixed_images import bmp, png, put
from support.resume_child import train_until

RUN = Path(__file__).parent / "run-5690a5f"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of it: training writes to it."""
    shutil.copytree(RUN, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Parts of a dataset, which were classes, and 12 bits, which were taken for 16."""
    for i in range(12):
        put(tmp_path / "pictures" / ("train/a", "train/b", "val/a", "val/b")[i % 4] / f"{i:02d}.bmp", bmp(i))
    put(tmp_path / "pictures/train/b/12.png", png(12, bits=12))
    return tmp_path / "pictures"


def test_it_packs_the_same_dataset_and_goes_on(run: Path, pictures: Path, tmp_path: Path) -> None:
    fields = {"data.source": str(pictures)}
    before = RunState.load(run / "checkpoints" / f"{40:09d}")
    _, reason = train_until(None, "wgan-gp", "float32", tmp_path, tmp_path / "cache", run, images=80, overrides=fields)
    assert reason == "done"
    (packed,) = (tmp_path / "cache" / "packs").iterdir()
    manifest = json.loads((packed / layout.MANIFEST).read_text())
    assert manifest["fingerprint"] == before.fingerprint
    assert (manifest["count"], manifest["class_names"]) == (13, ["train", "val"])
    after = RunState.load(run / "checkpoints" / f"{80:09d}")
    assert (after.images_seen, after.fingerprint, after.class_names) == (80, before.fingerprint, ("train", "val"))
    assert read_toml(run / "config.toml")["data"]["rules"] == 1


def test_newer_rules_make_another_dataset_and_are_refused(run: Path, pictures: Path, tmp_path: Path) -> None:
    config = run / "config.toml"
    config.write_text(config.read_text().replace("[data]\n", "[data]\nrules = 2\n", 1))
    fields = {"data.source": str(pictures)}
    with pytest.raises((ConfigError, DataError), match="rules"):
        train_until(None, "wgan-gp", "float32", tmp_path, tmp_path / "cache", run, images=80, overrides=fields)
