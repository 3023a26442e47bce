"""Several sources in one packed dataset."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor.data.loading.store import Store
from support.commands import exit_of


def images(folder: Path, colours: dict[str, int]) -> Path:
    for name, colour in colours.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (colour, colour, colour)).save(folder / name)
    return folder


def test_folders_and_arrays_of_several_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = images(tmp_path / "x" / "fish", {"red/1.png": 101, "blue/2.png": 102})
    two = images(tmp_path / "y" / "fish", {"red/1.png": 103, "green/4.png": 104})
    stack = np.stack([np.full((16, 16, 3), 105, np.uint8), np.full((16, 16, 3), 106, np.uint8)])
    np.savez(tmp_path / "z.npz", images=stack, labels=np.array([0, 0]))
    assert exit_of("pack", one, two, tmp_path / "z.npz", "--out", tmp_path / "set", "--size", "16") == 0
    store = Store.open(tmp_path / "set")
    assert store.whole()[:, 0, 0, 0].tolist() == [102, 101, 104, 103, 105, 106]
    assert store.class_names == ["0", "blue", "green", "red"]
    labels = store.labels(np.arange(6))
    assert labels is not None
    assert [store.class_names[n] for n in labels] == ["blue", "red", "green", "red", "0", "0"]
    lines = gzip.decompress((tmp_path / "set" / "sources.jsonl.gz").read_bytes()).decode().splitlines()
    names = [json.loads(line)["name"] for line in lines]
    assert names == [
        "0-fish/blue/2.png",
        "0-fish/red/1.png",
        "1-fish/green/4.png",
        "1-fish/red/1.png",
        "z.npz/0",
        "z.npz/1",
    ]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--format", "tfrecord"], 2, "takes one SOURCE"),
        (["--inspect"], 2, "takes one SOURCE"),
        (["--labels", "labels.csv"], 2, "for one SOURCE"),
    ],
)
def test_options_that_take_one_source(
    words: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = images(tmp_path / "x", {"1.png": 1, "2.png": 2})
    assert exit_of("pack", one, one, "--out", tmp_path / "set", "--size", "16", *words) == code
    assert says in capsys.readouterr().err
    assert exit_of("pack", one, tmp_path / "none", "--out", tmp_path / "set") == 3
    assert "no such file" in capsys.readouterr().err
