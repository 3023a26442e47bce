"""What archives of images have in common: regular members by name. Nothing is unpacked to disk."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from kantor.data.reasons import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.open_file import FileSource
from kantor.data.sources.source import Item, Rejected, require_images
from kantor.errors import DataError

MAX_MEMBER = 512 << 20
AGAIN = "make a new archive of the folder"
_MAX_COMPANION_BYTES = 1 << 20


class Member(NamedTuple):
    """A regular file in an archive."""

    name: str  # with "/" between folders
    size: int  # bytes, unpacked
    place: int  # the byte at which it starts; the `position` of its item


class Archive(FileSource):
    """Regular members of an archive by name, in order of its bytes; of the archive, if that is read in order only.

    Args:
        labels: "auto" uses a dataset.json, else the .cls or .json next to each image (WebDataset), else folders,
            skipping single ones around everything; "none"; or a CSV or JSON file.
    """

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the members. Labels are read once, however often they are listed."""
        entries = require_images(self._entries(), self.path)
        if self._table:
            return label_files.attach(entries, self._table, f"{self.path}: {names.LABEL_FILE}")
        return label_files.attach_file(entries, self.labels)

    def load(self, item: Item) -> bytes:
        """The member's bytes."""
        return self._read(Member(item.name, item.size, item.position))

    @abstractmethod
    def _scan(self) -> list[Member]:
        """All regular files, checked, in any order."""

    @abstractmethod
    def _read(self, member: Member) -> bytes:
        """The member's bytes. Raises Undecodable if they are damaged."""

    @cached_property
    def _members(self) -> list[Member]:
        members = self._scan()
        if not self.local_only:
            members.sort(key=lambda member: member.name.encode("utf-8", "surrogateescape"))
        return members

    def _entries(self) -> Iterator[Item | Rejected]:
        mtime_ns = Path(self.path).stat().st_mtime_ns
        for name, size, place in self._members:
            parts = name.split("/")
            if any(map(names.is_clutter, parts)):
                continue
            if reason := names.not_image(name, self.rules):
                is_label = self._companions and name.endswith((".cls", ".json", ".txt"))
                if parts[-1] != names.LABEL_FILE and not is_label:
                    yield Rejected(name, reason)
                continue
            label = self._companions.get(_key(name)) if self._companions else names.class_of(parts, self._class_depth)
            yield Item(name, place, size, mtime_ns, label)

    @cached_property
    def _class_depth(self) -> int | None:
        if self.labels != "auto" or self._table or self._companions:
            return None
        return names.class_depth(member.name for member in self._members if _is_image(member.name, self.rules))

    @cached_property
    def _table(self) -> dict[str, str]:
        """Labels by name, from the topmost dataset.json, whose names are relative to its folder."""
        tables = [member for member in self._members if member.name.rsplit("/", 1)[-1] == names.LABEL_FILE]
        if self.labels != "auto" or not tables:
            return {}
        table = min(tables, key=lambda member: member.name.count("/"))
        where = f"{self.path}: {table.name}"
        label_files.require_small(table.size, where)
        try:
            labels = label_files.parse_dataset_json(self._read(table), where)
        except Undecodable as error:
            raise DataError(where, str(error), AGAIN) from error
        folder = table.name.removesuffix(names.LABEL_FILE)
        return {folder + name: label for name, label in labels.items()}

    @cached_property
    def _companions(self) -> dict[str, str]:
        """Label by key: the text of KEY.cls, or "class", "class_name" or "label" of KEY.json, if it has one."""
        if self.labels != "auto" or self._table:
            return {}
        images = {_key(member.name) for member in self._members if _is_image(member.name, self.rules)}
        labels: dict[str, dict[str, str]] = {".cls": {}, ".json": {}}
        for member in self._members:  # each once, in their order: a compressed archive is read from its start
            suffix, key = names.extension(member.name), _key(member.name)
            if suffix not in labels or key not in images or member.size > _MAX_COMPANION_BYTES:
                continue
            try:
                label = _label_in(self._read(member), suffix)
            except (Undecodable, ValueError, RecursionError) as error:
                where = f"{self.path}: {member.name}"
                raise DataError(where, f"this label cannot be read ({error})", "fix it") from error
            if label is not None:
                labels[suffix][key] = label
        return labels[".cls"] | labels[".json"]  # a name from the second says more than a number from the first


def name_fault(name: str) -> str | None:
    """Why an entry of this name is refused, or None."""
    if "\0" in name:
        return "has a zero byte in its name"
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute path"
    return "leads out of the archive" if ".." in name.split("/") else None


def refused(path: str, entry: str, fault: str, do: str = AGAIN) -> DataError:
    """The error for an archive with such an entry: no honest tool writes one."""
    return DataError(f"{path}: {entry}", f"the archive is refused, since this entry {fault}", do)


def require_unique(path: str, entries: Iterable[str], do: str = AGAIN) -> None:
    """Raises DataError if two entries have the same name."""
    for first, second in pairwise(sorted(entries)):
        if first == second:
            raise DataError(f"{path}: {first}", "two entries have this name", do)


def _key(name: str) -> str:
    """What the files of one sample share: the path up to the first dot of the file's name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _label_in(data: bytes, suffix: str) -> str | None:
    text = data.decode("utf-8")
    if suffix == ".cls":
        return text.strip() or None
    value = json.loads(text)
    candidates = [value.get(field) for field in ("class", "class_name", "label")] if isinstance(value, dict) else []
    return next((str(label) for label in candidates if isinstance(label, str | int) and str(label)), None)


def _is_image(name: str, rules: int) -> bool:
    return names.extension(name) in names.images(rules) and not any(map(names.is_clutter, name.split("/")))
