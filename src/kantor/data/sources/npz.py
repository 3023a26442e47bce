"""Images in a .npz file: one of the arrays that np.savez or np.savez_compressed wrote."""

from __future__ import annotations

import io
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources import named_arrays, npy
from kantor.data.sources import zip as zip_source
from kantor.data.sources.named_arrays import IMAGES, LABELS, UNNAMED, Kind
from kantor.data.sources.open_file import ZIP_ERRORS
from kantor.data.sources.source import RULES
from kantor.errors import DataError

_MAX_BYTES = 1 << 40
_AGAIN = "save it again with np.savez"


class Npz(npy.Npy):
    """Images by index, as in a .npy file, with the labels in the same archive.

    The array of images has a usual name (images, x_train, x, data, arr_0, imgs ...), or is the only one with the shape of
    images; the array of labels likewise (labels, y_train, y, target ...). Other arrays may be of any kind. It is local,
    since a compressed array can only be read from its start.

    Args:
        labels: "auto": the array of labels, if there is one; "none"; or a file of labels, in which the names are
            indices.
        array: the name of the array of images, if it is not to be found.
    """

    local_only = True

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES, array: str = "") -> None:
        self.name = array
        super().__init__(path, labels, rules)

    def _open(self) -> IO[bytes]:
        """The array of images, which keeps the archive open until it is closed."""
        with zip_source.open_zip(self.path) as opened:
            return opened.open(self.name + ".npy")

    def _read_header(self) -> tuple[npy.Header, str]:
        self._headers = _array_headers(self.path)
        self._faults = {name: header for name, header in self._headers.items() if isinstance(header, DataError)}
        usable = {name: header for name, header in self._headers.items() if isinstance(header, npy.Header)}
        self._kinds = {name: Kind(header.shape, header.dtype) for name, header in usable.items()}
        self.name = self._find_images(usable)
        others = ", ".join(name for name in self._headers if name != self.name)
        self.note = f"images are the array {self.name} of {self.path}" + (f"; {others} also there" if others else "")
        return self._usable(self.name), f"{self.path}: {self.name}"

    def _usable(self, name: str) -> npy.Header:
        header = self._headers[name]
        if isinstance(header, DataError):
            raise header
        return header

    def _find_images(self, usable: dict[str, npy.Header]) -> str:
        """The name of the array of images."""
        if self.name and self.name not in self._headers:
            do = f"choose one of them: {', '.join(self._headers)}"
            raise DataError(self.path, f"there is no array {self.name} in it", do)
        do = f"name it images and save the file again with np.savez, or name one: {self.path}:"
        first = _first_choice(usable, self._faults) if self.rules < 2 else None
        return self.name or first or named_arrays.require_images(self._kinds, self._faults, self.path, do)

    def _label_names(self, count: int) -> list[str] | None:
        called = next((name for name in LABELS if name in self._headers and name != self.name), UNNAMED)
        if called != UNNAMED:
            self._usable(called)
        return named_arrays.find_labels(self._kinds, self.name, count, self.path, self._array, self.rules).names

    def _array(self, name: str) -> NDArray[Any]:
        """A small array as a whole."""
        header, where = self._usable(name), f"{self.path}: {name}"
        size = header.offset + header.size
        try:
            with zip_source.open_zip(self.path) as opened, opened.open(name + ".npy") as file:
                data = file.read(size)
                file.read(1)  # compares the checksum at the end
        except ZIP_ERRORS as error:
            raise DataError(where, "is damaged", _AGAIN) from error
        if len(data) != size:
            raise DataError(where, "is cut off", _AGAIN)
        return header.array(data[header.offset :])


def _first_choice(usable: dict[str, npy.Header], faults: dict[str, DataError]) -> str | None:
    """The array of images by rules 1, None if these refuse the file."""
    shaped = [name for name, header in usable.items() if len(header.shape) in (3, 4) and not header.by_columns]
    named = (name for name in IMAGES if name in usable or name in faults)
    name = next(named, shaped[0] if len(shaped) == 1 else None)
    if name not in shaped or usable[name].dtype not in (np.uint8, np.uint16, np.dtype(">u2")):
        return None
    return name if Kind(usable[name].shape, usable[name].dtype).is_stack else None


def _array_headers(path: str) -> dict[str, npy.Header | DataError]:
    """Header of each array by name, or what is wrong with it, in the order of the file."""
    with zip_source.open_zip(path) as opened:
        zip_source.check(opened.infolist(), path, _MAX_BYTES, _AGAIN)
        arrays = [member for member in opened.infolist() if member.filename.endswith(".npy")]
        headers = {member.filename.removesuffix(".npy"): _array_header(opened, member, path) for member in arrays}
    if not headers:
        raise DataError(path, "there is no array in it", "save one with np.savez('new.npz', images=x)")
    return headers


def _array_header(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: str) -> npy.Header | DataError:
    where = f"{path}: {member.filename}"
    try:
        with opened.open(member) as file:
            start = file.read(1 << 16)
        return npy.parse_header(io.BytesIO(start), where, member.file_size, again=_AGAIN)
    except DataError as error:
        return error
    except ZIP_ERRORS:
        return DataError(where, "is damaged", _AGAIN)
