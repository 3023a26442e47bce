"""What archives of images have in common: regular members by name. Nothing is unpacked to disk."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from kantor.data.reasons import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.open_file import OpenFile
from kantor.data.sources.source import Item, Rejected, Source
from kantor.errors import DataError

MAX_MEMBER = 512 << 20
MAX_TOTAL_RATIO = 200
ALWAYS_ALLOWED = 1 << 30  # bytes in total, at any ratio
ALWAYS_LISTED = 100_000  # entries: each takes memory, even an empty one
AGAIN = "make a new archive of the folder"
_MAX_COMPANION_BYTES = 1 << 20


class Member(NamedTuple):
    """A regular file in an archive.

    Attributes:
        name: with "/" between folders.
        size: bytes, unpacked.
        place: where the archive's own reader finds it; the `position` of its item.
    """

    name: str
    size: int
    place: int


class Archive(Source):
    """Regular members of an archive, by name.

    Args:
        path: the archive.
        labels: "auto" uses a dataset.json, else the .cls or .json next to each image (WebDataset), else folders,
            skipping single ones around everything; "none"; or a CSV or JSON file.
    """

    def __init__(self, path: str, labels: str, opener: Callable[[str], Any]) -> None:
        self.path, self.labels = path, labels
        self._file: OpenFile[Any] = OpenFile(path, opener)
        self._entries: Entries | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_entries": None}

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the members.

        Raises:
            DataError: the archive cannot be read, is refused, has no images (after the last entry), or its labels
                are wrong.
        """
        if self._entries is None:
            self._entries = Entries(self.path, self._members(), self._read, self.labels)
        return iter(self._entries)

    def load(self, item: Item) -> bytes:
        """The member's bytes.

        Raises:
            Undecodable: it is damaged.
        """
        return self._read(Member(item.name, item.size, item.position))

    def release(self) -> None:
        """Closes the archive."""
        self._file.release()

    @abstractmethod
    def _members(self) -> Sequence[Member]:
        """All regular files, checked."""

    @abstractmethod
    def _read(self, member: Member) -> bytes:
        """The member's bytes. Raises Undecodable if they are damaged."""


class Entries:
    """The images of an archive, in the order of its members. Its labels are read once, however often it is listed.

    Raises:
        DataError: its labels are wrong.
    """

    def __init__(self, path: str, members: Sequence[Member], read: Callable[[Member], bytes], labels: str) -> None:
        self._path, self._members, self._labels = path, members, labels
        self._table: dict[str, str] = {}
        self._companions: dict[str, str] = {}
        self._depth: int | None = None
        if labels == "auto":
            self._table = _read_table(path, members, read)
            self._companions = {} if self._table else _read_companions(path, members, read)
            if not self._table and not self._companions:
                self._depth = names.class_depth(m.name for m in members if _is_image(m.name))

    def __iter__(self) -> Iterator[Item | Rejected]:
        """Raises DataError if there are no images (after the last entry), or a file of labels is wrong."""
        entries = self._images()
        if self._table:
            return label_files.attach(entries, self._table, f"{self._path}: {names.LABEL_FILE}")
        return label_files.attach_file(entries, self._labels)

    def _images(self) -> Iterator[Item | Rejected]:
        rejected = Counter[str]()
        count, mtime_ns = 0, Path(self._path).stat().st_mtime_ns
        for name, size, place in self._members:
            parts = name.split("/")
            if any(map(names.is_clutter, parts)):
                continue
            if reason := names.not_image(name):
                is_label = self._companions and name.endswith((".cls", ".json", ".txt"))
                if parts[-1] != names.LABEL_FILE and not is_label:
                    rejected[names.extension(name)] += 1
                    yield Rejected(name, reason)
                continue
            count += 1
            in_companion = self._companions.get(_key(name))
            label = in_companion if self._companions else names.class_of(parts, self._depth)
            yield Item(name, place, size, mtime_ns, label)
        if not count:
            raise names.no_images(self._path, rejected)


def name_fault(name: str) -> str | None:
    """Why an entry of this name is refused, or None."""
    if "\0" in name:
        return "has a zero byte in its name"
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in name.split("/"):
        return "leads out of the archive"
    return None


def refused(path: str, entry: str, fault: str) -> DataError:
    """The error for an archive with such an entry: no honest tool writes one."""
    return DataError(f"{path}: {entry}", f"the archive is refused, since this entry {fault}", AGAIN)


def require_unique(path: str, names_in_order: Sequence[str]) -> None:
    """Raises DataError if two entries have the same name."""
    for first, second in pairwise(names_in_order):
        if first == second:
            raise DataError(f"{path}: {first}", "two entries have this name", AGAIN)


def too_large(path: str, total: int, count: int = 0) -> DataError | None:
    """The error for a file that unpacks to `total` bytes in `count` entries, if that is out of proportion."""
    if total <= ALWAYS_ALLOWED and count <= ALWAYS_LISTED:
        return None
    size = Path(path).stat().st_size
    if count > max(size, ALWAYS_LISTED):
        return DataError(path, f"it has more entries ({count:,}) than bytes: a bomb", AGAIN)
    if total <= max(MAX_TOTAL_RATIO * size, ALWAYS_ALLOWED):
        return None
    what = f"it would unpack to {total >> 20} MB, more than {MAX_TOTAL_RATIO} times its size: a bomb"
    return DataError(path, what, AGAIN)


def _read_table(path: str, members: Sequence[Member], read: Callable[[Member], bytes]) -> dict[str, str]:
    """Labels of the topmost dataset.json, whose names are relative to its folder."""
    tables = [member for member in members if member.name.rsplit("/", 1)[-1] == names.LABEL_FILE]
    if not tables:
        return {}
    table = min(tables, key=lambda member: member.name.count("/"))
    where = f"{path}: {table.name}"
    label_files.require_small(table.size, where)
    try:
        labels = label_files.parse_dataset_json(read(table), where)
    except Undecodable as error:
        raise DataError(where, str(error), AGAIN) from error
    folder = table.name.removesuffix(names.LABEL_FILE)
    return {folder + name: label for name, label in labels.items()}


def _key(name: str) -> str:
    """What the files of one sample share: the path up to the first dot of the file's name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _read_companions(path: str, members: Sequence[Member], read: Callable[[Member], bytes]) -> dict[str, str]:
    """Label by key: the text of KEY.cls, or "class", "class_name" or "label" of KEY.json, if it has one."""
    images = {_key(m.name) for m in members if _is_image(m.name)}
    labels: dict[str, dict[str, str]] = {".cls": {}, ".json": {}}
    for member in members:  # each once, in their order: a compressed archive is read from its start
        suffix = names.extension(member.name)
        key = _key(member.name)
        if suffix not in labels or key not in images or member.size > _MAX_COMPANION_BYTES:
            continue
        try:
            label = _label_in(read(member), suffix)
        except (Undecodable, ValueError, RecursionError) as error:
            raise DataError(f"{path}: {member.name}", f"this label cannot be read ({error})", "fix it") from error
        if label is not None:
            labels[suffix][key] = label
    return labels[".cls"] | labels[".json"]  # a name from the second says more than a number from the first


def _label_in(data: bytes, suffix: str) -> str | None:
    text = data.decode("utf-8")
    if suffix == ".cls":
        return text.strip() or None
    value = json.loads(text)
    if not isinstance(value, dict):
        return None
    candidates = (value.get(field) for field in ("class", "class_name", "label"))
    return next((str(label) for label in candidates if isinstance(label, str | int) and str(label)), None)


def _is_image(name: str) -> bool:
    """Whether the name is an image's."""
    parts = name.split("/")
    return bool(parts[-1]) and not any(map(names.is_clutter, parts)) and names.extension(name) in names.IMAGES
