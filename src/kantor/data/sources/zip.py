"""Pictures in a zip archive. Nothing is unpacked to the disk."""

from __future__ import annotations

import os
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from kantor.data.formats import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError

MAX_MEMBER = 512 << 20
MAX_RATIO = 1000
MAX_TOTAL_RATIO = 200
_ALWAYS_ALLOWED = 1 << 30  # bytes in total, whatever the ratio
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_NEW = "make a new zip of the folder"


class Zip:
    """Regular members of a zip archive, by name.

    An archive with a name that leads out of it, a link, a password, a repeated name, overlapping members or sizes
    beyond the limits is refused whole: no honest tool writes such archives of pictures.

    Args:
        path: the archive.
        labels: as for `Folder`; with "auto", single folders around everything are no classes.
    """

    exact = False
    note = ""

    def __init__(self, path: str, labels: str = "auto") -> None:
        self.path, self.labels = path, labels
        self._opened: tuple[int, zipfile.ZipFile, list[zipfile.ZipInfo]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the bytes of the name.

        Raises:
            DataError: the archive cannot be read, is refused, has no pictures (after the last entry), or its labels
                are wrong.
        """
        if self.labels == "auto":
            own = self._own_labels()
            if own:
                return label_files.attach(self._pictures(None), own, f"{self.path}: {names.LABEL_FILE}")
            members = self._members()
            return self._pictures(names.class_depth(m.filename for m in members if _accepted(m.filename)))
        if self.labels == "none":
            return self._pictures(None)
        return label_files.attach(self._pictures(None), label_files.read_file(self.labels), self.labels)

    def load(self, item: Item) -> bytes:
        """The member's bytes.

        Raises:
            Undecodable: it is damaged.
        """
        return self._read(self._members()[item.position])

    def _pictures(self, depth: int | None) -> Iterator[Item | Rejected]:
        seen = Counter[str]()
        found, changed = 0, Path(self.path).stat().st_mtime_ns
        for position, member in enumerate(self._members()):
            name = member.filename
            if name.endswith("/") or any(names.is_clutter(part) for part in name.split("/")):
                continue
            reason = names.not_picture(name)
            if reason:
                if name.rsplit("/", 1)[-1] != names.LABEL_FILE:
                    seen[names.extension(name)] += 1
                    yield Rejected(name, reason)
                continue
            found += 1
            parts = name.split("/")
            label = parts[depth] if depth is not None and len(parts) > depth + 1 else None
            yield Item(name, position, member.file_size, changed, label)
        if not found:
            raise names.no_pictures(self.path, seen)

    def _own_labels(self) -> dict[str, str]:
        """Labels of the topmost dataset.json, their names counted from its folder."""
        tables = [m for m in self._members() if m.filename.rsplit("/", 1)[-1] == names.LABEL_FILE]
        if not tables:
            return {}
        table = min(tables, key=lambda m: m.filename.count("/"))
        where = f"{self.path}: {table.filename}"
        try:
            found = label_files.parse_own(self._read(table), where)
        except Undecodable as error:
            raise DataError(where, str(error), _NEW) from error
        prefix = table.filename.removesuffix(names.LABEL_FILE)
        return {prefix + name: label for name, label in found.items()}

    def _read(self, member: zipfile.ZipInfo) -> bytes:
        self._members()
        assert self._opened is not None
        try:
            with self._opened[1].open(member) as file:
                data = file.read(member.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
            raise Undecodable("damaged in the archive (its checksum is wrong)") from error
        if len(data) != member.file_size:
            raise Undecodable("damaged in the archive (its size is wrong)")
        return data

    def _members(self) -> list[zipfile.ZipInfo]:
        """All members in order of their names' bytes, checked; read once in each process."""
        process = os.getpid()  # after a fork, parent and child would move one file position
        if self._opened is None or self._opened[0] != process:
            try:
                archive = zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
                what = "it is not a whole zip archive (its table of contents is missing or damaged)"
                raise DataError(self.path, what, "copy or download it again") from error
            except OSError as error:
                what = f"cannot be read ({error.strerror})"
                raise DataError(self.path, what, "check the path and its permissions") from error
            members = sorted(archive.infolist(), key=lambda m: m.filename.encode("utf-8", "surrogateescape"))
            _check(members, self.path, Path(self.path).stat().st_size)
            self._opened = (process, archive, members)
        return self._opened[2]


def _accepted(name: str) -> bool:
    """Whether the name is a picture's."""
    parts = name.split("/")
    return bool(parts[-1]) and not any(map(names.is_clutter, parts)) and names.extension(name) in names.PICTURES


def _check(members: list[zipfile.ZipInfo], path: str, size: int) -> None:
    """Refuses what is no plain archive of files, naming the entry."""
    for member in members:
        fault = _fault(member)
        if fault:
            what = f"the archive is refused, since this entry {fault}"
            raise DataError(f"{path}: {member.orig_filename}", what, _NEW)
    for first, second in pairwise(members):
        if first.filename == second.filename:
            raise DataError(f"{path}: {first.filename}", "two entries have this name", _NEW)
    end, before = 0, ""
    for member in sorted(members, key=lambda m: m.header_offset):
        if member.header_offset < end:
            what = f"this entry overlaps with {before}: a zip bomb, or damaged"
            raise DataError(f"{path}: {member.filename}", what, _NEW)
        end, before = member.header_offset + 30 + member.compress_size, member.filename
    total = sum(member.file_size for member in members)
    if total > _ALWAYS_ALLOWED and total > MAX_TOTAL_RATIO * size:
        what = f"it would unpack to {total >> 20} MB, more than {MAX_TOTAL_RATIO} times its size: a zip bomb"
        raise DataError(path, what, _NEW)


def _fault(member: zipfile.ZipInfo) -> str | None:
    """What speaks against an entry."""
    name, mode = member.orig_filename, member.external_attr >> 16
    if "\0" in name:
        return "has a zero byte in its name"
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in name.split("/"):
        return "leads out of the archive"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link" if stat.S_ISLNK(mode) else "is no regular file"
    if member.flag_bits & 0x2041:
        return "needs a password"
    if member.compress_type not in _METHODS:
        return "is compressed by a method that is not read"
    if member.file_size > MAX_MEMBER:
        return f"is larger than {MAX_MEMBER >> 20} MB"
    if member.file_size > MAX_RATIO * max(member.compress_size, 1):
        return f"unpacks to more than {MAX_RATIO} times its size"
    return None
