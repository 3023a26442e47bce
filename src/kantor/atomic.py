"""Writes files and folders atomically; nothing else in Kantor writes files.

Whatever fails, a file or folder is either the old one or the new one, complete: everything is written next to its target,
flushed to disk, and renamed. Imports nothing heavy, so that fault tests are fast.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from kantor.disk_errors import resource_errors
from kantor.errors import ResourceError

TEMPORARY = ".tmp-"
_FILES_AT_ONCE = 8


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Replaces `path` with `data`, completely or not at all.

    Raises:
        ResourceError: disk full, permission denied, or the like; nothing is left behind.
    """
    with new_file(path, len(data)) as file:
        file.write(data)


@contextlib.contextmanager
def new_file(path: Path, size: int = 0) -> Iterator[BinaryIO]:
    """Yields a temporary file that replaces `path` when the block ends without an error: for what memory cannot hold.

    Args:
        size: bytes to be written, for the message; 0 if unknown.
    Raises:
        ResourceError: disk full, permission denied, or the like; nothing is left behind.
    """
    with _unsynced_file(path, size) as file:
        yield file
    with resource_errors(path, size):
        sync_folder(path.parent)


@contextlib.contextmanager
def many_files() -> Iterator[Callable[[Path, bytes], None]]:
    """Yields what writes files as `write_bytes` does, a few at the same time: waiting for the disk takes longer than writing.

    All are on disk when the block ends. The first ResourceError is raised by then, maybe at a later file.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    folders, waiting = dict[Path, None](), deque[Future[None]]()
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:

        def write(path: Path, data: bytes) -> None:
            folders[path.parent] = None
            if len(waiting) == 2 * _FILES_AT_ONCE:  # no more in memory
                waiting.popleft().result()
            waiting.append(pool.submit(_replace, path, data))

        yield write
        for future in waiting:
            future.result()
    for folder in folders:
        with resource_errors(folder):
            sync_folder(folder)


def _replace(path: Path, data: bytes) -> None:
    with _unsynced_file(path, len(data)) as file:
        file.write(data)


@contextlib.contextmanager
def _unsynced_file(path: Path, size: int) -> Iterator[BinaryIO]:
    """`new_file`, but a crash of the system may take the name of the file with it until its folder is flushed, too."""
    temporary = _temporary_path(path)
    with resource_errors(path, size):
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 with `write_bytes`."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """Writes JSON with sorted keys with `write_bytes`: equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


@contextlib.contextmanager
def new_folder(path: Path, exist_ok: bool = False) -> Iterator[Path]:
    """Yields a temporary folder that becomes `path` when the block ends without an error.

    Files written there with `write_bytes` are on disk before the folder is renamed.

    Args:
        exist_ok: replace an existing folder.
    Raises:
        FileExistsError: `path` exists, and `exist_ok` is false.
    """
    temporary = _temporary_path(path)
    with resource_errors(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            publish(temporary, path, exist_ok)
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if isinstance(error, ResourceError):  # about a file inside; the user knows the folder by its final name
                raise ResourceError(path, error.what, error.do) from error
            raise


def publish(temporary: Path, path: Path, replace: bool = False) -> None:
    """Renames the folder `temporary` to `path`, durably. With `replace`, an existing folder is deleted."""
    sync_folder(temporary)
    old = _temporary_path(path) if replace and path.exists() else None
    if old:
        path.rename(old)
    elif path.exists():  # rename would silently replace an empty folder
        raise FileExistsError(errno.EEXIST, "already exists", str(path))
    try:
        temporary.rename(path)
    except OSError as error:
        if old:
            old.rename(path)
        elif error.errno == errno.ENOTEMPTY:  # another process was faster
            raise FileExistsError(errno.EEXIST, "already exists", str(path)) from error
        raise
    sync_folder(path.parent)
    if old:
        remove_folder(old)


def stranger(folder: Path, ours: str) -> str | None:
    """The first entry of `folder` that is not a file with a name matching the pattern `ours`, and would be lost by replacing it."""
    strangers = (e.name for e in folder.iterdir() if not re.fullmatch(ours, e.name) or not e.is_file())
    return min(strangers, default=None)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, unless it is there.

    Raises:
        ResourceError: a file is in the way, no permission, or the like.
    """
    with resource_errors(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, "is a file", str(path)) from error


def patch(path: Path, data: bytes, offset: int = 0) -> None:
    """Overwrites `data` within a file of a folder that is not published yet; on the disk when it returns.

    Not atomic: the caller must be able to do it again after a crash.
    """
    with resource_errors(path), path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_folder(path: Path) -> None:
    """Deletes a folder that is renamed first: under its own name it is either complete or gone."""
    doomed = _temporary_path(path)
    with resource_errors(path):
        path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Deletes temporary files that killed writers left in `folder`. Call it only while holding the folder's lock."""
    for entry in folder.glob(f".*{TEMPORARY}*"):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with resource_errors(entry):
                entry.unlink(missing_ok=True)


class AppendFile:
    """A file to append to. On opening it is truncated to `offset`, which drops what a killed run wrote later.

    Args:
        offset: bytes of the file to keep; None keeps everything up to its last complete line.
    """

    def __init__(self, path: Path, offset: int | None = None) -> None:
        self.path = path
        with resource_errors(path):
            self._file = path.open("ab")
            if offset is None:
                offset = path.read_bytes().rfind(b"\n") + 1
            if offset < self._file.tell():
                self._file.truncate(offset)
                self._file.seek(0, os.SEEK_END)

    @property
    def offset(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def write(self, data: bytes) -> None:
        """Appends `data` and flushes it to the operating system; `sync` flushes it to disk."""
        with resource_errors(self.path, len(data)):
            self._file.write(data)
            self._file.flush()

    def line(self, text: str) -> None:
        """Appends one line of text."""
        self.write(text.encode("utf-8", "backslashreplace") + b"\n")

    def sync(self) -> None:
        with resource_errors(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def __enter__(self) -> AppendFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _temporary_path(path: Path) -> Path:
    name = os.fsencode(path.name)[:100].decode("utf-8", "ignore")  # a name has at most 255 bytes
    return path.with_name(f".{name}{TEMPORARY}{uuid.uuid4().hex[:8]}")


def sync_folder(folder: Path) -> None:
    """Flushes the file names of a folder to disk."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
