"""Files as imageio writes them, packed: pixels, names and counts are those that were written."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from support.packing import Packer

LEVELS = (0, 60, 120, 180, 255)


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "ppm", "webp", "jpg"])
def test_stills(ending: str, tmp_path: Path, pack: Packer) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for i, level in enumerate(LEVELS):
        image = np.full((16, 16, 3), level, np.uint8)
        image[:8, :8] = (200, 30, 30)
        iio.imwrite(root / f"{i}.{ending}", image, **({"lossless": True} if ending == "webp" else {}))
    done = pack(root)
    assert np.abs(done.images[:, 12, 12].astype(int) - np.array(LEVELS)[:, None]).max() <= (8 if ending == "jpg" else 0)
    if ending != "jpg":
        np.testing.assert_array_equal(done.images[:, 1, 1], [(200, 30, 30)] * len(LEVELS))


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_twelve_bits_in_sixteen(ending: str, tmp_path: Path, pack: Packer) -> None:
    root = tmp_path / "data"
    root.mkdir()
    values = np.linspace(0, 4095, 16, dtype=np.uint16)
    for i in range(4):
        iio.imwrite(root / f"{i}.{ending}", np.roll(np.tile(values, (16, 1)), i, axis=1))
    done = pack(root)
    np.testing.assert_array_equal(done.images[1, 0, :, 0], np.round(np.roll(values, 1) * (255 / 4095)))


@pytest.mark.parametrize("ending", ["gif", "tiff"])
def test_frames(ending: str, tmp_path: Path, pack: Packer) -> None:
    root = tmp_path / "data"
    root.mkdir()
    frames = np.stack([np.full((16, 16, 3), level, np.uint8) for level in LEVELS])
    frames[:, :4, :4] = (200, 30, 30)
    iio.imwrite(root / f"film.{ending}", frames)
    done = pack(root, "--set", "data.frames=all", "--channels", "rgb")
    assert np.abs(done.images[:, 12, 12].astype(int) - np.array(LEVELS)[:, None]).max() <= 3
