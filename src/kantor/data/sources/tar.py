"""Images in a tar archive, compressed or not, WebDataset's among them. Nothing is unpacked to the disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NoReturn

from kantor.data.reasons import Undecodable
from kantor.data.sources import archive
from kantor.data.sources.archive import AGAIN, MAX_MEMBER, Member
from kantor.data.sources.open_file import OpenFile
from kantor.data.sources.source import Item, Rejected, Source
from kantor.errors import DataError

_LARGEST_HEADER = 1 << 20
_MOST_HEADERS = 16  # for one entry; real ones have up to four
_MOST_GLOBAL = 64
_BLOCK_BYTES = 1 << 20
_KNOWN = (*tarfile.SUPPORTED_TYPES, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_DECOMPRESSION = (EOFError, OSError, zlib.error, lzma.LZMAError)
_COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


class _Damaged(Exception):
    """A header that is none; str() is the reason."""


class _Holes(Exception):
    """An entry with holes; str() is its name."""


class _Headers(tarfile.TarFile):
    """Reads headers one by one, and counts those that come before the one that they describe."""

    chained = 0
    of_all = 0


class _Header(tarfile.TarInfo):
    """A header whose faults are errors: tarfile takes them for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tar: _Headers) -> _Header:  # type: ignore[override]
        if tar.chained == _MOST_HEADERS:
            raise _Damaged(f"more than {_MOST_HEADERS} headers for one entry")
        tar.chained += 1
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise _Damaged("cut short, or damaged") from error
        finally:
            tar.chained -= 1

    def _proc_member(self, tar: _Headers) -> Any:
        if self.type not in _KNOWN:
            raise _Damaged(f"an entry of a kind that is not known ({self.type!r})")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_holes(self)  # before its table, of any length, is read into memory
        if self.type not in tarfile.REGULAR_TYPES and self.size > _LARGEST_HEADER:
            raise _Damaged(f"a header of {self.size >> 20} MB")  # it would be read whole into memory
        tar.of_all += self.type == tarfile.XGLTYPE
        if tar.of_all > _MOST_GLOBAL:
            raise _Damaged(f"more than {_MOST_GLOBAL} headers for all entries")
        return super()._proc_member(tar)  # type: ignore[misc]

    def _refuse_holes(self, entry: tarfile.TarInfo, *_: object) -> NoReturn:
        raise _Holes(entry.name)

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_holes


class Tar(Source):
    """Regular members of a tar archive, by name. An archive with an entry that no honest tool writes is refused.

    A compressed archive can only be read from its start on, so it is read `here`, as images are asked for in order;
    of one that is not, workers read for themselves. An item's position is the byte at which it begins, unpacked.

    Args:
        path: the archive; compressed by gzip, bzip2 or xz, or not.
        labels: as for `archive.entries`.
    """

    def __init__(self, path: str, labels: str = "auto") -> None:
        self.path, self.labels = path, labels
        self.local_only = not is_plain(path)
        self._file = OpenFile(path, open_tar)
        self._entries: archive.Entries | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_entries": None}

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the bytes of the name of an archive's members, of a compressed one as they lie.

        Raises:
            DataError: the archive cannot be read, is refused, has no images (after the last entry), or its labels
                are wrong.
        """
        if self._entries is None:
            self._entries = archive.Entries(self.path, self._members(), self._read, self.labels)
        return iter(self._entries)

    def load(self, item: Item) -> bytes:
        """The member's bytes.

        Raises:
            Undecodable: the archive has become unreadable there.
        """
        return self._read(Member(item.name, item.size, item.position))

    def release(self) -> None:
        """Closes the archive."""
        self._file.release()

    def _read(self, member: Member) -> bytes:
        file = self._file()
        try:
            file.seek(member.place)
            data = file.read(member.size)
        except _DECOMPRESSION as error:
            raise Undecodable("damaged", "damaged in the archive") from error
        if len(data) != member.size:
            raise Undecodable("damaged", "cut short in the archive")
        return data

    def _members(self) -> list[Member]:
        """All regular files, checked."""
        try:
            found = self._scan()
        except _Holes as entry:
            raise archive.refused(self.path, str(entry), "is a file with holes") from entry
        except OSError as error:
            raise self._unreadable(error.strerror or str(error)) from error
        except (_Damaged, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            raise self._unreadable(str(error)) from error
        except (RecursionError, IndexError) as error:  # tarfile, of headers that it did not expect
            raise self._unreadable("damaged headers") from error
        by_name = sorted(found, key=lambda member: member.name.encode("utf-8", "surrogateescape"))
        for first, second in pairwise(by_name):
            if first.name == second.name:
                raise DataError(f"{self.path}: {first.name}", "two entries have this name", AGAIN)
        return found if self.local_only else by_name

    def _scan(self) -> list[Member]:
        found: list[Member] = []
        file = self._file()
        file.seek(0)
        length = None if self.local_only else Path(self.path).stat().st_size
        tar = _Headers(fileobj=file, tarinfo=_Header, errors="surrogateescape")
        while (info := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it keeps them all
            name = info.name.removeprefix("./")
            if fault := _fault(info, name):
                raise archive.refused(self.path, name, fault)
            end = info.offset_data + info.size
            if length is not None and end > length:
                raise _Damaged(f"cut short in {name}")
            if bomb := archive.too_large(self.path, end, len(found)):
                raise bomb
            if info.isreg():
                found.append(Member(name, info.size, info.offset_data))
        if self.local_only:
            self._read_to_end(file)
        return found

    def _read_to_end(self, file: IO[bytes]) -> None:
        """Behind the last entry lies the checksum of all that was compressed: reaching the end compares it."""
        while file.read(_BLOCK_BYTES):
            if bomb := archive.too_large(self.path, file.tell()):
                raise bomb

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
    if not (info.isreg() or info.isdir()):
        return "is no regular file"
    if info.size < 0 or info.offset_data < 0:
        return "has a size below zero"
    return f"is larger than {MAX_MEMBER >> 20} MB" if info.size > MAX_MEMBER else None
