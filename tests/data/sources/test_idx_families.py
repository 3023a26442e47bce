"""IDX beyond MNIST: EMNIST's and QMNIST's folders, other number types."""

from __future__ import annotations

import gzip
import lzma
import struct
from pathlib import Path

import numpy as np
import pytest

from support.pictures import images_of, labels_of, opened

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28)).astype("u1")
TYPES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx(array: np.ndarray, dtype: str = "u1") -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, TYPES[dtype], array.ndim, *array.shape)
    return head + array.astype(dtype).tobytes()


def test_emnist_as_shipped(tmp_path):
    for part in ("train", "test"):
        stem = tmp_path / f"emnist-letters-{part}"
        Path(f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES.transpose(0, 2, 1))))
        Path(f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([1, 2, 3, 26, 1, 2]))))
    lines = [f"{i} {64 + i} {96 + i} " for i in range(1, 27)]
    (tmp_path / "emnist-letters-mapping.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "README.txt").write_text("read me")
    source = opened(tmp_path)
    assert "emnist-letters-train-images-idx3-ubyte.gz is used" in source.note
    assert "data.transpose=true" in source.note
    assert labels_of(source) == list("ABCZAB")
    np.testing.assert_array_equal(images_of(source), IMAGES.transpose(0, 2, 1))
    named = tmp_path / "emnist-letters-test-images-idx3-ubyte.gz"
    assert labels_of(opened(named, rules=1)) == ["1", "2", "3", "26", "1", "2"]
    assert labels_of(opened(named)) == list("ABCZAB")


def test_qmnist_as_shipped(tmp_path):
    for part in ("train", "test"):
        rows = np.arange(48).reshape(6, 8)
        rows[:, 0] = [5, 0, 4, 1, 9, 2]
        (tmp_path / f"qmnist-{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES)))
        (tmp_path / f"qmnist-{part}-labels-idx2-int.gz").write_bytes(gzip.compress(idx(rows, ">i4")))
        (tmp_path / f"qmnist-{part}-labels.tsv.gz").write_bytes(gzip.compress(b"5\t0\n"))
    (tmp_path / "xnist-images-idx3-ubyte.xz").write_bytes(lzma.compress(idx(IMAGES[:2])))
    (tmp_path / "README").write_text("read me")
    source = opened(tmp_path)
    assert "qmnist-train-images-idx3-ubyte.gz is used" in source.note
    assert labels_of(source) == ["5", "0", "4", "1", "9", "2"]
    single = tmp_path / "qmnist-test-images-idx3-ubyte.gz"
    assert labels_of(opened(single)) == ["5", "0", "4", "1", "9", "2"]
    assert set(labels_of(opened(single, rules=1))) == {None}
    by_name = opened(single, labels=str(tmp_path / "qmnist-train-labels-idx2-int.gz"))
    assert labels_of(by_name) == ["5", "0", "4", "1", "9", "2"]


@pytest.mark.parametrize("dtype", ["i1", ">i2", ">i4", ">f4", ">f8"])
def test_number_types(tmp_path, dtype):
    array = (IMAGES.astype(float) - 128) / (2 if "f" in dtype else 1)
    (tmp_path / "x-images-idx3-ubyte").write_bytes(idx(array, dtype))
    (tmp_path / "x-labels-idx1-ubyte").write_bytes(idx(np.arange(6), dtype))
    source = opened(tmp_path / "x-images-idx3-ubyte")
    np.testing.assert_array_equal(images_of(source), array.astype(dtype))
    assert images_of(source).dtype.isnative and labels_of(source) == list("012345")


def test_rows(tmp_path):
    (tmp_path / "x-images-idx2-ubyte").write_bytes(idx(IMAGES.reshape(6, 784)))
    np.testing.assert_array_equal(images_of(opened(tmp_path / "x-images-idx2-ubyte")), IMAGES)
