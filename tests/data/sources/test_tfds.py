"""TFRecord files as StyleGAN and tensorflow_datasets lay them out, and what their records hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kantor.data.decoding import tfrecords
from kantor.data.decoding.tf_examples import field
from kantor.data.sources.tfds import class_names_beside, stylegan_levels, tfds_folder
from kantor.errors import DataError
from support.pictures import listed, opened, pixels, png, require_pixels

IMAGES = [pixels(i) for i in range(6)]


def varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def example(features: dict[str, object], number: int = 1) -> bytes:
    """A message with lists of any kind; number: of the field that holds its features."""
    entries = b""
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], float):
            feature = field(2, field(1, np.array(values, "<f4").tobytes()))
        elif isinstance(values[0], int):
            feature = field(3, field(1, b"".join(varint(v % (1 << 64)) for v in values)))
        else:
            feature = field(1, b"".join(field(1, v if isinstance(v, bytes) else v.encode()) for v in values))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(number, entries)


def write(path: Path, *features: dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(tfrecords.record(example(f)) for f in features))
    return path


def labels(source) -> list[str | None]:
    return [item.label for item in listed(source)[0]]


# --- StyleGAN -----------------------------------------------------------------------------------------------------


def stylegan(folder: Path, labels: np.ndarray | None, count: int = 6) -> None:
    for level in (2, 3, 4):
        side = 2**level
        images = [pixels(i, (side, side, 3)) for i in range(count)]
        features = [{"shape": [3, side, side], "data": image.transpose(2, 0, 1).tobytes()} for image in images]
        write(folder / f"set-r{level:02}.tfrecords", *features)
    if labels is not None:
        with (folder / "set-rxx.labels").open("wb") as file:
            np.save(file, labels)


@pytest.mark.parametrize("rules", [1, 2])
def test_sizes_and_labels_of_stylegan(tmp_path, rules):
    stylegan(tmp_path, np.eye(3, dtype=np.float32)[np.arange(6) % 3])
    assert stylegan_levels(path.name for path in tmp_path.iterdir()) == ["set-r04.tfrecords"]
    assert stylegan_levels(["a-r10.tfrecords", "a-r09.tfrecords", "b-r02.tfrecords", "c.tfrecords"]) == [
        "a-r10.tfrecords",
        "b-r02.tfrecords",
    ]
    for level in (2, 3, 4):
        source = opened(tmp_path / f"set-r{level:02}.tfrecords", rules=rules)
        expected = [pixels(i, (2**level, 2**level, 3)) for i in range(6)]
        assert require_pixels(source, expected) == ["0", "1", "2"] * 2
    assert labels(opened(tmp_path / "set-r04.tfrecords", labels="none", rules=rules)) == [None] * 6


def test_labels_of_stylegan_that_are_none(tmp_path):
    path = tmp_path / "set-r04.tfrecords"
    stylegan(tmp_path, np.zeros((6, 0), np.float32))
    assert labels(opened(path)) == [None] * 6 and opened(path).note == ""
    stylegan(tmp_path, np.full((6, 40), 0.5, np.float32))
    assert labels(opened(path)) == [None] * 6
    assert opened(path).note == "set-rxx.labels does not hold one 1 for each image; not classes"
    stylegan(tmp_path, np.eye(5, dtype=np.float32))
    with pytest.raises(DataError, match="5 labels beside 6 records"):
        labels(opened(path))
    stylegan(tmp_path, np.array([None] * 6))
    with pytest.raises(DataError, match="Python objects"):
        opened(path)


# --- tensorflow_datasets ------------------------------------------------------------------------------------------


def tfds(folder: Path, numbers: range = range(6), names: str = "label.labels.txt") -> Path:
    for shard in range(2):
        features = [{"image": png(i), "label": i % 3} for i in numbers if i % 2 == shard]
        write(folder / f"animals-train.tfrecord-{shard:05d}-of-00002", *features)
    for name in ("features.json", "dataset_info.json"):
        (folder / name).write_text("{}")
    (folder / names).write_text("cat\ndog\ncow\n")
    return folder


@pytest.mark.parametrize("names", ["label.labels.txt", "animals.labels.txt"])
def test_folders_of_tensorflow_datasets(tmp_path, names):
    for version in ("1.0.0", "3.0.1", "10.0.0"):
        tfds(tmp_path / "animals" / version, names=names)
    newest = tmp_path / "animals" / "10.0.0"
    for folder in (newest, newest.parent, tmp_path):
        assert tfds_folder(folder) == newest
    assert class_names_beside(newest / "x") == ["cat", "dog", "cow"]
    assert labels(opened(newest)) == ["cat", "cow", "dog", "dog", "cat", "cow"]
    assert labels(opened(newest, rules=1)) == ["0", "2", "1", "1", "0", "2"]
    one = newest / "animals-train.tfrecord-00000-of-00002"
    assert require_pixels(opened(one), IMAGES[::2]) == ["cat", "cow", "dog"]


def test_configurations_of_tensorflow_datasets(tmp_path):
    one = tfds(tmp_path / "corrupted" / "blur" / "1.0.0")
    assert tfds_folder(tmp_path) == one
    tfds(tmp_path / "corrupted" / "snow" / "1.0.0")
    with pytest.raises(DataError, match=r"several datasets in it \(blur, snow\); name one: .*/corrupted/blur"):
        tfds_folder(tmp_path)
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    assert tfds_folder(tmp_path / "pictures") is None
    assert tfds_folder(tmp_path / "gone") is None


# --- records ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"label": 2.0}, "2"),
        ({"label": 2.5}, None),
        ({"label": [0, 0, 1]}, "2"),
        ({"label": [0.0, 1.0] + [0.0] * 998}, "1"),
        ({"labels": [1, 1, 0]}, None),
        ({"class": 4}, "4"),
        ({"class": "cat", "label": 1}, "cat"),
        ({"image/class/label": [0, 1], "label": 5}, "5"),
    ],
)
def test_labels_of_records(tmp_path, features, expected):
    path = write(tmp_path / "x.tfrecord", {"image": png(0), **features})
    assert labels(opened(path)) == [expected]
    old = features == {"class": "cat", "label": 1} or "image/class/label" in features
    assert labels(opened(path, rules=1)) == [expected if old else None]


def test_labels_against_another_library(tmp_path):
    library = pytest.importorskip("tfrecord", reason="the package tfrecord is not installed")
    writer = library.TFRecordWriter(str(tmp_path / "x.tfrecord"))
    for i in range(6):
        one_hot = np.eye(20, dtype=np.float32)[i + 10].tolist()
        writer.write({"image": (png(i), "byte"), "label": (one_hot, "float"), "height": (8, "int")})
    writer.close()
    assert require_pixels(opened(tmp_path / "x.tfrecord"), IMAGES) == [str(i + 10) for i in range(6)]


@pytest.mark.parametrize("rules", [1, 2])
def test_bare_numbers_of_other_types_and_shapes(tmp_path, rules):
    deep = pixels(0, (8, 12)).astype("<u2") * 257
    colours = np.arange(8 * 6 * 3, dtype="<u2").reshape(8, 6, 3) * 300
    fractions = np.linspace(0, 1, 96, dtype="<f4").reshape(8, 12)
    wide = pixels(1, (4, 9, 3))
    cases = [
        ({"image_raw": deep.tobytes(), "height": 8, "width": 12}, deep),
        ({"image_raw": colours.tobytes(), "height": 8, "width": 6, "depth": 3}, colours),
        ({"data": deep.tobytes(), "shape": [8, 12], "dtype": "uint16"}, deep),
        ({"data": fractions.tobytes(), "image/shape": [8, 12, 1], "dtype": "float32"}, fractions),
        ({"data": wide.tobytes(), "shape": [4, 9, 3]}, wide),
        ({"image/raw": wide.transpose(2, 0, 1).tobytes(), "image/shape": [3, 4, 9]}, wide),
    ]
    for features, image in cases:
        source = opened(write(tmp_path / "x.tfrecord", features, features), rules=rules)
        loaded = source.load(listed(source)[0][1])
        np.testing.assert_array_equal(loaded, image)
        assert loaded.dtype == image.dtype


def test_first_rules_read_a_square_as_before(tmp_path):
    image = pixels(0, (16, 16, 3))
    path = write(tmp_path / "x.tfrecord", {"image": image.transpose(2, 0, 1).tobytes(), "shape": [3, 16, 16]})
    for rules, expected in ((1, image.transpose(2, 0, 1).reshape(16, 16, 3)), (2, image)):
        source = opened(path, rules=rules)
        np.testing.assert_array_equal(source.load(listed(source)[0][0]), expected)


def test_sequences_are_refused_by_their_reason(tmp_path):
    frames = field(2, field(1, field(1, b"frames") + field(2, b"")))
    (tmp_path / "x.tfrecord").write_bytes(tfrecords.record(example({"id": 3}) + frames))
    with pytest.raises(DataError, match="its records are sequences of images or texts \\('frames'\\), not images"):
        labels(opened(tmp_path / "x.tfrecord"))
