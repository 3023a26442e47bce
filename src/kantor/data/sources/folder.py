"""A folder of images, with all folders in it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from kantor.data.decoding.signatures import is_encoded_image
from kantor.data.reasons import Reason, Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.source import MAX_BYTES, RULES, Item, Rejected, Source, require_images
from kantor.errors import DataError

_GENERATED = re.compile(r"seed-[0-9]{8,20}\.png")  # by `kantor generate`
_WORDS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "gone since the listing",
    errno.ELOOP: "link in a circle",
    errno.ENAMETOOLONG: "path too long",
    errno.EIO: "the disk cannot read it",
}


class Folder(Source):
    """Images by their path relative to the folder.

    Links are followed only to files inside the folder; a link to a folder is rejected, since its target is either
    listed under its own name or outside.

    Args:
        labels: "auto": dataset.json at the top, else the first sub-folder if every image is in one; "none"; or
            a CSV or JSON file.
    """

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES) -> None:
        self.path, self.labels, self.rules = path, labels, rules

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the bytes of the path."""
        table, labels, depth = Path(self.path) / names.LABEL_FILE, {}, None
        if self.labels == "auto":
            with contextlib.suppress(OSError):  # if the whole folder is unreadable, walking it says so
                if table.is_file():
                    label_files.require_small(table.stat().st_size, str(table))
                    labels = label_files.parse_dataset_json(table.read_bytes(), str(table))
            depth = None if labels else self._class_depth()
        entries = require_images(self._entries(depth), self.path)
        if labels:
            return label_files.attach(entries, labels, str(table))
        return label_files.attach_file(entries, self.labels)

    def load(self, item: Item) -> bytes:
        """The file's bytes."""
        path = f"{self.path}/{item.name}"
        try:
            # without O_NONBLOCK, a FIFO put there since the listing would block for ever
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            with os.fdopen(handle, "rb") as file:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise Undecodable("access", "not a regular file")
                if status.st_size > MAX_BYTES:
                    raise Undecodable("size", f"larger than {MAX_BYTES >> 20} MB")
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise Undecodable(*_reason(error)) from error

    def _entries(self, depth: int | None) -> Iterator[Item | Rejected]:
        """All images, whose class is part `depth` of the path, and all files that are not images."""
        root = os.path.realpath(os.fsencode(self.path))
        position, grid = 0, ""
        for path in _paths(root, self.path):
            if isinstance(path, Rejected):
                yield path
                continue
            name = os.fsdecode(path)
            status = _examine(root, path, name, self.rules)
            parts = name.split("/")
            if isinstance(status, Reason):
                if name != names.LABEL_FILE:
                    yield Rejected(name, status)
            elif name == grid:
                yield Rejected(name, names.SHEET)
            else:
                if _GENERATED.fullmatch(parts[-1]):
                    grid = "/".join([*parts[:-1], "sheet.png"])  # comes after these
                yield Item(name, position, status.st_size, status.st_mtime_ns, names.class_of(parts, depth))
                position += 1

    def _class_depth(self) -> int | None:
        """The part of the path that names the class: None if an image is next to folders, or there is one folder."""
        root = os.path.realpath(os.fsencode(self.path))
        for depth in range(64):
            try:
                entries = _listing(root)
            except OSError:
                return None
            inner = [entry for entry in entries if entry.endswith(b"/")]
            if not inner or any(_is_image(root + b"/" + entry) for entry in entries if not entry.endswith(b"/")):
                return None
            if len(inner) > 1:
                return depth
            root += b"/" + inner[0]
        return None


def _paths(root: bytes, shown: str) -> Iterator[bytes | Rejected]:
    """Relative paths of everything that is not a folder, in order of their bytes; each folder once."""
    stack, visited = [b""], set[tuple[int, int]]()
    while stack:
        path = stack.pop()
        if path and not path.endswith(b"/"):
            yield path
            continue
        try:
            status = os.lstat(root + b"/" + path)
            if (status.st_dev, status.st_ino) not in visited:  # a mount can show a folder inside itself
                visited.add((status.st_dev, status.st_ino))
                stack += [path + entry for entry in reversed(_listing(root + b"/" + path))]
        except OSError as error:
            if not path:
                raise DataError(shown, f"cannot be read ({_reason(error)})", "check its permissions") from error
            yield Rejected(os.fsdecode(path.rstrip(b"/")), _reason(error))


def _listing(folder: bytes) -> list[bytes]:
    """Names in a folder but clutter, those of folders with "/" at the end, so that sorting them sorts whole paths."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not names.is_clutter(os.fsdecode(entry.name))]
        return sorted(e.name + b"/" if e.is_dir(follow_symlinks=False) else e.name for e in shown)


def _is_image(path: bytes) -> bool:
    """Whether a file is an image by its extension or, if it has none, by its first bytes."""
    if suffix := names.extension(os.fsdecode(path)):
        return suffix in names.images(1)
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with Path(os.fsdecode(path)).open("rb") as file:
            return is_encoded_image(file.read(16))
    except OSError:
        return False


def _examine(root: bytes, path: bytes, name: str, rules: int) -> os.stat_result | Reason:
    """A file's status, or why it is rejected; nothing is opened."""
    full = root + b"/" + path
    try:
        status = os.lstat(full)
        if stat.S_ISLNK(status.st_mode):
            target = os.path.realpath(full)
            if not (target + b"/").startswith(root.rstrip(b"/") + b"/"):
                return Reason("access", "link leaves the folder")
            status = os.lstat(target)
            if stat.S_ISDIR(status.st_mode):
                return Reason("access", "link to a folder")
        if not stat.S_ISREG(status.st_mode):
            return Reason("access", "not a regular file")
        reason = names.not_image(name, rules)
        if reason is None and not os.access(full, os.R_OK):
            reason = Reason("access", "permission denied")
        return reason or status
    except FileNotFoundError:
        return Reason("access", "dangling link" if Path(os.fsdecode(full)).is_symlink() else "gone since the listing")
    except OSError as error:
        return _reason(error)


def _reason(error: OSError) -> Reason:
    """An error of the file system in plain words."""
    return Reason("access", _WORDS.get(error.errno or 0, (error.strerror or "cannot be read").lower()))
