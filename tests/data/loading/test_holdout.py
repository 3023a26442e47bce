"""Which images are held out, and that training never sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kantor
from kantor.config.data import DataConfig
from kantor.data.loading.feed import Feed
from kantor.data.loading.holdout import split
from kantor.data.loading.store import Store
from kantor.data.packing.pack import pack
from kantor.data.sources.recognise import open_source
from kantor.types import ImageSpec
from support.commands import TINY, exit_of


def packed(folder: Path, names: list[str], out: Path) -> Store:
    """Images whose every pixel is their number, and noise in one corner so that their bytes differ."""
    folder.mkdir(exist_ok=True)
    for name in names:
        number = int(name.split("-")[-1].split(".")[0])
        image = np.full((8, 8, 3), number, np.uint8)
        Image.fromarray(image).save(folder / name)
    pack(open_source(DataConfig(source=str(folder))), DataConfig(min_size=1), ImageSpec(8, 8, 3), out, workers=1)
    return Store.open(out)


def numbers(part: Any) -> set[int]:
    return set(part.images(np.arange(part.count))[:, 0, 0, 0].tolist())


def test_splits_are_complete_and_stable(tmp_path: Path) -> None:
    """Other names, another order, more images: each image stays where it was."""
    store = packed(tmp_path / "a", [f"{i:03}.png" for i in range(200)], tmp_path / "pa")
    train, held = split(store, 0.25)
    assert train.count + held.count == 200
    assert 25 < held.count < 75  # 50 expected, deviation 6
    assert numbers(train) | numbers(held) == set(range(200))
    assert not numbers(train) & numbers(held)
    other = packed(tmp_path / "b", [f"z{999 - i}-{i}.png" for i in range(250)], tmp_path / "pb")
    _again, kept = split(other, 0.25)
    assert numbers(kept) & set(range(200)) == numbers(held)
    smaller = split(store, 0.1)[1]
    assert numbers(smaller) < numbers(held)
    np.testing.assert_array_equal(held.digests(), store.digests()[[i for i in range(200) if i in numbers(held)]])


def test_copies_are_in_the_same_split(tmp_path: Path) -> None:
    names = [f"{copy}-{i:03}.png" for copy in "ab" for i in range(60)]
    train, held = split(packed(tmp_path / "a", names, tmp_path / "p"), 0.5)
    assert held.count == 2 * len(numbers(held))
    assert not numbers(train) & numbers(held)


def test_an_epoch_shows_each_image_that_is_trained_on_once(tmp_path: Path) -> None:
    import torch

    train, _held = split(packed(tmp_path / "a", [f"{i:03}.png" for i in range(60)], tmp_path / "p"), 0.3)
    feed = Feed(train, 3, torch.device("cpu"))
    shown = ((feed.take(train.count).images[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    assert sorted(shown) == sorted(numbers(train))


def test_training_with_a_holdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "glyphs", *TINY, "--runs", tmp_path / "r", "--epochs", "2"]
    assert exit_of(*words, "--set", "data.glyphs.count=100", "--set", "data.holdout=20%") == 0
    out = capsys.readouterr().out
    held = int(out.split(" of 100 images are held out")[0].split()[-1])
    run = next((tmp_path / "r").glob("00000-*"))
    assert "holdout = 0.2\n" in (run / "config.toml").read_text()
    seen = kantor.load(run).images_seen
    assert 2 * (100 - held) <= seen < 2 * (100 - held) + 8
    resumed = ["train", "--resume", run, "--images", "200"]
    assert exit_of(*resumed, "--set", "data.holdout=0.1") == 2
    assert "data.holdout: 0.2 -> 0.1" in capsys.readouterr().err
    assert exit_of(*resumed) == 0


@pytest.mark.parametrize(
    ("share", "code", "says"),
    [("1", 2, "holdout"), ("-0.1", 2, "holdout"), ("0.999", 3, "add more images"), ("many", 2, "holdout")],
)
def test_invalid_fractions(
    share: str, code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "glyphs", *TINY, "--runs", tmp_path / "r", "--images", "8"]
    assert exit_of(*words, "--set", "data.glyphs.count=20", "--set", f"data.holdout={share}") == code
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
