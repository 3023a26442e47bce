"""Decoding: what each odd file turns into, value by value, and that nothing but Undecodable comes out of bad bytes."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kantor.data.decoding.decode import DecodeSettings, decode, probe
from kantor.data.reasons import Undecodable
from kantor.types import ImageSpec
from support import nasty


def settings(height: int = 32, width: int = 32, channels: int = 3, **more) -> DecodeSettings:
    return DecodeSettings(ImageSpec(height, width, channels), **more)


def test_imports_no_torch():
    code = "import sys, kantor.data.decoding.decode, kantor.data.sources; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("maker", "words"), [
    (nasty.empty, "empty"),
    (nasty.truncated_jpeg, "truncated at byte"),
    (nasty.truncated_png, "truncated at byte"),
    (nasty.truncated_webp, "truncated at byte"),
    (nasty.html, "not an image (starts with `<html`)"),
    (nasty.bad_crc_png, "CRC error in chunk IDAT"),
    (nasty.bomb_png, "more than the limit of 64 million"),
    (lambda: nasty.bomb_png(8_008), "8008x8008 pixels are more than the limit"),
    (nasty.thin_png, "1x60 is smaller"),
    (nasty.tiny_png, "1x1 is smaller"),
    (nasty.zip_named_png, "a zip archive"),
    (lambda: nasty.encode(nasty.photo(8, 900), "PNG"), "more than 100 times"),
    (lambda: b"\0" * 100, "nothing but zeros"),
    (lambda: b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
    (lambda: b"\x89PNG\r\n\x1a\n", "truncated at byte 8"),
    (lambda: b"GIF89a", "GIF"),
    (lambda: nasty.float_tiff(0, float("nan")), "not finite"),
])  # fmt: skip
def test_unusable_files_say_why(maker, words):
    with pytest.raises(Undecodable) as caught:
        decode(maker(), settings())
    assert words in str(caught.value)
    assert len(str(caught.value)) < 120 and "\n" not in str(caught.value)


def test_truncation_names_the_byte():
    data = nasty.truncated_jpeg()
    with pytest.raises(Undecodable, match=f"byte {len(data)}$"):
        decode(data, settings())


def test_sixteen_bits_are_scaled_not_clipped():
    for value, wanted in ((0, 0), (32768, 128), (32767, 127), (65535, 255), (257, 1)):
        image, notes = decode(nasty.grey16_png(value), settings(channels=1))
        assert (image == wanted).all() and notes == ("16-bit", "enlarged")[: len(notes)]
    array = np.full((32, 32, 3), 32767, np.uint16)
    image, notes = decode(array, settings())
    assert (image == 127).all() and notes == ("16-bit",)
    image, notes = decode(nasty.rgb16_png(32896), settings())
    assert (image == 128).all() and notes == ("16-bit",)


def test_transparent_files_show_the_background_exactly():
    grey = settings(background=(10, 200, 30))
    image, notes = decode(nasty.rgba_png(), grey)
    assert notes == ("alpha composited",)
    assert (image[:, :12] == (10, 200, 30)).all() and (image[:, 20:] == (255, 0, 0)).all()
    image, notes = decode(nasty.palette_png(), grey)
    assert notes == ("palette", "alpha composited")
    assert (image[:, 0] == (10, 200, 30)).all() and (image[:, -1] == (255, 0, 0)).all()
    image, _ = decode(nasty.la_png(), settings())
    assert (image == 127).all()  # black at 128/255 on white


def test_rgba_is_kept_without_dark_fringes():
    image, notes = decode(nasty.rgba_png(), settings(channels=4, background=(9, 8, 7)))
    assert notes == ()
    visible = image[image[:, :, 3] > 0]
    assert (visible[:, 0] >= 250).all() and (visible[:, 1] <= 5).all()  # red to its very edge, no hidden green
    assert (image[:, :12] == (9, 8, 7, 0)).all()
    opaque, notes = decode(nasty.encode(nasty.photo(32, 32), "PNG"), settings(channels=4))
    assert (opaque[:, :, 3] == 255).all() and notes == ("alpha added",)


def test_cmyk_one_bit_float_and_icc():
    image, notes = decode(nasty.cmyk_jpeg(), settings())
    assert np.abs(image.astype(int) - (0, 255, 255)).max() <= 3 and notes == ("CMYK",)
    image, notes = decode(nasty.one_bit_png(), settings(channels=1))
    assert image[0, 0, 0] == 0 and image[0, -1, 0] == 255 and notes == ("1-bit",)
    for low, high, note in ((0.0, 1.0, "fractions 0-1"), (-3.0, 900.0, "fractions stretched")):
        image, notes = decode(nasty.float_tiff(low, high), settings(40, 48, 1))
        assert notes == (note,)
        np.testing.assert_allclose(image[0, :, 0], np.linspace(0, 255, 48), atol=0.51)
    image, notes = decode(nasty.broken_icc_png(), settings(40, 48))
    assert notes == ("broken ICC profile",) and (image == np.asarray(nasty.photo())).all()


def test_first_frame_of_animations():
    image, notes = decode(nasty.animated_gif(), settings())
    assert "animated: first frame" in notes and (image == (255, 0, 0)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_turns_the_image_upright(kind):
    data = nasty.rotated_jpeg(6, kind)
    assert probe(data) == (48, 40, "rgb")
    image, notes = decode(data, settings(48, 40))
    assert notes == ("Exif rotation",)
    assert image[24, 35, 0] > 230 and image[24, 35, 2] < 25  # red on the right
    assert image[24, 4, 2] > 230 and image[24, 4, 0] < 25


def test_arrays_of_the_right_size_are_untouched():
    rng = np.random.default_rng(0)
    for channels in (1, 3, 4):
        array = rng.integers(0, 256, (20, 36, channels), np.uint8)
        image, notes = decode(array, settings(20, 36, channels))
        assert (image == array).all() and image.dtype == np.uint8 and notes == ()
        assert probe(array) == (20, 36, {1: "gray", 3: "rgb", 4: "rgba"}[channels])
    flat = rng.integers(0, 256, (20, 36), np.uint8)
    assert (decode(flat, settings(20, 36, 1))[0][:, :, 0] == flat).all()
    with pytest.raises(Undecodable, match="not an image"):
        decode(np.zeros((20, 36, 5), np.uint8), settings())
    with pytest.raises(Undecodable, match="not an image"):
        decode(np.zeros((20, 36)), settings())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_files_of_the_right_size_are_untouched(kind):
    image = nasty.photo(32, 32)
    data = nasty.encode(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert (decode(data, settings())[0] == np.asarray(image)).all()


def test_fit_and_crop():
    stripes = np.zeros((40, 80, 3), np.uint8)
    stripes[:, 20:60] = 255  # a white square in the middle of black
    cover, _ = decode(stripes, settings(40, 40))
    assert (cover == 255).all()
    contain, notes = decode(stripes, settings(40, 40, fit="contain", background=(1, 2, 3)))
    assert (contain[:10] == (1, 2, 3)).all() and (contain[30:] == (1, 2, 3)).all() and notes == ()
    assert (contain[12:28, 13:27] == 255).all() and (contain[12:28, :7] == 0).all()
    stretch, _ = decode(stripes, settings(40, 40, fit="stretch"))
    assert (stretch[:, 13:27] == 255).all() and (stretch[:, :7] == 0).all()
    crop, _ = decode(stripes, settings(20, 20, crop=20))
    assert (crop == 255).all()
    with pytest.raises(Undecodable, match="40x80 is smaller than the crop of 41"):
        decode(stripes, settings(crop=41))


def test_celeba_crop_takes_the_pixels_of_the_seeds():
    image = np.random.default_rng(0).integers(0, 256, (218, 178, 3), np.uint8)
    assert (decode(image, settings(108, 108, crop=108))[0] == image[55:163, 35:143]).all()


def test_large_images_shrink_without_aliasing():
    y, x = np.mgrid[0:1024, 0:1024]
    fine = np.where((x + y) % 2, 255, 0).astype(np.uint8)  # averages to grey, aliases to anything
    for data in (fine, nasty.encode(Image.fromarray(fine), "PNG")):
        image, _ = decode(data, settings(channels=1))
        assert np.abs(image.astype(int) - 127).max() <= 2
    big = nasty.photo(1000, 1500)
    whole = np.asarray(big.resize((48, 32), Image.Resampling.LANCZOS), float)
    image, _ = decode(nasty.encode(big, "JPEG", quality=95), settings(32, 48))
    assert np.abs(image - whole).mean() < 2


def test_grey_both_ways():
    image, notes = decode(nasty.encode(nasty.photo(mode="L"), "PNG"), settings(40, 48))
    assert notes == ("grey to RGB",) and (image[:, :, 0] == image[:, :, 2]).all()
    image, notes = decode(nasty.encode(nasty.photo(), "PNG"), settings(40, 48, 1))
    assert notes == ("RGB to grey",) and (image[:, :, 0] == np.asarray(nasty.photo(mode="L"))).all()


def test_probe_reads_the_header():
    wanted = {"grey16.png": "gray", "rgb16.png": "rgb", "palette.png": "rgba", "la.png": "rgba", "rgba.png": "rgba",
              "one-bit.png": "gray", "cmyk.jpg": "rgb", "float.tif": "gray", "icc.png": "rgb"}  # fmt: skip
    for name, kind in wanted.items():
        assert probe(nasty.ODD[name]())[2] == kind, name
    for maker in (nasty.empty, nasty.html, nasty.bomb_png):
        with pytest.raises(Undecodable):
            probe(maker())


def mutants(count: int):
    """Good files with flipped, cut, repeated and foreign bytes."""
    rng = random.Random(7)
    seeds = [make() for make in nasty.ODD.values()] + list(nasty.good_files(6).values())
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 2, 8))):
            at = rng.randrange(min(len(data), rng.choice((64, 1 << 20))))
            action = rng.randrange(4)
            if action == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif action == 1:
                data[at : at + 4] = rng.randbytes(4)
            elif action == 2:
                data[at : at + rng.randrange(64)] = b""
            else:
                data[at:at] = data[: rng.randrange(64)]
            if not data:
                break
        yield bytes(data)


def test_fuzz_only_undecodable_escapes():
    refused = 0
    for data in mutants(300):
        for look in (lambda d: decode(d, settings(16, 16)), probe):
            try:
                look(data)
            except Undecodable as error:
                refused += 1
                assert 0 < len(str(error)) < 200
    assert 100 < refused < 600
