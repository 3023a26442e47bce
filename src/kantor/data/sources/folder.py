"""A folder of images, with all folders in it."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kantor.data.decoding.signatures import is_encoded_image
from kantor.data.reasons import Reason, Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.source import MAX_BYTES, Item, Rejected, Source
from kantor.errors import DataError

_DRAWN = re.compile(r"seed-[0-9]{8,20}\.png")  # by `kantor generate`


class Folder(Source):
    """Images by their path relative to the folder.

    Links are followed to files inside the folder only; a link to a folder is passed over, since what it leads to is
    either found under its own name or lies outside.

    Args:
        path: the folder.
        labels: "auto": dataset.json at the top, else the first sub-folder where each image lies in one; "none"; or
            a CSV or JSON file.
    """

    def __init__(self, path: str, labels: str = "auto") -> None:
        self.path, self.labels = path, labels

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the bytes of the path.

        Raises:
            DataError: the folder cannot be read, has no images (after the last entry), or its labels are wrong.
        """
        if self.labels == "auto":
            own = Path(self.path) / names.LABEL_FILE
            try:
                if own.is_file():
                    label_files.require_small(own.stat().st_size, str(own))
                data = own.read_bytes() if own.is_file() else b""
            except OSError:  # where the whole folder is unreadable, the walk below says so
                data = b""
            found = label_files.parse_own(data, str(own)) if data else {}
            if found:
                return label_files.attach(self._images(None), found, str(own))
            return self._images(self._class_depth())
        if self.labels == "none":
            return self._images(None)
        return label_files.attach(self._images(None), label_files.read_file(self.labels), self.labels)

    def load(self, item: Item) -> bytes:
        """The file's bytes.

        Raises:
            Undecodable: it is gone, changed into something else, too large, or may not be read.
        """
        path = f"{self.path}/{item.name}"
        try:
            # without O_NONBLOCK, a FIFO put there since the listing would hold us for ever
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise Undecodable(*_why(error)) from error
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise Undecodable("access", "not a regular file")
            if found.st_size > MAX_BYTES:
                raise Undecodable("size", f"larger than {MAX_BYTES >> 20} MB")
            try:
                return file.read(MAX_BYTES + 1)
            except OSError as error:
                raise Undecodable(*_why(error)) from error

    def _images(self, depth: int | None) -> Iterator[Item | Rejected]:
        """All entries; the class is part `depth` of the path."""
        root = os.path.realpath(os.fsencode(self.path))
        position, seen, sheet = 0, Counter[str](), ""
        for raw in _walk(root, self.path):
            if isinstance(raw, Rejected):
                seen[str(raw.reason)] += 1
                yield raw
                continue
            name = os.fsdecode(raw)
            entry = _examine(root, raw, name)
            if isinstance(entry, Rejected):
                if name != names.LABEL_FILE:
                    seen[names.extension(name) or str(entry.reason)] += 1
                    yield entry
                continue
            parts = name.split("/")
            if _DRAWN.fullmatch(parts[-1]):
                sheet = "/".join([*parts[:-1], "sheet.png"])  # comes after these
            elif name == sheet:
                yield Rejected(name, names.SHEET)
                continue
            label = parts[depth] if depth is not None and len(parts) > depth + 1 else None
            yield Item(name, position, entry.st_size, entry.st_mtime_ns, label)
            position += 1
        if not position:
            raise names.no_images(self.path, seen)

    def _class_depth(self) -> int | None:
        """Which part of the path names the class: None where an image lies beside folders, or there is one folder."""
        root = os.path.realpath(os.fsencode(self.path))
        folder = b""
        for depth in range(64):
            try:
                entries = [e for e in _listing(root + b"/" + folder) if not _clutter(e)]
            except OSError:
                return None
            inner = [e for e in entries if e.endswith(b"/")]
            if any(_is_image(root, folder + e) for e in entries if not e.endswith(b"/")) or not inner:
                return None
            if len(inner) > 1:
                return depth
            folder += inner[0]
        return None


def _walk(root: bytes, shown: str) -> Iterator[bytes | Rejected]:
    """Relative paths of all that is no folder, in order of their bytes; each folder once."""
    try:
        stack = [(b"", iter(_listing(root)))]
    except OSError as error:
        raise DataError(shown, f"cannot be read ({_why(error).detail})", "check its permissions") from error
    visited = {_identity(root)}
    while stack:
        folder, entries = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            continue
        if _clutter(entry):
            continue
        path = folder + entry
        if not entry.endswith(b"/"):
            yield path
            continue
        try:
            identity = _identity(root + b"/" + path)
            if identity not in visited:  # a mount can show a folder inside itself
                visited.add(identity)
                stack.append((path, iter(_listing(root + b"/" + path))))
        except OSError as error:
            yield Rejected(os.fsdecode(path.rstrip(b"/")), _why(error))


def _listing(folder: bytes) -> list[bytes]:
    """Names in a folder, those of folders with "/" at the end, so that sorting them sorts whole paths."""
    with os.scandir(folder) as entries:
        return sorted(e.name + b"/" if e.is_dir(follow_symlinks=False) else e.name for e in entries)


def _identity(path: bytes) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _clutter(entry: bytes) -> bool:
    return names.is_clutter(os.fsdecode(entry.rstrip(b"/")))


def _is_image(root: bytes, path: bytes) -> bool:
    """Whether a file is an image by its extension or, where it has none, by its first bytes."""
    kind = names.extension(os.fsdecode(path))
    if kind:
        return kind in names.IMAGES
    full = root + b"/" + path
    try:
        if not stat.S_ISREG(os.lstat(full).st_mode):
            return False
        with Path(os.fsdecode(full)).open("rb") as file:
            return is_encoded_image(file.read(16))
    except OSError:
        return False


def _examine(root: bytes, path: bytes, name: str) -> os.stat_result | Rejected:
    """What the file system says about a file, or why it is left out; nothing is opened."""
    full, link = root + b"/" + path, False
    try:
        found = os.lstat(full)
        if stat.S_ISLNK(found.st_mode):
            link = True
            target = os.path.realpath(full)
            if not (target + b"/").startswith(root.rstrip(b"/") + b"/"):
                return Rejected(name, Reason("access", "link leaves the folder"))
            found = os.lstat(target)
            if stat.S_ISDIR(found.st_mode):
                return Rejected(name, Reason("access", "link to a folder"))
        if not stat.S_ISREG(found.st_mode):
            return Rejected(name, Reason("access", "not a regular file"))
        reason = names.not_image(name)
        if reason is None and not os.access(full, os.R_OK):
            reason = Reason("access", "permission denied")
        return Rejected(name, reason) if reason else found
    except FileNotFoundError:
        return Rejected(name, Reason("access", "dangling link" if link else "gone since the listing"))
    except OSError as error:
        return Rejected(name, _why(error))


def _why(error: OSError) -> Reason:
    """An error of the file system in plain words."""
    plain = {
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ENOENT: "gone since the listing",
        errno.ELOOP: "link in a circle",
        errno.ENAMETOOLONG: "path too long",
        errno.EIO: "the disk cannot read it",
    }
    return Reason("access", plain.get(error.errno or 0, (error.strerror or "cannot be read").lower()))
