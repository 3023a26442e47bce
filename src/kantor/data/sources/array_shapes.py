"""What an array means as images, by its shape and type."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kantor.errors import DataError

Order = Literal["last", "first", "planes", "pixels", "turned"]

SAVE = "np.save('new.npy', {})"
SAMPLE = 32  # rows that are looked at
_SAMPLE_BYTES = 8 << 20
_LAST = (1, 3, 4)  # channels that an array [N, H, W, C] has by itself
_CHANNELS = (1, 2, 3, 4)
_SMALLEST_SIDE = 5  # of an image stored as a row of numbers
_LAYOUT = "save images as [count, height, width] or [count, height, width, channels], 1 to 4 of them"
_CONVERT = "convert it: "
_CAMERAS = ((4, 3), (3, 2), (16, 9), (16, 10), (5, 4))  # sides of single images that could be taken for rows


@dataclass(frozen=True)
class Layout:
    """How the elements of an array along its first axis are images.

    Attributes:
        count: number of images.
        shape: of an image: [H, W] or [H, W, C].
        order: where the channels are: "last", "first", in a row of numbers by "planes" or by "pixels"; "turned" for
            [C, W, H] and [W, H], as MATLAB's arrays look from C.
        note: what was decided, for the user; "" if there was nothing to decide.
    """

    count: int
    shape: tuple[int, ...]
    order: Order = "last"
    note: str = ""

    def image(self, element: NDArray[Any]) -> NDArray[Any]:
        """[H, W] or [H, W, C] in the machine's byte order, from one element of the array."""
        if self.order in ("first", "planes"):
            height, width, channels = self.shape
            element = element.reshape(channels, height, width).transpose(1, 2, 0)
        elif self.order == "turned":
            element = element.T
        image = np.ascontiguousarray(element.reshape(self.shape))
        return image.astype(image.dtype.newbyteorder("="), copy=False)

    def sample(self, row_bytes: int) -> int:
        """How many rows of so many bytes tell planes from pixels."""
        return max(1, min(SAMPLE, self.count, _SAMPLE_BYTES // max(1, row_bytes)))

    def looked_at(self, rows: NDArray[Any]) -> Layout:
        """The layout after a look at some rows of numbers [n, 3*k*k]: by planes, unless it is smoother by pixels."""
        if self.order != "planes" or not _smoother_by_pixels(rows, self.shape[0]):
            return self
        return replace(self, order="pixels", note=row_note(self.shape[0], "pixels"))


def layout(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> Layout:
    """What an array of this shape and type means as images.

    Raises:
        DataError: it is none, or could be several things; with the code that converts it.
    """
    require_numbers(dtype, where)
    text = _text(shape)
    if 0 in shape:
        raise DataError(where, f"its shape {text} holds no image", _LAYOUT)
    if len(shape) == 4:
        return _of_four(shape, where)
    if len(shape) == 3:
        if shape[2] in _LAST and shape[0] > 4:
            do = _CONVERT + SAVE.format("x[None]") + " for one, or x[..., None] for many"
            raise DataError(where, f"its shape {text} is that of one image", do)
        return Layout(shape[0], shape[1:])
    if len(shape) == 2:
        return _of_rows(shape, where)
    raise DataError(where, f"its shape {text} is not that of images", _LAYOUT)


def require_numbers(dtype: np.dtype[Any], where: str) -> None:
    """Raises DataError if elements of this type are not whole numbers, fractions or truth values of up to 64 bits."""
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        return
    do = "save numbers: whole ones or fractions"
    if dtype.hasobject:
        raise DataError(where, "it holds Python objects, which could run code", "save plain numbers with np.save")
    if dtype.names:
        what = f"its elements are structured (fields {', '.join(dtype.names[:9])}), not numbers"
        raise DataError(where, what, "save one field: " + SAVE.format(f"x[{dtype.names[0]!r}]"))
    if dtype.kind == "c":
        what = f"its numbers are complex ({dtype})"
        raise DataError(where, what, "save one part or their size: " + SAVE.format("np.abs(x)"))
    if dtype.kind == "f":
        raise DataError(where, f"its numbers are {dtype}", _CONVERT + SAVE.format("x.astype('float64')"))
    kinds = {"M": "dates", "m": "lengths of time", "U": "texts", "S": "texts", "T": "texts", "V": "raw bytes"}
    raise DataError(where, f"its elements are {kinds.get(dtype.kind, 'not numbers')} ({dtype})", do)


def is_stack(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether `layout` accepts an array of this shape and type."""
    try:
        layout(shape, dtype, "")
    except DataError:
        return False
    return True


def may_be_one_image(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape can be a single image: [H, W], [H, W, C] or [C, H, W], no side below 8 or above 65,536."""
    sides = shape[:2] if len(shape) == 2 or shape[-1] in _LAST else shape[1:] if shape[0] in _LAST else ()
    return len(shape) in (2, 3) and len(sides) == 2 and all(8 <= side <= 65_536 for side in sides)


def row_shape(length: int) -> tuple[int, ...] | None:
    """The shape of the image in a row of so many numbers: [k, k] for k*k, [k, k, 3] for 3*k*k, None if it is no square."""
    side = math.isqrt(length)
    if side * side == length and side >= _SMALLEST_SIDE:
        return (side, side)
    side = math.isqrt(length // 3)
    return (side, side, 3) if 3 * side * side == length and side >= _SMALLEST_SIDE else None


def _of_four(shape: tuple[int, ...], where: str) -> Layout:
    """[N, H, W, C] or [N, C, H, W]."""
    count, second, third, last = shape
    text = _text(shape)
    if last in _LAST or (last == 2 and second not in _CHANNELS):
        return Layout(count, shape[1:])
    if last == 2:
        do = _CONVERT + SAVE.format("x.transpose(0, 2, 3, 1)") + f" if an image has {second} channels"
        raise DataError(where, f"whether the channels of its shape {text} come first or last is not clear", do)
    if second in _CHANNELS:
        note = f"channels first: {text} is {count:,} images of {third}x{last} with {second} channel{'s' * (second > 1)}"
        return Layout(count, (third, last, second), "first", note)
    raise DataError(where, f"its shape {text} is not that of images", _LAYOUT)


def _of_rows(shape: tuple[int, ...], where: str) -> Layout:
    """[N, k*k] or [N, 3*k*k]."""
    count, length = shape
    image = row_shape(length)
    if image is None:
        raise DataError(where, f"its shape {_text(shape)} is not that of images", _LAYOUT)
    single = length >= 256 and any(length * b == count * a or count * b == length * a for a, b in _CAMERAS)
    if count == length or single:
        sides = ", ".join(map(str, image if len(image) == 2 else (3, *image[:2])))
        do = _CONVERT + SAVE.format(f"x.reshape(-1, {sides})") + " for many, or x[None] for one"
        raise DataError(where, f"its shape {_text(shape)} could be one image, or {count} in rows of {length}", do)
    order: Order = "planes" if len(image) == 3 else "last"
    return Layout(count, image, order, row_note(image[0], order))


def row_note(side: int, order: Order) -> str:
    """What a row of numbers is, for the user."""
    if order == "last":
        return f"each row of {side * side:,} numbers is an image of {side}x{side}"
    how = "all red, then all green, then all blue" if order == "planes" else "pixel by pixel"
    return f"each row of {3 * side * side:,} numbers is a colour image of {side}x{side}, {how}"


def _smoother_by_pixels(rows: NDArray[Any], side: int) -> bool:
    """Whether neighbours in images [n, 3*side*side] differ less if the channels of a pixel are next to each other."""
    values = rows.reshape(-1, 3 * side * side).astype(np.float64)
    planes = values.reshape(-1, 3, side, side).transpose(0, 2, 3, 1)
    return _roughness(values.reshape(-1, side, side, 3)) < 0.9 * _roughness(planes)


def _roughness(images: NDArray[np.float64]) -> float:
    """Mean difference of neighbours in images [n, H, W, C]."""
    return float(np.abs(np.diff(images, axis=1)).mean() + np.abs(np.diff(images, axis=2)).mean())


def _text(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
