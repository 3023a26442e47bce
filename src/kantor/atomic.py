"""The only writer of files.

A file or folder is either the old one or the new one, whole, whatever happens: everything is written beside its
target, flushed to the disk, and renamed. Imports nothing heavy, so that fault tests run in a moment.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from kantor.errors import BusyError, ResourceError

TEMPORARY = ".tmp-"


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Replaces `path` by `data`, whole or not at all.

    Raises:
        ResourceError: disk full, no permission, or the like; nothing is left behind.
    """
    temporary = _beside(path)
    with resource_errors(path, len(data)):
        try:
            _write_new(temporary, data)
            temporary.replace(path)
            sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of JSON with sorted keys: equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


@contextlib.contextmanager
def new_folder(path: Path, exist_ok: bool = False) -> Iterator[Path]:
    """A folder that appears at `path`, whole, when the block ends without an error.

    Write into the folder that is yielded; files written there with `write_bytes` are on the disk before it is renamed.

    Raises:
        FileExistsError: `path` exists already (and may not be replaced).
    """
    temporary = _beside(path)
    with resource_errors(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            publish(temporary, path, exist_ok)
        except ResourceError as error:  # of a file in it: the user knows the folder by its final name
            shutil.rmtree(temporary, ignore_errors=True)
            raise ResourceError(path, error.what, error.do) from error
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def publish(temporary: Path, path: Path, replace: bool = False) -> None:
    """Gives the folder `temporary` its final name, for good; with `replace`, an older one makes room."""
    sync_folder(temporary)
    if replace and path.exists():
        old = _beside(path)
        path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            old.rename(path)
            raise
        sync_folder(path.parent)
        remove_folder(old)
        return
    if path.exists():  # rename would silently replace an empty folder
        raise FileExistsError(errno.EEXIST, "exists already", str(path))
    try:
        temporary.rename(path)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:  # another process was quicker
            raise FileExistsError(errno.EEXIST, "exists already", str(path)) from error
        raise
    sync_folder(path.parent)


def stranger(folder: Path, ours: str) -> str | None:
    """The name of something in `folder` that would be lost if it were replaced: no file whose name matches `ours`."""
    entries = sorted(folder.iterdir())
    return next((e.name for e in entries if not re.fullmatch(ours, e.name) or not e.is_file()), None)


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


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds `folder` (made if missing) for this process alone; the lock ends with the process, however that ends.

    The file `lock` in it names the process. The holder may delete the folder.

    Raises:
        BusyError: another process holds it; its number is named.
    """
    descriptor = _open_lock(folder)
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, without a name
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} on {socket.gethostname()} since {since}".encode()[:200])
        yield
    finally:
        os.close(descriptor)


def remove_folder(path: Path) -> None:
    """Deletes a folder so that it is either there, whole, or gone: renamed first."""
    doomed = _beside(path)
    with resource_errors(path):
        path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def remove_locked(folder: Path) -> None:
    """Deletes a folder while holding its lock, in place: killed midway, what is left of it can be found by its name."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != "lock":
            with contextlib.suppress(OSError):  # what cannot be deleted is left, as with folders
                entry.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # Windows keeps an open lock; another process may just have taken the folder
        (folder / "lock").unlink(missing_ok=True)
        folder.rmdir()


def remove_leftovers(folder: Path) -> None:
    """Deletes what killed writers left in `folder`. Call it only while holding the folder's lock."""
    for entry in folder.glob(f".*{TEMPORARY}*"):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            with resource_errors(entry):
                entry.unlink(missing_ok=True)


class AppendFile:
    """A file that only grows; what lies after `offset` (from a run that was killed) is cut off on opening.

    Args:
        offset: how much of the file to keep, in bytes; None keeps all of it, up to its last whole line.
    """

    def __init__(self, path: Path, offset: int | None = None) -> None:
        self.path = path
        with resource_errors(path):
            self._file = path.open("ab")
            if offset is None:
                offset = _end_of_last_line(path)
            if offset < self._file.tell():
                self._file.truncate(offset)
                self._file.seek(0, os.SEEK_END)

    @property
    def offset(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def write(self, data: bytes) -> None:
        """Appends and hands over to the operating system; `sync` puts it on the disk."""
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

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@contextlib.contextmanager
def resource_errors(path: Path, size: int = 0) -> Iterator[None]:
    """Turns the operating system's errors about `path` into ResourceError, with what to do.

    Args:
        size: bytes that were to be written, for the message; 0 where unknown.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, FileExistsError):
            raise
        raise as_resource_error(error, path, size) from error


def as_resource_error(error: OSError, path: Path | str, size: int = 0) -> ResourceError:
    """What the operating system says of `path`, with what to do. size: as for `resource_errors`."""
    what, do = _REMEDIES.get(error.errno or 0, (f"the system reports: {error.strerror}", "check the path and the disk"))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(_existing(Path(path))).free
            what += f" ({free / 1e6:.1f} MB free" + (f", {size / 1e6:.1f} MB needed" if size else "")
            what += "; it may hold too many files)" if free > max(size, 1 << 20) else ")"
    return ResourceError(path, what, do)


_REMEDIES = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another disk"),
    errno.EROFS: ("the disk is read-only", "choose a folder that can be written"),
    errno.EACCES: ("permission denied", "choose a folder that you may write, or change its permissions"),
    errno.EPERM: ("operation not permitted", "choose a folder that you may write, or change its permissions"),
    errno.EIO: ("the disk reports an error", "check the disk; nothing written before is lost"),
    errno.ESTALE: ("the network disk has gone away", "mount it again"),
    errno.ENOENT: ("there is no such folder any more", "check that nothing moves or deletes it"),
    errno.EISDIR: ("a folder is in the way", "choose another name, or move the folder"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.EMFILE: ("too many open files", "raise the limit with `ulimit -n 1024`"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another path"),
}


def _open_lock(folder: Path) -> int:
    path = folder / "lock"
    while True:
        make_folder(folder)
        with resource_errors(folder):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            except FileNotFoundError:  # its holder has just removed the folder
                continue
        try:
            _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), path.stat()):  # else it was removed while we waited
                return descriptor
        except (BlockingIOError, PermissionError):
            holder = os.read(descriptor, 200).decode("ascii", "replace") or "another process"
            os.close(descriptor)
            raise BusyError(folder, f"in use by process {holder}", "wait until it has ended, or stop it") from None
        except FileNotFoundError:
            pass
        except OSError as error:  # a network disk without locks
            os.close(descriptor)
            with resource_errors(folder):
                raise error
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError (PermissionError on Windows) where another process holds the lock."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # far behind the text, which others must be able to read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.absolute().parents) if p.exists())


def _beside(path: Path) -> Path:
    name = os.fsencode(path.name)[:100].decode("utf-8", "ignore")  # a name has at most 255 bytes
    return path.with_name(f".{name}{TEMPORARY}{uuid.uuid4().hex[:8]}")


def _write_new(path: Path, data: bytes | memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Puts the names of a folder's files on the disk."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _end_of_last_line(path: Path) -> int:
    data = path.read_bytes()
    return data.rfind(b"\n") + 1
