"""Pairs of images that are files of their own: which condition belongs to which image, and what is refused."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.prepare import absolute_source, open_set
from kantor.app.images import join_pairs
from kantor.config.io import resolve
from kantor.config.schema import Config
from kantor.data.loading.feed import Feed, to_float
from kantor.data.loading.image_set import ImageSet
from kantor.errors import ConfigError, DataError
from support.commands import exit_of
from support.pictures import listed, refusal
from support.pictures import opened as source_of

SIDE = 16


def photo(number: int) -> np.ndarray:
    """A plain colour that tells the number."""
    return np.full((SIDE, SIDE, 3), (number * 5, 255 - number * 5, 90), np.uint8)


def mask(number: int, high: int = 255) -> np.ndarray:
    """The number in black and white: a column a bit."""
    bits = [high * (number >> bit & 1) for bit in range(SIDE)]
    return np.tile(np.array(bits, np.uint8), (SIDE, 1))


def number_of(pixels: np.ndarray) -> int:
    """That of a mask, or of a photo."""
    if pixels.shape[2] == 1:
        return sum(int(value > 127) << bit for bit, value in enumerate(pixels[0, :, 0]))
    return round(int(pixels[0, 0, 0]) / 5)


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}))


def pairs(root: Path, count: int = 24, image: str = "images/{}.png", condition: str = "masks/{}.png") -> Path:
    for number in range(count):
        put(root / image.format(f"{number:02}"), photo(number))
        put(root / condition.format(f"{number:02}"), mask(number))
    return root


def opened(source: Path, condition: str, **fields: Any) -> tuple[ImageSet, Config, list[str]]:
    notes: list[str] = []
    named = {f"data.{name}": value for name, value in fields.items()}
    config = resolve(overrides={"data.source": str(source), "data.size": "16", "data.condition": condition, **named})
    cache = DatasetCache(source.absolute().parent / "cache", note=notes.append)
    store, config, _ = open_set(config, SIDE, cache)
    return store, config, notes


def numbers(store: ImageSet, channels: int = 1) -> list[int]:
    """Of the pairs, each of which must be one."""
    rows = np.arange(store.count)
    images, conditions = store.images(rows), store.conditions(rows)
    assert conditions is not None
    assert conditions.shape == (store.count, SIDE, SIDE, channels)
    assert store.condition_channels == channels
    found = [number_of(image) for image in images]
    assert found == [number_of(condition) for condition in conditions]
    return found


# --- which belong together ------------------------------------------------------------------------------------------

LAYOUTS = [
    ("images/{}.png", "masks/{}.png", "masks"),
    ("images/{}.jpg", "masks/{}.png", "masks"),
    ("JPEGImages/{}.jpg", "SegmentationClass/{}.png", "SegmentationClass"),
    ("B/{}.png", "A/{}.png", "A"),
    ("target/{}.png", "input/{}.png", "input"),
    ("trainB/{}.png", "trainA/{}.png", "trainA"),
    ("train/images/{}.png", "train/masks/{}.png", "masks"),
    ("images/train/{}.png", "masks/train/{}.png", "masks"),
    ("train/{}.jpg", "train_masks/{}_mask.png", "train_masks"),
    ("leftImg8bit/{}_leftImg8bit.png", "gtFine/{}_gtFine_color.png", "gtFine"),
    ("images/{}.jpg", "annotations/trimaps/{}.png", "annotations"),
    ("set/images/a.b_{}.png", "set/masks/a.b_{}.png", "masks"),
]


@pytest.mark.parametrize(("image", "condition", "part"), LAYOUTS, ids=[part + image for image, _, part in LAYOUTS])
def test_image_and_condition_have_one_name(tmp_path: Path, image: str, condition: str, part: str) -> None:
    store, _, _ = opened(pairs(tmp_path / "data", 24, image, condition), part)
    assert sorted(numbers(store)) == list(range(24))


def test_the_other_way_round(tmp_path: Path) -> None:
    """Photos are conditions in colour, masks the images."""
    store, config, _ = opened(pairs(tmp_path / "data"), "images")
    assert config.data.channels == "gray"
    assert numbers(store, channels=3) == list(range(24))


def test_parts_beside_those_for_training_stay_out(tmp_path: Path) -> None:
    for part, start in (("train", 0), ("val", 20), ("test", 30)):
        for number in range(start, start + 8):
            put(tmp_path / f"data/{part}/images/cats/{number}.png", photo(number))
            put(tmp_path / f"data/{part}/masks/cats/{number}.png", mask(number))
    assert numbers(opened(tmp_path / "data", "masks")[0]) == list(range(8))
    assert numbers(opened(tmp_path / "data", "masks", split="val")[0]) == list(range(20, 28))
    assert sorted(numbers(opened(tmp_path / "data", "masks", split="all")[0])) == [
        *range(8),
        *range(20, 28),
        *range(30, 38),
    ]


def test_classes_are_those_of_the_images(tmp_path: Path) -> None:
    for number in range(24):
        put(tmp_path / f"data/images/{'ab'[number % 2]}/{number}.png", photo(number))
        put(tmp_path / f"data/masks/{'ab'[number % 2]}/{number}.png", mask(number))
    store, _, _ = opened(tmp_path / "data", "masks")
    assert store.class_names == ["a", "b"]
    labels = store.labels(np.arange(24))
    assert labels is not None
    assert [number % 2 for number in numbers(store)] == labels.tolist()


def test_another_source_holds_the_conditions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by its path; also both halves of a packed dataset, an array of a file, a folder called edges."""
    pairs(tmp_path / "data", condition="edges/{}.png")
    monkeypatch.chdir(tmp_path / "data")
    store, config, _ = opened(Path("images"), "./edges")
    assert numbers(store) == list(range(24))
    assert config.data.condition == str(tmp_path / "data" / "edges")
    for half in ("images", "edges"):
        assert exit_of("pack", half, "--out", f"packed-{half}", "--size", SIDE) == 0
    assert numbers(opened(Path("packed-images"), "./packed-edges")[0]) == list(range(24))
    arrays = {"photos": np.stack([photo(n) for n in range(24)]), "masks": np.stack([mask(n) for n in range(24)])}
    np.savez("both.npz", **arrays)  # type: ignore[arg-type]
    assert numbers(opened(Path("both.npz:photos"), "masks")[0]) == list(range(24))


def test_paths_of_a_run_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    config = absolute_source(resolve(overrides={"data.source": "data:images", "data.condition": "data/masks"}))
    assert (config.data.source, config.data.condition) == (f"{tmp_path}/data:images", f"{tmp_path}/data/masks")
    plain = absolute_source(resolve(overrides={"data.source": "data", "data.condition": "masks"}))
    assert plain.data.condition == "masks"


def encoded(pixels: np.ndarray, ending: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(
        file, {"jpg": "JPEG"}.get(ending, ending), **({"quality": 100} if ending == "jpg" else {})
    )
    return file.getvalue()


FIELDS = [
    ("target.png", "input.png", "input"), ("jpg", "mask.png", "mask"), ("jpg", "png", "png"), ("a.png", "b.png", "b"),
    ("mask.png", "jpg", "image"),
]  # fmt: skip


@pytest.mark.parametrize(("image", "condition", "kind"), FIELDS)
def test_samples_of_a_webdataset(tmp_path: Path, image: str, condition: str, kind: str) -> None:
    """In shards, neighbours in any order, with texts."""
    rng = np.random.default_rng(3)
    (tmp_path / "data").mkdir()
    for shard in range(2):
        with tarfile.open(tmp_path / f"data/pairs-{shard:06}.tar", "w") as tar:
            for number in rng.permutation(12) + 12 * shard:
                members = {image: encoded(photo(number), image.rpartition(".")[2]), "txt": b"words"}
                members[condition] = encoded(mask(number), condition.rpartition(".")[2])
                for field in rng.permutation(sorted(members)):
                    entry = tarfile.TarInfo(f"{number:03}.{field}")
                    entry.size = len(members[field])
                    tar.addfile(entry, io.BytesIO(members[field]))
    assert sorted(numbers(opened(tmp_path / "data", kind)[0])) == list(range(24))


def test_halves_in_an_archive(tmp_path: Path) -> None:
    """A zip of folders, whatever the order of its members."""
    pairs(tmp_path / "data")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as file:
        for path in sorted((tmp_path / "data").rglob("*.png"), key=lambda path: path.stem[::-1]):
            file.write(path, path.relative_to(tmp_path))
    assert numbers(opened(tmp_path / "data.zip", "masks")[0]) == list(range(24))


@pytest.mark.parametrize("side", ["left-half", "right-half"])
def test_files_that_show_both(tmp_path: Path, side: str) -> None:
    for number in range(24):
        both = [np.repeat(mask(number)[:, :, None], 3, axis=2), photo(number)]
        put(tmp_path / f"data/{number:02}.png", np.concatenate(both if side == "left-half" else both[::-1], axis=1))
    for fields in ({}, {"size": "auto", "limit": 5}):
        store, config, _ = opened(tmp_path / "data", side, **fields)
        assert config.data.size == "16"
        rows = np.arange(store.count)
        conditions = store.conditions(rows)
        assert conditions is not None
        assert [number_of(image) for image in store.images(rows)] == [number_of(c[:, :, :1]) for c in conditions]
        assert store.count == (5 if fields else 24)


# --- values, batches, what is left out ------------------------------------------------------------------------------


def test_masks_of_few_values_are_spread(tmp_path: Path) -> None:
    """By a range of their own: that of the images is left alone."""
    for number in range(24):
        put(tmp_path / f"data/images/{number}.png", photo(number))
        put(tmp_path / f"data/masks/{number}.png", mask(number, high=1))
    store, _, notes = opened(tmp_path / "data", "masks")
    assert numbers(store) == sorted(range(24), key=str)
    assert any("conditions: 8-bit values from 0 to 1" in note for note in notes)
    assert store.condition_settings["ranges"] == {"uint8": [0.0, 1.0]}


@pytest.mark.parametrize("mirror", [False, True])
def test_batches_keep_pairs_together(tmp_path: Path, mirror: bool) -> None:
    store, _, _ = opened(pairs(tmp_path / "data"), "masks", holdout=0.2)
    assert 10 < store.count < 24
    images, conditions = store.images(np.arange(store.count)), store.conditions(np.arange(store.count))
    feed, seen = Feed(store, 3, torch.device("cpu"), mirror=mirror), set()
    for _ in range(20):
        batch = feed.take(5)
        assert batch.condition is not None
        for image, condition in zip(batch.images, batch.condition, strict=True):
            number = round(float(image[0, 0, 0] + 1) * 127.5 / 5)
            row = next(row for row, one in enumerate(images) if number_of(one) == number)
            whole = to_float(torch.from_numpy(conditions[row : row + 1]))[0]
            assert torch.equal(condition, whole) or (mirror and torch.equal(condition, whole.flip(2)))
            seen.add(number)
    assert len(seen) == store.count


def test_limit_counts_pairs(tmp_path: Path) -> None:
    source = pairs(tmp_path / "data")
    assert numbers(opened(source, "masks", limit=7)[0]) == list(range(7))
    chosen, config, _ = opened(source, "masks", limit=7, choose="random")
    assert len(set(numbers(chosen))) == 7
    assert (config.data.limit, config.data.choose) == (7, "random")


def test_images_without_a_condition(tmp_path: Path) -> None:
    """Are left out, with a line that names one, up to --max-bad; a broken condition is none."""
    source = pairs(tmp_path / "data", 40)
    (source / "masks/07.png").unlink()
    (source / "masks/11.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    put(source / "masks/99.png", mask(99))
    store, _, notes = opened(source, "masks")
    assert numbers(store) == [n for n in range(40) if n not in (7, 11)]
    assert "2 of 40 images have no usable condition and are left out, such as images/07.png" in notes
    assert "1 of 39 conditions have no image" in notes
    (source / "masks/11.png").unlink()  # with it, --max-bad 0 refuses the conditions before pairs are made
    with pytest.raises(DataError, match=r"2 of 40 images cannot be used.*masks.*images/07\.png.*--max-bad 5%"):
        opened(source, "masks", max_bad=0.0)


def test_names_that_do_not_match(tmp_path: Path) -> None:
    source = pairs(tmp_path / "data", image="images/x{}a.png", condition="masks/{}.png")
    with pytest.raises(DataError, match=r"images/x00a\.png and masks/00\.png.*same name"):
        opened(source, "masks")
    twice = pairs(tmp_path / "twice")
    put(twice / "masks/03.bmp", mask(3))
    with pytest.raises(DataError, match=r"masks/03\.bmp and masks/03\.png have the same name"):
        opened(twice, "masks")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"condition": "mask"}, 'no part mask in it; did you mean "masks"'),
    ({"condition": "masks", "edges": "canny"}, "leave one of the two out"),
    ({"condition": "masks", "augment": {"rotation": 5.0}}, "not their conditions"),
    ({"condition": "masks", "tile": 8}, r"data\.tile.*leave it"),
    ({"condition": "masks", "stack": 10}, r"data\.stack.*leave it"),
    ({"condition": "masks", "rules": 1}, "add --set data.rules=2"),
    ({"condition": "masks", "source": Path("glyphs")}, "name a folder as DATA"),
]


@pytest.mark.parametrize(("fields", "words"), REFUSED)
def test_what_pairs_cannot_do_is_refused(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    source = pairs(tmp_path / "data")
    with pytest.raises((ConfigError, DataError), match=words) as caught:
        opened(**{"source": source, **fields})
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").glob("*/*"))


def test_several_folders_beside_the_conditions(tmp_path: Path) -> None:
    source = pairs(tmp_path / "data", image="left/{}.png")
    pairs(source, image="right/{}.png")
    with pytest.raises(DataError, match=r"beside masks there are left, right; name the images: --set data\.split=left"):
        opened(source, "masks")
    assert numbers(opened(source, "masks", split="right")[0]) == list(range(24))


@pytest.mark.parametrize("split", ["val2017", "val", "val2017/photos", "val/photos"])
def test_conditions_are_of_the_part_that_the_images_are_of(tmp_path: Path, split: str) -> None:
    for part in ("train2017", "val2017"):
        pairs(tmp_path / "data", 9, f"{part}/photos/{{}}.png", f"{part}/masks/{{}}.png")
    images, _, notes = opened(tmp_path / "data", "masks", split=split)
    assert numbers(images) == list(range(9))
    assert notes.count("conditions: parts of the dataset: train2017 (9), val2017 (9); used: val2017 (data.split)") == 1


@pytest.mark.parametrize("split", ["auto", "images", "all"])
def test_masks_among_the_images_make_pairs(tmp_path: Path, split: str) -> None:
    source = pairs(tmp_path / "data", image="{}.png", condition="{}_mask.png")
    assert numbers(opened(source, "masks", split=split)[0]) == list(range(24))


@pytest.mark.parametrize(("split", "folders"), [("val", {"val"}), ("all", {"train", "val"})])
def test_samples_below_parts(tmp_path: Path, split: str, folders: set[str]) -> None:
    for part in ("train", "val"):
        pairs(tmp_path / "data", 9, f"{part}/{{}}.target.png", f"{part}/{{}}.input.png")
    source = Path(shutil.make_archive(str(tmp_path / "packed"), "tar", tmp_path / "data"))
    if split == "val":
        assert "choose one: --set data.split=val/input; " in refusal(source, split=split)
    items, _ = listed(source_of(source, split=f"{split}/input"))
    assert {item.name.partition("/")[0] for item in items} == folders
    assert len(items) == 9 * len(folders) and all("input" in item.name for item in items)
    assert numbers(opened(source, "input", split=split)[0]) == len(folders) * list(range(9))


def test_inspecting_says_how_many_pairs_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = pairs(tmp_path / "data")
    words = ["pack", source, "--inspect", "--set", "data.condition=masks", "--out"]
    assert exit_of(*words, tmp_path / "all") == 0
    assert "24 pairs of 24 images and 24 conditions (masks)\n" in capsys.readouterr().out
    (source / "masks/05.png").unlink()
    assert exit_of(*words, tmp_path / "fewer") == 0
    assert (
        "23 pairs of 24 images and 23 conditions (masks); without a condition: images/05.png" in capsys.readouterr().out
    )
    assert (tmp_path / "fewer/contact-sheet.png").exists()


def test_inspecting_counts_pairs_with_packed_conditions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(tmp_path / "data", 5)
    monkeypatch.chdir(tmp_path)
    assert exit_of("pack", "data:masks", "--out", "packed", "--size", SIDE) == 0
    words = ["pack", "data:images", "--inspect", "--set", "data.condition=./packed", "--out"]
    assert exit_of(*words, "look") == 0
    assert "5 pairs of 5 images and 5 conditions (./packed)\n" in capsys.readouterr().out
    assert numbers(opened(Path("data:images"), "./packed")[0]) == list(range(5))
    (tmp_path / "packed/sources.jsonl.gz").write_bytes(b"")
    assert exit_of(*words, "again") == 3
    assert "packed: sources.jsonl.gz does not name its 5 images; pack it again" in capsys.readouterr().err


# --- one of both ----------------------------------------------------------------------------------------------------


def test_halves_in_parts_are_no_classes(tmp_path: Path) -> None:
    """The question names both, and each of its answers is one."""
    for part in ("train", "val"):
        pairs(tmp_path / "data", image=f"{part}/images/{{}}.png", condition=f"{part}/masks/{{}}.png")
    asked = refusal(tmp_path / "data")
    for words in ("images/ (24) and masks/ (24)", "data.split=images", "data.condition=masks", "data.split=all"):
        assert words in asked
    for half in ("images", "masks"):
        items, _ = listed(source_of(tmp_path / "data", split=half))
        assert {item.name.rpartition("/")[0] for item in items} == {f"train/{half}"}
        assert {item.label for item in items} == {None}
        items, _ = listed(source_of(f"{tmp_path / 'data'}:{half}"))
        assert {item.name.rpartition("/")[0] for item in items} == {f"train/{half}"}


def test_sides_are_classes_unless_one_is_named_as_the_condition(tmp_path: Path) -> None:
    for part in ("train", "test"):
        pairs(tmp_path / "data", image=f"{part}B/{{}}.png", condition=f"{part}A/{{}}.png")
    items, _ = listed(source_of(tmp_path / "data"))
    assert {item.label for item in items} == {"trainA", "trainB"}
    items, _ = listed(source_of(tmp_path / "data", condition="trainA"))
    assert {item.name.rpartition("/")[0] for item in items} == {"trainB"} and {item.label for item in items} == {None}


def test_masks_among_the_images_are_conditions_by_name(tmp_path: Path) -> None:
    pairs(tmp_path / "data", image="{}.png", condition="{}_mask.png")
    items, _ = listed(source_of(tmp_path / "data", condition="masks"))
    assert len(items) == 24 and not any("mask" in item.name for item in items)
    items, _ = listed(source_of(f"{tmp_path / 'data'}:masks"))
    assert len(items) == 24 and all("mask" in item.name for item in items)


def test_a_part_of_what_has_none(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.stack([photo(n) for n in range(9)]))
    assert "nothing in it has a name" in refusal(f"{tmp_path}/x.npy:masks")


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_the_first_rules_know_no_parts(tmp_path: Path, kind: str) -> None:
    source = pairs(tmp_path / "data", 3)
    if kind != "folder":
        source = Path(shutil.make_archive(str(tmp_path / "packed"), kind, source))
    assert "nothing in it has a name" in refusal(f"{source}:masks", rules=1)
    assert len(listed(source_of(source, rules=1))[0]) == 6


@pytest.mark.parametrize(
    ("condition", "image", "joined"), [(1, 3, 3), (3, 1, 3), (1, 1, 1), (3, 4, 4), (4, 3, 4), (1, 4, 4)]
)
def test_pairs_in_a_grid(condition: int, image: int, joined: int) -> None:
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 256, (2, 4, 4, channels), np.uint8) for channels in (condition, image))
    both = join_pairs(left, right)
    assert both.shape == (2, 4, 8, joined)
    for half, original in ((both[:, :, :4], left), (both[:, :, 4:], right)):
        channels = original.shape[3]
        wide = np.repeat(original, 3, axis=3) if channels == 1 and joined > 1 else original
        np.testing.assert_array_equal(half[..., : wide.shape[3]], wide)
        assert (half[..., wide.shape[3] :] == 255).all()


def test_what_cannot_be_trained_on_pairs_is_refused_before_they_are_packed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "glyphs", "--images", "8", "--size", "16", "--cache", tmp_path / "c", "--runs", tmp_path / "r"]
    assert exit_of(*words, "--set", "data.condition=edges") == 2
    assert "generator.kind = upsampling: ignores the condition" in capsys.readouterr().err
    assert exit_of(*words, "--set", "generator.kind=unet") == 2
    assert "generator.kind = unet: needs a condition, but data.condition is none" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
