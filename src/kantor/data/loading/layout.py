"""The files of a packed dataset: names, headers, digests. What `pack` writes and `Store` reads."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.repeated import repeated
from kantor.types import ImageSpec

VERSION = 1
MANIFEST = "manifest.json"
SOURCES = "sources.jsonl.gz"
REJECTED = "rejected.jsonl"
OURS = r"manifest\.json|sources\.jsonl\.gz|rejected\.jsonl|(images|labels|index)-\d{5,}\.npy"
HEADER_BYTES = 128
SHARD_BYTES = 1 << 30
INDEX = np.dtype([("sha256", "V32"), ("crc32", "<u4")])  # V, not S: numpy strips trailing zeros from S
LABELS = np.dtype("<i8")
_BLOCK_ROWS = 1 << 15


def shard_file(kind: str, number: int) -> str:
    """Name of a shard's file; kind: "images", "labels" or "index"."""
    return f"{kind}-{number:05d}.npy"


def row_dtypes(spec: ImageSpec, labelled: bool) -> dict[str, np.dtype[Any]]:
    """Kind of file -> dtype of a row."""
    labels = {"labels": LABELS} if labelled else {}
    return {"images": np.dtype((np.uint8, tuple(spec))), "index": INDEX, **labels}


def npy_header(dtype: np.dtype[Any], rows: int) -> bytes:
    """The .npy header, always of HEADER_BYTES, so that it can be written last."""
    shape = (rows, *dtype.shape)
    fields = {"descr": np.lib.format.dtype_to_descr(dtype.base), "fortran_order": False, "shape": shape}
    text = repr(fields).encode("ascii")
    room = HEADER_BYTES - 10 - 1
    assert len(text) <= room, "the header does not fit"
    return b"\x93NUMPY\x01\x00" + (room + 1).to_bytes(2, "little") + text.ljust(room) + b"\n"


def file_bytes(dtype: np.dtype[Any], rows: int) -> int:
    """Size of a .npy file."""
    return HEADER_BYTES + rows * dtype.itemsize


def blocks(path: Path, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Yields the rows of a .npy file, some at a time: whole shards of small images would take hundreds of megabytes."""
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        while len(rows := np.fromfile(file, dtype, _BLOCK_ROWS)):
            yield rows


def digest(manifest: dict[str, Any]) -> str:
    """SHA-256 over a manifest's values, without its own `digest`."""
    values = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def fingerprint(
    spec: ImageSpec,
    settings: dict[str, Any],
    class_names: list[str],
    shards: Iterable[tuple[NDArray[np.void], NDArray[np.int64] | None]],  # index and labels of each
) -> str:
    """SHA-256 over the settings that change pixels and each row's digests and label, however it is sharded."""
    index_hash, label_hash = hashlib.sha256(), hashlib.sha256()
    for index, labels in shards:
        index_hash.update(np.ascontiguousarray(index).view(np.uint8).data)
        if labels is not None:
            label_hash.update(np.ascontiguousarray(labels).view(np.uint8).data)
    whole = [VERSION, list(spec), settings, class_names, index_hash.hexdigest(), label_hash.hexdigest()]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def is_packed(path: Path) -> bool:
    """Whether `path` is a packed dataset, perhaps a damaged one."""
    with contextlib.suppress(OSError), (path / MANIFEST).open("rb") as file:
        return b'"kantor_pack"' in file.read(1 << 20)
    return False


def duplicates(indices: Callable[[], Iterable[NDArray[np.void]]], rows: int) -> int:
    """Number of rows whose source is the same as an earlier one, by 64 bits of its SHA-256.

    Not the first ones, which all objects of a picture share.
    """

    def words() -> Iterator[NDArray[np.uint64]]:
        return (np.ascontiguousarray(index["sha256"]).view("<u8")[1::4] for index in indices())

    return sum(map(len, repeated(words, rows)))
