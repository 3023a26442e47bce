"""LMDBs as their usual writers lay them out, written by the package lmdb."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kantor.config.data import DataConfig
from kantor.data.decoding.tf_examples import field
from kantor.data.packing.pack import pack
from kantor.data.reasons import Undecodable
from kantor.data.sources.lmdb import Lmdb, is_lmdb
from kantor.errors import DataError, ResourceError
from kantor.types import ImageSpec
from support import nasty
from support.pictures import listed, opened, pixels, png, require_pixels

lmdb = pytest.importorskip("lmdb", reason="the extra `formats` is not installed")

IMAGES = [pixels(i) for i in range(8)]


def database(path: Path, values: dict[str | bytes, bytes], folder: bool = True) -> str:
    with lmdb.open(str(path), map_size=1 << 26, subdir=folder) as environment, environment.begin(write=True) as made:
        for key, value in values.items():
            made.put(key if isinstance(key, bytes) else key.encode(), value)
    return str(path)


def refusal(path: str, **more) -> str:
    with pytest.raises(DataError) as caught:
        list(Lmdb(path, **more).items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def datum(shape: tuple[int, int, int], label: int | None, **more: bytes | int) -> bytes:
    """A message of Caffe's; more: `data` and `encoded`, or the bytes of single fractions."""
    number = lambda tag, value: bytes([tag << 3]) + nasty_varint(value)  # noqa: E731
    message = b"".join(number(tag, side) for tag, side in zip((1, 2, 3), shape, strict=True))
    if "data" in more:
        message += field(4, more["data"])
    if label is not None:
        message += number(5, label % (1 << 64))
    for start in range(0, len(more.get("floats", b"")), 4):
        message += b"\x35" + more["floats"][start : start + 4]
    return message + (number(7, 1) if more.get("encoded") else b"")


def nasty_varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + nasty_varint(value >> 7)


@pytest.mark.parametrize("folder", [True, False])
def test_images_by_key_as_in_lsun(tmp_path, folder):
    keys = [f"{i:040x}" for i in range(8)]
    files = [nasty.encode(nasty.photo(16 + i, 12), "WEBP" if i % 2 else "JPEG") for i in range(8)]
    path = database(tmp_path / "bedroom_lmdb", dict(zip(keys, files, strict=True)), folder)
    assert is_lmdb(Path(path)) and is_lmdb(Path(path) / "data.mdb" if folder else Path(path))
    source = Lmdb(path)
    assert not source.local_only
    items, rejected = listed(source)
    assert [item.name for item in items] == keys and not rejected
    assert [source.load(item) for item in items] == files
    assert [item.size for item in items] == list(map(len, files))
    again = pickle.loads(pickle.dumps(source))  # noqa: S301
    assert again.load(items[5]) == files[5] and not again._listing
    report = pack(Lmdb(path), DataConfig(), ImageSpec(8, 8, 3), tmp_path / "p", workers=1)
    assert (report.count, report.rejected) == (8, 0)


def test_keys_that_are_not_text(tmp_path):
    keys = [b"\xff\xfe", b"0xfffe", b"a\n", "ü".encode()]
    source = Lmdb(database(tmp_path / "x", {key: png(i) for i, key in enumerate(keys)}))
    found = {item.name: source.load(item) for item in listed(source)[0]}
    assert found == {"0xfffe": png(0), "0x307866666665": png(1), "0x610a": png(2), "ü": png(3)}


def test_several_sizes_of_stylegan2(tmp_path):
    values = {f"{side}-{i:05d}": png(i, (side, side, 3)) for side in (8, 16, 128) for i in range(4)}
    source = Lmdb(database(tmp_path / "x", {**values, "length": b"4"}))
    assert require_pixels(source, [pixels(i, (128, 128, 3)) for i in range(4)]) == [None] * 4
    assert source.note == "images are those of 128 pixels, the largest of 3 sizes"


def test_pictures_of_texts(tmp_path):
    def written(name: str, words: list[str]) -> Lmdb:
        values = {f"image-{i + 1:09d}": png(i) for i in range(8)}
        values |= {f"label-{i + 1:09d}": word.encode() for i, word in enumerate(words)}
        return Lmdb(database(tmp_path / name, {**values, "num-samples": b"8"}))

    assert require_pixels(written("x", ["BMW", "Audi"] * 4), IMAGES) == ["BMW", "Audi"] * 4
    source = written("y", [f"word {i}" for i in range(8)])
    assert require_pixels(source, IMAGES) == [None] * 8
    assert source.note == "labels are texts, 8 different ones of 8 images; not classes"


def test_messages_of_caffe(tmp_path):
    values = {
        f"{i:08d}": datum((3, 8, 6), i % 3, data=IMAGES[i][:, :, ::-1].transpose(2, 0, 1).tobytes()) for i in range(8)
    }
    source = Lmdb(database(tmp_path / "x", values))
    assert require_pixels(source, IMAGES) == [str(i % 3) for i in range(8)]
    assert "blue, green, red" in source.note
    assert require_pixels(Lmdb(source.path, labels="none"), IMAGES) == [None] * 8
    grey = pixels(0, (9, 7))
    fractions = np.linspace(0, 1, 63, dtype="<f4").reshape(9, 7)
    values = {
        "a": datum((1, 9, 7), -1, data=grey.tobytes()),
        "b": datum((3, 8, 6), None, data=png(1), encoded=1),
        "c": datum((1, 9, 7), 300, floats=fractions.tobytes()),
        "d": datum((1, 9, 8), 0, data=grey.tobytes()),
    }
    source = Lmdb(database(tmp_path / "y", values))
    items, rejected = listed(source)
    assert [item.label for item in items] == ["-1", None, "300"] and list(rejected) == ["d"]
    for item, image in zip(items, (grey, None, fractions), strict=True):
        data = source.load(item)
        assert data == png(1) if image is None else np.array_equal(data, image)


def test_values_that_are_not_images(tmp_path):
    pickles = {f"{i}": pickle.dumps((i, b"x")) for i in range(5)}
    text = refusal(database(tmp_path / "x", {**pickles, "__len__": pickle.dumps(5)}))
    assert "its values are pickles, which could run code; where you trust it, convert it" in text
    text = refusal(database(tmp_path / "y", {"a": b"some text", "b": bytes(300), "c": bytes(300)}))
    assert "its values are not images (found: nothing but zeros: 2, starts with `some`: 1)" in text
    assert "there are no values in it" in refusal(database(tmp_path / "z", {}))
    items, rejected = listed(Lmdb(database(tmp_path / "w", {"a": png(0), "b": b"text", "c": pickle.dumps([1])})))
    assert [item.name for item in items] == ["a"]
    assert rejected == {"b": "not an image (starts with `text`)", "c": "a pickle, which could run code"}


def test_damage_never_crashes_this_process(tmp_path):
    path = Path(database(tmp_path / "x", {f"{i:05d}": png(i) * 30 for i in range(60)}))
    file = path / "data.mdb"
    whole = file.read_bytes()
    for keep in (30, 5000, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:keep])
        assert "cut short" in refusal(str(path))
    file.write_bytes(bytes(16) + b"\xde\xc0\xef\xbe" + b"\1\0\0\0" + bytes(8168))
    assert "its first pages are damaged or empty" in refusal(str(path))
    rng = np.random.default_rng(0)
    for _ in range(8):
        data = bytearray(whole)
        for at in rng.integers(8192, len(data), 400):
            data[at] = rng.integers(0, 256)
        file.write_bytes(data)
        try:
            listed(Lmdb(str(path)))
        except DataError as error:
            assert "damaged" in str(error) or "not images" in str(error)


def test_more_values_than_the_header_says(tmp_path):
    path = Path(database(tmp_path / "x", {f"{i:05d}": png(i) for i in range(9)}))
    data = bytearray((path / "data.mdb").read_bytes())
    assert struct.unpack_from("<Q", data, 4096 + 120) == (9,)
    struct.pack_into("<Q", data, 4096 + 120, 5)
    (path / "data.mdb").write_bytes(data)
    assert "more values than it says" in refusal(str(path))


def test_gone_since_the_listing(tmp_path):
    path = database(tmp_path / "x", {f"{i}": png(i) for i in range(3)})
    source = Lmdb(path)
    items, _ = listed(source)
    source.load(items[0])
    code = "import lmdb, sys; change = lmdb.open(sys.argv[1], map_size=1 << 26).begin(write=True)"
    code += "; change.delete(b'1'); change.commit()"
    subprocess.run([sys.executable, "-c", code, path], check=True)
    with pytest.raises(Undecodable, match="gone since the listing"):
        source.load(items[1])
    source.release()
    with pytest.raises(DataError, match="has changed since it was listed"):
        source.load(items[0])


def test_labels_from_a_file(tmp_path):
    path = database(tmp_path / "x", {f"{i}": png(i) for i in range(3)})
    (tmp_path / "x.csv").write_text("0,cat\n1,dog\n2,cat\n")
    assert require_pixels(Lmdb(path, str(tmp_path / "x.csv")), IMAGES[:3]) == ["cat", "dog", "cat"]


def test_without_its_package(tmp_path, monkeypatch):
    path = database(tmp_path / "x", {"0": png(0)})
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "lmdb" else found(name))
    with pytest.raises(ResourceError, match=r"pip install 'kantor\[formats\]'"):
        Lmdb(path)


def test_databases_of_a_folder_are_classes_as_lsun_has_them(tmp_path):
    for number, name in enumerate(("bedroom_train_lmdb", "church_outdoor_train_lmdb", "bedroom_val_lmdb")):
        database(tmp_path / name, {f"{i}": png(4 * number + i) for i in range(4)})
    source = opened(tmp_path)
    assert require_pixels(source, [pixels(i) for i in range(8)]) == ["bedroom"] * 4 + ["church_outdoor"] * 4
    assert "2 of 3 files of this folder are used" in source.note


@pytest.mark.skipif(sys.platform != "linux", reason="a file with holes, and a limit on memory")
def test_databases_larger_than_a_workers_memory_are_read(tmp_path):
    """Its last page is far away, so that the file takes 6 GB of addresses."""
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("cats", "dogs")):
        database(tmp_path / "in" / name, {f"{i}": png(4 * number + i) for i in range(4)})
        with (tmp_path / "in" / name / "data.mdb").open("r+b") as file:
            for page in (0, 4096):
                file.seek(page + 136)
                file.write(struct.pack("<Q", (6 << 30) // 4096 - 1))
            file.truncate(6 << 30)
    source = opened(tmp_path / "in")
    config = DataConfig(source=str(tmp_path / "in"), min_size=1)
    report = pack(source, config, ImageSpec(8, 6, 3), tmp_path / "set", workers=2)
    assert report.count == 8 and report.manifest["class_names"] == ["cats", "dogs"]
