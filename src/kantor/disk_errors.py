"""Errors of the operating system about files, turned into ResourceError with what to do."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from kantor.errors import ResourceError


@contextlib.contextmanager
def resource_errors(path: Path, size: int = 0) -> Iterator[None]:
    """Turns OSErrors about `path` into ResourceErrors. size: bytes to be written, for the message; 0 if unknown."""
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, FileExistsError):
            raise
        raise as_resource_error(error, path, size) from error


def as_resource_error(error: OSError, path: Path | str, size: int = 0) -> ResourceError:
    """The ResourceError for `error`, which concerns `path`. size: as for `resource_errors`."""
    what, do = _REMEDIES.get(error.errno or 0, (f"the system reports: {error.strerror}", "check the path and the disk"))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with contextlib.suppress(OSError):
            folders = (Path(path), *Path(path).absolute().parents)
            free = shutil.disk_usage(next(folder for folder in folders if folder.exists())).free
            what += f" ({free / 1e6:.1f} MB free" + (f", {size / 1e6:.1f} MB needed" if size else "")
            what += "; it may hold too many files)" if free > max(size, 1 << 20) else ")"
    return ResourceError(path, what, do)


_REMEDIES = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another disk"),
    errno.EROFS: ("the disk is read-only", "choose a writable folder"),
    errno.EACCES: ("permission denied", "choose a writable folder, or change its permissions"),
    errno.EPERM: ("operation not permitted", "choose a writable folder, or change its permissions"),
    errno.EIO: ("the disk reports an error", "check the disk; nothing written before is lost"),
    errno.ESTALE: ("the network disk is no longer mounted", "mount it again"),
    errno.ENOENT: ("there is no such folder", "check that nothing moved or deleted it"),
    errno.EISDIR: ("a folder is in the way", "choose another name, or move that folder"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.EMFILE: ("too many open files", "raise the limit with `ulimit -n 1024`"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another path"),
}
