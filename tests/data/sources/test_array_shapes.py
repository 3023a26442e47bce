"""What an array means as images: its axes, rows of pixels, number types, byte order."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from kantor.config.data import DataConfig
from kantor.data.sources.array_shapes import layout, may_be_one_image
from kantor.data.sources.recognise import open_source
from kantor.data.sources.source import sha256
from kantor.errors import DataError
from support.pictures import labels_of

U1 = np.dtype("u1")


def opened(path: Path, **more):
    """The source as a worker gets it."""
    source = open_source(DataConfig(source=str(path), **more))
    return source if source.local_only else pickle.loads(pickle.dumps(source))  # noqa: S301


def images_of(source) -> np.ndarray:
    items = list(source.items())
    return np.stack([source.load(item) for item in items])


def scenes(count: int = 6, side: int = 16, channels: int = 3) -> np.ndarray:
    """uint8 [count, side, side, channels]: smooth gradients of different colours."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    colours = rng.uniform(0, 120, (count, 3, 1, 1, channels))
    ramp = colours[:, 0] + colours[:, 1] * y[None, :, :, None] + colours[:, 2] * x[None, :, :, None] / 2
    return ramp.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("shape", "image", "note"), [
    ((60, 28, 28), (28, 28), ""),
    ((60, 28, 20, 1), (28, 20, 1), ""),
    ((60, 28, 28, 2), (28, 28, 2), ""),
    ((60, 28, 28, 4), (28, 28, 4), ""),
    ((60, 3, 28, 20), (28, 20, 3), "channels first"),
    ((60, 1, 28, 28), (28, 28, 1), "channels first"),
    ((60, 2, 28, 28), (28, 28, 2), "channels first"),
    ((60, 3, 32, 3), (3, 32, 3), ""),
    ((60, 784), (28, 28), "28x28"),
    ((1797, 64), (8, 8), "8x8"),
    ((400, 4096), (64, 64), "64x64"),
    ((50_000, 3072), (32, 32, 3), "all red, then all green"),
    ((3, 64, 64), (64, 64), ""),
])  # fmt: skip
def test_shapes(shape, image, note):
    found = layout(shape, U1, "x.npy")
    assert (found.count, found.shape) == (shape[0], image)
    assert note in found.note and bool(note) == bool(found.note)


@pytest.mark.parametrize(("shape", "words"), [
    ((60, 60, 3), "that of one image; convert it: np.save('new.npy', x[None])"),
    ((60, 3, 4), "that of one image"),
    ((64, 64), "could be one image, or 64 in rows of 64; convert it: np.save('new.npy', x.reshape(-1, 8, 8))"),
    ((768, 1024), "could be one image"),
    ((480, 640), "not that of images"),
    ((60, 40), "not that of images"),
    ((60, 3, 64, 2), "first or last is not clear; convert it: np.save('new.npy', x.transpose(0, 2, 3, 1))"),
    ((60, 9, 64, 64), "not that of images"),
    ((5, 60, 9, 64, 64), "not that of images"),
    ((60,), "not that of images"),
    ((60, 0, 8), "holds no image"),
])  # fmt: skip
def test_shapes_that_are_refused(shape, words):
    with pytest.raises(DataError) as caught:
        layout(shape, U1, "x.npy")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "dtype", ["?", "u1", "i1", "<u2", ">u2", ">i2", "<u4", ">i4", "<i8", "<f2", ">f4", "<f8", ">f8"]
)
def test_number_types_keep_their_values_and_become_native(tmp_path, dtype):
    array = np.random.default_rng(0).integers(0, 100, (5, 9, 8, 3)).astype(dtype)
    np.save(tmp_path / "x.npy", array)
    loaded = images_of(opened(tmp_path / "x.npy"))
    assert loaded.dtype == np.dtype(dtype).newbyteorder("=") and loaded.dtype.isnative
    np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_first(tmp_path, channels):
    array = np.random.default_rng(0).integers(0, 256, (5, 9, 8, channels)).astype("u1")
    np.save(tmp_path / "x.npy", array.transpose(0, 3, 1, 2))
    source = opened(tmp_path / "x.npy")
    np.testing.assert_array_equal(images_of(source), array)
    np.save(tmp_path / "y.npy", array)
    other = opened(tmp_path / "y.npy")
    first, second = (sha256(some.load(next(iter(some.items())))) for some in (source, other))
    assert first == second and "channels first" in source.note


@pytest.mark.parametrize("by", ["planes", "pixels"])
def test_rows_of_colour_are_told_apart(tmp_path, by):
    array = scenes()
    np.save(tmp_path / "x.npy", (array.transpose(0, 3, 1, 2) if by == "planes" else array).reshape(6, -1))
    source = opened(tmp_path / "x.npy")
    np.testing.assert_array_equal(images_of(source), array)
    assert ("pixel by pixel" in source.note) == (by == "pixels")


def test_rows_of_grey(tmp_path):
    array = np.random.default_rng(0).random((7, 28, 28)).astype("f4")
    np.save(tmp_path / "x.npy", array.reshape(7, 784))
    source = opened(tmp_path / "x.npy")
    np.testing.assert_array_equal(images_of(source), array)
    assert "each row of 784 numbers is an image of 28x28" in source.note


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_by_columns(tmp_path, suffix, monkeypatch):
    array = np.random.default_rng(0).integers(0, 256, (7, 9, 8, 3)).astype("u1")
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, np.asfortranarray(array))
    else:
        np.savez(path, images=np.asfortranarray(array), labels=np.asfortranarray(np.eye(7)))
    source = opened(path)
    np.testing.assert_array_equal(images_of(source), array)
    assert source.local_only
    assert labels_of(source) == (list("0123456") if suffix == ".npz" else [None] * 7)
    monkeypatch.setattr("kantor.data.sources.npy.MAX_WHOLE", 100)
    with pytest.raises(DataError, match="stored by columns; convert it"):
        opened(path)


def test_labels_next_to_a_npy_may_be_names(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 9, 9), "f4"))
    np.save(tmp_path / "x-labels.npy", np.array(["cat", "dog", "cat"]))
    assert labels_of(opened(tmp_path / "x.npy")) == ["cat", "dog", "cat"]
    np.save(tmp_path / "named.npy", np.eye(3)[[2, 0, 1]])
    assert labels_of(opened(tmp_path / "x.npy", labels=str(tmp_path / "named.npy"))) == ["2", "0", "1"]


def test_single_images_are_told_by_their_shape():
    assert all(map(may_be_one_image, [(64, 64), (64, 48, 3), (3, 64, 48), (480, 640)]))
    assert not any(map(may_be_one_image, [(60, 64, 64), (60, 32, 32, 3), (5, 64), (60,)]))
