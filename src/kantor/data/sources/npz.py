"""Images in a .npz file: one of the arrays that np.savez or np.savez_compressed wrote."""

from __future__ import annotations

import io
import zipfile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources import npy
from kantor.data.sources import zip as zip_source
from kantor.data.sources.open_file import ZIP_ERRORS
from kantor.errors import DataError

IMAGES = ("images", "x_train", "train_images", "x", "X", "data", "pictures", "arr_0")
LABELS = ("labels", "y_train", "train_labels", "y", "Y", "label", "arr_1")
_UNNAMED = "arr_1"  # labels only if it looks like them: np.savez(path, train, test) uses this name too
_MAX_BYTES = 1 << 40
_AGAIN = "save it again with np.savez"


class Npz(npy.Npy):
    """Images by index, as in a .npy file, with the labels in the same archive.

    The array of images is called images, x_train, x, data or arr_0, or is the only one with the shape of images; the
    array of labels is called labels, y_train, y or arr_1. Other arrays may be of any kind. It is local, since a
    compressed array can only be read from its start.

    Args:
        labels: "auto": the array of labels, if there is one; "none"; or a .npy, CSV or JSON file.
    """

    local_only = True

    def _open(self) -> IO[bytes]:
        """The array of images, which keeps the archive open until it is closed."""
        with zip_source.open_zip(self.path) as opened:
            return opened.open(self.name + ".npy")

    def _read_header(self) -> npy.Header:
        self._headers = _array_headers(self.path)
        self.name = self._find_images()
        header = self._usable(self.name)
        npy.check_images(header, f"{self.path}: {self.name}", look=False)
        others = ", ".join(name for name in self._headers if name != self.name)
        self.note = f"images are the array {self.name} of {self.path}" + (f"; {others} also there" if others else "")
        return header

    def _usable(self, name: str) -> npy.Header:
        header = self._headers[name]
        if isinstance(header, DataError):
            raise header
        return header

    def _find_images(self) -> str:
        """The name of the array of images."""
        for name in IMAGES:
            if name in self._headers:
                return name
        shapes = {name: header.shape for name, header in self._headers.items() if isinstance(header, npy.Header)}
        shaped = [name for name, shape in shapes.items() if len(shape) in (3, 4)]
        if len(shaped) == 1:
            return shaped[0]
        if not shapes and len(self._headers) == 1:
            return next(iter(self._headers))  # using it says what is wrong with it
        arrays = ", ".join(f"{name} {list(shapes[name]) if name in shapes else 'unusable'}" for name in self._headers)
        what = f"which of its arrays holds the images is not clear (found: {arrays})"
        raise DataError(self.path, what, "name it images and save the file again with np.savez")

    def _numbers(self, count: int) -> NDArray[np.int64] | None:
        name = next((name for name in LABELS if name != self.name and self._may_be_labels(name, count)), None)
        if name is None:
            return None
        header, where = self._usable(name), f"{self.path}: {name}"
        npy.check_label_header(header, where, count)  # before it is read: it can be of any size
        size = header.offset + header.image_bytes * count
        try:
            with zip_source.open_zip(self.path) as opened, opened.open(name + ".npy") as file:
                data = file.read(size)
                file.read(1)  # compares the checksum at the end
        except ZIP_ERRORS as error:
            raise DataError(where, "is damaged", _AGAIN) from error
        if len(data) != size:
            raise DataError(where, "is cut off", _AGAIN)
        return npy.check_labels(np.frombuffer(data, header.dtype, offset=header.offset), where, count)

    def _may_be_labels(self, name: str, count: int) -> bool:
        header = self._headers.get(name)
        if name != _UNNAMED:
            return header is not None
        return isinstance(header, npy.Header) and header.dtype.kind in "iu" and header.shape in [(count,), (count, 1)]


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
