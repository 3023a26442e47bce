"""Images padded with what lies at their border: where each pixel comes from, and that it can be repeated."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kantor.config.data import DataConfig
from kantor.data.decoding.decode import DecodeSettings, decode
from kantor.data.decoding.padding import STEP, STRIP, padded, padded_size
from kantor.data.loading.store import Store
from kantor.data.packing.pack import pack
from kantor.data.packing.scan import cache_key, pixel_settings, scan
from kantor.data.reasons import Undecodable
from kantor.data.sources.recognise import open_source
from kantor.errors import ConfigError
from kantor.types import ImageSpec
from support.commands import exit_of

RANDOM = np.random.default_rng(3)


def settings(height: int, width: int, channels: int = 3, **more: object) -> DecodeSettings:
    return DecodeSettings(ImageSpec(height, width, channels), **more)  # type: ignore[arg-type]


def noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (height, width, channels), np.uint8)


def png(array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(20, 33), (33, 20)])
def test_replicate_repeats_the_outermost_pixels(height: int, width: int, channels: int) -> None:
    array = noise(height, width, channels)
    if channels == 4:
        array[..., 3] = 255
    got, notes = decode(png(array), settings(33, 33, channels, fit="replicate"))
    sides = ((7, 6), (0, 0), (0, 0)) if height == 20 else ((0, 0), (7, 6), (0, 0))
    assert (got == np.pad(array, sides, mode="edge")).all() and notes == ()


def test_faces_are_padded_to_256_and_resized() -> None:
    """CelebA, 218 high and 178 wide: 19 above and below, 39 on both sides."""
    array = noise(218, 178)
    whole = np.pad(array, ((19, 19), (39, 39), (0, 0)), mode="edge")
    wanted = np.asarray(Image.fromarray(whole).resize((128, 128), Image.Resampling.LANCZOS, reducing_gap=3.0))
    for data in (array, png(array)):
        got, _ = decode(data, settings(128, 128, fit="replicate", pad=256))
        assert (got == wanted).all()
    without, _ = decode(array, settings(128, 128, fit="replicate"))
    assert (without != wanted).any()


@pytest.mark.parametrize(
    ("size", "spec", "pad", "wanted"),
    [
        ((178, 218), (128, 128), 0, (218, 218)),
        ((178, 218), (128, 128), 256, (256, 256)),
        ((300, 218), (128, 128), 256, (300, 300)),
        ((100, 100), (48, 96), 0, (200, 100)),
        ((90, 31), (48, 96), 0, (90, 45)),
        ((90, 31), (96, 48), 0, (90, 180)),
        ((7, 3), (9, 21), 0, (7, 3)),
        ((10, 10), (32, 32), 0, (10, 10)),
    ],
)
def test_no_more_is_padded_than_shape_and_pad_need(
    size: tuple[int, int], spec: tuple[int, int], pad: int, wanted: tuple[int, int]
) -> None:
    assert padded_size(size, settings(*spec, fit="mirror", pad=pad)) == wanted


def walked(found: NDArray[np.uint8], strip: NDArray[np.uint8], far: NDArray[np.float64]) -> list[int]:
    """The drift of each padded row, nearest first, by comparing with all that are possible; fails where none fits."""
    count, width = found.shape[:2]
    drift, drifts = 0, []
    for k in range(count):
        at = k % (2 * len(strip))
        row = strip[at if at < len(strip) else 2 * len(strip) - 1 - at].astype(np.float64)
        mirrored = np.concatenate([row, row[::-1]])
        share = (k + 1) / count
        fits = []
        for step in range(-STEP, STEP + 1):
            places = (np.arange(width) + drift + step) % (2 * width)
            wanted = mirrored[places] * (1 - share) + far * share
            if np.abs(wanted - found[k]).max() < 0.51:
                fits.append(step)
        assert fits, f"row {k} is none of those that may be there"
        if len(fits) == 1 or k < count - 1:
            drift += fits[0]
            drifts.append(drift)
    return drifts


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("turned", [False, True])
def test_mirror_carries_the_border_outwards(channels: int, turned: bool) -> None:
    """Row by row: the outermost ten mirrored over and over, to the side by a walk of steps up to 4, fading to their mean."""
    array = noise(40, 90, channels)
    data = array.swapaxes(0, 1) if turned else array
    got, _ = decode(png(np.ascontiguousarray(data)), settings(90, 90, channels, fit="mirror"))
    got = got.swapaxes(0, 1) if turned else got
    assert (got[25:65] == array).all()
    above = walked(got[:25][::-1], array[:STRIP], array[0].mean(0, dtype=np.float64))
    below = walked(got[65:], array[::-1][:STRIP], array[-1].mean(0, dtype=np.float64))
    for drifts in (above, below):
        steps = np.diff([0, *drifts])
        assert len(steps) >= 24 and abs(steps).max() <= STEP and len(set(steps.tolist())) >= 5
    assert above != below


def test_an_odd_pixel_more_is_above() -> None:
    array = noise(8, 21, 1)
    got, _ = decode(array, settings(21, 21, 1, fit="mirror"))
    assert (got[7:15] == array).all()


def test_the_walk_is_a_function_of_the_pixels() -> None:
    array = noise(20, 50)
    wanted, _ = decode(array, settings(50, 50, fit="mirror"))
    again, _ = decode(png(array), settings(50, 50, fit="mirror"))
    assert (again == wanted).all()
    other = array.copy()
    other[10, 25] ^= 255  # not at the border, and still another walk
    got, _ = decode(other, settings(50, 50, fit="mirror"))
    assert (got[:14] != wanted[:14]).any()


def test_grey_and_coloured_packs_walk_alike() -> None:
    """So outlines beside an image are those of its padded border too."""
    grey = noise(20, 50, 1)
    as_grey, _ = decode(png(grey), settings(50, 50, 1, fit="mirror"))
    as_colour, _ = decode(png(grey), settings(50, 50, 3, fit="mirror"))
    assert (as_colour == as_grey).all()


def test_steps_are_uniform() -> None:
    from kantor.data.decoding.padding import _steps

    found = np.concatenate([_steps(seed, 0, 3000) for seed in range(10)])
    shares = np.bincount(found + STEP, minlength=9) / len(found)
    assert len(shares) == 9 and abs(shares - 1 / 9).max() < 0.01
    assert len(_steps(5, 1, 0)) == 0


def test_small_and_thin_images() -> None:
    for shape in ((1, 8, 3), (8, 1, 3), (3, 5, 1)):
        for fit in ("replicate", "mirror"):
            got, _ = decode(noise(*shape), settings(16, 16, shape[2], fit=fit, min_size=1, pad=40))
            assert got.shape == (16, 16, shape[2])


@pytest.mark.parametrize("fit", ["replicate", "mirror"])
def test_transparent_pixels_do_not_affect_colours(fit: str) -> None:
    array = np.full((20, 40, 4), (200, 40, 10, 255), np.uint8)
    array[:, ::2] = (0, 255, 255, 0)
    image = padded(Image.fromarray(array), settings(40, 40, 4, fit=fit))
    got = np.asarray(image)
    assert (got[10:30] == array).all()
    seen = got[got[..., 3] > 60][:, :3].astype(int)
    assert len(seen) > 400 and abs(seen - (200, 40, 10)).max() <= 3
    assert 100 < got[0, :, 3].mean() < 155


def test_a_large_jpeg_is_padded_in_its_own_pixels() -> None:
    """Not in those of a version that the decoder has shrunk."""
    array = np.asarray(Image.fromarray(noise(30, 40)).resize((800, 600), Image.Resampling.BICUBIC))
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=95)
    got, _ = decode(file.getvalue(), settings(32, 32, fit="replicate", pad=1600))
    wanted, _ = decode(np.asarray(Image.open(file)), settings(32, 32, fit="replicate", pad=1600))
    assert (got == wanted).all()


def test_images_that_would_grow_too_large_are_rejected() -> None:
    with pytest.raises(Undecodable, match=r"padded to 9000x9000 pixels it has more than the limit of 64 million"):
        decode(np.zeros((100, 9000), np.uint8), settings(32, 32, 1, fit="replicate"))


def test_arrays_of_the_right_shape_are_padded_too() -> None:
    array = noise(16, 16)
    got, _ = decode(array, settings(16, 16, fit="replicate", pad=32))
    wanted = Image.fromarray(np.pad(array, ((8, 8), (8, 8), (0, 0)), mode="edge")).resize(
        (16, 16), Image.Resampling.LANCZOS, reducing_gap=3.0
    )
    assert (got == np.asarray(wanted)).all()
    got, _ = decode(array, settings(16, 16, fit="mirror"))
    assert (got == array).all()


def test_packs_are_reproducible_and_named_by_their_settings(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(6):
        Image.fromarray(noise(20 + i, 30)).save(tmp_path / "in" / f"{i}.png")
    spec, keys, manifests = ImageSpec(16, 16, 3), set(), []
    for fit, pad in (("replicate", 0), ("mirror", 0), ("replicate", 64), ("replicate", 65), ("cover", 0)):
        config = DataConfig(source=str(tmp_path / "in"), fit=fit, pad=pad)
        source = open_source(config)
        keys.add(cache_key(source, config, spec, scan(source, config)))
        pair = []
        for number in "ab":
            pack(source, config, spec, tmp_path / f"{fit}{pad}{number}", workers=2 if number == "a" else 1)
            pair.append(Store.open(tmp_path / f"{fit}{pad}{number}"))
        assert (pair[0].whole() == pair[1].whole()).all()
        manifests.append(pair[0].manifest)
    assert len(keys) == 5 == len({manifest["fingerprint"] for manifest in manifests})
    assert manifests[2]["settings"]["pad"] == 64 and "pad" not in manifests[0]["settings"]
    assert "pad" not in pixel_settings(DataConfig())


def test_a_pad_needs_a_fit_that_pads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fit in ("cover", "contain", "stretch"):
        with pytest.raises(ConfigError, match="needs --fit replicate or mirror"):
            open_source(DataConfig(pad=64, fit=fit))
    words = ["pack", "glyphs", "--out", tmp_path / "set", "--size", "16", "--set", "data.glyphs.count=4"]
    assert exit_of(*words, "--set", "data.pad=64") == 2
    assert "error: data.pad: needs --fit replicate or mirror" in capsys.readouterr().err
    assert exit_of(*words, "--set", "data.pad=64", "--fit", "replicate") == 0
