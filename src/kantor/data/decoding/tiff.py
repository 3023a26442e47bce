"""Numbers of a TIFF as its tags declare them: sample format, planes, bits, which end is white, bands.

Pillow reads most files but drops half of 16-bit colours, takes signed numbers for unsigned ones, and does not know
fractions of colours; tifffile reads what it does not.
"""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kantor.data.decoding import numbers
from kantor.data.decoding.numbers import Numbers
from kantor.data.reasons import Undecodable

_BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, _EXTRA, _FORMAT, _GDAL_NODATA = 258, 262, 277, 284, 338, 339, 42113
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_ALPHA = (1, 2)
_READ_BY_PILLOW = (3, 5, 6, 8)  # photometric: palette, CMYK, YCbCr, Lab
_MAX_VALUES = 256_000_000


def numbers_of(image: Image.Image, data: bytes) -> Numbers | None:
    """The first page's numbers, None if they are plain 8-bit ones. image: opened by Pillow, not loaded."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    bits, photometric = _first(tags.get(_BITS), 1), tags.get(_PHOTOMETRIC, _BLACK_IS_ZERO)
    signed = _first(tags.get(_FORMAT), 1) == 2
    if photometric in _READ_BY_PILLOW or (bits <= 8 and not signed):
        return None
    more = {"inverted": photometric == _WHITE_IS_ZERO, "nodata": _nodata(tags.get(_GDAL_NODATA))}
    planes = tags.get(_PLANES, 1) == 2 and tags.get(_SAMPLES, 1) > 1
    if image.mode == "L" and not planes:
        image.load()
        raw = np.asarray(image) if photometric != _WHITE_IS_ZERO else 255 - np.asarray(image)
        return numbers.of_array(raw.view(np.int8), **more)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        unsigned = image.mode == "I" and not signed
        image.load()
        array = np.asarray(image)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if image.mode == "I":
            array = array.view(np.uint32) if unsigned else array.astype(np.int16 if bits == 16 else np.int32)
        kind = {"kind": f"uint{bits}"} if bits < 16 else {}
        return numbers.of_array(array, **kind, **more)
    if image.mode in ("RGB", "RGBA") and not planes and not _premultiplied(image):
        return numbers.of_array(sixteen_bits(image, data), **more)
    with contextlib.suppress(Undecodable):
        return by_tifffile(data, image.tell())
    return None


def by_tifffile(data: bytes, number: int = 0) -> Numbers:
    """A page's numbers, read by tifffile. Raises Undecodable with the true reason if they are not an image."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[number]
        shape, dtype, photometric = page.shape, page.dtype, int(page.photometric)
        if dtype is None:
            bits = page.bitspersample
            raise Undecodable("format", f"TIFF numbers of {bits} bits are not read", "save 8 or 16 bits")
        if dtype.kind not in "buif":
            raise Undecodable("format", f"TIFF numbers of type {dtype} are not read", "save real numbers")
        if math.prod(shape) > _MAX_VALUES:
            raise Undecodable("size", f"{math.prod(shape):,} numbers are more than {_MAX_VALUES:,}")
        extra = [int(kind) for kind in page.extrasamples]
        bands = page.samplesperpixel
        use = _channels(bands, photometric, extra)
        nodata = page.tags.get(_GDAL_NODATA)
        try:
            array = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            what = f"TIFF compressed by {page.compression.name} with numbers of type {dtype} is not read"
            raise Undecodable("format", what, "pip install imagecodecs, or save it uncompressed") from error
        if int(page.planarconfig) == 2 and bands > 1:
            array = np.moveaxis(array, 0, -1)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3:
        raise Undecodable(
            "format", f"a TIFF page of shape {shape} is not an image", "save its planes as files of their own"
        )
    chosen = array if array.shape[2] == len(use) else array[:, :, use]
    bits = page.bitspersample
    kind = {"kind": f"uint{bits}"} if dtype.kind == "u" and bits not in (8, 16, 32, 64) else {}
    white = photometric == _WHITE_IS_ZERO
    return numbers.of_array(chosen, inverted=white, nodata=_nodata(nodata.value if nodata else None), **kind)


def sixteen_bits(image: Image.Image, data: bytes) -> NDArray[np.uint16]:
    """uint16 [H, W, C] of a PNG or TIFF whose colours Pillow cuts to their high bytes: it reads the low ones as well."""
    with Image.open(io.BytesIO(data), formats=[str(image.format)]) as other:
        if image.format == "TIFF":
            other.seek(image.tell())
        other.tile = [tile._replace(args=_other_byte(tile.args)) for tile in other.tile]
        image.load()
        other.load()
        values: NDArray[np.uint16] = np.asarray(image).astype(np.uint16) * np.uint16(256) + np.asarray(other)
        return values


def _other_byte(args: Any) -> Any:
    """Arguments of Pillow's decoder that keep the other byte: the last letter of the raw mode is the byte order."""
    raw, rest = (args, ()) if isinstance(args, str) else (args[0], args[1:])
    swapped = raw[:-1] + {"L": "B", "B": "L", "N": "B"}[raw[-1]]
    return swapped if isinstance(args, str) else (swapped, *rest)


def _channels(bands: int, photometric: int, extra: list[int]) -> list[int]:
    """Which bands are the colours, and alpha. Raises Undecodable if nothing says so."""
    colours = 3 if photometric == _RGB else 1
    alpha = [colours] if extra[:1] and extra[0] in _ALPHA and bands > colours else []
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        raise Undecodable("format", f"TIFF colours of the kind {photometric} in such numbers are not read")
    if colours == 1 and bands > 1 + len(alpha):
        detail = f"a TIFF of {bands} bands that names none of them red, green or blue"
        raise Undecodable("format", detail, "save three of them as RGB, or each band as a grey image")
    return [*range(colours), *alpha]


def _premultiplied(image: Image.Image) -> bool:
    return raw_mode(image).startswith("RGBa")


def raw_mode(image: Image.Image) -> str:
    """How Pillow's decoder reads the first tile ("RGB;16B")."""
    tiles: Any = getattr(image, "tile", None)
    args = tiles[0].args if tiles else ""
    return str(args if isinstance(args, str) else args[0])


def _nodata(text: Any) -> float | None:
    """GDAL writes the value as text."""
    with contextlib.suppress(ValueError, TypeError):
        value = float(str(text).strip("\0 "))
        return value if math.isfinite(value) else None
    return None


def _first(value: Any, otherwise: int) -> int:
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else otherwise
