"""One range of values for all images of a set."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor.config.data import DataConfig
from kantor.data.packing.pack import PackReport, pack
from kantor.data.sources.recognise import open_source
from kantor.errors import DataError
from kantor.types import ImageSpec
from support.pictures import opened

tifffile = pytest.importorskip("tifffile")
RNG = np.random.default_rng(0)


def packed(source: Path, out: Path, channels: int = 1, side: int = 8, **fields: object) -> PackReport:
    config = DataConfig(source=str(source), **fields)
    return pack(open_source(config), config, ImageSpec(side, side, channels), out)


def images(report: PackReport) -> np.ndarray:
    return np.load(report.path / "images-00000.npy")


def test_masks_are_spread_whatever_is_put_around_them(tmp_path: Path) -> None:
    """`--fit contain` adds white around an image, which says nothing about its own values."""
    (tmp_path / "in").mkdir()
    for i in range(6):
        Image.fromarray(RNG.integers(0, 2, (8, 16)).astype(np.uint8)).save(tmp_path / "in" / f"{i}.png")
    report = packed(tmp_path / "in", tmp_path / "set", fit="contain")
    assert report.manifest["ranges"] == {"uint8": [0, 1]}
    inner = images(report)[:, 2:6]
    assert inner.min() < 50 and inner.max() > 200


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_both_bytes_of_colours_are_read(planes: str, compression: str | None, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    stored = RNG.integers(0, 4096, (3, 8, 8, 3)).astype(np.uint16)
    for i, image in enumerate(stored):
        laid = image if planes == "contig" else image.transpose(2, 0, 1)
        file = tmp_path / "in" / f"{i}.tif"
        tifffile.imwrite(file, laid, photometric="rgb", planarconfig=planes, compression=compression)
    report = packed(tmp_path / "in", tmp_path / "set", channels=3)
    assert report.manifest["ranges"] == {"uint16": [0, 4095]}
    np.testing.assert_array_equal(images(report), np.floor(stored * (255 / 4095) + 0.5).astype(np.uint8))


@pytest.mark.parametrize("dtype", ["int8", "uint32", "int16", "float16", "float64"])
def test_greys_keep_their_order(dtype: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    low, high = (0.0, 1.0) if dtype.startswith("f") else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    levels = np.linspace(low, high, 64).astype(dtype)
    for i in range(3):
        tifffile.imwrite(tmp_path / "in" / f"{i}.tif", np.roll(levels, i).reshape(8, 8))
    found = images(packed(tmp_path / "in", tmp_path / "set"))
    for i in range(3):
        assert (np.diff(np.roll(found[i].ravel().astype(int), -i)) > 0).all()
        assert (found[i].min(), found[i].max()) == (0, 255)


def test_white_can_be_zero(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    stored = RNG.integers(0, 65536, (3, 8, 8)).astype(np.uint16)
    for i, image in enumerate(stored):
        tifffile.imwrite(tmp_path / "in" / f"{i}.tif", image, photometric="miniswhite")
    found = images(packed(tmp_path / "in", tmp_path / "set"))[..., 0]
    np.testing.assert_array_equal(found, 255 - (stored.astype(np.uint32) + 128) // 257)


def test_a_dark_set_of_fractions_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.linspace(0, 0.25, 4 * 64, dtype=np.float32).reshape(4, 8, 8))
    report = packed(tmp_path / "x.npy", tmp_path / "set")
    (line,) = (line for line in report.lines("rejected.jsonl") if "dark" in line)
    assert line.startswith("fractions: no value is above 0.25 of 1") and "--set data.range=0..0.25" in line


def test_pixels_without_a_value(tmp_path: Path) -> None:
    array = RNG.random((8, 8, 8)).astype(np.float32)
    array[0, 3, 3] = np.nan
    np.save(tmp_path / "x.npy", array)
    report = packed(tmp_path / "x.npy", tmp_path / "left out")
    assert (report.count, report.bad) == (7, 1)
    filled = images(packed(tmp_path / "x.npy", tmp_path / "filled", nodata="fill", background="#000000"))
    assert len(filled) == 8 and filled[0, 3, 3, 0] == 0


def test_a_set_that_shows_nothing_names_the_cure(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    frames = [Image.new("L", (16, 16), 255), Image.fromarray(RNG.integers(0, 256, (16, 16)).astype(np.uint8))]
    for i in range(4):
        frames[0].save(tmp_path / "in" / f"{i}.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"show nothing: nearly all pixels are 255 of .*--set data.frames=all"):
        packed(tmp_path / "in", tmp_path / "set")


def test_parts_of_a_folder_of_files_are_not_chosen_in_silence(tmp_path: Path) -> None:
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (tmp_path / name).write_bytes(bytes(3073 * 2))
    with pytest.raises(DataError, match=r"data.split = test does not go with such a folder; name the file"):
        opened(tmp_path, split="test")


def test_a_png_of_grey_and_a_transparent_level(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(4):
        values = RNG.integers(1, 65536, (8, 8)).astype(np.uint16)
        values[0, 0] = 0
        file = io.BytesIO()
        Image.fromarray(values).save(file, "PNG", transparency=0)
        (tmp_path / "in" / f"{i}.png").write_bytes(file.getvalue())
    assert (images(packed(tmp_path / "in", tmp_path / "set"))[:, 0, 0, 0] == 255).all(), "the background"


@pytest.mark.parametrize(("channels", "conversions"), [(1, []), (3, ["grey to RGB"]), (4, [])])
def test_filling_pixels_is_no_conversion_of_the_image(channels: int, conversions: list[str], tmp_path: Path) -> None:
    array = np.linspace(0, 1, 8 * 64, dtype=np.float32).reshape(8, 8, 8)
    array[0, 3, 3] = np.nan
    np.save(tmp_path / "x.npy", array)
    report = packed(tmp_path / "x.npy", tmp_path / "set", channels, nodata="fill", background="#ff8000")
    counts = {"fractions": 8, "pixels without a value filled": 1, **dict.fromkeys(conversions, 8)}
    assert {note: n for note, n in report.notes.items() if note != "alpha added"} == counts
    expected = {1: [151], 3: [255, 128, 0], 4: [255, 128, 0, 0]}[channels]
    assert images(report)[0, 3, 3].tolist() == expected
    assert images(report)[0, 3, 4].tolist() == {1: [14], 3: [14] * 3, 4: [14] * 3 + [255]}[channels]


def test_colours_without_a_value_are_filled_behind_their_own_alpha(tmp_path: Path) -> None:
    array = np.full((4, 8, 8, 4), 0.5, np.float32)
    array[..., 3] = 1
    array[..., 0] = np.linspace(0, 1, 64).reshape(8, 8)
    array[0, 3, 3, 0] = np.nan
    np.save(tmp_path / "x.npy", array)
    report = packed(tmp_path / "x.npy", tmp_path / "set", 3, nodata="fill", background="#ff8000")
    assert report.notes == {"fractions": 4, "pixels without a value filled": 1}
    assert images(report)[0, 3, 3].tolist() == [255, 128, 0]


def test_files_of_several_frames_are_counted_with_the_setting_that_takes_all(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    frames = [Image.fromarray(RNG.integers(0, 256, (16, 16)).astype(np.uint8)) for _ in range(3)]
    for i in range(4):
        frames[0].save(tmp_path / "in" / f"{i}.tif", save_all=True, append_images=frames[1:] if i else [])
    lines = packed(tmp_path / "in", tmp_path / "set").lines("rejected.jsonl")
    assert "3 images: only the first of several frames is used; --set data.frames=all takes all" in lines


@pytest.mark.parametrize(
    ("highest", "white"), [(90, 255), (256, 511), (4095, 4095), (4100, 8191), (16383, 16383), (32767, 32767)]
)
def test_white_is_the_largest_value_of_the_bits_that_are_used(highest: int, white: int, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.linspace(0, highest, 8 * 64).astype(np.uint16).reshape(8, 8, 8))
    assert packed(tmp_path / "x.npy", tmp_path / "set").manifest["ranges"] == {"uint16": [0, white]}
