"""Pictures in a .npz file: one of the arrays that np.savez or np.savez_compressed wrote."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.formats import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources import npy
from kantor.data.sources import zip as zip_source
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError

PICTURES = ("images", "x_train", "train_images", "x", "X", "data", "pictures", "arr_0")
LABELS = ("labels", "y_train", "train_labels", "y", "Y", "label", "arr_1")
_MOST_BYTES = 1 << 40


class Npz:
    """Pictures by index, as in a .npy file, with the labels that lie beside them.

    The array of pictures is the one called images, x_train, x, data or arr_0, or the only one with the shape of
    pictures; that of the labels is called labels, y_train, y or arr_1.

    Args:
        path: the file.
        labels: "auto": the array of labels, if there is one; "none"; or a .npy, CSV or JSON file.
    """

    exact = True

    def __init__(self, path: str, labels: str = "auto") -> None:
        self.path, self.labels = path, labels
        self._headers = _read_headers(path)
        self.name = self._chosen()
        self._header = self._headers[self.name]
        npy.check_pictures(self._header, f"{path}: {self.name}", look=False)
        others = [name for name in self._headers if name != self.name]
        self.note = f"pictures are the array {self.name} of {path}" + (
            f"; {', '.join(others)} also there" if others else ""
        )
        self._file: tuple[int, IO[bytes]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the index.

        Raises:
            DataError: the labels cannot be used.
        """
        count, size = self._header.shape[0], self._header.picture_bytes
        changed = Path(self.path).stat().st_mtime_ns
        labels = self._label_values(count)
        plain = (Item(str(i), i, size, changed, None if labels is None else str(labels[i])) for i in range(count))
        if self.labels in ("auto", "none") or Path(self.labels).suffix == ".npy":
            return plain
        return label_files.attach(plain, label_files.read_file(self.labels), self.labels)

    def load(self, item: Item) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """uint8 or uint16 [H, W] or [H, W, C].

        Raises:
            Undecodable: the file is damaged there.
        """
        header = self._header
        try:
            file = self._opened()
            file.seek(header.offset + item.position * header.picture_bytes)
            data = file.read(header.picture_bytes)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
            raise Undecodable("damaged in the archive") from error
        if len(data) != header.picture_bytes:
            raise Undecodable("cut short in the archive")
        picture = np.frombuffer(data, header.dtype).reshape(header.shape[1:])
        return picture.astype(picture.dtype.newbyteorder("="))

    def _opened(self) -> IO[bytes]:
        """A compressed array is unpacked from its start on, once in each process, as rows are asked for in order."""
        process = os.getpid()
        if self._file is None or self._file[0] != process:
            self._file = (process, zip_source.open_zip(self.path).open(self.name + ".npy"))
        return self._file[1]

    def _chosen(self) -> str:
        usual = next((name for name in PICTURES if name in self._headers), None)
        if usual is not None:
            return usual
        shaped = [name for name, header in self._headers.items() if len(header.shape) in (3, 4)]
        if len(shaped) == 1:
            return shaped[0]
        found = ", ".join(f"{name} {list(header.shape)}" for name, header in self._headers.items()) or "nothing"
        what = f"which of its arrays holds the pictures is not clear (found: {found})"
        raise DataError(self.path, what, "name it images and save the file again with np.savez")

    def _label_values(self, count: int) -> NDArray[np.int64] | None:
        if self.labels == "none":
            return None
        if self.labels != "auto":
            path = Path(self.labels)
            return npy.read_labels(path, count) if path.suffix == ".npy" else None
        name = next((name for name in LABELS if name in self._headers and name != self.name), None)
        if name is None:
            return None
        with zip_source.open_zip(self.path) as opened:
            data = opened.read(name + ".npy")
        header = self._headers[name]
        values = np.frombuffer(data, header.dtype, offset=header.offset).reshape(header.shape)
        return npy.check_labels(values, f"{self.path}: {name}", count)


def _read_headers(path: str) -> dict[str, npy.Header]:
    """Header of each array, by its name, in the order of the file.

    Raises:
        DataError: no .npz, or an array in it holds Python objects or is shorter than it says.
    """
    with zip_source.open_zip(path) as opened:
        members = [m for m in opened.infolist() if not m.is_dir()]
        zip_source.check(sorted(members, key=lambda m: m.filename), path, _MOST_BYTES)
        headers = {}
        for member in members:
            if not member.filename.endswith(".npy"):
                continue
            where = f"{path}: {member.filename}"
            try:
                with opened.open(member) as file:
                    start = file.read(1 << 16)
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
                raise DataError(where, "is damaged", "save it again with np.savez") from error
            headers[member.filename.removesuffix(".npy")] = npy.parse_header(
                io.BytesIO(start), where, member.file_size, again="save it again with np.savez"
            )
    if not headers:
        raise DataError(path, "there is no array in it", "save one with np.savez('new.npz', images=x)")
    return headers
