"""Members of an archive kept in a temporary file: a list of millions takes no memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from typing import IO, NamedTuple

_IN_MEMORY = 4 << 20  # bytes


class Member(NamedTuple):
    """A regular file in an archive."""

    name: str  # with "/" between folders
    size: int  # bytes, unpacked
    place: int  # the byte at which it starts; the `position` of its item
    role: str = ""  # "image", "label", or "" for all others
    text: str | None = None  # what a label says


class Spool:
    """Members in the order in which they were added; several iterators at a time are fine."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="kantor-")  # noqa: SIM115 - kept open
        self._end = 0

    def add(self, member: Member) -> None:
        line = json.dumps(member).encode() + b"\n"
        self._file.seek(self._end)
        self._end += self._file.write(line)

    def __iter__(self) -> Iterator[Member]:
        at = 0
        while at < self._end:
            self._file.seek(at)
            lines = self._file.read(1 << 16).splitlines(keepends=True)
            if len(lines) > 1 and not lines[-1].endswith(b"\n"):
                lines.pop()
            elif not lines[-1].endswith(b"\n"):  # one line longer than the block
                self._file.seek(at)
                lines = [self._file.readline()]
            at += sum(map(len, lines))
            for line in lines:
                yield Member(*json.loads(line))
