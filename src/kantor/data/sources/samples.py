"""Which label file belongs to which image in an archive: KEY.png and KEY.cls, as WebDataset has them.

The key is the name up to its last dot, if there is such an image; else up to the first one, as WebDataset reads it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, islice

from kantor.data.sources.names import extension
from kantor.data.sources.spool import Member
from kantor.errors import DataError

_WINDOW = 64  # members of one key that are looked at together
_MOST_KINDS = 8
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
    """What stands between the first and the last dot: "input" of "0001.input.png"; else the ending: "jpg" of "0001.jpg"."""
    return last_key(name)[len(first_key(name)) + 1 :] or extension(name)[1:]


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
        kinds, samples, strays = Counter[str](), 0, False
        same = True
        for group in _groups(members):
            images = [member for member in group if member.role == "image"]
            labels = [member for member in group if member.role == "label" and member.text is not None]
            self.has_labels = self.has_labels or bool(images and labels)
            strays = strays or bool(labels and not images)
            if images and same:
                samples += 1
                own = Counter(kind_of(member.name) for member in images)
                same = len(own) == len(images) and (samples == 1 or own.keys() == kinds.keys())
                kinds.update(own)
        self.kinds = dict(kinds) if same and samples > 1 and _are_kinds(kinds) else {}
        if strays:
            self._labels = _by_key(member for member in members if member.role == "label")
            self.has_labels = self.has_labels or any(
                first_key(m.name) in self._labels for m in members if m.role == "image"
            )

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


def _are_kinds(kinds: Counter[str]) -> bool:
    return 2 <= len(kinds) <= _MOST_KINDS and not any(_NUMBERED.fullmatch(kind.lower()) for kind in kinds if kind)


def _groups(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Neighbours of one first key, at most some at a time."""
    for _, neighbours in groupby(members, key=lambda member: first_key(member.name)):
        while group := list(islice(neighbours, _WINDOW)):
            yield group
