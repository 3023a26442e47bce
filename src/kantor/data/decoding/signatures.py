"""File formats by their first bytes.

Of what Pillow opens, a format is read if a worker can decode it within its limits, to the pixels that it holds, and its bytes
tell it from any other file. docs/data.md lists the others, with the reason for each.
"""

from __future__ import annotations

import re
import struct

from kantor.data.reasons import Reason

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_MORE = {  # read by the rules from 2 on
    b"P1": "PPM", b"P2": "PPM", b"P3": "PPM", b"P4": "PPM", b"P5": "PPM", b"P6": "PPM", b"Pf": "PPM", b"PF": "PPM",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000", b"\xff\x4f\xff\x51": "JPEG2000", b"qoif": "QOI", b"8BPS": "PSD", b"DDS ": "DDS",
    b"\x01\xda": "SGI", b"\x0a\x05\x01": "PCX", b"\xb1\x68\xde\x3a": "DCX", b"BLP1": "BLP", b"BLP2": "BLP", b"/* XPM */": "XPM",
    b"\0\0\1\0": "ICO", b"icns": "ICNS", b"\x59\xa6\x6a\x95": "SUN",
}  # fmt: skip
_XBM = re.compile(rb"\s*(/\*.{0,200}?\*/\s*)?#define[ \t]+\w*_?width[ \t]+\d", re.DOTALL)
_TGA = struct.Struct(
    "<3B HHB 4x HHBB"
)  # length of the name, map of colours, type; start, size, bits of the map; sides, bits, flags
_TGA_BITS = {1: (8,), 2: (16, 24, 32), 3: (8, 16)}  # of a pixel: numbers in a map, colours, greys; 8 more if compressed
_DIB_SIZES = (40, 52, 56, 64, 108, 124)  # bytes of the header
_DIB_BITS = (1, 4, 8, 16, 24, 32)
_BLANK_AFTER = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF")
_FOREIGN = {  # often found under an image's name
    b"PK\x03\x04": "a zip archive",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop file",
    b"\x1f\x8b": "a gzip file",
    b"%!PS": "a PostScript file",
    b"SIMPLE  =": "a FITS file",
    b"\x7fELF": "a program",
    b"Rar!": "a rar archive",
}


def is_encoded_image(data: bytes | memoryview, rules: int = 1) -> bool:
    """Whether a file that begins like this may be an image of a supported format."""
    return kind_of(bytes(data[:16]), rules) is not None


def is_whole_file(data: bytes) -> bool:
    """Whether bytes that may also be bare pixels are a file: JPEG and BMP have short signatures, so the end counts too."""
    if data.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" in data[-64:]
    if data.startswith(b"BM"):
        return int.from_bytes(data[2:6], "little") == len(data)
    return is_encoded_image(data)


def kind_of(data: bytes, rules: int) -> str | None:
    """Pillow's name of the format with this signature, None if there is none."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if kind is not None or rules < 2:
        return kind
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    if data[:2] in _BLANK_AFTER and data[2:3] not in (b" ", b"\t", b"\n", b"\r"):
        return None
    if data[-18:-2] == b"TRUEVISION-XFILE":
        return "TGA"
    kind = next((kind for magic, kind in _MORE.items() if data.startswith(magic)), None)
    return kind or _by_header(data)


def _by_header(data: bytes) -> str | None:
    """Of formats without a signature, those whose whole header must make sense, with as many bytes as it asks for."""
    if len(data) < 20:
        return None
    if _XBM.match(data[:512]):
        return "XBM"
    size, planes, bits, compression = struct.unpack("<I8xHHI", data[:20])
    if size in _DIB_SIZES and planes == 1 and bits in _DIB_BITS and compression <= 6:
        return "DIB"
    return "TGA" if _is_tga(data) else None


def _is_tga(data: bytes) -> bool:
    name, has_map, kind, map_start, map_size, map_bits, width, height, bits, flags = _TGA.unpack(data[:18])
    mapped = (kind & 7) == 1
    if (
        bits not in _TGA_BITS.get(kind & 7, ())
        or kind & ~15
        or has_map != mapped
        or flags & 0xC0
        or not (width and height)
    ):
        return False
    if (map_bits not in (16, 24, 32) or not map_size) if mapped else any((map_start, map_size, map_bits)):
        return False
    pixels = -(-width * height // 128) * (1 + bits // 8) if kind & 8 else width * height * bits // 8
    return bool(18 + name + map_size * map_bits // 8 + pixels <= len(data))


def what_else(data: bytes, rules: int) -> Reason:
    """Why bytes that do not begin like an image cannot be used."""
    if not data:
        return Reason("damaged", "empty")
    for magic, name in _FOREIGN.items():
        if data.startswith(magic):
            return Reason("not_image", f"not an image but {name}")
    if data[4:8] == b"ftyp":
        still = data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif")
        heic = "HEIC images are not read" if rules >= 2 else "HEIC and AVIF images are not read"
        return Reason("format", heic if still else "a video, not an image")
    if not any(data[:64]):
        return Reason("not_image", "not an image (nothing but zeros)")
    word = re.match(rb"\s*(<?[!-;=?-~]{1,15})", data.removeprefix(b"\xef\xbb\xbf"))
    start = f"`{word[1].decode('ascii')}`" if word else "bytes " + data[:4].hex(" ")
    return Reason("not_image", f"not an image (starts with {start})")


def cut_short(data: bytes, kind: str | None, message: str) -> bool:
    """Whether a file of `kind` ends too early. message: of the decoder."""
    if kind == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind == "PNG":
        return b"IEND" not in data[-64:]
    if kind == "JPEG":
        return b"\xff\xd9" not in data[-64:]
    return "truncated" in message.lower()
