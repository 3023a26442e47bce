"""CIFAR's and STL-10's binary files, alone and in their folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kantor.config.data import DataConfig
from kantor.data.sources.cifar import Cifar, is_cifar, open_folder
from kantor.data.sources.recognise import open_source
from kantor.errors import DataError
from support.pictures import images_of, labels_of

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 32, 32, 3)).astype("u1")
CLASSES = np.arange(20, dtype="u1") % 10
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def records(images: np.ndarray, *labels: np.ndarray) -> bytes:
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([*(column[:, None] for column in labels), planes], 1).astype("u1").tobytes()


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def test_cifar10(tmp_path):
    for batch in range(1, 6):
        (tmp_path / f"data_batch_{batch}.bin").write_bytes(records(IMAGES + batch, CLASSES))
    (tmp_path / "test_batch.bin").write_bytes(records(IMAGES, CLASSES))
    (tmp_path / "readme.html").write_text("<html>")
    assert is_cifar(sizes(tmp_path), tmp_path)
    source = open_folder(str(tmp_path), sizes(tmp_path))
    assert source.exact and "test_batch.bin is left out" in source.note
    assert labels_of(source) == [str(n) for n in CLASSES] * 5
    np.testing.assert_array_equal(images_of(source), np.concatenate([IMAGES + n for n in range(1, 6)]))
    (tmp_path / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    assert labels_of(open_folder(str(tmp_path), sizes(tmp_path)))[:3] == NAMES[:3]
    assert set(labels_of(open_folder(str(tmp_path), sizes(tmp_path), "none"))) == {None}
    single = open_source(DataConfig(source=str(tmp_path / "test_batch.bin")))
    assert isinstance(single, Cifar) and labels_of(single)[2] == "bird"
    np.testing.assert_array_equal(images_of(single), IMAGES)
    assert not is_cifar(sizes(tmp_path) | {"other.bin": 3073 * 5}, tmp_path)
    assert not is_cifar(sizes(tmp_path) | {"data_batch_7.bin": 3073 * 5 + 1}, tmp_path)


def test_cifar100(tmp_path):
    fine = np.arange(20, dtype="u1") * 5
    for part in ("train", "test"):
        (tmp_path / f"{part}.bin").write_bytes(records(IMAGES, CLASSES, fine))
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"fine{i}" for i in range(100)))
    (tmp_path / "coarse_label_names.txt").write_text("\n".join(f"coarse{i}" for i in range(20)))
    assert is_cifar(sizes(tmp_path), tmp_path)
    source = open_folder(str(tmp_path), sizes(tmp_path))
    assert labels_of(source) == [f"fine{n}" for n in fine]
    assert "test.bin is left out" in source.note and "fine ones" in source.note
    np.testing.assert_array_equal(images_of(source), IMAGES)


def test_stl10(tmp_path):
    images = RNG.integers(0, 256, (10, 96, 96, 3)).astype("u1")
    for part in ("train", "test", "unlabeled"):
        (tmp_path / f"{part}_X.bin").write_bytes(images.transpose(0, 3, 2, 1).tobytes())
        if part != "unlabeled":
            (tmp_path / f"{part}_y.bin").write_bytes((CLASSES[:10] + 1).tobytes())
    (tmp_path / "class_names.txt").write_text("\n".join(NAMES))
    (tmp_path / "fold_indices.txt").write_text("1 2 3")
    assert is_cifar(sizes(tmp_path), tmp_path)
    source = open_folder(str(tmp_path), sizes(tmp_path))
    assert labels_of(source) == NAMES and "test_X.bin, unlabeled_X.bin are left out" in source.note
    np.testing.assert_array_equal(images_of(source), images)
    assert labels_of(open_source(DataConfig(source=str(tmp_path / "unlabeled_X.bin")))) == [None] * 10
    (tmp_path / "train_y.bin").write_bytes(bytes(9))
    with pytest.raises(DataError, match="9 labels for 10 images"):
        labels_of(open_source(DataConfig(source=str(tmp_path / "train_X.bin"))))


def test_other_names_and_other_files(tmp_path):
    path = tmp_path / "mine.bin"
    path.write_bytes(records(IMAGES, CLASSES))
    assert isinstance(open_source(DataConfig(source=str(path))), Cifar)
    path.write_bytes(records(IMAGES, CLASSES + 11))
    with pytest.raises(DataError, match="unsupported file format"):
        open_source(DataConfig(source=str(path)))
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(records(IMAGES, CLASSES + 11))
    with pytest.raises(DataError, match="label 0 is 11, above 9"):
        labels_of(open_source(DataConfig(source=str(path))))
    path.write_bytes(records(IMAGES, CLASSES)[:-1])
    with pytest.raises(DataError, match="unsupported file format"):
        open_source(DataConfig(source=str(path)))
