"""Tables of pixels, as Kaggle has them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from kantor.data.reasons import Undecodable
from kantor.data.sources.csv_pixels import CsvPixels, in_folder, is_pixels
from kantor.errors import DataError
from support.pictures import images_of, labels_of, opened

GREY = np.random.default_rng(0).integers(0, 256, (12, 28, 28)).astype("u1")
GREY[:, 0, 0] = GREY[:, -1, -1] = 0
CLASSES = np.arange(12) % 5


def table(
    path: Path, images: np.ndarray, header: str = "", labels="first", delimiter: str = ",", end: str = "\n"
) -> Path:
    lines = [header] if header else []
    for image, label in zip(images, CLASSES, strict=False):
        cells = list(map(str, image.ravel().tolist()))
        cells = [str(label), *cells] if labels == "first" else [*cells, str(label)] if labels == "last" else cells
        lines.append(delimiter.join(cells))
    path.write_text(end.join(lines) + end)
    return path


def names(pattern: str, count: int, start: int = 0) -> list[str]:
    return [pattern.format(i) for i in range(start, start + count)]


@pytest.mark.parametrize(("header", "labels"), [
    (["label", *names("pixel{}", 784)], "first"),
    (["label", *names("pixel{}", 784, 1)], "first"),
    ([*names("pixel{:04d}", 784), "label"], "last"),
    ([*names("V{}", 784, 1), "class"], "last"),
    (["label", *(f"{y}x{x}" for y in range(1, 29) for x in range(1, 29))], "first"),
    (['"label"', *names('"px_{}"', 784)], "first"),
    (names("{}", 785), "first"),
    (names("{}", 785), "last"),
    ([], "first"),
    ([], "last"),
])  # fmt: skip
@pytest.mark.parametrize(("delimiter", "end"), [(",", "\n"), (";", "\r\n")])
def test_columns(tmp_path, header, labels, delimiter, end):
    images = GREY.copy()
    if labels == "first":
        images[:, -1, -1] = np.arange(12) * 20
    path = table(tmp_path / "x.csv", images, delimiter.join(header), labels, delimiter, end)
    source = opened(path)
    assert isinstance(source, CsvPixels) and source.exact and is_pixels(path)
    assert labels_of(source) == [str(n) for n in CLASSES]
    np.testing.assert_array_equal(images_of(source), images)
    assert images_of(source).dtype == np.uint8 and "is an image of 28x28" in source.note
    assert ("the class is the" in source.note) == (not header)
    np.testing.assert_array_equal(source.load(list(source.items())[3]), images[3])


def test_without_labels(tmp_path):
    for header in ([], names("pixel{}", 784)):
        source = opened(table(tmp_path / "test.csv", GREY, ",".join(header), labels="none"))
        assert set(labels_of(source)) == {None}
        np.testing.assert_array_equal(images_of(source), GREY)
    path = table(tmp_path / "x.csv", GREY, ",".join(["label", *names("pixel{}", 784)]))
    assert set(labels_of(opened(path, labels="none"))) == {None}
    path.write_bytes(b"\xef\xbb\xbf" + table(tmp_path / "y.csv", GREY).read_bytes())
    assert labels_of(opened(path)) == [str(n) for n in CLASSES]
    np.testing.assert_array_equal(images_of(opened(path)), GREY)
    (tmp_path / "own.csv").write_text("".join(f"{i},c{i % 2}\n" for i in range(12)))
    assert labels_of(opened(path, labels=str(tmp_path / "own.csv")))[3] == "c1"


@pytest.mark.parametrize("by", ["planes", "pixels"])
def test_colour(tmp_path, by):
    y, x = np.mgrid[:16, :16]
    colours = np.random.default_rng(1).integers(0, 8, (12, 3, 3))
    images = np.stack([np.stack([a * y + b * x + 5 * c for a, b, c in some], -1) for some in colours]).astype("u1")
    rows = images.transpose(0, 3, 1, 2) if by == "planes" else images
    source = opened(table(tmp_path / "x.csv", rows, ",".join([*names("pixel{:04d}", 768), "label"]), "last"))
    np.testing.assert_array_equal(images_of(source), images)
    assert ("pixel by pixel" in source.note) == (by == "pixels")


@pytest.mark.parametrize("quote", ["", '"'])
def test_faces_in_one_cell(tmp_path, quote):
    """FER2013: emotion, pixels, Usage."""
    faces = np.random.default_rng(1).integers(0, 256, (6, 48, 48)).astype("u1")
    usage = ["Training", "Training", "PublicTest", "Training", "PrivateTest", "Training"]
    rows = [
        f"{i},{quote}{' '.join(map(str, face.ravel()))}{quote},{part}"
        for i, (face, part) in enumerate(zip(faces, usage, strict=True))
    ]
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "\n".join(rows) + "\n")
    source = opened(tmp_path / "fer2013.csv")
    assert labels_of(source) == ["0", "1", "3", "5"] and [item.name for item in source.items()] == ["0", "1", "3", "5"]
    np.testing.assert_array_equal(images_of(source), faces[[0, 1, 3, 5]])
    assert "4 of 6 rows are used, those for training" in source.note


def test_numbers_of_other_types(tmp_path):
    header = ",".join(["label", *names("pixel{}", 784)])
    for images, dtype in (
        (GREY.astype("u2") * 16, np.uint16),
        (GREY / 255, np.float64),
        (GREY.astype("i2") - 9, np.float64),
    ):
        source = opened(table(tmp_path / "x.csv", images, header))
        assert images_of(source).dtype == dtype
        np.testing.assert_array_equal(images_of(source), images)
    np.savetxt(tmp_path / "x.csv", np.concatenate([CLASSES[:, None], GREY.reshape(12, 784)], 1), delimiter=",")
    source = opened(tmp_path / "x.csv")
    assert labels_of(source) == [str(n) for n in CLASSES]
    np.testing.assert_array_equal(images_of(source), GREY)


def test_compressed(tmp_path):
    path = table(tmp_path / "x.csv", GREY, ",".join(["label", *names("pixel{}", 784)]))
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    source = opened(tmp_path / "x.csv.gz")
    assert labels_of(source) == [str(n) for n in CLASSES]
    np.testing.assert_array_equal(images_of(source), GREY)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(path.read_bytes())[:-50])
    with pytest.raises(DataError, match="cannot be read"):
        opened(tmp_path / "x.csv.gz")


def test_sorted_by_class_with_the_label_at_the_end(tmp_path):
    images = np.tile(GREY, (20, 1, 1))
    lines = [",".join([*map(str, image.ravel()), str(i // 60)]) for i, image in enumerate(images)]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    source = opened(tmp_path / "x.csv")
    assert labels_of(source) == [str(i // 60) for i in range(240)]
    np.testing.assert_array_equal(source.load(list(source.items())[239]), images[239])


def test_bad_rows(tmp_path):
    path = table(tmp_path / "x.csv", GREY, ",".join(["label", *names("pixel{}", 784)]))
    lines = path.read_text().splitlines()
    lines[3], lines[5] = lines[3].rsplit(",", 1)[0], lines[5].replace(",0,", ",x,", 1)
    path.write_text("\n".join([*lines[:7], "", *lines[7:]]))
    source = opened(path)
    items = list(source.items())
    assert len(items) == 12
    for number in (2, 4):
        with pytest.raises(Undecodable, match="does not hold 784 numbers"):
            source.load(items[number])
    np.testing.assert_array_equal(source.load(items[11]), GREY[11])


def test_a_number_that_others_do_not_have(tmp_path, monkeypatch):
    monkeypatch.setattr("kantor.data.sources.csv_pixels._LOOKED_AT", 2)
    images = GREY.astype("i4")
    images[3, 5, 5] = 300
    source = opened(table(tmp_path / "x.csv", images, ",".join(["label", *names("pixel{}", 784)])))
    items = list(source.items())
    with pytest.raises(Undecodable, match="holds 300, others whole numbers from 0 to 255; correct it"):
        source.load(items[3])
    assert source.load(items[4]).dtype == np.uint8


@pytest.mark.parametrize("text", [
    "name,label\na.png,cat\nb.png,dog\n", "a.png,cat\n", "1,2,3\n4,5,6\n", "image_id,w,h\n1,2,3\n", "\n", "label,pixels\n1,a b c\n",
])  # fmt: skip
def test_other_tables(tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=r"a table, but not of pixels.*add --labels .*x\.csv if it names their classes"):
        opened(tmp_path / "x.csv")
    assert not is_pixels(tmp_path / "x.csv")


def test_in_a_folder(tmp_path):
    header = ",".join(["label", *names("pixel{}", 784)])
    table(tmp_path / "train.csv", GREY, header)
    table(tmp_path / "test.csv", GREY, ",".join(names("pixel{}", 784)), labels="none")
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n")
    files = ["sample_submission.csv", "test.csv", "train.csv", "notes.txt"]
    assert in_folder(tmp_path, files) == ["train.csv"]
    assert in_folder(tmp_path, files[:2]) == ["test.csv"]


def test_a_column_of_names_is_no_class(tmp_path: Path) -> None:
    rows = [",".join([f"Train_{i}", *map(str, image.ravel())]) for i, image in enumerate(GREY)]
    (tmp_path / "x.csv").write_text("\n".join([",".join(["image_id", *names("{}", 784)]), *rows]) + "\n")
    source = opened(tmp_path / "x.csv")
    assert labels_of(source) == [None] * len(GREY)
    np.testing.assert_array_equal(images_of(source), GREY)
