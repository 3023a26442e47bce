"""Sources: what is offered, in which order, with which labels, and what is refused in which words."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor.data.decoding.decode import DecodeSettings, decode
from kantor.data.reasons import Undecodable
from kantor.data.sources.folder import Folder
from kantor.data.sources.glyphs import Glyphs
from kantor.data.sources.idx import Idx
from kantor.data.sources.npy import Npy
from kantor.data.sources.source import Item, Rejected
from kantor.data.sources.zip import Zip
from kantor.errors import DataError
from kantor.types import ImageSpec
from support import nasty
from support.pictures import opened, refusal

PNG = nasty.encode(nasty.photo(), "PNG")


def listed(source) -> tuple[list[Item], dict[str, str]]:
    entries = list(source.items())
    items = [entry for entry in entries if isinstance(entry, Item)]
    return items, {entry.name: str(entry.reason) for entry in entries if isinstance(entry, Rejected)}


def write(folder: Path, *names: str, data: bytes = PNG) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


# --- folder -------------------------------------------------------------------------------------------------------


def test_messy_folder(tmp_path):
    names = nasty.messy_folder(tmp_path / "messy", good=12)
    source = opened(tmp_path / "messy")
    items, rejected = listed(source)
    assert {entry.name for entry in items} == names["good"] | names["odd"] | names["broken"]
    assert rejected == {
        "notes.txt": "not an image (.txt)",
        "dangling.png": "dangling link",
        "outside.png": "link leaves the folder; follow links with --set data.links=follow",
        "circle": "link to a folder; follow links with --set data.links=follow",
        "fifo.png": "not a regular file",
    }
    bad = set()
    for entry in items:
        try:
            decode(source.load(entry), DecodeSettings(ImageSpec(32, 32, 3)))
        except Undecodable:
            bad.add(entry.name)
    assert bad == names["broken"]
    assert all(entry.label is None and entry.size == len(source.load(entry)) for entry in items)
    assert [entry.position for entry in items] == list(range(len(items)))


def test_folder_order_is_by_bytes_of_the_whole_path(tmp_path):
    names = ["a.png", "a/z.png", "a/b/c.png", "B.png", "a-1.png", "ä.png", "a0/x.png", "a\u0301.png"]
    items, _ = listed(opened(write(tmp_path / "d", *names)))
    assert [entry.name for entry in items] == sorted(names, key=os.fsencode)


def test_folder_classes(tmp_path):
    classes = write(tmp_path / "c", "cat/1.png", "cat/deep/2.png", "dog/1.png")
    assert [entry.label for entry in listed(opened(classes))[0]] == ["cat", "cat", "dog"]
    assert [entry.label for entry in listed(opened(classes, labels="none"))[0]] == [None] * 3
    write(classes, "README", data=b"about cats")
    assert {entry.name: entry.label for entry in listed(opened(classes))[0]}["cat/1.png"] == "cat"
    write(classes, "stray.png")
    assert {entry.label for entry in listed(opened(classes))[0]} == {None}
    assert {entry.label for entry in listed(opened(write(tmp_path / "one", "images/1.png", "images/2.png")))[0]} == {
        None
    }
    wrapped = write(tmp_path / "w", "set/cat/1.png", "set/dog/1.png", "__MACOSX/set/x.png")
    assert [entry.label for entry in listed(opened(wrapped))[0]] == ["cat", "dog"]


def test_folder_errors(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no images in it (found: nothing)" in refusal(tmp_path / "empty")
    write(tmp_path / "texts", "a.txt", "b.txt", "c.pdf")
    assert "found: 2 .txt, 1 .pdf" in refusal(tmp_path / "texts")
    assert f"({tmp_path} exists)" in refusal(tmp_path / "no" / "such")
    assert "download it first" in refusal("https://example.org/cats.zip")
    write(tmp_path, "one.png")
    assert "one image" in refusal(tmp_path / "one.png")
    write(tmp_path, "x.7z", "y.rar", "q.bin", "empty.bin", data=b"q" * 600)
    assert "7z files are not read" in refusal(tmp_path / "x.7z")
    assert "rar files are not read" in refusal(tmp_path / "y.rar")
    assert "unsupported file format" in refusal(tmp_path / "q.bin")
    os.mkfifo(tmp_path / "pipe")
    assert "neither a folder nor" in refusal(tmp_path / "pipe")


def test_folder_that_changes_under_us(tmp_path):
    source = opened(write(tmp_path / "d", "a.png", "b.png", "c.png"))
    items, _ = listed(source)
    (tmp_path / "d/a.png").unlink()
    (tmp_path / "d/b.png").unlink()
    os.mkfifo(tmp_path / "d/b.png")
    with pytest.raises(Undecodable, match="gone since the listing"):
        source.load(items[0])
    with pytest.raises(Undecodable, match="not a regular file"):
        source.load(items[1])
    assert pickle.loads(pickle.dumps(source)).load(items[2]) == PNG  # noqa: S301


def test_permissions(tmp_path, monkeypatch):
    """Root may read everything, so the system's answers are given here."""
    write(tmp_path / "d", "a.png", "b.png", "inner/c.png")
    scandir = os.scandir

    def refusing(path):
        if os.fsdecode(path).rstrip("/").endswith("inner"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "access", lambda path, mode: not os.fsdecode(path).endswith("a.png"))
    monkeypatch.setattr(os, "scandir", refusing)
    items, rejected = listed(opened(tmp_path / "d"))
    assert [entry.name for entry in items] == ["b.png"]
    assert rejected == {"a.png": "permission denied", "inner": "permission denied"}
    with pytest.raises(DataError, match="inner: cannot be read"):
        listed(Folder(str(tmp_path / "d/inner")))


def test_deep_folders_need_no_recursion(tmp_path, monkeypatch):
    top = tmp_path / "d"
    top.mkdir()
    monkeypatch.chdir(top)
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    Path("deep.png").write_bytes(PNG)
    (top / "top.png").write_bytes(PNG)
    items, _ = listed(Folder(str(top)))
    assert items[-1].name == "top.png" and len(items) == 2 and items[0].name.count("/") == 1500
    Path("deep.png").unlink()
    for _ in range(1500):  # pytest's own way to remove it would recurse
        os.chdir("..")
        Path("d").rmdir()


# --- labels -------------------------------------------------------------------------------------------------------


def test_labels_from_files(tmp_path):
    folder = write(tmp_path / "d", "a.png", "b.png", "sub/c.png")
    texts = {
        "plain.csv": "a.png,cat\nb.png,dog\nsub/c.png,cat\n",
        "head.csv": "\ufefflabel;file\ncat;a.png\ndog;b.png\ncat;sub\\c.png\n",
        "nvidia.json": '{"labels": [["a.png", "cat"], ["b.png", "dog"], ["sub/c.png", "cat"]]}',
        "map.json": '{"a.png": "cat", "b.png": "dog", "sub/c.png": "cat"}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        items, _ = listed(opened(folder, labels=str(tmp_path / name)))
        assert [entry.label for entry in items] == ["cat", "dog", "cat"], name
    (folder / "dataset.json").write_text('{"labels": [["a.png", 6], ["b.png", 0], ["sub/c.png", 6]]}')
    items, rejected = listed(opened(folder))
    assert [entry.label for entry in items] == ["6", "0", "6"] and rejected == {}
    (folder / "dataset.json").write_text('{"labels": null}')
    assert {entry.label for entry in listed(opened(folder))[0]} == {None}


@pytest.mark.parametrize(("text", "words"), [
    ("a.png,cat\nb.png\n", "line 2"),
    ("a.png,cat\nb.png,\n", "line 2: the label is empty"),
    ("a.png,cat\na.png,dog\nb.png,dog\n", "line 2: a.png is dog here and cat above"),
    ("a.png,x,y\n", "3 columns"),
    ('{"labels": [["a.png", 1], ["b.png", NaN]]}', "entry 1 (b.png): the label is NaN"),
    ('{"labels": [["a.png", -1]]}', "the label is -1"),
    ('{"labels": [["a.png", true]]}', "the label is true"),
    ('{"labels": [["a.png"]]}', "entry 0"),
    ('{"a.png": 1,\n "b.png": }', "line 2"),
    ("[" * 100_000, "not JSON"),
    ("", "there are no labels"),
])  # fmt: skip
def test_wrong_labels_say_where(tmp_path, text, words):
    folder = write(tmp_path / "d", "a.png", "b.png")
    (tmp_path / "labels").write_text(text)
    assert words in refusal(folder, labels=str(tmp_path / "labels"))


def test_missing_labels_name_the_first_three(tmp_path):
    folder = write(tmp_path / "d", *(f"{i}.png" for i in range(6)))
    (tmp_path / "labels.csv").write_text("name,label\n0.png,cat\n")
    assert "5 images (1.png, 2.png, 3.png ...) have no label" in refusal(folder, labels=str(tmp_path / "labels.csv"))


# --- zip ----------------------------------------------------------------------------------------------------------


def make_zip(path: Path, *names: str, data: bytes = PNG) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return path


def test_zip(tmp_path):
    names = ["set/b/2.png", "set/a/1.png", "set/notes.txt", "__MACOSX/set/a/1.png", "set/a/.DS_Store", "set/a/"]
    path = make_zip(tmp_path / "renamed.bin", *names)
    source = opened(path)
    assert isinstance(source, Zip)
    items, rejected = listed(source)
    assert [(entry.name, entry.label, entry.size) for entry in items] == [
        ("set/a/1.png", "a", len(PNG)),
        ("set/b/2.png", "b", len(PNG)),
    ]
    assert rejected == {"set/notes.txt": "not an image (.txt)"}
    assert pickle.loads(pickle.dumps(source)).load(items[1]) == PNG  # noqa: S301
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("set/dataset.json", '{"labels": [["a/1.png", 3], ["b/2.png", 4]]}')
    assert [entry.label for entry in listed(opened(path))[0]] == ["3", "4"]
    assert "found: 1 .txt" in refusal(make_zip(tmp_path / "t.zip", "a.txt"))


@pytest.mark.parametrize(("name", "words"), [
    ("../evil.png", "leads out"),
    ("a/../../evil.png", "leads out"),
    ("/etc/evil.png", "absolute"),
    ("C:/evil.png", "absolute"),
    ("a\\evil.png", "backslash"),
])  # fmt: skip
def test_zip_with_evil_names(tmp_path, name, words):
    message = refusal(make_zip(tmp_path / "z.zip", "good.png", name))
    assert words in message and "evil.png" in message


def test_zip_traps(tmp_path):
    path = tmp_path / "z.zip"
    make_zip(path, "good.png", "evilX.png")
    path.write_bytes(path.read_bytes().replace(b"evilX.png", b"evil\0.png"))
    assert "zero byte" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert "is a link" in refusal(path)
    with pytest.warns(UserWarning, match="Duplicate"):
        make_zip(path, "a.png", "a.png")
    assert "two entries" in refusal(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("bomb.png", bytes(65 << 20))
    assert "more than 1100 times" in refusal(path)
    data = make_zip(path, "good.png").read_bytes()
    at = data.index(b"PK\x01\x02")
    path.write_bytes(data[: at + 8] + b"\x01" + data[at + 9 :])
    assert "needs a password" in refusal(path)
    path.write_bytes(data[: len(data) // 2])
    assert "not a whole zip" in refusal(path)


def test_zip_with_overlaps_wrong_sizes_and_damage(tmp_path):
    data = bytearray(make_zip(tmp_path / "z.zip", "a.png", "b.png").read_bytes())
    second = data.rindex(b"PK\x01\x02")
    overlap = bytearray(data)
    overlap[second + 42 : second + 46] = struct.pack("<I", 0)
    (tmp_path / "o.zip").write_bytes(overlap)
    assert "overlaps" in refusal(tmp_path / "o.zip")
    rot = bytearray(data)
    rot[60] ^= 4
    lie = bytearray(data)
    first = data.index(b"PK\x01\x02")
    lie[first + 24 : first + 28] = struct.pack("<I", len(PNG) - 9)
    for name, changed in (("rot.zip", rot), ("lie.zip", lie)):
        (tmp_path / name).write_bytes(changed)
        source = opened(tmp_path / name)
        items, _ = listed(source)
        with pytest.raises(Undecodable, match="damaged in the archive"):
            source.load(items[0])
        assert source.load(items[1]) == PNG


def test_zip_of_an_image_of_one_colour(tmp_path):
    """White pixels without a format's own compression: deflate makes a thousandth of them."""
    white = nasty.encode(Image.new("RGB", (2000, 2000), "white"), "BMP")
    source = opened(make_zip(tmp_path / "z.zip", "white.bmp", data=white))
    assert source.load(listed(source)[0][0]) == white


# --- arrays -------------------------------------------------------------------------------------------------------


def test_npy(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "x.npy"
    for dtype, shape in (("u1", (5, 9, 8)), ("u1", (5, 9, 8, 3)), (">u2", (5, 9, 8, 1)), ("<u2", (5, 9, 8, 4))):
        images = rng.integers(0, 256, shape).astype(dtype)
        np.save(path, images)
        source = pickle.loads(pickle.dumps(opened(path)))  # noqa: S301
        items, _ = listed(source)
        assert isinstance(source, Npy) and source.exact and len(items) == 5 and items[0].label is None
        for i, entry in enumerate(items):
            loaded = source.load(entry)
            assert (loaded == images[i]).all() and loaded.dtype in (np.uint8, np.uint16)
    np.save(tmp_path / "labels.npy", np.array([3, 1, 4, 1, 5]))
    assert [entry.label for entry in listed(opened(path))[0]] == ["3", "1", "4", "1", "5"]
    np.save(tmp_path / "x-labels.npy", np.array([0, 0, 0, 0, 9]))
    assert listed(opened(path))[0][4].label == "9"
    assert listed(opened(path, labels="none"))[0][4].label is None
    (tmp_path / "l.csv").write_text("".join(f"{i},c{i}\n" for i in range(5)))
    assert listed(opened(path, labels=str(tmp_path / "l.csv")))[0][2].label == "c2"
    np.save(tmp_path / "x-labels.npy", np.array([0, -1, 0, 0, 9]))
    assert "label 1 is negative" in refusal(path)
    np.save(tmp_path / "x-labels.npy", np.zeros(4, int))
    assert "4 labels for 5 images" in refusal(path)


@pytest.mark.parametrize(("array", "words"), [
    (np.zeros((9, 9, 3), "u1"), "one image"),
    (np.zeros((9, 9), "u1"), "not that of images"),
    (np.zeros((0, 9, 9), "u1"), "holds no image"),
    (np.zeros((4, 9, 9), complex), "np.abs(x)"),
    (np.zeros(4, "u1,f4"), "x['f0']"),
    (np.zeros((4, 9, 9), "M8[s]"), "dates"),
    (np.array([{}, {}], object), "Python objects"),
])  # fmt: skip
def test_npy_refusals_show_the_conversion(tmp_path, array, words):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    assert words in refusal(tmp_path / "x.npy")


def test_npy_cut_off(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((9, 9, 9), "u1"))
    data = (tmp_path / "x.npy").read_bytes()
    for length in (3, 8, 60, len(data) - 1):
        (tmp_path / "x.npy").write_bytes(data[:length])
        assert "cut off" in refusal(tmp_path / "x.npy")


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype("u1").tobytes()


def test_idx(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (6, 28, 28)), np.array([5, 0, 4, 1, 9, 2])
    for stem in ("train", "t10k"):
        (tmp_path / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (tmp_path / f"{stem}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    source = opened(tmp_path / "train-images-idx3-ubyte.gz")
    items, _ = listed(source)
    assert isinstance(source, Idx) and source.exact
    assert [entry.label for entry in items] == ["5", "0", "4", "1", "9", "2"]
    assert all((pickle.loads(pickle.dumps(source)).load(e) == images[e.position]).all() for e in items)  # noqa: S301
    folder = opened(tmp_path)
    assert (
        isinstance(folder, Idx) and "train-images-idx3-ubyte.gz is used" in folder.note and len(listed(folder)[0]) == 6
    )
    assert "is not that of images" in refusal(tmp_path / "train-labels-idx1-ubyte")
    (tmp_path / "train-images-idx3-ubyte.gz").rename(tmp_path / "x-images-idx3-ubyte.gz")
    assert "name one of the files" in refusal(tmp_path)


def test_idx_damaged(tmp_path):
    path = tmp_path / "images-idx3-ubyte"
    whole = idx_bytes(np.zeros((3, 9, 9)))
    for data, words in (
        (whole[:-1], "shorter than its header"),
        (whole + b"x", "longer than its header"),
        (whole[:9], "cut off in its header"),
        (whole[:4] + b"\xff" * 12, "header claims"),
        (b"\0\0\x0d\x03" + whole[4:], "shorter than its header"),
    ):
        path.write_bytes(data)
        assert words in refusal(path)
    path.write_bytes(gzip.compress(whole)[:-12])
    assert "cannot be read" in refusal(path)


def test_glyphs_by_name():
    source = opened("glyphs", size="24x40")
    assert isinstance(source, Glyphs) and source.load(Item("3", 3)).shape == (24, 40, 3)
    assert opened("glyphs").load(Item("3", 3)).shape == (32, 32, 3)
    assert "brings its own labels" in refusal("glyphs", labels="x.csv")
