"""Which array of a .npz holds the images, which the labels, and which the names of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kantor.app.dataset.prepare import absolute_source
from kantor.config.data import DataConfig
from kantor.config.schema import Config
from kantor.data.packing.scan import cache_key, scan
from kantor.errors import DataError
from kantor.types import ImageSpec
from support.pictures import labels_of, opened

STACK = np.random.default_rng(0).integers(0, 256, (12, 9, 8), np.uint8)
CLASSES = np.arange(12) % 3


def saved(path: Path, **arrays) -> Path:
    np.savez(path / "x.npz", **arrays)
    return path / "x.npz"


@pytest.mark.parametrize(("images", "labels"), [
    ("images", "labels"), ("imgs", "target"), ("X_train", "Y_train"), ("train_x", "train_y"), ("data", "targets"),
    ("X", "y"), ("image", "label"), ("train_images", "train_labels"), ("x_train", "y_train"), ("own", "labels"),
    ("x_test", "y_test"),
])  # fmt: skip
def test_usual_names(tmp_path, images, labels):
    source = opened(saved(tmp_path, **{"weights": np.zeros((4, 4)), labels: CLASSES, images: STACK}))
    assert f"the array {images} of" in source.note
    assert labels_of(source) == [str(n) for n in CLASSES]
    np.testing.assert_array_equal(source.load(list(source.items())[5]), STACK[5])


def test_digits_of_scikit_learn(tmp_path):
    """images [N, 8, 8] and data [N, 64] are the same floats."""
    images = np.random.default_rng(0).integers(0, 17, (12, 8, 8)).astype(np.float64)
    path = saved(
        tmp_path, data=images.reshape(12, 64), target=CLASSES, images=images, target_names=np.array(["a", "b", "c"])
    )
    source = opened(path)
    assert labels_of(source) == [("a", "b", "c")[n] for n in CLASSES]
    assert source.load(next(iter(source.items()))).shape == (8, 8)
    path = saved(tmp_path, data=images.reshape(12, 64), own=images, target=CLASSES)
    assert "the array own of" in opened(path).note
    path = saved(tmp_path, data=images.reshape(12, 64), target=CLASSES)
    np.testing.assert_array_equal(opened(path).load(list(opened(path).items())[7]), images[7])


@pytest.mark.parametrize(("labels", "expected"), [
    (np.array(["cat", "dog", "eel"])[CLASSES], ["cat", "dog", "eel"]),
    (np.array([b"cat", b"dog", b"eel"])[CLASSES], ["cat", "dog", "eel"]),
    (np.eye(3, dtype="f4")[CLASSES], ["0", "1", "2"]),
    (CLASSES.astype("f8"), ["0", "1", "2"]),
    (CLASSES[:, None].astype("u1"), ["0", "1", "2"]),
    (CLASSES > 0, ["0", "1", "1"]),
])  # fmt: skip
@pytest.mark.parametrize("rules", [1, 2])
def test_kinds_of_labels(tmp_path, labels, expected, rules):
    source = opened(saved(tmp_path, images=STACK, labels=labels), rules=rules)
    assert labels_of(source) == [expected[n] for n in CLASSES]


def test_columns_of_factors_are_no_labels(tmp_path):
    factors = np.stack([CLASSES, CLASSES * 2], 1)
    source = opened(saved(tmp_path, imgs=STACK // 128, latents_classes=factors, labels=factors))
    assert set(labels_of(source)) == {None}
    assert "latents_classes, labels also there" in source.note
    assert labels_of(opened(saved(tmp_path, images=STACK, labels=factors, target=CLASSES)))[1] == "1"
    with pytest.raises(DataError, match="11 labels for 12 images"):
        labels_of(opened(saved(tmp_path, images=STACK, labels=CLASSES[:11])))


@pytest.mark.parametrize("name", ["class_names", "label_names", "target_names", "classes"])
def test_class_names(tmp_path, name):
    path = saved(tmp_path, images=STACK, labels=CLASSES, **{name: np.array(["red", "green", "blue"])})
    assert labels_of(opened(path)) == [("red", "green", "blue")[n] for n in CLASSES]
    assert labels_of(opened(path, rules=1)) == [str(n) for n in CLASSES]
    path = saved(tmp_path, images=STACK, labels=CLASSES, **{name: np.array(["red", "green"])})  # too few
    assert labels_of(opened(path)) == [str(n) for n in CLASSES]


def test_old_rules_find_what_they_found(tmp_path):
    path = saved(tmp_path, own=STACK, imgs=np.zeros((12, 81), "u1"), target=CLASSES)
    assert "the array own of" in opened(path, rules=1).note and set(labels_of(opened(path, rules=1))) == {None}
    path = saved(tmp_path, images=STACK, target=CLASSES)
    assert set(labels_of(opened(path, rules=1))) == {None}
    assert labels_of(opened(path)) == [str(n) for n in CLASSES]
    np.savez(path, STACK, np.array(["cat", "dog", "eel"])[CLASSES])
    assert set(labels_of(opened(path, rules=1))) == {None}
    assert labels_of(opened(path))[1] == "dog"


def test_an_array_can_be_named(tmp_path):
    path = saved(tmp_path, a=STACK, b=STACK + 1)
    with pytest.raises(DataError, match=r"a \[12, 9, 8\] uint8.*or name one: .*x\.npz:a"):
        opened(path)
    source = opened(f"{path}:b")
    np.testing.assert_array_equal(source.load(next(iter(source.items()))), STACK[0] + 1)
    with pytest.raises(DataError, match="there is no array c in it"):
        opened(f"{path}:c")


def test_labels_of_python_objects_are_not_lost_in_silence(tmp_path):
    path = saved(tmp_path, images=STACK, labels=np.array(["cat"] * 12, dtype=object))
    with pytest.raises(DataError, match="Python objects"):
        labels_of(opened(path))
    assert set(labels_of(opened(path, labels="none"))) == {None}


def test_two_arrays_of_a_file_are_two_datasets(tmp_path, monkeypatch):
    """Alike in shape, labels and time, they must not share a place in the cache."""
    saved(tmp_path, a=STACK, b=STACK[::-1])
    monkeypatch.chdir(tmp_path)

    def key(source: str) -> str:
        images, config = opened(source), DataConfig(source=source)
        return cache_key(images, config, ImageSpec(8, 8, 1), scan(images, config))

    assert key("x.npz:a") != key("x.npz:b")
    whole = absolute_source(Config(data=DataConfig(source="x.npz:a"))).data.source
    assert whole == f"{tmp_path.resolve()}/x.npz:a" and key(whole) == key("x.npz:a")
