"""Images in a tar archive, compressed or not, such as WebDataset's."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from kantor.data.reasons import Undecodable
from kantor.data.sources import archive
from kantor.data.sources.archive import AGAIN, MAX_MEMBER, Archive
from kantor.data.sources.open_file import DECOMPRESSION_ERRORS, require_proportion
from kantor.data.sources.spool import Hashes, Member
from kantor.errors import DataError

_MAX_HEADER_BYTES = 1 << 20
_MAX_HEADERS = 16  # for one entry; real ones have up to four
_MAX_GLOBAL_HEADERS = 64
_BLOCK_BYTES = 1 << 20
_KNOWN = (*tarfile.SUPPORTED_TYPES, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


class _Damaged(Exception):
    """A header that breaks the format; str() says how."""


class _Holes(Exception):
    """An entry with holes; str() is its name."""


class _Headers(tarfile.TarFile):
    """Reads headers one by one, and counts those that describe the next one."""

    chained = 0
    global_headers = 0


class _Header(tarfile.TarInfo):
    """A header whose faults are errors, which tarfile mistakes for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tar: _Headers) -> _Header:  # type: ignore[override]
        if tar.chained == _MAX_HEADERS:
            raise _Damaged(f"more than {_MAX_HEADERS} headers for one entry")
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
            raise _Damaged(f"an entry of an unknown kind ({self.type!r})")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_holes(self)  # before its table, of any length, is read into memory
        if self.type not in tarfile.REGULAR_TYPES and self.size > _MAX_HEADER_BYTES:
            raise _Damaged(f"a header of {self.size >> 20} MB")  # it would be read whole into memory
        tar.global_headers += self.type == tarfile.XGLTYPE
        if tar.global_headers > _MAX_GLOBAL_HEADERS:
            raise _Damaged(f"more than {_MAX_GLOBAL_HEADERS} headers for all entries")
        return super()._proc_member(tar)  # type: ignore[misc]

    def _refuse_holes(self, entry: tarfile.TarInfo, *_: object) -> NoReturn:
        raise _Holes(entry.name)

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_holes


class Tar(Archive):
    """Regular members of a tar archive, by name. An archive with an entry that no honest tool writes is refused.

    A compressed archive can only be read from its start, so it is local. Places are bytes of the decompressed data.

    Args:
        path: the archive; compressed by gzip, bzip2 or xz, or not.
    """

    def _read(self, member: Member) -> bytes:
        file = self._file()
        try:
            file.seek(member.place)
            data: bytes = file.read(member.size)
        except DECOMPRESSION_ERRORS as error:
            raise Undecodable("damaged", "damaged in the archive") from error
        if len(data) != member.size:
            raise Undecodable("damaged", "cut short in the archive")
        return data

    def _read_start(self, member: Member) -> bytes:
        return self._read(member._replace(size=min(member.size, archive.START_BYTES)))

    def _scan(self) -> Iterator[Member]:
        try:
            yield from self._read_headers()
        except _Holes as entry:
            raise archive.refused(self.path, str(entry), "is a file with holes") from entry
        except (_Damaged, tarfile.TarError, *DECOMPRESSION_ERRORS, ValueError, RecursionError, IndexError) as error:
            surprised = isinstance(error, RecursionError | IndexError)  # tarfile, by headers that it did not expect
            reason = "damaged headers" if surprised else getattr(error, "strerror", None) or error
            what = f"it is not a whole tar archive ({reason})"
            raise DataError(self.path, what, "copy or download it again") from error

    def _read_headers(self) -> Iterator[Member]:
        count, hashes = 0, Hashes()
        file = self._file()
        file.seek(0)
        length = None if self.local_only else Path(self.path).stat().st_size
        tar = _Headers(fileobj=file, tarinfo=_Header, errors="surrogateescape")
        while (info := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else it keeps every header
            name = info.name.removeprefix("./")
            if fault := _fault(info, name):
                raise archive.refused(self.path, name, fault)
            end = info.offset_data + info.size
            if length is not None and end > length:
                raise _Damaged(f"cut short in {name}")
            require_proportion(self.path, end, AGAIN, count)
            if info.isreg():
                count += 1
                hashes.add(hash(name))
                yield Member(name, info.size, info.offset_data)
        while self.local_only and file.read(_BLOCK_BYTES):  # to the checksum behind the last entry
            require_proportion(self.path, file.tell(), AGAIN)
        if twice := hashes.repeated():
            self._require_unique(twice)

    def _require_unique(self, hashes: set[int]) -> None:
        """Raises DataError if two of the members with these hashes of their names have the same name."""
        file = self._file()
        file.seek(0)
        names = []
        for info in _Headers(fileobj=file, tarinfo=_Header, errors="surrogateescape"):
            name = info.name.removeprefix("./")
            if info.isreg() and hash(name) in hashes:
                names.append(name)
        archive.require_unique(self.path, names)


def _fault(info: tarfile.TarInfo, name: str) -> str | None:
    """Why an entry is refused, or None."""
    if fault := archive.name_fault(name) or archive.name_fault(info.name):
        return fault
    if info.issym() or info.islnk():
        return "is a link"
    if not (info.isreg() or info.isdir()):
        return "is not a regular file"
    if info.size < 0 or info.offset_data < 0:
        return "has a size below zero"
    return f"is larger than {MAX_MEMBER >> 20} MB" if info.size > MAX_MEMBER else None
