"""Images in a Zarr store (extra `formats`): a folder or a zip of it, of version 2 or 3 of the format."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources import stored_arrays
from kantor.data.sources import zip as zip_source
from kantor.data.sources.named_arrays import Kind
from kantor.data.sources.open_file import ZIP_ERRORS
from kantor.data.sources.stored_arrays import AGAIN, MAX_ARRAYS, MAX_DEPTH, StoredArrays
from kantor.errors import DataError, ResourceError

_MARKS = ("zarr.json", ".zarray", ".zgroup")
_MAX_BYTES = 1 << 40
_CODECS = frozenset((
    "bytes", "transpose", "gzip", "zstd", "blosc", "crc32c", "sharding_indexed", "vlen-bytes", "vlen-utf8", "zlib", "bz2",
    "lz4", "lzma", "shuffle", "delta", "fixedscaleoffset", "astype", "packbits", "quantize", "bitround", "adler32", "crc32",
    "fletcher32", "jenkins_lookup3",
))  # fmt: skip
_WHOLE = "/"  # the name of an array that is not in a group


class _Opened:
    """An open store and its arrays by name."""

    def __init__(self, store: Any, arrays: dict[str, Any]) -> None:
        self._store, self.arrays = store, arrays

    def close(self) -> None:
        self._store.close()


class Zarr(StoredArrays):
    """Images by index, in an array with a usual name (images, x_train, data ...) or the only one with the shape of images.

    Arrays of Python objects and codecs that are not Zarr's own are refused.
    """

    def _open(self) -> _Opened:
        zarr = _library(self.path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other files in the folder
            try:
                store, top = _store(self.path)
                node = zarr.open(store=store, path=top, mode="r")
                arrays = dict(sorted(_arrays(node, self.path), key=lambda named: named[0]))
            except (DataError, ResourceError):
                raise
            except Exception as error:  # a codec or type of another package may raise anything
                what = f"it cannot be opened as Zarr ({(str(error).splitlines() or [''])[0][:120]})"
                raise DataError(self.path, what, "save it with codecs of zarr itself, or copy it again") from error
        return _Opened(store, arrays)

    def _list(self) -> None:
        for name, array in self._file().arrays.items():
            if fault := _fault(array):
                self._faults[name] = DataError(f"{self.path}: {name}", fault, "save it again with zarr's own codecs")
            elif array.shape:
                self._kinds[name] = _kind(array)
        if not self._kinds and not self._faults:
            raise DataError(self.path, "there is no array in it", "name a store with images")

    def _read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        values = np.asarray(self._file().arrays[name][start:stop])
        return stored_arrays.texts(values) if self._kinds[name].is_text else values

    def _chunk(self, name: str) -> tuple[int, ...] | None:
        chunks: tuple[int, ...] = self._file().arrays[name].chunks
        return chunks

    def _stored_bytes(self) -> int:
        return sum(_sizes(self.path))


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr store, or a group or an array in one."""
    return any((folder / mark).is_file() for mark in _MARKS)


def store_of(folder: Path) -> tuple[Path, str]:
    """The whole store that an array is in, and the array's name in it; a group or a store as it is, with ""."""
    top = folder
    while _is_array(folder) and is_zarr(top.absolute().parent):
        top = top.parent if top.name else top.absolute().parent
    return top, folder.absolute().relative_to(top.absolute()).as_posix() if top != folder else ""


def _is_array(folder: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        return (folder / ".zarray").is_file() or json.loads((folder / "zarr.json").read_bytes())["node_type"] == "array"
    return False


def is_zarr_zip(path: str) -> bool:
    """Whether a zip archive holds a Zarr store."""
    try:
        with zipfile.ZipFile(path) as opened:
            return _top(opened.namelist()) is not None
    except ZIP_ERRORS:
        return False


def _top(names: list[str]) -> str | None:
    """The folder in a zip that is the store, "" for the zip itself; None if there is none."""
    tops = [name.rpartition("/")[0] for name in names if name.rpartition("/")[2] in _MARKS]
    return min(tops, key=lambda top: (top.count("/") + bool(top), top), default=None)


def _library(path: str) -> Any:
    try:
        import zarr
    except ImportError as error:
        what = "Zarr stores need one more package (zarr)"
        raise ResourceError(path, what, "pip install 'kantor[formats]'") from error
    if int(zarr.__version__.split(".")[0]) < 3:
        raise ResourceError(path, f"zarr {zarr.__version__} is too old", "pip install 'kantor[formats]'")
    return zarr


def _store(path: str) -> tuple[Any, str]:
    """The store, read-only, and the folder in it."""
    from zarr.storage import LocalStore, ZipStore

    if Path(path).is_dir():
        return LocalStore(path, read_only=True), ""
    with zip_source.open_zip(path) as opened:
        zip_source.check(opened.infolist(), path, _MAX_BYTES, AGAIN)
        top = _top(opened.namelist())
    return ZipStore(path, mode="r", read_only=True), top or ""


def _arrays(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The arrays of a store by name, in no order."""
    if not hasattr(node, "members"):
        yield _WHOLE, node
        return
    for number, (name, member) in enumerate(node.members(max_depth=MAX_DEPTH)):
        if number >= MAX_ARRAYS:
            what = f"it holds more than {MAX_ARRAYS:,} arrays and groups"
            raise DataError(path, what, "save its images as one array [count, height, width, channels]")
        if not hasattr(member, "members"):
            yield name, member


def _kind(array: Any) -> Kind:
    """Texts of any length have numpy's type T, bytes of any length are objects."""
    dtype = np.dtype(array.dtype)
    if dtype.kind == "T" or (dtype.kind == "O" and "vlen-utf8" in _codecs(array.metadata.to_dict())):
        return Kind(tuple(array.shape), np.dtype("U"))
    return Kind(tuple(array.shape), dtype, dtype.kind == "O" and "vlen-bytes" in _codecs(array.metadata.to_dict()))


def _fault(array: Any) -> str:
    """Why an array is not read, "" if it is."""
    unknown = [name for name in _codecs(array.metadata.to_dict()) if name.removeprefix("numcodecs.") not in _CODECS]
    return f"its codec {unknown[0]} is not read" if unknown else ""


def _codecs(metadata: Any) -> list[str]:
    """The names of all codecs in an array's metadata of version 2 or 3."""
    found: list[str] = []
    parts = [metadata.get(key) for key in ("codecs", "index_codecs", "filters", "compressor")]
    for part in parts:
        for codec in part if isinstance(part, list | tuple) else [part]:
            if isinstance(codec, dict):
                found.append(str(codec.get("name", codec.get("id"))))
                found += _codecs(codec.get("configuration") or {})
    return found


def _sizes(path: str) -> Iterator[int]:
    """Bytes of each file of a store."""
    if Path(path).is_file():
        yield Path(path).stat().st_size
        return
    for folder, _, files in os.walk(path):
        for name in files:
            yield Path(folder, name).stat().st_size
