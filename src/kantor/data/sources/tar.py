"""Pictures in a tar archive, compressed or not, WebDataset's among them. Nothing is unpacked to the disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

from kantor.data.formats import Undecodable
from kantor.data.sources import archive
from kantor.data.sources.archive import AGAIN, MAX_MEMBER, Member
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError

_LARGEST_HEADER = 1 << 20
_KNOWN = (*tarfile.SUPPORTED_TYPES, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_DECOMPRESSION = (EOFError, OSError, zlib.error, lzma.LZMAError)
_COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


class _Damaged(Exception):
    """A header that is none; str() is the reason."""


class _Header(tarfile.TarInfo):
    """A header whose faults are errors: tarfile takes them for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise _Damaged("cut short, or damaged") from error

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        if self.type not in _KNOWN:
            raise _Damaged(f"an entry of a kind that is not known ({self.type!r})")
        if self.type not in (*tarfile.REGULAR_TYPES, tarfile.GNUTYPE_SPARSE) and self.size > _LARGEST_HEADER:
            raise _Damaged(f"a header of {self.size >> 20} MB")  # it would be read whole into memory
        return super()._proc_member(tar)  # type: ignore[misc]


class _Place(NamedTuple):
    """A member, and the byte of the unpacked archive at which its contents begin."""

    member: Member
    offset: int


class Tar:
    """Regular members of a tar archive, by name. An archive with an entry that no honest tool writes is refused.

    A compressed archive can only be read from its start on: each process unpacks it once, in memory, as pictures are
    asked for in order.

    Args:
        path: the archive; compressed by gzip, bzip2 or xz, or not.
        labels: as for `archive.entries`.
    """

    exact = False
    note = ""

    def __init__(self, path: str, labels: str = "auto") -> None:
        self.path, self.labels = path, labels
        self._places: list[_Place] | None = None
        self._file: tuple[int, IO[bytes]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_places": None}

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the bytes of the name of an archive's members, of a compressed one as they lie.

        Raises:
            DataError: the archive cannot be read, is refused, has no pictures (after the last entry), or its labels
                are wrong.
        """
        places = self._listed()
        return archive.entries(self.path, [place.member for place in places], self._read, self.labels)

    def load(self, item: Item) -> bytes:
        """The member's bytes.

        Raises:
            Undecodable: the archive has become unreadable there.
        """
        return self._read(item.position)

    def _read(self, position: int) -> bytes:
        place = self._listed()[position]
        try:
            file = self._opened()
            file.seek(place.offset)
            data = file.read(place.member.size)
        except _DECOMPRESSION as error:
            raise Undecodable("damaged in the archive") from error
        if len(data) != place.member.size:
            raise Undecodable("cut short in the archive")
        return data

    def _opened(self) -> IO[bytes]:
        process = os.getpid()  # after a fork, parent and child would move one file position
        if self._file is None or self._file[0] != process:
            self._file = (process, open_tar(self.path))
        return self._file[1]

    def _listed(self) -> list[_Place]:
        """All regular files, checked; read once in each process."""
        if self._places is None:
            try:
                found = self._scan()
            except OSError as error:
                raise self._unreadable(error.strerror or str(error)) from error
            except (_Damaged, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
                raise self._unreadable(str(error)) from error
            by_name = sorted(found, key=lambda p: p.member.name.encode("utf-8", "surrogateescape"))
            for first, second in pairwise(by_name):
                if first.member.name == second.member.name:
                    raise DataError(f"{self.path}: {first.member.name}", "two entries have this name", AGAIN)
            self._places = by_name if is_plain(self.path) else found
        return self._places

    def _scan(self) -> list[_Place]:
        found: list[_Place] = []
        length = Path(self.path).stat().st_size if is_plain(self.path) else None
        with open_tar(self.path) as file:
            tar = tarfile.TarFile(fileobj=file, tarinfo=_Header, errors="surrogateescape")
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it keeps them all
                name = info.name.removeprefix("./")
                if fault := _fault(info, name):
                    raise archive.refused(self.path, name, fault)
                end = info.offset_data + info.size
                if length is not None and end > length:
                    raise _Damaged(f"cut short in {name}")
                if bomb := archive.too_large(self.path, end):
                    raise bomb
                if info.isreg():
                    found.append(_Place(Member(name, info.size), info.offset_data))
        return found

    def _unreadable(self, reason: str) -> DataError:
        what = f"it is no whole tar archive ({reason})"
        return DataError(self.path, what, "copy or download it again")


def open_tar(path: str) -> IO[bytes]:
    """The unpacked archive as a file. Seeking back in a compressed one starts again from its beginning."""
    with Path(path).open("rb") as file:
        start = file.read(6)
    opener = next((opener for magic, opener in _COMPRESSED.items() if start.startswith(magic)), open)
    return opener(path, "rb")  # type: ignore[operator, no-any-return]


def is_plain(path: str) -> bool:
    """Whether the archive is not compressed."""
    with Path(path).open("rb") as file:
        return not file.read(6).startswith(tuple(_COMPRESSED))


def is_tar(path: Path) -> bool:
    """Whether the file, unpacked where it is compressed, begins like a tar archive."""
    try:
        with open_tar(str(path)) as file:
            start = file.read(tarfile.BLOCKSIZE)
    except _DECOMPRESSION:
        return False
    return len(start) == tarfile.BLOCKSIZE and start[257:262] == b"ustar"


def _fault(info: tarfile.TarInfo, name: str) -> str | None:
    """What speaks against an entry."""
    if fault := archive.name_fault(name) or archive.name_fault(info.name):
        return fault
    if info.issym() or info.islnk():
        return "is a link"
    if info.sparse is not None:
        return "is a file with holes"
    if not (info.isreg() or info.isdir()):
        return "is no regular file"
    if info.size < 0 or info.offset_data < 0:
        return "has a size below zero"
    return f"is larger than {MAX_MEMBER >> 20} MB" if info.size > MAX_MEMBER else None
