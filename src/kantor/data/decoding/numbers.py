"""Images whose numbers are not simply 0 to 255, and the range of values that becomes black to white.

A range holds for all images of a number type: one found for each image would undo the differences between them.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kantor.data.reasons import Undecodable

Range = tuple[float, float]  # what becomes black, what becomes white
NoData = float | Literal["reject", "fill"]

_LIMITS = {"bool": (0.0, 1.0), "float": (0.0, 1.0)}
_LOOKED_AT = 1 << 16  # values of an image, of which percentiles are taken
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class Numbers(NamedTuple):
    """An image as its file stores it."""

    values: NDArray[Any]  # [H, W, C]: grey, grey and alpha, RGB, RGBA
    kind: str  # number type: "bool", "uint8", "uint12" (of 12 bits), "uint16", "int16" ..., "float"
    inverted: bool = False  # whether its smallest value is white
    nodata: float | None = None  # the file's own value for pixels without one
    clear: NDArray[np.bool_] | None = None  # [H, W]: pixels of the colour that the file declares transparent


class Extent(NamedTuple):
    """Which values an image holds, those without meaning left out."""

    kind: str
    low: float  # the smallest
    high: float
    core_low: float  # a thousandth of the pixels lies below
    core_high: float  # and a thousandth above


def of_array(array: NDArray[Any], **more: Any) -> Numbers:
    """Numbers of an array [H, W] or [H, W, C]; `more` are fields."""
    array = array[:, :, None] if array.ndim == 2 else array
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    kind = {"b": "bool", "f": "float"}.get(array.dtype.kind, array.dtype.name)
    return Numbers(array, **{"kind": kind, **more})


def type_limits(kind: str) -> Range:
    """The smallest and the largest value of a number type; of fractions, 0 and 1."""
    if kind in _LIMITS:
        return _LIMITS[kind]
    bits = int(kind.lstrip("uint"))
    return (
        (0.0, float(2**bits - 1)) if kind.startswith("u") else (float(-(2 ** (bits - 1))), float(2 ** (bits - 1) - 1))
    )


def words(kind: str) -> str:
    """The number type for the user: "16-bit", "signed 16-bit", "fractions"."""
    plain = {"bool": "1-bit", "float": "fractions"}
    return plain.get(kind) or ("" if kind.startswith("u") else "signed ") + kind.lstrip("uint") + "-bit"


def extent(numbers: Numbers, nodata: NoData) -> Extent | None:
    """The values of an image, None if it holds none; of colours with alpha in 8 bits, the whole type."""
    colours = numbers.values[:, :, : _colours(numbers)]
    if numbers.kind == "bool" or (numbers.kind == "uint8" and colours.shape[2] < numbers.values.shape[2]):
        return Extent(numbers.kind, *type_limits(numbers.kind), *type_limits(numbers.kind))
    values = colours[~_missing(numbers, nodata)]
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    if numbers.kind == "uint8":
        return Extent(numbers.kind, low, high, low, high)
    flat = values.reshape(-1)
    some = flat[:: max(1, flat.size // _LOOKED_AT)].astype(np.float64)
    core_low, core_high = np.quantile(some, (0.001, 0.999), method="nearest")
    return Extent(numbers.kind, low, high, float(core_low), float(core_high))


def eight_bits(numbers: Numbers, values_range: Range) -> Image.Image:
    """L, LA, RGB or RGBA: `values_range` becomes 0 to 255, rounded and clipped."""
    low, high = values_range
    colours = _scaled(numbers.values[:, :, : _colours(numbers)], low, high)
    if numbers.inverted:
        colours = 255 - colours
    alpha = _alpha(numbers, values_range)
    if numbers.clear is not None:
        alpha = np.where(numbers.clear, np.uint8(0), np.uint8(255) if alpha is None else alpha)
    if alpha is not None:
        colours = np.concatenate([colours, alpha[:, :, None]], axis=2)
    colours = np.ascontiguousarray(colours[:, :, 0] if colours.shape[2] == 1 else colours)
    return Image.fromarray(colours, _MODES[1 if colours.ndim == 2 else colours.shape[2]])


def to_fill(numbers: Numbers, nodata: NoData) -> NDArray[np.bool_] | None:
    """bool [H, W]: pixels without a value, None if each has one.

    Raises:
        Undecodable: some have none, and `nodata` does not say that they are filled.
    """
    missing = _missing(numbers, nodata)
    if not missing.any():
        return None
    if nodata == "reject":
        count = int(missing.sum())
        detail = f"{count:,} of its pixels {'has' if count == 1 else 'have'} no value ({_no_value(numbers)})"
        raise Undecodable("content", detail, "fill them with the background: --set data.nodata=fill")
    return missing


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """`low` to 0, `high` to 255."""
    if values.dtype in (np.uint8, np.uint16):
        table = _scaled(np.arange(np.iinfo(values.dtype).max + 1, dtype=np.float64), low, high)
        return np.asarray(table[values])
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (values.astype(np.float64) - low) * (255 / (high - low)) + 0.5
    return np.clip(np.nan_to_num(scaled), 0, 255.5).astype(np.uint8)


def _colours(numbers: Numbers) -> int:
    """How many channels are colours."""
    return 1 if numbers.values.shape[2] < 3 else 3


def _missing(numbers: Numbers, nodata: NoData) -> NDArray[np.bool_]:
    """bool [H, W]: pixels of which a colour is not finite, or is the value for none."""
    colours = numbers.values[:, :, : _colours(numbers)]
    missing = np.zeros(colours.shape[:2], bool)
    if colours.dtype.kind == "f":
        missing |= ~np.isfinite(colours).all(axis=2)
    for value in (numbers.nodata, None if isinstance(nodata, str) else nodata):
        if value is not None:
            # float32 holds -3.4e38 only nearly
            given = np.asarray(value).astype(colours.dtype) if colours.dtype.kind == "f" else value
            missing |= (colours == given).all(axis=2)
    return missing


def _no_value(numbers: Numbers) -> str:
    return (
        "NaN or infinite" if numbers.nodata is None else f"NaN, or {numbers.nodata:g}, which the file says means none"
    )


def _alpha(numbers: Numbers, values_range: Range) -> NDArray[np.uint8] | None:
    """uint8 [H, W], None if there is no such channel."""
    if numbers.values.shape[2] in (1, 3):
        return None
    alpha, opaque = numbers.values[:, :, -1], values_range[1]
    if numbers.kind != "float" and not 0 < alpha.max() <= opaque:  # else it has as many bits as the colours
        opaque = type_limits(numbers.kind)[1]
    return _scaled(alpha, 0.0, opaque)
