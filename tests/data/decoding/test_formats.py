"""Formats of images that Pillow opens: those that are read give the pixels that they hold."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kantor.data.decoding.decode import DecodeSettings, decode
from kantor.data.decoding.pieces import Frame
from kantor.data.decoding.signatures import kind_of
from kantor.data.sources import names
from kantor.types import ImageSpec
from support.pictures import listed, opened, pixels

STORED = pixels(0, (16, 24, 3))


def settings(channels: int = 3) -> DecodeSettings:
    return DecodeSettings(ImageSpec(16, 24, channels), rules=2)


def saved(kind: str, image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tga(image: NDArray[np.uint8] | Image.Image, **options: object) -> bytes:
    """As programs wrote them before 1989: without the footer."""
    data = saved("TGA", image if isinstance(image, Image.Image) else Image.fromarray(image), **options)
    return data[:-26] if data.endswith(b"TRUEVISION-XFILE.\0") else data


def dcx(*pages: NDArray[np.uint8]) -> bytes:
    files = [saved("PCX", Image.fromarray(page)) for page in pages]
    starts = [4 + 4 * (len(files) + 1) + sum(map(len, files[:i])) for i in range(len(files))]
    return struct.pack(f"<{len(files) + 2}I", 0x3ADE68B1, *starts, 0) + b"".join(files)


def xpm(array: NDArray[np.uint8]) -> bytes:
    """Of black and white pixels."""
    rows = ",\n".join('"' + "".join(".#"[v] for v in row) + '"' for row in array)
    head = f'"{array.shape[1]} {array.shape[0]} 2 1",\n". c #000000",\n"# c #ffffff"'
    return f"/* XPM */\nstatic char *x[] = {{\n{head},\n{rows}\n}};\n".encode()


@pytest.mark.parametrize("data", [
    saved("SGI", Image.fromarray(STORED)), tga(STORED), tga(STORED, compression="tga_rle"), dcx(STORED), dcx(STORED, STORED),
    saved("BMP", Image.fromarray(STORED))[14:],
], ids=["SGI", "TGA", "compressed TGA", "DCX", "DCX of two pages", "DIB"])  # fmt: skip
def test_colours_are_those_that_were_stored(data: bytes) -> None:
    image, _ = decode(data, settings())
    np.testing.assert_array_equal(image, STORED)


def test_greys_maps_and_two_colours() -> None:
    grey, bits = STORED[..., 0], STORED[..., 0] > 127
    np.testing.assert_array_equal(decode(tga(grey), settings(1))[0][..., 0], grey)
    mapped = Image.fromarray(STORED).quantize(200)
    np.testing.assert_array_equal(decode(tga(mapped), settings())[0], np.asarray(mapped.convert("RGB")))
    blizzard = saved("BLP", mapped)
    np.testing.assert_array_equal(decode(blizzard, settings())[0], np.asarray(mapped.convert("RGB")))
    np.testing.assert_array_equal(decode(xpm(bits.astype(int)), settings(1))[0][..., 0], bits * 255)
    drawn = saved("XBM", Image.fromarray(bits))
    np.testing.assert_array_equal(decode(drawn, settings(1))[0][..., 0], bits * 255)
    assert decode(Frame(dcx(STORED, STORED[::-1]), 1), settings())[0].tolist() == STORED[::-1].tolist()


def test_a_header_that_makes_no_sense_is_not_taken_for_one() -> None:
    whole = tga(STORED)
    assert kind_of(whole, 2) == "TGA" and kind_of(whole, 1) is None
    assert kind_of(whole[:-1], 2) is None, "cut short"
    for at, value in ((2, 4), (4, 1), (12, 0), (16, 12), (17, 0xC0)):
        assert kind_of(whole[:at] + bytes([value]) + whole[at + 1 :], 2) is None
    assert not any(kind_of(np.random.default_rng(i).bytes(4000), 2) for i in range(2000))
    assert kind_of(bytes(4000), 2) is None and kind_of(b"#define PI 3.14159\nint main() {}\n", 2) is None


@pytest.mark.parametrize("ending", ["rgb", "rgba", "bw", "icb", "vda", "vst", "dcx", "xbm", "xpm", "blp", "dib"])
def test_files_with_rarer_endings_are_images(ending: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{ending}").write_bytes(tga(STORED))
    items, _ = listed(opened(tmp_path))
    assert [item.name for item in items] == [f"a.{ending}"]


def test_each_ending_of_pillow_is_read_or_refused_or_no_image() -> None:
    """A new one in Pillow wants a decision, in names.py and docs/data.md."""
    Image.init()
    others = {
        ".bufr", ".grib", ".h5", ".hdf", ".im", ".iim", ".mpg", ".mpeg", ".msp", ".palm", ".pdf", ".ps",
    }  # fmt: skip
    reasons = {ending: names.not_image(f"x{ending}", 2) for ending in Image.registered_extensions()}
    assert {ending for ending, reason in reasons.items() if reason and reason.kind == "not_image"} <= others
