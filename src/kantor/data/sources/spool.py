"""Members of an archive, and hashes of their names, kept in temporary files: a list of millions takes no memory."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kantor.data.repeated import repeated

_IN_MEMORY = 4 << 20  # bytes
_BLOCK = 256  # members that are written and read at once

_HASHES = 1 << 14  # that are written and read at once


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
        self._ends = array("q", [0])  # of the blocks in the file
        self._last: list[Member] = []  # the block that is not in the file yet

    def add(self, member: Member) -> None:
        self._last.append(member)
        if len(self._last) == _BLOCK:
            self._file.seek(self._ends[-1])
            self._ends.append(self._ends[-1] + self._file.write(json.dumps(self._last).encode()))
            self._last = []

    def __iter__(self) -> Iterator[Member]:
        for start, end in pairwise(self._ends):
            self._file.seek(start)
            for fields in json.loads(self._file.read(end - start)):
                yield Member(*fields)
        yield from self._last


class Hashes:
    """Hashes of names in the order in which they were added."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="kantor-")  # noqa: SIM115 - kept open
        self._count, self._last = 0, array("q")

    def add(self, value: int) -> None:
        self._last.append(value)
        self._count += 1
        if len(self._last) == _HASHES:
            self._file.write(self._last.tobytes())
            self._last = array("q")

    def repeated(self) -> set[int]:
        """Those that occur more than once."""
        return {int(value) for part in repeated(self._blocks, self._count) for value in part.view(np.int64)}

    def _blocks(self) -> Iterator[NDArray[np.uint64]]:
        self._file.seek(0)
        while data := self._file.read(_HASHES * self._last.itemsize):
            yield np.frombuffer(data, np.uint64)
        yield np.array(self._last, np.int64).view(np.uint64)
