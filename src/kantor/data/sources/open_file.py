"""Files that a source keeps open, decompressed on the fly."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import lzma
import os
import struct
import zipfile
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from kantor.data.sources.source import RULES, Source
from kantor.errors import DataError, ResourceError, UserError

DECOMPRESSION_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError)
ZIP_ERRORS = (*DECOMPRESSION_ERRORS, zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, RuntimeError)
MAX_TOTAL_RATIO = 200
ALWAYS_ALLOWED = 1 << 30  # bytes in total, at any ratio
ALWAYS_LISTED = 100_000  # entries: each takes memory, even an empty one
_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)


class FileSource(Source):
    """The images of one file, which is opened at the first read and stays open until `release`.

    Each process opens its own, even after a pickle or a fork, since parent and child would move one file position.
    All of them open the same file: one that has been replaced or written since is an error.

    file: where it is on disk, if `path` says more than that ("x.parquet:photo").
    """

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES, file: str = "") -> None:
        self.path, self.labels, self.rules, self.file = path, labels, rules, file or path
        self._listed_state = _state(self.file)
        self._opened: tuple[int, Any] | None = None  # process id, file

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_opened": None}

    def release(self) -> None:
        """Closes the file; the next read opens it again."""
        if self._opened is not None and self._opened[0] == os.getpid():
            self._opened[1].close()
        self._opened = None

    def _open(self) -> Any:
        """Opens the file; the result has close()."""
        return open_inflated(self.file)

    def _file(self) -> Any:
        """The open file. Raises DataError if it has changed, ResourceError if too many are open, or OSError."""
        process = os.getpid()
        if self._opened is None or self._opened[0] != process:
            if _state(self.file) != self._listed_state:
                raise DataError(self.path, "it has changed since it was listed", "pack it again")
            try:
                self._opened = (process, self._open())
            except OSError as error:
                if error.errno in _TOO_MANY_OPEN:
                    raise cannot_open(self.path, error) from error
                raise
        return self._opened[1]


def open_inflated(path: str) -> BufferedIOBase:
    """The file, decompressed if it is gzip, bzip2 or xz. Seeking back then starts again from its beginning."""
    return _opener(path)(path, "rb")  # type: ignore[no-any-return]


def is_compressed(path: str) -> bool:
    """Whether `open_inflated` decompresses the file."""
    return _opener(path) is not open


def start_of(path: Path) -> bytes:
    """The first 512 bytes of the file, decompressed; fewer if it ends or is damaged before."""
    start = b""
    with contextlib.suppress(*DECOMPRESSION_ERRORS), open_inflated(str(path)) as file:
        while len(start) < 512 and (piece := file.read1(512 - len(start))):
            start += piece
    return start


def require_proportion(path: str, total: int, do: str, count: int = 0) -> None:
    """Raises DataError if a file that unpacks to `total` bytes in `count` entries is too small for them. do: the remedy."""
    if total <= ALWAYS_ALLOWED and count <= ALWAYS_LISTED:
        return
    size = Path(path).stat().st_size
    if count > max(size, ALWAYS_LISTED):
        raise DataError(path, f"it has more entries ({count:,}) than bytes: a bomb", do)
    if total > max(MAX_TOTAL_RATIO * size, ALWAYS_ALLOWED):
        what = f"it would unpack to {total >> 20} MB, more than {MAX_TOTAL_RATIO} times its size: a bomb"
        raise DataError(path, what, do)


def _opener(path: str) -> Any:
    with Path(path).open("rb") as file:
        start = file.read(6)
    return next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), open)


def cannot_open(path: str, error: OSError | ValueError) -> UserError:
    """The error for a file that the system does not open; too many open files are not the file's fault."""
    if getattr(error, "errno", None) in _TOO_MANY_OPEN:
        do = "close other programs, or allow more with `ulimit -n 4096`"
        return ResourceError(path, "cannot be opened: too many files are open already", do)
    reason = getattr(error, "strerror", None) or error
    return DataError(path, f"cannot be read ({reason})", "check the path and its permissions")


def _state(path: str) -> tuple[int, int]:
    """Size and time of the last change."""
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns
