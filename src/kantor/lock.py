"""Folders that one process at a time may write to."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from kantor.atomic import make_folder
from kantor.disk_errors import resource_errors
from kantor.errors import BusyError

_A_LOOK_S = 0.05


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks `folder`, created if missing, for this process; the lock ends with the process, however that ends.

    The file `lock` in it names the process. The holder may delete the folder.

    Raises:
        BusyError: another process holds the lock; names its number.
    """
    descriptor = _open_lock(folder)
    try:
        holder = f"{os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        with contextlib.suppress(OSError):  # on a full disk the lock still holds, without a name
            os.ftruncate(descriptor, 0)
            os.write(descriptor, holder.encode()[:200])
        yield
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether another process holds the lock of `folder`; creates and changes nothing."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:  # never locked, or not ours to lock
        return False
    try:
        _lock(descriptor)
        return False
    except OSError as error:
        return isinstance(error, BlockingIOError | PermissionError)
    finally:
        os.close(descriptor)


def remove_locked(folder: Path) -> None:
    """Deletes a folder in place while holding its lock: if killed midway, the rest keeps its name and can be found."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != "lock":
            with contextlib.suppress(OSError):  # what cannot be deleted stays, as with folders
                entry.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # Windows keeps open files; another process may just have locked the folder
        (folder / "lock").unlink(missing_ok=True)
        folder.rmdir()


def _open_lock(folder: Path) -> int:
    path, tries = folder / "lock", 0
    while True:
        make_folder(folder)
        with resource_errors(folder):
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            except FileNotFoundError:  # its holder has just deleted the folder
                continue
        try:
            _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), path.stat()):  # else it was deleted meanwhile
                return descriptor
        except (BlockingIOError, PermissionError):
            holder = os.read(descriptor, 200).decode("ascii", "replace") or "another process"
            os.close(descriptor)
            tries += 1
            if tries == 1:  # maybe `is_locked` looked just now
                time.sleep(_A_LOOK_S)
                continue
            raise BusyError(folder, f"in use by process {holder}", "wait until it ends, or stop it") from None
        except FileNotFoundError:
            pass
        except OSError as error:  # a network disk without locks
            os.close(descriptor)
            with resource_errors(folder):
                raise error
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError (PermissionError on Windows) if another process holds the lock."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # far past the text, which others must be able to read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
