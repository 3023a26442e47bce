"""Which label file belongs to which image in an archive: KEY.png and KEY.cls, as WebDataset has them.

The key is the name up to its last dot, if there is such an image; else up to the first one, as WebDataset reads it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice

from kantor.data.sources.spool import Member
from kantor.errors import DataError

_WINDOW = 64  # members of one key that are looked at together
_MOST_KINDS = 8
_UNNAMED = "image"  # the kind of 0001.jpg beside 0001.mask.png
_NUMBERED = re.compile(r"[a-z]{0,3}[0-9]+|")  # versions of an image rather than kinds


def first_key(name: str) -> str:
    """The path up to the first dot of the file's name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def last_key(name: str) -> str:
    """The path up to the last dot of the file's name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + (base.rpartition(".")[0] or base)


def kind_of(name: str) -> str:
    """What stands between the first and the last dot: "input" of "0001.input.png"."""
    return last_key(name)[len(first_key(name)) + 1 :]


def field_of(name: str) -> str:
    """What follows the first dot: "mask.png" of "0001.mask.png", in WebDataset the name of a field."""
    return name.rpartition("/")[2].partition(".")[2]


class Samples:
    """The members of an archive, grouped by key.

    Args:
        members: in their order; can be iterated over several times.
        where: the archive, for messages.
    """

    def __init__(self, members: Iterable[Member], where: str) -> None:
        self._members, self._where = members, where
        self._labels: dict[str, str] | None = None  # by key; None if each label is next to its image
        self.has_labels = False
        strays, tallies = False, [_Tally(kind_of), _Tally(field_of)]
        for group in _groups(members):
            images = [member for member in group if member.role == "image"]
            labels = [member for member in group if member.role == "label" and member.text is not None]
            self.has_labels = self.has_labels or bool(images and labels)
            strays = strays or bool(labels and not images)
            if images:
                for tally in tallies:
                    tally.add([member.name for member in images])
        found = next((tally for tally in tallies if tally.has_kinds), None)
        self.kinds = {self._named(kind): count for kind, count in found.kinds.items()} if found else {}
        self._kind_of = found.kind_of if found else kind_of
        if strays:
            self._labels = _by_key(member for member in members if member.role == "label")
            self.has_labels = self.has_labels or any(
                first_key(m.name) in self._labels for m in members if m.role == "image"
            )

    def kind_of(self, name: str) -> str:
        """The kind of an image, as `kinds` names it: "image" if only the others have a name."""
        return self._named(self._kind_of(name))

    def _named(self, kind: str) -> str:
        return kind or _UNNAMED

    def __iter__(self) -> Iterator[tuple[Member, str | None]]:
        """Each member with its label, None if it has none."""
        if self._labels is not None:
            for member in self._members:
                yield member, self._label(member, self._labels)
            return
        for group in _groups(self._members):
            labels = _by_key(member for member in group if member.role == "label")
            for member in group:
                yield member, self._label(member, labels)

    def _label(self, member: Member, labels: dict[str, str]) -> str | None:
        label = labels.get(last_key(member.name), labels.get(first_key(member.name)))
        if label is _UNCLEAR:
            what = f"two label files of different classes belong to {member.name}"
            raise DataError(self._where, what, "keep one of them, or use --labels none")
        return label


_UNCLEAR = "\0"


def _by_key(members: Iterable[Member]) -> dict[str, str]:
    """Label by last key, and by first key if all that share it agree; a .json says more than a .cls."""
    own: dict[str, str] = {}
    for member in sorted(members, key=lambda member: member.name.endswith(".json")):
        if member.text is not None:
            own[last_key(member.name)] = member.text
    shared: dict[str, str] = {}
    for key, label in own.items():
        if shared.setdefault(first_key(key), label) != label:
            shared[first_key(key)] = _UNCLEAR
    return shared | own


class _Tally:
    """Counts the images of each kind, as long as each sample has one of each."""

    def __init__(self, kind_of: Callable[[str], str]) -> None:
        self.kind_of, self.kinds = kind_of, Counter[str]()
        self._samples, self._same = 0, True

    def add(self, images: Sequence[str]) -> None:
        """Adds the names of the images of a sample."""
        if self._same:
            own = Counter(map(self.kind_of, images))
            self._same = len(own) == len(images) and (not self.kinds or own.keys() == self.kinds.keys())
            self.kinds.update(own)
            self._samples += 1

    @property
    def has_kinds(self) -> bool:
        several = self._same and self._samples > 1 and 2 <= len(self.kinds) <= _MOST_KINDS
        if {"", _UNNAMED} <= self.kinds.keys():  # their names would be the same
            return False
        return several and not any(_NUMBERED.fullmatch(kind.lower().partition(".")[0]) for kind in self.kinds if kind)


def _groups(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Neighbours of one first key, at most some at a time."""
    for _, neighbours in groupby(members, key=lambda member: first_key(member.name)):
        while group := list(islice(neighbours, _WINDOW)):
            yield group
