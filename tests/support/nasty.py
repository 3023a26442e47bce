"""Makes odd and broken image files, and a folder full of them, so that none need to be in the repository."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def photo(height: int = 40, width: int = 48, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """A smooth coloured image with some noise: compresses and resizes like a photograph."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / rng.uniform(4, 12) + y / rng.uniform(4, 12) + rng.uniform(0, 6)) for _ in range(3)]
    pixels = 127 + 90 * np.stack(waves, axis=2) + rng.normal(0, 4, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk with the correct checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG from its parts; `rows` with a filter byte before each."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")


# --- broken -------------------------------------------------------------------------------------------------------


def empty() -> bytes:
    return b""


def truncated_jpeg() -> bytes:
    data = encode(photo(), "JPEG")
    return data[: len(data) // 2]


def truncated_png() -> bytes:
    data = encode(photo(), "PNG")
    return data[: len(data) // 2]


def truncated_webp() -> bytes:
    data = encode(photo(), "WEBP")
    return data[: len(data) // 2]


def html() -> bytes:
    return b"<html><body>404 Not Found</body></html>\n"


def bad_crc_png() -> bytes:
    """The pixels are intact, the checksum of their chunk is wrong."""
    data = bytearray(encode(photo(), "PNG"))
    at = data.index(b"IDAT")
    length = int.from_bytes(data[at - 4 : at], "big")
    data[at + 4 + length] ^= 0x01
    return bytes(data)


def bomb_png(side: int = 14_000) -> bytes:
    """Many pixels in a small file."""
    return png(side, side, 1, 0, bytes((side // 8 + 1) * side))


def thin_png() -> bytes:
    return encode(photo(1, 60), "PNG")


def tiny_png() -> bytes:
    return encode(photo(1, 1), "PNG")


def zip_named_png() -> bytes:
    return b"PK\x03\x04" + bytes(60)


# --- odd but good -------------------------------------------------------------------------------------------------


def grey16_png(value: int = 32768, height: int = 40, width: int = 48) -> bytes:
    return encode(Image.fromarray(np.full((height, width), value, np.uint16)), "PNG")


def rgb16_png(value: int = 32896, side: int = 32) -> bytes:
    row = b"\0" + struct.pack(">H", value) * 3 * side
    return png(side, side, 16, 2, row * side)


def cmyk_jpeg() -> bytes:
    """Cyan 255, others 0: pure cyan, (0, 255, 255)."""
    return encode(Image.new("CMYK", (48, 40), (255, 0, 0, 0)), "JPEG", quality=95)


def palette_png() -> bytes:
    """Left half transparent, right half pure red."""
    image = Image.new("P", (48, 40), 0)
    image.putpalette([0, 0, 255, 255, 0, 0])
    image.paste(1, (24, 0, 48, 40))
    return encode(image, "PNG", transparency=0)


def la_png() -> bytes:
    """Black with alpha 128 of 255."""
    return encode(Image.new("LA", (48, 40), (0, 128)), "PNG")


def rgba_png() -> bytes:
    """Left half transparent with hidden green, right half opaque red."""
    image = Image.new("RGBA", (64, 64), (0, 255, 0, 0))
    image.paste((255, 0, 0, 255), (32, 0, 64, 64))
    return encode(image, "PNG")


def one_bit_png() -> bytes:
    """Left half black, right half white."""
    image = Image.new("1", (48, 40), 0)
    image.paste(1, (24, 0, 48, 40))
    return encode(image, "PNG")


def animated_gif() -> bytes:
    """First frame red, second blue."""
    frames = [Image.new("RGB", (48, 40), colour) for colour in ("red", "blue")]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


def rotated_jpeg(orientation: int = 6, kind: str = "JPEG") -> bytes:
    """Stored 48 wide and 40 high, red above and blue below; orientation 6 turns it clockwise: red on the right."""
    image = Image.new("RGB", (48, 40), "blue")
    image.paste((255, 0, 0), (0, 0, 48, 20))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))


def float_tiff(low: float = 0.0, high: float = 1.0) -> bytes:
    """A ramp from left to right."""
    ramp = np.tile(np.linspace(low, high, 48, dtype=np.float32), (40, 1))
    return encode(Image.fromarray(ramp), "TIFF")


def broken_icc_png() -> bytes:
    return encode(photo(), "PNG", icc_profile=b"this is no colour profile" * 9)


BROKEN: dict[str, Callable[[], bytes]] = {
    "empty.jpg": empty,
    "truncated.jpg": truncated_jpeg,
    "truncated.png": truncated_png,
    "truncated.webp": truncated_webp,
    "page.jpg": html,
    "crc.png": bad_crc_png,
    "bomb.png": bomb_png,
    "thin.png": thin_png,
    "tiny.png": tiny_png,
    "archive.png": zip_named_png,
}
ODD: dict[str, Callable[[], bytes]] = {
    "grey16.png": grey16_png,
    "rgb16.png": rgb16_png,
    "cmyk.jpg": cmyk_jpeg,
    "palette.png": palette_png,
    "la.png": la_png,
    "rgba.png": rgba_png,
    "one-bit.png": one_bit_png,
    "animated.gif": animated_gif,
    "rotated.jpg": rotated_jpeg,
    "float.tif": float_tiff,
    "icc.png": broken_icc_png,
}
CLUTTER = {"notes.txt": b"hello", ".hidden.png": b"x", "Thumbs.db": b"x", "__MACOSX/a.png": b"x", ".DS_Store": b"x"}


def good_files(count: int = 40) -> dict[str, bytes]:
    """Fine images of mixed sizes and formats, by name."""
    kinds = [("PNG", "png"), ("JPEG", "JPG"), ("WEBP", "webp"), ("BMP", "bmp"), ("GIF", "gif"), ("TIFF", "tif")]
    files = {}
    for i in range(count):
        kind, extension = kinds[i % len(kinds)]
        files[f"good-{i:03}.{extension}"] = encode(photo(24 + 7 * (i % 9), 24 + 11 * (i % 7), seed=i), kind)
    return files


def messy_folder(path: Path, good: int = 40) -> dict[str, set[str]]:
    """Writes good, odd and broken images, clutter and traps into `path`.

    Returns:
        Names under "good" and "odd" (usable), "broken" (items that cannot be decoded), "rejected" (never opened).
    """
    path.mkdir(parents=True, exist_ok=True)
    files = good_files(good)
    names = {"good": set(files), "odd": set(ODD), "broken": set(BROKEN), "rejected": {"notes.txt"}}
    for name, make in {**ODD, **BROKEN}.items():
        files[name] = make()
    for name, data in {**files, **CLUTTER}.items():
        target = path / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(data)
    (path / "dangling.png").symlink_to(path / "nowhere.png")
    (path / "outside.png").symlink_to("/etc/hostname")
    (path / "circle").symlink_to(".")
    os.mkfifo(path / "fifo.png")
    (path / os.fsdecode(b"latin-\xe9.png")).write_bytes(encode(photo(), "PNG"))
    (path / "line\nbreak \x1b[31m.png").write_bytes(encode(photo(seed=1), "PNG"))
    names["good"] |= {os.fsdecode(b"latin-\xe9.png"), "line\nbreak \x1b[31m.png"}
    names["rejected"] |= {"dangling.png", "outside.png", "circle", "fifo.png"}
    return names
