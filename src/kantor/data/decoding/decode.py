"""Files or arrays to images of one size, uint8 [H, W, C]: formats.py reads and checks files, this fits the image.

The result is an image or `Undecodable`, for any bytes. Each conversion that changes an image is noted, so that `pack`
can count it. Colour profiles are not applied.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from kantor.data.decoding import array_hints, formats, numbers
from kantor.data.decoding.edges import outlines
from kantor.data.decoding.formats import MAX_PIXELS, Colour, DecodeSettings
from kantor.data.decoding.numbers import Extent, NoData
from kantor.data.decoding.objects import Cut, ObjectSettings, Scene, cut_out, find_objects, silhouettes, with_pixels
from kantor.data.decoding.padding import padded
from kantor.data.decoding.pieces import Frame, Tile, frame_count, is_video, occupied, tile_of
from kantor.data.reasons import Reason, Undecodable
from kantor.types import ImageSpec

__all__ = ["MAX_PIXELS", "DecodeSettings", "Undecodable", "decode", "probe"]

Header = tuple[int, int, str]  # height, width, and "gray", "rgb" or "rgba"

MOSTLY_CUT = "more than a third cut away; --fit contain keeps all, a --size of their shape too"
COMPOSITED = "alpha composited"
DARK = "dark"  # a note for the packer: no value of 8 bits is above DARKEST, before anything is put around the image
DARKEST = 63
_KEPT = 2 / 3
Encoded = bytes | NDArray[Any] | Frame | Tile | Cut
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def decode(data: Encoded, settings: DecodeSettings) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The image and the conversions it went through.

    Args:
        data: an encoded file, recognised by its first bytes (by rules 1 PNG, JPEG, WebP, BMP, GIF or TIFF), a frame,
            tile or object of one, or an array [H, W] or [H, W, C] of numbers (by rules 1 uint8 or uint16); uint8 of the right shape
            is returned as it is.
    Returns:
        uint8 [H, W, C] of shape settings.spec, and notes such as "16-bit" in the order of the conversions.
    Raises:
        Undecodable: and no other exception.
    """
    notes: list[str] = []
    with _undecodable_errors(data):
        if isinstance(data, np.ndarray):
            array = _checked(data, settings)
            changed = settings.crop or (settings.pads and settings.pad) or settings.edges != "none"
            changed = changed or settings.transpose or bool(settings.half) or not _is_plain(array, settings)
            if array.shape == settings.spec and not changed:
                dark = _is_watched(settings) and array.shape[2] in (1, 3) and array.max() <= DARKEST
                return np.ascontiguousarray(array, dtype=np.uint8), (DARK,) if dark else ()
            image = _from_array(array, settings, notes)
        elif isinstance(data, Tile):
            image = _tile(data, settings, notes)
        elif isinstance(data, Cut):
            image = _object(data, settings, notes)
            if data.settings.kind == "layout":
                settings = replace(settings, background=(0, 0, 0))
        else:
            image = formats.read(data, settings, notes)
        if _is_watched(settings) and _is_dark(image):
            notes.append(DARK)
        if settings.transpose:
            image = image.transpose(Image.Transpose.TRANSPOSE)
        if settings.half:
            middle = image.width // 2
            sides = (0, middle) if settings.half == "left-half" else (image.width - middle, image.width)
            image = image.crop((sides[0], 0, sides[1], image.height))
        return _fitted(image, settings, notes), tuple(dict.fromkeys(notes))


def whole(data: bytes) -> NDArray[np.uint8]:
    """The first frame, upright and of its own size, uint8 [H, W, C]: grey, RGB or RGBA; other numbers by the limits of their type.

    Raises as `decode`.
    """
    with _undecodable_errors(data):
        pixels = np.array(_whole(data, _LOOK, []))
        return pixels[:, :, None] if pixels.ndim == 2 else pixels


def probe(data: Encoded, rules: int = 1) -> Header:
    """Reads the header alone; "rgba" has an alpha channel or a transparent colour. Raises as `decode`."""
    with _undecodable_errors(data):
        if isinstance(data, Tile):
            return data.side, data.side, probe(data.data, rules)[2]
        if isinstance(data, Cut):
            height, width, _ = probe(data.data, rules)
            x0, y0, x1, y1 = data.box
            longer = max((y1 - y0) * height, (x1 - x0) * width)
            if data.settings.kind == "layout":
                return height, width, "gray"
            side = max(1, round(longer * (1 + 2 * data.settings.margin)))
            return side, side, "rgba"
        if isinstance(data, Frame):
            if is_video(data.data):
                width, height = formats.video_frame(Frame(data.data, 0)).size
                return height, width, "rgb"
            data = data.data
        if isinstance(data, np.ndarray):
            return _header(_checked(data, None, rules))
        try:
            image = formats.open_image(data, rules)
        except UnidentifiedImageError:
            if rules < 2:
                raise
            return _header(_values(data))
        width, height = image.size
        if formats.orientation(image) >= 5 and image.format != "TIFF":  # Pillow swaps a TIFF's sides itself
            width, height = height, width
        if formats.has_alpha(image):
            return height, width, "rgba"
        return height, width, "gray" if image.mode in ("1", "L", "F", *formats.DEEP) else "rgb"


def extent(data: Encoded, nodata: NoData) -> Extent | None:
    """Which values the image holds, None if it has none. Raises as `decode`."""
    with _undecodable_errors(data):
        data = data.data if isinstance(data, Tile | Cut) else data
        if isinstance(data, np.ndarray):
            return numbers.extent(numbers.of_array(_checked(data, None, 2)), nodata)
        return formats.extent_of(data, nodata)


def pieces_in(data: Encoded, step: int, side: int) -> list[int]:
    """Numbers of every `step`-th frame of a file, or of its tiles of `side` pixels that show something. Raises as `decode`."""
    with _undecodable_errors(data):
        if side:
            sheet = data if isinstance(data, np.ndarray) else formats.values_of(_bytes_of(data))
            return occupied(_checked(sheet, None, 2), side)
        return list(range(0, 1 if isinstance(data, np.ndarray) else frame_count(_bytes_of(data)), step))


def objects_in(data: Encoded, settings: ObjectSettings) -> tuple[str, list[Any]]:
    """How the objects of a picture were found, and their spots. Raises as `decode`."""
    with _undecodable_errors(data):
        scene = find_objects(_whole(data, _LOOK, []), settings)
        return scene.method, scene.spots


def _whole(data: Encoded, settings: DecodeSettings, notes: list[str]) -> Image.Image:
    """A whole picture, at its own size."""
    if isinstance(data, np.ndarray):
        return _from_array(_checked(data, settings), settings, notes)
    return formats.read(_bytes_of(data), settings, notes)


# objects are looked for before the range of values is known, so by the limits of each type; a crop of 1 reads the whole
_LOOK = DecodeSettings(ImageSpec(8, 8, 4), min_size=1, crop=1, rules=2, all_looked_at=True)


def _object(cut: Cut, settings: DecodeSettings, notes: list[str]) -> Image.Image:
    """One object, RGBA in a frame of the result's shape, or the silhouettes of all; the picture is kept until another one comes."""
    global _scene
    if _scene is None or _scene[0] is not cut.data or _scene[1] != cut.settings:
        own: list[str] = []
        pixels = _whole(cut.data, replace(settings, min_size=1, crop=1), own)
        scene = find_objects(_whole(cut.data, _LOOK, []), cut.settings)
        _scene = cut.data, cut.settings, with_pixels(scene, pixels), own
    _, _, scene, own = _scene
    notes += own
    if cut.number >= len(scene.spots):
        raise Undecodable("content", "no object is found in it")
    if cut.settings.kind == "layout":
        return Image.fromarray(silhouettes(scene))
    height, width, _ = settings.spec
    return Image.fromarray(cut_out(scene, cut.number, width / height, cut.settings.margin))


_scene: tuple[Any, ObjectSettings, Scene, list[str]] | None = None


def _bytes_of(data: Encoded) -> bytes:
    assert isinstance(data, bytes)
    return data


def _tile(tile: Tile, settings: DecodeSettings, notes: list[str]) -> Image.Image:
    """One tile; the sheet is kept until another one comes."""
    global _sheet
    if isinstance(tile.data, np.ndarray):
        return _from_array(_checked(tile_of(tile.data, tile.number, tile.side), settings), settings, notes)
    if _sheet is None or _sheet[0] is not tile.data:
        own: list[str] = []
        _sheet = tile.data, formats.read(tile.data, replace(settings, min_size=1, crop=1), own), own
    _, image, own = _sheet
    notes += own
    top, left = (tile.side * at for at in divmod(tile.number, image.width // tile.side))
    return image.crop((left, top, left + tile.side, top + tile.side))


_sheet: tuple[bytes, Image.Image, list[str]] | None = None


def _header(array: NDArray[Any]) -> Header:
    """Of an array [H, W, C]."""
    height, width, channels = array.shape
    return height, width, {1: "gray", 3: "rgb"}.get(channels, "rgba")


def _values(data: bytes) -> NDArray[Any]:
    """[H, W, C] of a file that Pillow cannot read."""
    values = formats.stored(data, None, [])[1]
    assert values is not None
    return values.values


def silence_warnings() -> None:
    """Silences warnings for good, in a process that only decodes: to do so for each image takes a twentieth of the time of a small one."""
    global _is_silent
    _ignore_warnings()
    _is_silent = True


def _ignore_warnings() -> None:
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)


_is_silent = False


@contextlib.contextmanager
def _undecodable_errors(data: Encoded) -> Iterator[None]:
    """Turns every exception into Undecodable: decoders raise nearly every kind on damaged bytes."""
    with contextlib.nullcontext() if _is_silent else warnings.catch_warnings():
        if not _is_silent:
            _ignore_warnings()
        try:
            yield
        except Undecodable:
            raise
        except MemoryError:
            raise Undecodable("decoder", "needs more memory than there is") from None
        except Exception as error:
            raise Undecodable(*formats.reason(error, data.data if isinstance(data, Cut) else data)) from error


def _checked(array: NDArray[Any], settings: DecodeSettings | None, rules: int = 1) -> NDArray[Any]:
    """The array as [H, W, C]. Raises Undecodable if it is not an image."""
    rules = rules if settings is None else settings.rules
    if array.ndim == 2:
        array = array[:, :, None]
    numeric = array.dtype.kind in "buif" if rules >= 2 else array.dtype in (np.uint8, np.uint16)
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or not numeric:
        raise Undecodable(*_not_image(array))
    formats.check_size(array.shape[1], array.shape[0], settings)
    return array


def _not_image(array: NDArray[Any]) -> Reason:
    """Why an array [..., C] is not an image, and how to convert it."""
    shape, turned = array.shape, array_hints.channels_first(array.shape)
    detail = f"an array of shape {shape[:2] if shape[2:] == (1,) else shape} and type {array.dtype} is not an image"
    if not turned and (array.ndim != 3 or shape[2] > 4):
        return Reason("content", detail, "give [height, width] or [height, width, 1, 3 or 4 channels] of uint8")
    x = "x.transpose(1, 2, 0)" if turned else "x"
    right_type = array.dtype in (np.uint8, np.uint16)
    return Reason("content", detail, "convert it: " + (x if right_type else array_hints.recipe(array, x)))


def _is_watched(settings: DecodeSettings) -> bool:
    """Whether it is not known yet if images of 8 bits are masks."""
    return settings.rules >= 2 and not settings.all_looked_at


def _is_dark(image: Image.Image) -> bool:
    """Whether an image without transparency has no value above DARKEST."""
    if image.mode not in ("L", "RGB"):
        return False
    middle: Any = image.getpixel((image.width // 2, image.height // 2))
    if (max(middle) if image.mode == "RGB" else middle) > DARKEST:  # spares most images the look at all of it
        return False
    ends: Any = image.getextrema()
    highest = max(high for _, high in (ends if image.mode == "RGB" else (ends,)))
    return bool(highest <= DARKEST)


def _is_plain(array: NDArray[Any], settings: DecodeSettings) -> bool:
    """Whether its numbers are taken as they are."""
    spread = settings.rules >= 2 and formats.range_for("uint8", settings) != (0, 255)
    return array.dtype == np.uint8 and not spread


def _from_array(array: NDArray[Any], settings: DecodeSettings, notes: list[str]) -> Image.Image:
    """[H, W, C] as an image of mode L, RGB or RGBA."""
    if settings.rules >= 2 and not _is_plain(array, settings):
        values = numbers.of_array(array)
        notes.append("8-bit values spread" if values.kind == "uint8" else numbers.words(values.kind))
        return formats.in_range(values, settings, notes)
    if array.dtype == np.uint16:
        notes.append("16-bit")
        array = formats.eight_bits(array)
    array = np.ascontiguousarray(array)
    if array.shape[2] == 2:
        return Image.fromarray(array, "LA").convert("RGBA")
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


# --- to the size and channels of the spec ------------------------------------------------------------------------------


def _fitted(image: Image.Image, settings: DecodeSettings, notes: list[str]) -> NDArray[np.uint8]:
    """Crops, converts to the channels of the spec, pads and resizes: uint8 [H, W, C]."""
    formats.check_size(*image.size, None)
    height, width, channels = settings.spec
    if settings.crop:
        left, top = (image.width - settings.crop) // 2, (image.height - settings.crop) // 2
        image = image.crop((left, top, left + settings.crop, top + settings.crop))
    image = _in_channels(image, channels, settings.background, notes)
    if settings.pads:
        image = padded(image, settings)
    image = _resized(image, width, height, settings, notes)
    array = np.array(image, dtype=np.uint8).reshape(height, width, channels)
    if channels == 4:
        array[array[:, :, 3] == 0, :3] = settings.background  # else networks would learn hidden colours
    return array if settings.edges == "none" else outlines(array[:, :, 0], settings.edges_sigma)[:, :, None]


def _in_channels(image: Image.Image, channels: int, background: Colour, notes: list[str]) -> Image.Image:
    """L, RGB or RGBA in another number of channels; Pillow premultiplies RGBA when it resizes."""
    if image.mode == "RGBA" and channels != 4:
        lowest, _ = image.getchannel("A").getextrema()
        if lowest < 255:  # type: ignore[operator]
            notes.append(COMPOSITED)
        image = formats.composited(image, background)
    if image.mode == _MODES[channels]:
        return image
    change = {("L", 3): "grey to RGB", ("RGB", 1): "RGB to grey"}.get((image.mode, channels))
    notes.append(change or "alpha added")
    return image.convert(_MODES[channels])


def _resized(image: Image.Image, width: int, height: int, settings: DecodeSettings, notes: list[str]) -> Image.Image:
    """The image resized to exactly width x height, antialiased."""
    if image.size == (width, height):
        return image
    scales = width / image.width, height / image.height
    scale = min(scales) if settings.fit == "contain" else max(scales)
    if scale > 1:
        notes.append("enlarged")
    if settings.fit == "contain":
        inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        small = image if inner == image.size else _lanczos(image, inner, None)
        canvas = Image.new("RGB", (width, height), settings.background).convert(image.mode)
        if image.mode == "RGBA":
            canvas.putalpha(0)
        canvas.paste(small, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return canvas
    box = None
    if settings.fit == "cover":
        x, y = (image.width - width / scale) / 2, (image.height - height / scale) / 2
        box = (max(x, 0.0), max(y, 0.0), min(image.width - x, image.width), min(image.height - y, image.height))
        if settings.rules >= 2 and (box[2] - box[0]) * (box[3] - box[1]) < _KEPT * image.width * image.height:
            notes.append(MOSTLY_CUT)
    return _lanczos(image, (width, height), box)


def _lanczos(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None) -> Image.Image:
    # a gap of 3 averages a huge image first, which is faster and looks the same
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
