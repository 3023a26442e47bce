"""Encoded files to upright images of mode L, RGB or RGBA, or the reason why they cannot be used.

Pillow decodes; this adds what it lacks: limits checked before decoding, 16-bit grey scaled instead of clipped,
checksums of PNG, plain reasons.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from kantor.data.decoding import numbers, tiff
from kantor.data.decoding.numbers import NoData, Numbers, Range
from kantor.data.decoding.pieces import Frame, Tile, Video, is_video
from kantor.data.decoding.progressive import means_alone
from kantor.data.decoding.signatures import cut_short, kind_of, what_else
from kantor.data.reasons import Reason, Undecodable
from kantor.errors import printable
from kantor.types import ImageSpec

# fills the size and crops the rest; pads with the background; distorts; pad with the pixels at the border
Fit = Literal["cover", "contain", "stretch", "replicate", "mirror"]
PADDING_FITS = ("replicate", "mirror")
Colour = tuple[int, int, int]

SEVERAL_FRAMES = "only the first of several frames is used; --set data.frames=all takes all"
MAX_PIXELS = 64_000_000
MAX_ASPECT = 100

DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_TURNS = {  # by Exif orientation: makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class DecodeSettings:
    """How images become one size: the fields of [data] in the configuration; lengths are in pixels."""

    spec: ImageSpec  # of the result
    crop: int = 0  # side of the square cropped from the middle first; 0 crops nothing
    fit: Fit = "cover"  # resize mode
    background: Colour = (255, 255, 255)  # RGB behind transparent and around padded images
    min_size: int = 8  # images with a shorter side are rejected
    pad: int = 0  # "replicate" and "mirror" pad to at least this side before resizing
    edges: Literal["none", "canny"] = "none"  # "canny" replaces the image by its outlines, in one channel
    edges_sigma: float = 1.0  # of the Gaussian that blurs the image for them, in pixels of the result
    transpose: bool = False  # rows and columns are exchanged first
    half: Literal["", "left-half", "right-half"] = ""  # of images that show two side by side, the one that is taken
    rules: int = 1  # 1: numbers of more than 8 bits are scaled image by image; 2: by a range for all
    range: Range | Literal["auto", "type"] = "auto"  # what becomes black and white
    ranges: Mapping[str, Range] = field(default_factory=dict)  # those found for "auto", by number type
    all_looked_at: bool = False  # for these ranges: other number types then have the limits of the type
    nodata: NoData = "reject"

    @property
    def pads(self) -> bool:
        """Whether images are padded before they are resized, in their own pixels."""
        return self.fit in PADDING_FITS


def rgb(colour: str) -> Colour:
    """ "#ff8000" as (255, 128, 0)."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def composited(image: Image.Image, background: Colour) -> Image.Image:
    """An RGBA image before a background, as RGB."""
    return Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")


def read(data: bytes | Frame, settings: DecodeSettings, notes: list[str]) -> Image.Image:
    """The first frame, or the one asked for, upright, as an image of mode L, RGB or RGBA."""
    if isinstance(data, Frame):
        return _read_with_range(data.data, settings, notes, data.number)
    if settings.rules >= 2:
        return _read_with_range(data, settings, notes)
    image = open_image(data, 1)
    check_size(*image.size, settings)
    if image.format == "PNG":
        _check_png(data)
    turn = orientation(image)
    with contextlib.suppress(Exception):  # the second frame may be damaged
        if getattr(image, "is_animated", False):
            notes.append("animated: first frame")
    if image.format == "JPEG" and not settings.crop and not settings.pads:
        image = _draft(image, data, settings, turned=turn >= 5)
    deep = _is_deep(image, data)
    image.load()
    check_size(*image.size, None)
    _note_profile(image, notes)
    if deep and image.mode not in DEEP:
        notes.append("16-bit")  # colours: Pillow keeps the high byte of each
    return _turned(_plain(image, notes), image, turn, notes)


def _turned(upright: Image.Image, opened: Image.Image, turn: int, notes: list[str]) -> Image.Image:
    """The image, turned by its Exif orientation. opened: as Pillow has opened it."""
    if turn not in _TURNS:
        return upright
    notes.append("Exif rotation")
    return upright if opened.format == "TIFF" else upright.transpose(_TURNS[turn])  # Pillow has turned a TIFF already


def _read_with_range(data: bytes, settings: DecodeSettings, notes: list[str], frame: int | None = None) -> Image.Image:
    """As `read`, with the values of all images in one range."""
    if frame is not None and is_video(data):
        return video_frame(Frame(data, frame))
    image, values = stored(data, settings, notes, frame)
    turn = 1 if image is None else orientation(image)
    if image is None or values is not None:
        assert values is not None
        notes.append(numbers.words(values.kind))
        upright = in_range(values, settings, notes)
    else:
        image.load()
        check_size(*image.size, None)
        _note_profile(image, notes)
        if _is_deep(image, data):
            notes.append("16-bit")  # CMYK and Lab: Pillow keeps the high byte of each
        upright = _plain(image, notes)
        if range_for("uint8", settings) != (0, 255):
            notes.append("8-bit values spread")
            upright = in_range(numbers.of_array(np.asarray(upright)), settings, notes)
    return upright if image is None else _turned(upright, image, turn, notes)


def video_frame(frame: Frame) -> Image.Image:
    """RGB. The video is kept open until another one comes."""
    global _video
    if _video is None or _video.data is not frame.data:
        _video = Video(frame.data)
    return _video.frame(frame.number)


_video: Video | None = None


def stored(
    data: bytes, settings: DecodeSettings | None, notes: list[str], frame: int | None = None
) -> tuple[Image.Image | None, Numbers | None]:
    """A frame as it is stored, the first one if none is named: the image, checked and opened by Pillow, and its numbers.

    There are no numbers if they are plain 8-bit ones, and no image if Pillow cannot read it.
    """
    try:
        image = open_image(data, 2)
    except UnidentifiedImageError:
        if kind_of(data, 2) != "TIFF":
            raise
        found = tiff.by_tifffile(data, frame or 0)
        check_size(found.values.shape[1], found.values.shape[0], settings)
        return None, found
    if frame:
        image = _at_frame(image, data, frame)
    check_size(*image.size, settings)
    if image.format == "PNG" and not frame:
        _check_png(data)
    with contextlib.suppress(Exception):  # the second frame may be damaged
        if frame is None and getattr(image, "is_animated", False) and image.format != "MPO":
            notes.append(SEVERAL_FRAMES)
    if settings is not None and image.format in ("JPEG", "MPO") and not settings.crop and not settings.pads:
        image = _draft(image, data, settings, turned=(orientation(image) >= 5) != settings.transpose)
    return image, _numbers_in(image, data)


def _at_frame(image: Image.Image, data: bytes, frame: int) -> Image.Image:
    """The image at one of its frames; that of an animation is kept, as each frame builds on the one before."""
    global _animation
    if image.format == "TIFF":
        image.seek(frame)
        return image
    if _animation is None or _animation[0] is not data:
        _animation = data, image
    _animation[1].seek(frame)
    return _animation[1]


_animation: tuple[bytes, Image.Image] | None = None


def values_of(data: bytes) -> NDArray[Any]:
    """The numbers of an image [H, W] or [H, W, C], as stored or by Pillow."""
    image, values = stored(data, None, [])
    if values is not None:
        return values.values
    assert image is not None
    image.load()
    return np.asarray(_plain(image, []))


def _numbers_in(image: Image.Image, data: bytes) -> Numbers | None:
    """The numbers of an image that Pillow has opened, None if they are plain 8-bit ones."""
    if image.format == "TIFF":
        return tiff.numbers_of(image, data)
    if image.format == "PNG" and data[24] == 16:
        return _numbers_in_png(image, data)
    if image.mode in DEEP or image.mode == "F":
        image.load()
        values = np.asarray(image)
        return numbers.of_array(values if image.mode == "F" else values.astype(np.uint16))  # JPEG 2000, PGM: of 16 bits
    return None


def _numbers_in_png(image: Image.Image, data: bytes) -> Numbers:
    clear = image.info.get("transparency")
    if image.mode in DEEP:
        image.load()
        values = np.asarray(image).astype(np.uint16)[:, :, None]
    elif tiff.raw_mode(image) == "LA;16B":  # Pillow does not read the low bytes of these
        image.load()
        values = np.asarray(image)[:, :, [0, 3]].astype(np.uint16) * np.uint16(257)
    else:
        values = tiff.sixteen_bits(image, data)
    is_clear = None if clear is None else (values == np.asarray(clear)).all(axis=2)
    return numbers.of_array(values, clear=is_clear)


def in_range(values: Numbers, settings: DecodeSettings, notes: list[str]) -> Image.Image:
    """L, RGB or RGBA, by the range for images of this number type."""
    values_range, holes = range_for(values.kind, settings), numbers.to_fill(values, settings.nodata)
    image = numbers.eight_bits(values, values_range)
    image = image.convert("RGBA") if image.mode == "LA" else image
    return image if holes is None else _filled(image, holes, settings, notes)


def _filled(image: Image.Image, holes: NDArray[np.bool_], settings: DecodeSettings, notes: list[str]) -> Image.Image:
    """The image with the background in its holes; transparent there if the result has transparency."""
    notes.append("pixels without a value filled")
    mask = Image.fromarray(holes)
    if settings.spec.channels == 4:
        image = image.convert("RGBA")
        image.paste((0, 0, 0, 0), mask=mask)
        return image
    if image.mode == "L" and settings.spec.channels == 3:
        notes.append("grey to RGB")
        image = image.convert("RGB")
    colour = Image.new("RGB", (1, 1), settings.background).convert(image.mode).getpixel((0, 0))
    image.paste(colour, mask=mask)  # type: ignore[arg-type]
    return image


def range_for(kind: str, settings: DecodeSettings) -> Range:
    """The range of a number type.

    Raises Undecodable, of the kind "unlooked", if it is to be found and nobody has looked for it.
    """
    if isinstance(settings.range, tuple):
        return settings.range
    if settings.range == "type" or settings.all_looked_at or kind in ("bool", "uint8"):
        return settings.ranges.get(kind, numbers.type_limits(kind))
    if kind not in settings.ranges:
        raise Undecodable("unlooked", f"the range of its {numbers.words(kind)} values is not known")
    return settings.ranges[kind]


def extent_of(data: bytes | Frame, nodata: NoData) -> numbers.Extent | None:
    """Which values an encoded image holds, None if it has none; JPEG, WebP and videos are not looked into."""
    data, frame = data if isinstance(data, Frame) else (data, None)
    if frame is not None and is_video(data):
        return numbers.Extent("uint8", 0, 255, 0, 255)
    image, found = stored(data, None, [], frame)
    if image is not None and found is None:
        if image.format not in ("PNG", "BMP", "DIB", "TIFF", "PPM"):
            return numbers.Extent("uint8", 0, 255, 0, 255)
        image.load()
        found = numbers.of_array(np.asarray(_plain(image, [])))
    assert found is not None
    return numbers.extent(found, nodata)


def open_image(data: bytes, rules: int) -> Image.Image:
    """The image with its header read and nothing decoded. Raises Undecodable if it has too many pixels."""
    kind = kind_of(data, rules)
    if kind is None:
        raise Undecodable(*what_else(data, rules))
    image = Image.open(io.BytesIO(data), formats=[kind])
    check_size(*image.size, None)
    return image


def _plain(image: Image.Image, notes: list[str]) -> Image.Image:
    """Any mode to L, RGB or RGBA."""
    if image.mode in DEEP or image.mode == "F":
        return _from_numbers(np.asarray(image), notes)
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    names = {"P": "palette", "PA": "palette", "1": "1-bit", "CMYK": "CMYK", "YCbCr": "YCbCr", "LAB": "Lab"}
    if image.mode in names:
        notes.append(names[image.mode])
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA" if has_alpha(image) else "RGB")


def _from_numbers(values: NDArray[Any], notes: list[str]) -> Image.Image:
    """Grey of 16 bits, 32 bits or fractions: 0-65535 and 0-1 keep their range, others are stretched to their own."""
    whole = values.dtype.kind in "ui"
    if not np.isfinite(values).all():
        raise Undecodable("content", "holds numbers that are not finite")
    low, high = float(values.min()), float(values.max())
    if whole and low >= 0 and high <= 65535:
        notes.append("16-bit")
        return Image.fromarray(eight_bits(values))
    if not whole and low >= 0 and high <= 1:
        notes.append("fractions 0-1")
        low, high = 0.0, 1.0
    else:
        notes.append("32-bit stretched" if whole else "fractions stretched")
    scaled = (values.astype(np.float64) - low) * (255 / ((high - low) or 1.0))
    return Image.fromarray((scaled + 0.5).astype(np.uint8))


def has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (
        "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
    )


def orientation(image: Image.Image) -> int:
    """Exif orientation, 1 if there is none or it cannot be read."""
    with contextlib.suppress(Exception):  # damaged Exif says nothing about the pixels
        if isinstance(value := image.getexif().get(0x0112), int):
            return value
    return 1


def _is_deep(image: Image.Image, data: bytes) -> bool:
    """Whether a channel has 16 bits."""
    if image.format == "PNG":
        return data[24] == 16
    bits = getattr(image, "tag_v2", {}).get(258, 8) if image.format == "TIFF" else 8
    return 16 in (bits if isinstance(bits, tuple) else (bits,))


def _note_profile(image: Image.Image, notes: list[str]) -> None:
    if "icc_profile" not in image.info:
        return
    profile = image.info["icc_profile"] or b""
    if len(profile) < 132 or profile[36:40] != b"acsp" or int.from_bytes(profile[:4], "big") > len(profile):
        notes.append("broken ICC profile")
    elif profile[16:20] == b"RGB " and b"sRGB" not in profile.replace(b"\0", b""):
        notes.append("colour profile ignored")


def _draft(image: Image.Image, data: bytes, settings: DecodeSettings, turned: bool) -> Image.Image:
    """Lets the JPEG decoder shrink a large image by 2, 4 or 8, never below twice the size of the result.

    Returns the image, or one of the same pixels that is decoded sooner.
    """
    width, height = settings.spec[:2] if turned else (settings.spec.width, settings.spec.height)
    scale = max(width / image.width, height / image.height)
    requested, whole_width = (int(2 * scale * image.width) + 1, int(2 * scale * image.height) + 1), image.width
    image.draft(None, requested)
    if "progressive" in image.info and image.format == "JPEG" and image.width == -(-whole_width // 8):
        shorter = means_alone(data)
        if shorter is not None:
            image = Image.open(io.BytesIO(shorter), formats=["JPEG"])
            image.draft(None, requested)
    return image


def check_size(width: int, height: int, settings: DecodeSettings | None) -> None:
    if width * height > MAX_PIXELS:
        raise Undecodable("size", f"{height}x{width} pixels are more than the limit of {MAX_PIXELS // 10**6} million")
    if settings is None:
        return
    if min(width, height) < settings.min_size:
        raise Undecodable("size", f"{height}x{width} is smaller than the smallest side allowed, {settings.min_size}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Undecodable("size", f"{height}x{width} is more than {MAX_ASPECT} times as long as wide")
    if settings.crop > min(width, height):
        raise Undecodable("crop", f"{height}x{width} is smaller than the crop of {settings.crop}")


def eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """0-65535 to 0-255: value / 257, rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _check_png(data: bytes) -> None:
    """Verifies the checksums of the critical chunks: Pillow ignores those of the pixels."""
    at = 8
    while at + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if end > len(data):
            break
        critical = not name[0] & 0x20
        if critical and zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            chunk = printable(name.decode("latin-1"))
            raise Undecodable("damaged", f"CRC error in chunk {chunk} (bytes {at} to {end})")
        if name == b"IEND":
            return
        at = end
    raise Undecodable("damaged", f"truncated at byte {len(data)}")


def reason(error: Exception, data: Any) -> Reason:
    """An exception of the decoder in plain words."""
    data = data.data if isinstance(data, Frame | Tile) else data
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        count = f"{pixels[1]} pixels are" if pixels else "it has"
        return Reason("size", f"{count} more than the limit of {MAX_PIXELS // 10**6} million")
    if isinstance(data, np.ndarray):
        return Reason("content", f"cannot be converted ({printable(str(error))[:80]})")
    kind = kind_of(data, 2)
    if cut_short(data, kind, str(error)):
        return Reason("damaged", f"truncated at byte {len(data)}")
    if isinstance(error, UnidentifiedImageError):
        return Reason("damaged", f"damaged {kind} header")
    kind = kind or ("video" if isinstance(data, bytes) and is_video(data) else "file")
    return Reason("damaged", f"damaged {kind} ({printable(str(error))[:80] or type(error).__name__})")
