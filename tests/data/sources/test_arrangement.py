"""What folders mean, without files."""

from __future__ import annotations

import pytest

from kantor.data.sources.arrangement import Arrangement, Folders, is_image, is_mask, is_mask_file, part_of
from kantor.errors import DataError


def arranged(paths: list[str], split: str = "auto") -> Arrangement:
    folders = Folders("here")
    for path in paths:
        folders.add(path)
    return folders.arranged(split)


@pytest.mark.parametrize(
    ("name", "part"),
    [("train", "train"), ("Training_Set", "train"), ("seg_train", "train"), ("train2017", "train"), ("trainB", "train"), ("imagesTr", "train"),
     ("valid", "val"), ("dev", "val"), ("testing", "test"), ("labelsTs", "test"), ("unlabeled", "other"), ("trains", None), ("strain", None),
     ("contest", None), ("bullet train", "train"), ("Str", None)],
)  # fmt: skip
def test_names_of_parts(name: str, part: str | None) -> None:
    assert part_of(name) == part


def test_names_of_images_and_masks() -> None:
    assert is_mask("Masks") and is_mask("train_masks") and is_mask("labelsTr") and not is_mask("mask_rcnn")
    assert is_image("imagesTs") and is_image("test_images") and not is_image("images_cat")
    assert is_mask_file("1_mask.png") and is_mask_file("a (2)_mask_1.png") and not is_mask_file("mask.png")


def test_single_folders_around_everything_are_skipped() -> None:
    found = arranged(["a/b/x/1.png", "a/b/y/2.png"])
    assert (found.class_depth, found.used) == (2, ())


def test_parts_lie_above_classes_or_below() -> None:
    above = arranged(["train/x/1.png", "train/y/1.png", "test/x/2.png"])
    assert (above.class_depth, above.used) == (1, ((0, frozenset({"train"})),))
    below = arranged(["x/train/1.png", "x/test/1.png", "y/train/2.png"])
    assert (below.class_depth, below.used) == (0, ((1, frozenset({"train"})),))
    assert below.uses(["y", "train", "2.png"]) and not below.uses(["x", "test", "1.png"])


def test_a_table_above_the_parts_is_beside_their_images() -> None:
    found = arranged(["train/1.png", "test/2.png"])
    assert found.is_beside(["metadata.csv"]) and found.is_beside(["train", "metadata.csv"])
    assert not found.is_beside(["test", "metadata.csv"])


@pytest.mark.parametrize(
    "folders", [["part_1", "part_2"], ["100CANON", "101CANON"], ["00000", "00001"]]
)  # the last: numbers that go on
def test_folders_that_only_divide_are_no_classes(folders: list[str]) -> None:
    found = arranged([f"{name}/img{2 * i + k:04d}.png" for i, name in enumerate(folders) for k in range(2)])
    assert found.class_depth is None
    assert "only divide the images" in found.class_notes[0]


def test_an_image_next_to_folders_leaves_no_classes() -> None:
    found = arranged(["1.png", "a/2.png", "b/3.png"])
    assert found.class_depth is None and found.class_notes == (
        "no classes: 1.png is next to the folders, not in one of them",
    )


def test_few_masks_among_images_are_images() -> None:
    assert arranged(["venice_mask.png", *(f"{i}.png" for i in range(9))]).files == ""


@pytest.mark.parametrize("split", ["val", "train/masks", "images"])
def test_parts_that_are_not_there(split: str) -> None:
    with pytest.raises(DataError, match=f"there is no part {split.split('/')[-1]} in it"):
        arranged(["train/a/1.png", "test/a/2.png"], split)


@pytest.mark.parametrize(
    "folders", [["2019-05-01", "2019-06-12"], ["2019/05", "2020/06"], ["2019/05/01", "2019/12/31"], ["2019/2019-05", "2020/2020-06"],
                ["20190501", "20190612"], ["Photos from 2019", "Photos from 2020"]],
)  # fmt: skip
def test_dates_are_no_classes(folders: list[str]) -> None:
    found = arranged([f"{folder}/IMG_1.jpg" for folder in folders])
    assert found.class_depth is None
    assert "only divide the images" in found.class_notes[0]


@pytest.mark.parametrize("folders", [["1950", "1960"], ["01", "02"], ["2019/cat", "2019/dog"], ["2019-13", "2019-14"]])
def test_years_over_images_and_other_numbers_are_classes(folders: list[str]) -> None:
    assert arranged([f"{folder}/IMG_1.jpg" for folder in folders]).class_depth is not None


def test_other_folders_beside_train_and_test_are_left_out() -> None:
    paths = [f"{part}/{name}/1.png" for part in ("train", "test", "chest_xray") for name in ("normal", "ill")]
    found = arranged(paths)
    assert (found.class_depth, found.used) == (1, ((0, frozenset({"train"})),))
    assert "chest_xray (2)" in found.notes[0]
    assert arranged(paths, "test").used == ((0, frozenset({"test"})),)
    assert arranged(paths, "all").class_depth == 1


def test_a_class_named_train_is_a_class() -> None:
    assert arranged(["train/1.png", "bus/1.png", "car/1.png"]).class_depth == 0
    assert arranged(["train/1.png", "bus/1.png", "test drive/1.png"]).class_depth == 0


def test_one_dataset_in_several_sizes_is_asked_about() -> None:
    paths = ["images1024x1024/00000/1.png", "images1024x1024/01000/1001.png", "thumbnails128x128/00000/1.png"]
    with pytest.raises(DataError, match=r"sizes of one dataset.*data.split=images1024x1024"):
        arranged(paths)
    assert arranged(paths, "thumbnails128x128").class_depth is None
    assert arranged(paths, "all").class_depth == 0
    assert arranged(["brick 2x4/1.png", "brick 2x2/1.png"]).class_depth == 0
