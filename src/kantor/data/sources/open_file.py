"""A file that a source keeps open."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from kantor.errors import DataError, ResourceError, UserError


class _Closes(Protocol):
    def close(self) -> Any: ...


T = TypeVar("T", bound=_Closes)


class OpenFile(Generic[T]):
    """What `opener(path)` gives: opened when it is first asked for, and kept open until `release`.

    Each process opens its own, a copy by pickle or by a fork too: parent and child would move one file position. All
    of them open the same file: one that has been replaced or written meanwhile is an error.

    Args:
        path: of the file.
        opener: a function of a module, so that it can be pickled.
    """

    def __init__(self, path: str, opener: Callable[[str], T]) -> None:
        self._path, self._opener = path, opener
        self._seen = _state(path)
        self._open: tuple[int, T] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}

    def __call__(self) -> T:
        """The open file.

        Raises:
            DataError: it is not as it was when this was made.
            ResourceError: too many files are open.
            OSError: it cannot be opened.
        """
        process = os.getpid()
        if self._open is None or self._open[0] != process:
            if _state(self._path) != self._seen:
                raise DataError(self._path, "it has changed since it was listed", "pack it again")
            try:
                self._open = (process, self._opener(self._path))
            except OSError as error:
                if error.errno in _TOO_MANY:
                    raise cannot_open(self._path, error) from error
                raise
        return self._open[1]

    def release(self) -> None:
        """Closes the file; who asks for it next opens it again."""
        if self._open is not None and self._open[0] == os.getpid():
            self._open[1].close()
        self._open = None


def _state(path: str) -> tuple[int, int]:
    """Size and time of the last change."""
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns


_TOO_MANY = (errno.EMFILE, errno.ENFILE)


def cannot_open(path: str, error: OSError) -> UserError:
    """The error for a file that the system does not open; having too many open already is no fault of the file."""
    if error.errno in _TOO_MANY:
        do = "close other programs, or allow more with `ulimit -n 4096`"
        return ResourceError(path, "cannot be opened: too many files are open already", do)
    return DataError(path, f"cannot be read ({error.strerror or error})", "check the path and its permissions")
