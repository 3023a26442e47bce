"""Images in a zip archive."""

from __future__ import annotations

import stat
import zipfile

from kantor.data.reasons import Undecodable
from kantor.data.sources import archive
from kantor.data.sources.archive import AGAIN, MAX_MEMBER, Archive
from kantor.data.sources.open_file import ZIP_ERRORS, cannot_open, require_proportion
from kantor.data.sources.spool import Member
from kantor.errors import DataError

MAX_RATIO = 1100  # beyond what deflate can do
ANY_RATIO = 64 << 20  # bytes of a member that may be of one colour, which deflate shrinks to a thousandth
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class Zip(Archive):
    """Regular members of a zip archive, by name.

    An archive with a name that leads out of it, a link, a password, a repeated name, overlapping members or sizes
    beyond the limits is refused whole: no honest tool writes such archives of images.
    """

    def prepare(self) -> None:
        """Reads the table of contents."""
        self._file()

    @property
    def sorted_by_name(self) -> bool:
        """Their table of contents is in memory anyway."""
        return True

    def _open(self) -> zipfile.ZipFile:
        return open_zip(self.path)

    def _scan(self) -> list[Member]:
        members = self._file().infolist()
        check(members, self.path)
        return [Member(m.filename, m.file_size, m.header_offset) for m in members if not m.filename.endswith("/")]

    def _read_start(self, member: Member) -> bytes:
        try:
            with self._file().open(member.name) as file:
                start: bytes = file.read(archive.START_BYTES)
        except ZIP_ERRORS as error:
            raise Undecodable("damaged", "damaged in the archive") from error
        return start

    def _read(self, member: Member) -> bytes:
        archive_file = self._file()
        try:
            with archive_file.open(member.name) as file:
                data: bytes = file.read(member.size + 1)
        except ZIP_ERRORS as error:
            raise Undecodable("damaged", "damaged in the archive (its checksum is wrong)") from error
        if len(data) != member.size:
            raise Undecodable("damaged", "damaged in the archive (its size is wrong)")
        return data


def open_zip(path: str) -> zipfile.ZipFile:
    """Opens the archive. Raises DataError if it cannot be read, or its table of contents is damaged."""
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise cannot_open(path, error) from error
    except ZIP_ERRORS as error:
        what = "it is not a whole zip archive (its table of contents is missing or damaged)"
        raise DataError(path, what, "copy or download it again") from error


def check(members: list[zipfile.ZipInfo], path: str, max_member: int = MAX_MEMBER, do: str = AGAIN) -> None:
    """Raises DataError, naming the entry, if this is not a plain archive of files. do: the remedy."""
    for member in members:
        if fault := _fault(member, max_member):
            raise archive.refused(path, member.orig_filename, fault, do)
    archive.require_unique(path, (member.filename for member in members), do)
    end, before = 0, ""
    for member in sorted(members, key=lambda m: m.header_offset):
        if member.header_offset < end:
            what = f"this entry overlaps with {before}: a zip bomb, or damaged"
            raise DataError(f"{path}: {member.filename}", what, do)
        end, before = member.header_offset + 30 + member.compress_size, member.filename
    require_proportion(path, sum(member.file_size for member in members), do)


def _fault(member: zipfile.ZipInfo, max_member: int) -> str | None:
    """Why an entry is refused, or None."""
    mode = member.external_attr >> 16
    if fault := archive.name_fault(member.orig_filename):
        return fault
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link" if stat.S_ISLNK(mode) else "is not a regular file"
    if member.flag_bits & 0x2041:
        return "needs a password"
    if member.compress_type not in _METHODS:
        return "is compressed by a method that is not supported"
    if member.file_size > max_member:
        return f"is larger than {max_member >> 20} MB"
    if member.file_size > ANY_RATIO and member.file_size > MAX_RATIO * max(member.compress_size, 1):
        return f"unpacks to more than {MAX_RATIO} times its size"
    return None
