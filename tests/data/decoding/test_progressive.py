"""Progressive JPEGs decoded at an eighth of their size, from the scans that it needs."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from kantor.data.decoding.decode import decode
from kantor.data.decoding.formats import DecodeSettings
from kantor.data.decoding.progressive import means_alone
from kantor.data.reasons import Undecodable
from kantor.types import ImageSpec

SIZES = [(64, 64), (801, 333), (2000, 1501), (17, 1700)]


def photo(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (size[1] // 8 + 1, size[0] // 8 + 1, len(mode)), dtype=np.uint8)
    return Image.fromarray(coarse[:, :, 0] if mode == "L" else coarse, mode).resize(size)


def encoded(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **{"quality": 90, "progressive": True, **options})
    return buffer.getvalue()


def at_an_eighth(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.draft(None, (image.width // 8, image.height // 8))
    return np.array(image)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 5}], ids=["plain", "restarts"])
def test_the_scans_of_the_means_give_the_same_pixels_at_an_eighth(size, subsampling, options):
    data = encoded(photo(size), subsampling=subsampling, **options)
    shorter = means_alone(data)
    assert shorter is not None and len(shorter) < len(data)
    np.testing.assert_array_equal(at_an_eighth(shorter), at_an_eighth(data))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_too(mode):
    data = encoded(photo((403, 801), mode))
    np.testing.assert_array_equal(at_an_eighth(means_alone(data) or b""), at_an_eighth(data))


def test_fill_bytes_before_a_marker_are_skipped():
    data = encoded(photo((64, 64)))
    at = data.index(b"\xff\xc2")
    filled = data[:at] + b"\xff\xff" + data[at:]
    np.testing.assert_array_equal(at_an_eighth(means_alone(filled) or b""), at_an_eighth(data))


def test_baseline_and_cut_jpegs_are_left_as_they_are():
    data = encoded(photo((640, 480)))
    assert means_alone(encoded(photo((640, 480)), progressive=False)) is None
    for length in (*range(0, 700, 7), len(data) // 2, len(data) - 2):
        assert means_alone(data[:length]) is None


def test_packing_one_differs_from_the_full_decode_by_less_than_a_grey_level(monkeypatch):
    settings = DecodeSettings(ImageSpec(64, 64, 3), rules=2)
    data = encoded(photo((1600, 1200)), subsampling="4:2:0")
    packed, _ = decode(data, settings)
    monkeypatch.setattr("kantor.data.decoding.formats.means_alone", lambda data: None)
    np.testing.assert_array_equal(packed, decode(data, settings)[0])
    monkeypatch.setattr("kantor.data.decoding.formats._draft", lambda image, *_, **__: image)
    assert np.abs(packed.astype(int) - decode(data, settings)[0]).mean() < 1


def test_exif_turns_one_as_ever():
    exif = Image.Exif()
    exif[0x0112] = 6
    settings = DecodeSettings(ImageSpec(64, 48, 3), rules=2)
    turned, notes = decode(encoded(photo((1600, 1200)), exif=exif), settings)
    upright, _ = decode(encoded(photo((1600, 1200)).transpose(Image.Transpose.ROTATE_270), quality=95), settings)
    assert notes == ("Exif rotation",)
    assert np.abs(turned.astype(int) - upright).mean() < 3


def test_a_damaged_one_is_an_image_or_a_reason():
    data, rng = bytearray(encoded(photo((700, 500)))), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for at in rng.integers(2, 900, 3):
            damaged[at] = rng.integers(0, 256)
        try:
            image, _ = decode(bytes(damaged), DecodeSettings(ImageSpec(32, 32, 3), rules=2))
        except Undecodable:
            continue
        assert image.shape == (32, 32, 3)
