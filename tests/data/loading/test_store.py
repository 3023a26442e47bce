"""Reading a packed dataset: values, and every kind of damage is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kantor.config.data import DataConfig
from kantor.data.loading import layout
from kantor.data.loading.store import Store, is_packed
from kantor.data.packing.pack import pack
from kantor.errors import DataError
from kantor.types import ImageSpec
from support.pack_fakes import Fake, image

SPEC = ImageSpec(8, 8, 3)
ROW = 8 * 8 * 3


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "set"
    pack(Fake(50, classes=3), DataConfig(), SPEC, path, workers=1, shard_bytes=128 + 20 * ROW)
    return path


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "set"))


def test_rows(packed: Path) -> None:
    store = Store.open(packed)
    rows = np.array([49, 0, 20, 19, 20, 40])
    assert (store.images(rows) == np.stack([image(i) for i in rows])).all()
    labels = store.labels(rows)
    assert labels is not None
    assert labels.dtype == np.int64
    assert labels.tolist() == [i % 3 for i in rows]
    assert (store.whole() == np.stack([image(i) for i in range(50)])).all()
    assert (store.spec, store.count, store.shard_sizes) == (SPEC, 50, [20, 20, 10])
    assert store.images(rows[:0]).shape == (0, 8, 8, 3)
    assert store.digests().shape == (50, 32)
    store.verify()
    store.verify(limit_bytes=0)
    assert is_packed(packed)
    assert not is_packed(packed.parent)
    for row in (-1, 50):
        with pytest.raises(IndexError):
            store.images(np.array([row]))


def test_one_shard_without_labels(tmp_path: Path) -> None:
    pack(Fake(9), DataConfig(), SPEC, tmp_path / "set", workers=1)
    store = Store.open(tmp_path / "set")
    assert (store.images(np.array([8, 2])) == np.stack([image(8), image(2)])).all()
    assert store.labels(np.array([1])) is None
    assert store.class_names == []
    assert not store.labelled


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "at", "message"),
    [
        ("images-00001.npy", 128 + 12 * ROW + 5, "images-00001.npy: image 12 is damaged; pack it again"),
        ("images-00000.npy", 128, "image 0 is damaged"),
        ("images-00002.npy", -1, "image 9 is damaged"),
        ("images-00000.npy", 20, "is damaged (its header)"),
        ("index-00000.npy", 200, "is damaged (index-*.npy or labels-*.npy)"),
        ("labels-00002.npy", -8, "is damaged (index-*.npy or labels-*.npy)"),
        ("labels-00002.npy", 9, "is damaged (its header)"),
    ],
)
def test_a_flipped_bit_is_detected(copy: Path, name: str, at: int, message: str) -> None:
    _flip(copy / name, at)
    with pytest.raises(DataError) as caught:
        Store.open(copy).verify()
    assert message in str(caught.value)
    assert "pack it again" in str(caught.value)


def test_any_flipped_bit_of_the_manifest_is_detected(copy: Path) -> None:
    file = copy / "manifest.json"
    data = file.read_bytes()
    meaning = json.loads(data)
    for at in range(0, len(data), 3):
        _flip(file, at)
        try:
            Store.open(copy)
        except DataError as error:
            assert "manifest.json" in str(error)
        else:
            assert json.loads(file.read_bytes()) == meaning
        file.write_bytes(data)


@pytest.mark.parametrize("name", ["images-00001.npy", "index-00002.npy", "labels-00000.npy"])
def test_missing_cut_and_grown_files(copy: Path, name: str) -> None:
    data = (copy / name).read_bytes()
    for damage, message in ((data[:-1], "is cut short"), (data[:50], "is cut short"), (data + b"x", "is too long")):
        (copy / name).write_bytes(damage)
        with pytest.raises(DataError, match=message):
            Store.open(copy)
    (copy / name).unlink()
    with pytest.raises(DataError, match=f"{name}: is missing; pack it again"):
        Store.open(copy)


def test_folders_that_are_not_packed_datasets(copy: Path, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", copy / "rejected.jsonl"):
        with pytest.raises(DataError, match="is not a packed dataset"):
            Store.open(path)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["kantor_pack"] = 2
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="newer Kantor"):
        Store.open(copy)
    for wrong in ({"count": 51}, {"size": 8}, {"shards": []}, {"channels": None}):
        values = {**manifest, "kantor_pack": 1, **wrong}
        (copy / "manifest.json").write_text(json.dumps({**values, "digest": layout.digest(values)}))
        with pytest.raises(DataError):
            Store.open(copy)
    for text in ("", "[]", "{", "[" * 100_000, "null"):
        (copy / "manifest.json").write_text(text)
        with pytest.raises(DataError, match="is damaged"):
            Store.open(copy)
