"""Arrays of labels: numbers, names, or one-hot rows."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources.open_file import ZIP_ERRORS, cannot_open
from kantor.errors import DataError

MAX_BYTES = 1 << 30  # of an array of labels, unpacked
MAX_COLUMNS = 65_536
NAMES = (
    "labels", "y_train", "train_labels", "y", "Y", "label", "targets", "target", "train_targets", "classes", "arr_0",
)  # fmt: skip
_NONE = "or use --labels none"
_SAVE = f"save one whole number or name for each image, {_NONE}"


def require_label_array(shape: tuple[int, ...], dtype: np.dtype[Any], where: str, count: int) -> None:
    """Raises DataError, before anything is read, if no array of this shape and type can label `count` images."""
    sides = _sides(shape, count)
    if dtype.kind not in "biufUS" or len(sides) not in (1, 2) or 0 in sides[1:]:
        raise DataError(where, f"labels of shape {shape} and type {dtype} found", _SAVE)
    if sides[0] != count:
        raise DataError(where, f"{sides[0]} labels for {count} images", f"give each image one, {_NONE}")
    if len(sides) == 2 and (dtype.kind in "US" or sides[1] > MAX_COLUMNS):
        raise DataError(where, f"{sides[1]} labels for each image found", _SAVE)
    if (size := math.prod(sides) * dtype.itemsize) > MAX_BYTES:
        raise DataError(where, f"its labels take {size >> 20} MB, more than {MAX_BYTES >> 20}", _SAVE)


def label_names(array: NDArray[Any], where: str, count: int) -> list[str]:
    """The label of each image, from numbers or names [count] or [count, 1], or one-hot rows [count, classes].

    Raises DataError if these are not one label for each image: a negative number or a fraction, an empty name, several
    ones in a row.
    """
    require_label_array(array.shape, array.dtype, where, count)
    array = array.reshape(_sides(array.shape, count))
    if array.ndim == 2:
        array = _indices(array, where)
    distinct, places = np.unique(array, return_inverse=True)
    texts = _texts(distinct, where, lambda at: int(np.argmax(places == at)))
    return [texts[place] for place in places.tolist()]


def read_array(path: str, name: str | None = None) -> NDArray[Any]:
    """The array in a .npy file, or the array `name` of a .npz file, by default the only one or that of a usual name."""
    try:
        if not zipfile.is_zipfile(path):
            with Path(path).open("rb") as file:
                return _read(file, path, Path(path).stat().st_size)
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.infolist()}
            chosen = _chosen(list(sizes), name, path)
            with archive.open(f"{chosen}.npy") as file:
                return _read(file, f"{path}: {chosen}", sizes[chosen])
    except OSError as error:
        raise cannot_open(path, error) from error
    except ZIP_ERRORS as error:
        raise DataError(path, f"its labels cannot be read ({error})", "save it again with numpy") from error


def _chosen(arrays: list[str], name: str | None, path: str) -> str:
    """The array that holds the labels."""
    usual = (array for array in NAMES if array in arrays)
    chosen = name or (arrays[0] if len(arrays) == 1 else next(usual, None))
    if chosen in arrays:
        return chosen
    what = f"there is no array {name} in it" if name else "which of its arrays holds the labels is not clear"
    commands = " or ".join(f"--labels {path}:{array}" for array in arrays[:20])
    raise DataError(path, what, f"choose one: {commands}" if arrays else "save labels with numpy.savez")


def _read(file: IO[bytes], where: str, size: int) -> NDArray[Any]:
    """The array in a .npy file of `size` bytes."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(file)
    except OSError:
        raise
    except Exception as error:  # the header is Python text, and any error can come of it
        raise DataError(where, "it is not a .npy file, or damaged", "save it again with numpy.save") from error
    if dtype.hasobject:
        raise DataError(where, "it holds Python objects, which could run code", "save plain numbers or texts")
    count = math.prod(shape)
    if not 0 <= count * dtype.itemsize <= min(MAX_BYTES, size):
        what = "it is cut off" if count * dtype.itemsize > size else f"it is larger than {MAX_BYTES >> 20} MB"
        raise DataError(where, what, "save one label for each image with numpy.save")
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize or dtype.itemsize == 0:
        raise DataError(where, "it is cut off", "save it again with numpy.save")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")


def _sides(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The shape as [count] or [count, columns]: without sides of 1 at its end; [1, count] is a row of labels."""
    if len(shape) == 2 and shape == (1, count):
        return (count,)
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _indices(rows: NDArray[Any], where: str) -> NDArray[np.int64]:
    """The place of the only 1 in each row [count, classes]."""
    ones = rows == 1
    if (bad := np.flatnonzero((ones | (rows == 0)).all(axis=1) == 0)).size:
        what = f"label {bad[0]} is a row of {rows.shape[1]} numbers other than 0 and 1"
        raise DataError(where, what, _SAVE)
    counts = ones.sum(axis=1)
    if (bad := np.flatnonzero(counts != 1)).size:
        what = f"label {bad[0]} names {counts[bad[0]]} of {rows.shape[1]} classes, not one"
        raise DataError(where, what, _SAVE)
    indices: NDArray[np.int64] = ones.argmax(axis=1)
    return indices


def _texts(distinct: NDArray[Any], where: str, first: Any) -> list[str]:
    """Different labels as text. first: the image that has the label at an index first."""
    kind = distinct.dtype.kind
    if kind in "US":
        texts = [bytes(v).decode("utf-8", "surrogateescape") if kind == "S" else str(v) for v in distinct.tolist()]
        texts = [text.strip() for text in texts]
        if "" in texts:
            raise DataError(where, f"label {first(texts.index(''))} is empty", f"give it a name, {_NONE}")
        return texts
    values = distinct.tolist()
    for at, value in enumerate(values):
        if not float(value).is_integer():
            raise DataError(where, f"label {first(at)} is {value}", "use whole numbers from 0, or names")
        if value < 0:
            raise DataError(where, f"label {first(at)} is negative ({value})", "use whole numbers from 0")
    return [str(int(value)) for value in values]
