"""Zarr of versions 2 and 3, written by zarr: folders and zips."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kantor.config.data import DataConfig
from kantor.data.packing.scan import scan
from kantor.data.reasons import Undecodable
from kantor.data.sources.recognise import open_source
from kantor.data.sources.zarr import Zarr, is_zarr, is_zarr_zip
from kantor.data.sources.zip import Zip
from kantor.errors import DataError, ResourceError
from support import nasty
from support.pictures import images_of, labels_of, opened, refusal

zarr = pytest.importorskip("zarr", minversion="3")

STACK = np.random.default_rng(0).integers(0, 256, (30, 12, 10, 3), np.uint8)
CLASSES = np.arange(30) % 3


def group(path: Path, version: int, **arrays):
    made = zarr.open_group(path, mode="w", zarr_format=version)
    for name, array in arrays.items():
        made.create_array(name, data=np.asarray(array), chunks=(7, *array.shape[1:]))
    return made


def zipped(folder: Path, path: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, inside + str(file.relative_to(folder)))
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("images", "labels"), [("images", "labels"), ("train/x", "train/y"), ("own", "label")])
def test_round_trip(tmp_path, version, images, labels):
    group(tmp_path / "x.zarr", version, **{images: STACK, labels: CLASSES, "weights": np.zeros((4, 4))})
    assert is_zarr(tmp_path / "x.zarr") and not is_zarr(tmp_path)
    for path in (
        tmp_path / "x.zarr",
        zipped(tmp_path / "x.zarr", tmp_path / "flat.zip"),
        zipped(tmp_path / "x.zarr", tmp_path / "deep.zip", "x.zarr/"),
    ):
        source = Zarr(str(path))
        assert f"the array {images} of" in source.note and source.exact
        assert labels_of(source) == [str(n) for n in CLASSES]
        np.testing.assert_array_equal(images_of(source), STACK)
        np.testing.assert_array_equal(source.load(list(source.items())[8]), STACK[8])
    assert isinstance(open_source(DataConfig(source=str(tmp_path / "deep.zip"))), Zarr)


@pytest.mark.parametrize("arrays", [{"images": STACK}, {f"{i}": STACK[i] for i in range(9)}])
def test_a_chunk_that_is_written_again_changes_the_listing(tmp_path, arrays):
    made = group(tmp_path / "x.zarr", 3, **arrays)
    config = DataConfig(source=str(tmp_path / "x.zarr"))
    before = scan(open_source(config), config).digest
    assert scan(open_source(config), config).digest == before
    time.sleep(0.02)  # a tick of the file system's clock
    made[min(arrays)][:7] = 0
    assert scan(open_source(config), config).digest != before


@pytest.mark.parametrize("version", [2, 3])
def test_one_array(tmp_path, version):
    made = zarr.create_array(
        str(tmp_path / "x"), shape=STACK.shape, chunks=(4, 12, 10, 3), dtype=">u2", zarr_format=version
    )
    made[:] = STACK
    source = Zarr(str(tmp_path / "x"))
    np.testing.assert_array_equal(images_of(source), STACK)
    assert images_of(source).dtype == np.uint16 and source.note == ""


def test_store_of_zarrs_own_zip(tmp_path):
    with zarr.storage.ZipStore(tmp_path / "x.zip", mode="w") as store:
        made = zarr.open_group(store, mode="w")
        made.create_array("images", data=STACK, chunks=(7, 12, 10, 3))
    source = open_source(DataConfig(source=str(tmp_path / "x.zip")))
    np.testing.assert_array_equal(images_of(source), STACK)


def test_shards_and_codecs(tmp_path):
    made = zarr.open_group(tmp_path / "x", mode="w")
    made.create_array("images", data=STACK, chunks=(3, 12, 10, 3), shards=(15, 12, 10, 3),
                      compressors=[zarr.codecs.BloscCodec(cname="zstd")])  # fmt: skip
    np.testing.assert_array_equal(images_of(Zarr(str(tmp_path / "x"))), STACK)
    made = zarr.open_group(tmp_path / "y", mode="w", zarr_format=2)
    import numcodecs

    made.create_array(
        "images", data=STACK, chunks=(3, 12, 10, 3), compressors=numcodecs.Zlib(5), filters=[numcodecs.Delta("u1")]
    )
    np.testing.assert_array_equal(images_of(Zarr(str(tmp_path / "y"))), STACK)


@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
@pytest.mark.parametrize("version", [2, 3])
def test_texts_and_encoded_images(tmp_path, version):
    files = [nasty.encode(nasty.photo(20 + i, 16), "PNG") for i in range(5)]
    made = zarr.open_group(tmp_path / "x", mode="w", zarr_format=version)
    names = made.create_array("label", shape=(5,), dtype=str)
    names[:] = np.array(["a", "ä", "a", "b", "b"], dtype=object)
    images = made.create_array("images", shape=(5,), chunks=(2,), dtype=zarr.dtype.VariableLengthBytes())
    images[:] = np.array(files, dtype=object)
    source = Zarr(str(tmp_path / "x"))
    assert [source.load(item) for item in source.items()] == files
    assert labels_of(source) == ["a", "ä", "a", "b", "b"] and not source.exact


def test_pickles_are_not_read(tmp_path):
    group(tmp_path / "x", 2, images=STACK)
    path = tmp_path / "x" / "images" / ".zarray"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "dtype": "|O", "fill_value": None, "filters": [{"id": "pickle"}]}))
    with pytest.raises(DataError, match=r"pickle is not read|cannot be opened as Zarr"):
        Zarr(str(tmp_path / "x"))
    path.write_text(json.dumps({**meta, "filters": [{"id": "pickle"}]}))
    with pytest.raises(DataError, match=r"pickle is not read|cannot be opened as Zarr"):
        Zarr(str(tmp_path / "x"))


def test_faults(tmp_path):
    group(tmp_path / "x", 3, a=STACK, b=STACK)
    with pytest.raises(DataError, match=r"which of its arrays holds the images is not clear \(found: a \[30"):
        Zarr(str(tmp_path / "x"))
    assert labels_of(open_source(DataConfig(source=f"{zipped(tmp_path / 'x', tmp_path / 'x.zip')}:/b"))) == [None] * 30
    assert Zarr(str(tmp_path / "x" / "b")).layout.count == 30
    path = tmp_path / "x" / "a" / "zarr.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "codecs": [*meta["codecs"], {"name": "secret", "configuration": {}}]}))
    with pytest.raises(DataError, match="secret"):
        Zarr(str(tmp_path / "x"))
    path.write_text(json.dumps({**meta, "shape": [1 << 30, 12, 10, 3]}))
    with pytest.raises(DataError, match="would unpack to"):
        Zarr(str(tmp_path / "x"), array="a")
    path.write_text("{")
    with pytest.raises(DataError, match="cannot be opened as Zarr"):
        Zarr(str(tmp_path / "x" / "a"))
    (tmp_path / "empty").mkdir()
    zarr.open_group(tmp_path / "empty", mode="w")
    with pytest.raises(DataError, match="there is no array in it"):
        Zarr(str(tmp_path / "empty"))


def test_damage(tmp_path):
    group(tmp_path / "x", 3, images=STACK)
    (tmp_path / "x/images/c/1/0/0/0").write_bytes(b"nothing that was compressed")
    source = Zarr(str(tmp_path / "x"))
    items = list(source.items())
    with pytest.raises(Undecodable, match="damaged"):
        source.load(items[8])
    np.testing.assert_array_equal(source.load(items[20]), STACK[20])


def test_other_zips_are_none(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", nasty.encode(nasty.photo(), "PNG"))
    assert not is_zarr_zip(str(tmp_path / "x.zip"))
    assert isinstance(open_source(DataConfig(source=str(tmp_path / "x.zip"))), Zip)


def test_without_zarr(tmp_path, monkeypatch):
    group(tmp_path / "x", 3, images=STACK)
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(ResourceError, match=r"pip install 'kantor\[formats\]'"):
        Zarr(str(tmp_path / "x"))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("array", ["photos", "train/photos"])
def test_an_array_has_the_labels_beside_it_however_it_is_named(tmp_path, monkeypatch, version, array):
    beside = array.replace("photos", "labels")
    group(tmp_path / "x.zarr", version, **{array: STACK, beside: CLASSES, "others": STACK[::-1]})
    assert refusal(tmp_path / "x.zarr").endswith(f"name one: {tmp_path}/x.zarr:/others")
    for name in (f"{tmp_path}/x.zarr/{array}", f"{tmp_path}/x.zarr:{array}", f"{tmp_path}/x.zarr:/{array}"):
        source = opened(name)
        assert labels_of(source) == [str(n) for n in CLASSES]
        np.testing.assert_array_equal(images_of(source), STACK)
    assert "there is no array photo in it (found: " in refusal(f"{tmp_path}/x.zarr:photo")
    monkeypatch.chdir(tmp_path / "x.zarr" / array)
    assert labels_of(opened(".")) == [str(n) for n in CLASSES]
