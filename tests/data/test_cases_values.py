"""Images whose numbers are not plain 8 bits, through `kantor pack`: bits, masks, fractions, formats of labs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.packing import Packer, put

tifffile = pytest.importorskip("tifffile")


def stored(count: int, high: int, shape: tuple[int, ...] = (12, 12), dtype: str = "uint16") -> NDArray[Any]:
    """Images whose largest value is `high`."""
    found = np.random.default_rng(high).integers(0, high + 1, (count, *shape)).astype(dtype)
    found[:, 0, 0] = high
    return found


def scaled(values: NDArray[Any], white: float) -> NDArray[np.uint8]:
    found = np.floor(values.astype(float) * 255 / white + 0.5).astype(np.uint8)
    return found if found.ndim == 4 else found[..., None]


def write(folder: Path, images: NDArray[Any], kind: str) -> Path:
    """The images in a file, or one a file."""
    if kind in ("npy", "npz"):
        path = folder / f"x.{kind}"
        np.save(path, images) if kind == "npy" else np.savez(path, images=images)
        return path
    for i, image in enumerate(images):
        if kind == "tif":
            tifffile.imwrite(folder / f"{i}.tif", image, photometric="rgb" if image.ndim == 3 else "minisblack")
        elif kind == "pgm":
            put(
                folder / f"{i}.pgm",
                f"P5\n# a lab\n{image.shape[1]} {image.shape[0]}\n65535\n".encode() + image.astype(">u2").tobytes(),
            )
        elif kind == "ascii":
            rows = "\n".join(" ".join(map(str, row)) for row in image)
            put(folder / f"{i}.pgm", f"P2 {image.shape[1]} {image.shape[0]} 65535\n{rows}\n")
        elif kind == "folder of npy":
            np.save(folder / f"{i}.npy", image)
        else:
            put(folder / f"{i}.{kind}", image)
    return folder


@pytest.mark.parametrize("kind", ["png", "tif", "pgm", "ascii", "npy", "npz", "folder of npy"])
@pytest.mark.parametrize(("bits", "high"), [(10, 1000), (12, 4000), (14, 16383), (16, 60_000)])
def test_the_bits_that_are_used(bits: int, high: int, kind: str, root: Path, pack: Packer) -> None:
    images = stored(5, high)
    images[3] //= 50  # a dark one stays dark
    images[3, 0, 0] = 0
    done = pack(write(root, images, kind))
    np.testing.assert_array_equal(done.images, scaled(images, 2**bits - 1))
    said = f"16-bit values from 0 to {2**bits - 1} become black to white in all images (data.range)"
    assert (said in done.said) == (bits < 16)


def test_colours_and_alpha_of_twelve_bits(root: Path, pack: Packer) -> None:
    images = stored(4, 4095, (12, 12, 4))
    images[..., 3] = 4095
    for i, image in enumerate(images):
        tifffile.imwrite(root / f"{i}.tif", image, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(pack(root, "--channels", "rgb").images, scaled(images[..., :3], 4095))


@pytest.mark.parametrize("kind", ["png", "tif", "npy", "npz"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64"])
@pytest.mark.parametrize(("high", "white"), [(1, 1), (2, 3), (9, 15), (20, 31), (33, 63)])
def test_masks_and_numbers_of_classes_are_spread(
    high: int, white: int, dtype: str, kind: str, root: Path, pack: Packer
) -> None:
    if dtype == "int64" and kind in ("png", "tif"):
        dtype = "uint8"
    images = stored(6, high, dtype=dtype)
    done = pack(write(root, images, kind))
    np.testing.assert_array_equal(done.images, scaled(images, white))
    assert f"from 0 to {white} become black to white" in done.said


def test_numbers_of_eight_bits_in_wider_types(root: Path, pack: Packer) -> None:
    for dtype in ("int16", "int64", "float64"):
        images = stored(6, 255, dtype=dtype)
        images[images == 0] = 1
        np.testing.assert_array_equal(pack(write(root, images, "npy")).images, scaled(images, 255))


def test_a_usual_number_for_no_value_is_pointed_out(root: Path, pack: Packer) -> None:
    images = np.random.default_rng(0).random((6, 12, 12)).astype(np.float32)
    images[:, :2] = -9999
    source = write(root, images, "tif")
    assert "often means that a pixel has none; leave it out with --set data.nodata=-9999" in pack(source).said
    done = pack(source, "--set", "data.nodata=-9999", "--set", "data.background=#000000")
    np.testing.assert_array_equal(done.images[:, 2:], scaled(images[:, 2:], 1))
    assert not done.images[:, :2].any()


def test_a_dark_set_of_fractions_names_its_values(root: Path, pack: Packer) -> None:
    images = np.random.default_rng(0).random((6, 12, 12)).astype(np.float32) / 1000
    images.flat[0], images.flat[1] = 0, 0.001
    source = write(root, images, "tif")
    line = pack.refused(source)
    assert "show nothing" in line and "--set data.range=0..0.001" in line
    assert pack(source, "--set", "data.range=0..0.001").images.max() == 255
