"""Folders as people bring them, through `kantor pack`: parts, pairs, links, placeholders, tables of labels."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from support.packing import Packer, put, put_all
from support.pictures import png


def split(name: str) -> tuple[str, str]:
    return "--set", f"data.split={name}"


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for member in sorted(folder.rglob("*.*")):
            file.write(member, member.relative_to(folder))
    return path


def tarred(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as file:
        file.add(folder, "top")
    return path


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "val", "test"), ("Train", "Val", "test_images"), ("training", "validation", "testing"), ("TRAIN", "dev", "eval"), ("train2017", "val2017", "test2017"), ("seg_train", "seg_pred", "seg_test")],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_the_part_for_training_is_used(train: str, val: str, test: str, kind: str, root: Path, pack: Packer) -> None:
    for number, (part, count) in enumerate({train: 4, val: 2, test: 3}.items()):
        for name in ("cat", "dog"):
            put_all(root / "pets" / part / name, count, "jpg", 100 * number + 10 * len(name))
    source = {"folder": lambda: root, "zip": lambda: zipped(root, root.parent / "x.zip"), "tar": lambda: tarred(root, root.parent / "x.tgz")}[kind]()  # fmt: skip
    done = pack(source)
    assert done.classes == {"cat": 4, "dog": 4}
    assert f"{train} (8)" in done.said and f"used: {train} (data.split)" in done.said
    assert pack(source, *split(test)).classes == {"cat": 3, "dog": 3}
    assert pack(source, *split("all")).classes == {"cat": 9, "dog": 9}


def test_parts_without_classes(root: Path, pack: Packer) -> None:
    put_all(root / "train_images", 5)
    put_all(root / "test_images", 4, first=50)
    done = pack(root)
    assert len(done.images) == 5 and done.classes == {}
    assert "used: train_images" in done.said


def test_a_part_that_is_not_there_is_refused(root: Path, pack: Packer) -> None:
    put_all(root / "train", 3)
    put_all(root / "test", 3)
    assert "there is no part val in it (folders: test, train); leave data.split out" in pack.refused(
        root, *split("val")
    )


def test_vehicles_are_classes(root: Path, pack: Packer) -> None:
    for i, name in enumerate(("bus", "car", "train")):
        put_all(root / name, 3, first=10 * i)
    assert pack(root).classes == {"bus": 3, "car": 3, "train": 3}


def test_domains_of_unpaired_translation_are_classes_of_their_part(root: Path, pack: Packer) -> None:
    for i, name in enumerate(("trainA", "trainB", "testA", "testB")):
        put_all(root / name, 3 + i, "jpg", 20 * i)
    assert pack(root).classes == {"trainA": 3, "trainB": 4}
    assert len(pack(root, *split("trainB")).images) == 4


# --- pairs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "masks"),
    [("images", "masks"), ("imgs", "annotations"), ("JPEGImages", "SegmentationClass"), ("input", "target"), ("train", "train_masks"), ("train_images", "train_labels"), ("imagesTr", "labelsTr")],
)  # fmt: skip
def test_images_and_masks_are_a_question(images: str, masks: str, root: Path, pack: Packer) -> None:
    put_all(root / images, 4, "jpg")
    put_all(root / masks, 4, "png", 50, (16, 16))
    line = pack.refused(root)
    assert f"{images}/ (4) and {masks}/ (4) belong together" in line
    condition = images if images == "input" else masks
    assert f"--set data.split={images}; train on pairs: " in line and f"data.condition={condition}; or take all" in line
    done = pack(root, *split(images))
    assert done.images.shape == (4, 16, 16, 3) and done.classes == {}
    assert pack(root, *split(masks)).images.shape == (4, 16, 16, 1)
    assert len(pack(root, *split("all")).images) == 8


def test_images_and_masks_below_parts_are_a_question(root: Path, pack: Packer) -> None:
    for i, part in enumerate(("train", "test")):
        put_all(root / part / "images", 4 - i, first=100 * i)
        put_all(root / part / "masks", 4 - i, first=100 * i + 50, shape=(16, 16))
    assert "images/ (4) and masks/ (4)" in pack.refused(root)
    assert "--set data.split=test/images" in pack.refused(root, *split("test"))
    assert pack(root, *split("images")).images.shape == (4, 16, 16, 3)
    assert len(pack(root, *split("test/images")).images) == 3


def test_parts_below_images_and_masks(root: Path, pack: Packer) -> None:
    for kind in ("leftImg8bit", "gtFine"):
        for i, part in enumerate(("train", "val")):
            for town in ("ulm", "bonn"):
                put_all(root / kind / part / town, 3 - i, first=len(town) + 50 * i)
    assert "gtFine" in pack.refused(root)
    assert pack(root, *split("leftImg8bit")).classes == {"bonn": 3, "ulm": 3}
    assert pack(root, *split("leftImg8bit/val")).classes == {"bonn": 2, "ulm": 2}


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_masks_next_to_their_images_are_a_question(kind: str, root: Path, pack: Packer) -> None:
    for name in ("benign", "malignant"):
        for i in range(3):
            put(root / name / f"{name} ({i}).png", np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8))
            put(
                root / name / f"{name} ({i})_mask.png",
                np.random.default_rng(50 + i).integers(0, 256, (16, 16), np.uint8),
            )
    source = root if kind == "folder" else zipped(root, root.parent / "x.zip")
    assert "images (6) and masks (6) in the same folders belong together" in pack.refused(source)
    done = pack(source, *split("images"))
    assert done.images.shape == (6, 16, 16, 3) and done.classes == {"benign": 3, "malignant": 3}
    assert pack(source, *split("masks")).images.shape == (6, 16, 16, 1)


# --- classes, links, placeholders --------------------------------------------------------------------------------------


def test_a_class_without_a_usable_image_is_none(root: Path, pack: Packer) -> None:
    for i in (0, 1, 2, 10):
        put_all(root / str(i), 6, first=10 * i)
    (root / "3").mkdir()
    put(root / "4" / "notes.txt", "later")
    put(root / "5" / "broken.jpg", b"not yet")
    done = pack(root)
    assert done.classes == {"0": 6, "1": 6, "2": 6, "10": 6}
    assert "no image in 3, 4: not a class" in done.said
    assert "no usable image and is no class of the dataset: 5" in done.said


@pytest.mark.parametrize("linked", ["folders", "files"])
def test_links_are_followed_on_request(linked: str, root: Path, tmp_path: Path, pack: Packer) -> None:
    for name in ("oak", "elm"):
        store = put_all(tmp_path / "store" / name, 4, first=len(name) + ord(name[0]))
        if linked == "folders":
            (root / name).symlink_to(store)
        else:
            (root / name).mkdir()
            for file in store.iterdir():
                (root / name / file.name).symlink_to(file)
    line = pack.refused(root)
    assert "link leaves the folder" in line and "--set data.links=follow" in line
    assert pack(root, "--set", "data.links=follow").classes == {"elm": 4, "oak": 4}


def test_the_cache_of_hugging_face_holds_each_image_once(root: Path, pack: Packer) -> None:
    for i in range(4):
        put(root / "blobs" / f"{i:064x}", png(i, (16, 16, 3)))
        link = root / "snapshots" / "4f2a" / "data" / ("ab"[i % 2]) / f"{i}.png"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../../../blobs/{i:064x}")
    assert pack(root).classes == {"a": 2, "b": 2}


@pytest.mark.parametrize("here", [0, 6])
def test_images_in_icloud_are_counted(here: int, root: Path, pack: Packer) -> None:
    put_all(root / "holiday", here, "jpg")
    for i in range(20):
        put(root / "holiday" / f".IMG_{i:04d}.HEIC.icloud", b"bplist00")
    line = pack.refused(root)
    assert "20 " in line and "in iCloud, not on this disk" in line and "Download Now" in line
    if here:
        assert len(pack(root, "--max-bad", "80%").images) == here


# --- tables of labels -------------------------------------------------------------------------------------------------

KINDS = ["oak", "elm", "fir"]
ROWS = [(f"p{i:02d}", KINDS[i % 3]) for i in range(9)]
TABLES = {
    "file,label": "file,label\n" + "".join(f"{n}.jpg,{k}\n" for n, k in ROWS),
    "id,species": "id,species\n" + "".join(f"{n},{k}\n" for n, k in ROWS),
    "image_id, more rows": "image_id,label\n" + "".join(f"{n},{k}\n" for n, k in [*ROWS, ("p77", "oak")]),
    "tabs": "path\tcategory\n" + "".join(f"trees/{n}.jpg\t{k}\n" for n, k in ROWS),
    "semicolons": "Bild;Klasse\n" + "".join(f"{n}.jpg;{k}\n" for n, k in ROWS),
    "Windows": "\ufefffilename,class\r\n" + "".join(f"C:\\me\\trees\\{n}.jpg,{k}\r\n" for n, k in ROWS),
    "one-hot": "image,oak,elm,fir\n"
    + "".join(f"{n}.jpg,{','.join(str(int(k == o)) for o in KINDS)}\n" for n, k in ROWS),
    "index first": ",name,label\n" + "".join(f"{i},{n}.jpg,{k}\n" for i, (n, k) in enumerate(ROWS)),
    "blanks": "".join(f"trees/{n}.jpg {k}\n" for n, k in ROWS),
}


@pytest.mark.parametrize("table", TABLES)
def test_tables_of_labels(table: str, root: Path, tmp_path: Path, pack: Packer) -> None:
    for i, (name, _) in enumerate(ROWS):
        put(root / "trees" / f"{name}.jpg", np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8))
    path = put(tmp_path / "labels.csv", TABLES[table])
    assert pack(root, "--labels", path).classes == {"elm": 3, "fir": 3, "oak": 3}


def test_one_of_several_columns_is_named(root: Path, tmp_path: Path, pack: Packer) -> None:
    put_all(root, 6, "jpg")
    path = put(
        tmp_path / "t.csv",
        "image_id,Tall,Old\n" + "".join(f"{i}.jpg,{1 - 2 * (i % 2)},{-1 if i < 2 else 1}\n" for i in range(6)),
    )
    assert f"--labels {path}:Tall or --labels {path}:Old" in pack.refused(root, "--labels", path)
    assert pack(root, "--labels", f"{path}:Old").classes == {"Old": 4, "not Old": 2}


def test_names_of_both_sides_are_shown(root: Path, tmp_path: Path, pack: Packer) -> None:
    put_all(root, 3, "jpg")
    path = put(tmp_path / "t.csv", "id,label\nscan-0,a\nscan-1,b\n")
    assert "the table has scan-0, the images are named 0.jpg" in pack.refused(root, "--labels", path)


def test_metadata_above_the_parts_that_it_names(root: Path, pack: Packer) -> None:
    rows = ["file_name,label"]
    for part in ("train", "test"):
        put_all(root / part, 4, first=len(part))
        rows += [f"{part}/{i}.png,{'xy'[i % 2]}" for i in range(4)]
    put(root / "metadata.csv", "\n".join(rows))
    assert pack(root).classes == {"x": 2, "y": 2}


def test_a_cure_that_holds_for_all_is_said_once(root: Path, pack: Packer) -> None:
    put_all(root, 6, "jpg")
    for i in range(2):
        (root / f"p{i}.heic").write_bytes(b"x")
    line = pack.refused(root, "--max-bad", 0)
    assert line.count("magick mogrify") == 1 and "p0.heic (.heic images are not read), p1.heic" in line


def test_the_file_of_labels_in_use_is_not_rejected(root: Path, pack: Packer) -> None:
    put_all(root / "images", 4, "jpg")
    names = sorted(path.name for path in (root / "images").iterdir())
    (root / "labels.csv").write_text("file,kind\n" + "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(names)))
    done = pack(root, "--labels", root / "labels.csv")
    assert done.classes == {"a": 2, "b": 2} and "rejected" not in done.said
