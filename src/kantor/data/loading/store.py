"""Reads a packed dataset: images and labels by row, from files mapped into memory."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.loading import layout
from kantor.data.loading.layout import HEADER_BYTES, is_packed, shard_file
from kantor.errors import DataError
from kantor.random import random_rows
from kantor.types import ImageSpec

__all__ = ["Store", "is_packed"]

_LARGEST_MANIFEST = 64 << 20
_SAMPLE = 1000
_AGAIN = "pack it again"


class Store:
    """An `ImageSet` in the files of a packed dataset. Open it with `Store.open`.

    Attributes:
        shard_sizes: rows of each shard.
        manifest: everything that manifest.json says.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest
        height, width = manifest["size"]
        self.spec = ImageSpec(height, width, manifest["channels"])
        self.count: int = manifest["count"]
        self._names: list[str] = manifest["class_names"]
        self.class_names = [name.encode("utf-8", "backslashreplace").decode("utf-8") for name in self._names]
        self.condition_channels, self.condition_settings = 0, dict[str, Any]()
        self.fingerprint: str = manifest["fingerprint"]
        self.shard_sizes: list[int] = [shard["rows"] for shard in manifest["shards"]]
        self.labelled: bool = manifest["labelled"]
        self._settings: dict[str, Any] = manifest["settings"]
        self._starts = np.cumsum([0, *self.shard_sizes])[:-1]
        dtypes = layout.row_dtypes(self.spec, self.labelled)
        numbers = range(len(self.shard_sizes))
        files = {kind: [self._map(n, kind, dtype) for n in numbers] for kind, dtype in dtypes.items()}
        self._images, self._index = files["images"], files["index"]
        self._labels: NDArray[np.int64] | None = np.concatenate(files["labels"]) if self.labelled else None

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Opens the packed dataset in folder `path`. Checks sizes and shapes, not every byte: see `verify`.

        Raises DataError, naming the file, if it is not a packed dataset, of a newer version, or damaged.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        try:
            store = cls(path, manifest)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(path / layout.MANIFEST, f"is damaged ({error})", _AGAIN) from error
        if store.count != sum(store.shard_sizes) or store.count < 1:
            raise DataError(path / layout.MANIFEST, "is damaged (its counts disagree)", _AGAIN)
        return store

    def images(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Returns uint8 [n, H, W, C] for `rows` [n]. Raises IndexError if one is not in 0 .. count."""
        if len(self._images) == 1:
            return np.asarray(self._images[0][self._checked(rows)])
        out = np.empty((len(rows), *self.spec), np.uint8)
        shard = np.searchsorted(self._starts, self._checked(rows), side="right") - 1
        for number in np.unique(shard):
            here = shard == number
            out[here] = self._images[number][rows[here] - self._starts[number]]
        return out

    def labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Returns int64 [n] for `rows` [n], or None without labels."""
        return None if self._labels is None else self._labels[self._checked(rows)]

    def conditions(self, rows: NDArray[np.int64]) -> None:
        """A packed dataset has no conditions: see `PairedImages`."""

    def whole(self) -> NDArray[np.uint8]:
        """Returns all images in new memory: uint8 [count, H, W, C]."""
        return np.concatenate(self._images)

    def names(self) -> list[str]:
        """Returns the name of each image's source. Raises DataError if their file is damaged."""
        return [source["name"] for source in self.sources()]

    def sources(self) -> list[dict[str, Any]]:
        """Returns what is known of each image's source: "name", and of an object "object". Raises as `names`."""
        try:
            lines = gzip.decompress((self.path / layout.SOURCES).read_bytes()).splitlines()
            sources = [source for source in map(json.loads, lines) if source["name"] is not None]
        except (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error):
            sources = []
        if len(sources) != self.count:
            what = f"{layout.SOURCES} does not name its {self.count:,} images"
            raise DataError(self.path, what, _AGAIN)
        return sources

    def digests(self) -> NDArray[np.uint8]:
        """Returns uint8 [count, 32]: the SHA-256 of each image's source."""
        index = np.concatenate(self._index)
        return np.ascontiguousarray(index["sha256"]).view(np.uint8).reshape(-1, 32)

    def verify(self, limit_bytes: int = 1 << 30) -> None:
        """Checks index and labels whole, and the CRC-32 of every image, of 1,000 beyond `limit_bytes`.

        Raises DataError, naming the file and the image that is damaged.
        """
        labels = [None] * len(self._index) if self._labels is None else np.split(self._labels, self._starts[1:])
        shards = zip(self._index, labels, strict=True)
        if layout.fingerprint(self.spec, self._settings, self._names, shards) != self.fingerprint:
            files = "index-*.npy or labels-*.npy" if self.labelled else "index-*.npy"
            raise DataError(self.path, f"is damaged ({files})", _AGAIN)
        rows = np.arange(self.count)
        if self.count * np.prod(self.spec) > limit_bytes:
            rows = random_rows(self.count, _SAMPLE, seed=0)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for row, number in zip((rows - self._starts[numbers]).tolist(), numbers.tolist(), strict=True):
            if zlib.crc32(self._images[number][row].data) != self._index[number][row]["crc32"]:
                raise DataError(self.path / shard_file("images", number), f"image {row} is damaged", _AGAIN)

    def _checked(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(rows) and (rows.min() < 0 or rows.max() >= self.count):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of a dataset with {self.count} images")
        return rows

    def _map(self, number: int, kind: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Maps one file, read-only, after checks of its length and header."""
        path, rows = self.path / shard_file(kind, number), self.shard_sizes[number]
        header, size = _beginning(path, HEADER_BYTES, DataError(path, "is missing", _AGAIN))
        expected = layout.file_bytes(dtype, rows)
        if size != expected:
            what = "is cut short" if size < expected else "is too long"
            raise DataError(path, f"{what}: {size} bytes, not {expected}", _AGAIN)
        if header != layout.npy_header(dtype, rows):
            raise DataError(path, "is damaged (its header)", _AGAIN)
        return np.memmap(path, dtype.base, "r", HEADER_BYTES, (rows, *dtype.shape)).view(np.ndarray)


def _read_manifest(path: Path) -> dict[str, Any]:
    """Returns the manifest, of a version that we know, unchanged since it was written."""
    file = path / layout.MANIFEST
    missing = DataError(path, "is not a packed dataset (it has no manifest.json)", "make one with `kantor pack`")
    data, _ = _beginning(file, _LARGEST_MANIFEST, missing)
    try:
        manifest = json.loads(data)
        version = manifest["kantor_pack"]
        whole = manifest["digest"] == layout.digest(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(file, "is damaged", _AGAIN) from None
    if isinstance(version, int) and version > layout.VERSION:
        raise DataError(file, f"was written by a newer Kantor (format {version})", "update Kantor, or pack it again")
    if not whole or version != layout.VERSION:
        raise DataError(file, "is damaged", _AGAIN)
    return dict(manifest)


def _beginning(path: Path, length: int, missing: DataError) -> tuple[bytes, int]:
    """Returns the first bytes of a file and its size. Raises `missing` if it is not there."""
    try:
        with path.open("rb") as file:
            return file.read(length), path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        raise missing from None
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})", "check the disk and permissions") from error
