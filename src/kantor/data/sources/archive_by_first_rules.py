"""Archives by the first version of data.rules: members sorted by name, labels by the name up to its first dot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from kantor.data.reasons import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.samples import first_key
from kantor.data.sources.source import Item, Rejected
from kantor.data.sources.spool import Member
from kantor.errors import DataError

_MAX_COMPANION_BYTES = 1 << 20
_RULES = 1


class FirstRules:
    """The entries of an archive.

    Args:
        read: returns the bytes of a member.
        by_name: whether members are sorted by the bytes of their names.
    """

    def __init__(
        self, path: str, labels: str, members: list[Member], read: Callable[[Member], bytes], by_name: bool
    ) -> None:
        self.path, self.labels, self._read, self._members = path, labels, read, members
        if by_name:
            members.sort(key=lambda member: member.name.encode("utf-8", "surrogateescape"))

    def entries(self) -> Iterator[Item | Rejected]:
        mtime_ns = Path(self.path).stat().st_mtime_ns
        for name, size, place, *_ in self._members:
            parts = name.split("/")
            if any(map(names.is_clutter, parts)):
                continue
            if reason := names.not_image(name, _RULES):
                is_label = self._companions and name.endswith((".cls", ".json", ".txt"))
                if parts[-1] != names.LABEL_FILE and not is_label:
                    yield Rejected(name, reason)
                continue
            label = (
                self._companions.get(first_key(name)) if self._companions else names.class_of(parts, self._class_depth)
            )
            yield Item(name, place, size, mtime_ns, label)

    @cached_property
    def _class_depth(self) -> int | None:
        if self.labels != "auto" or self.table or self._companions:
            return None
        return names.class_depth(member.name for member in self._members if _is_image(member.name))

    @cached_property
    def table(self) -> dict[str, str]:
        """Labels by name, from the topmost dataset.json, whose names are relative to its folder."""
        tables = [member for member in self._members if member.name.rsplit("/", 1)[-1] == names.LABEL_FILE]
        if self.labels != "auto" or not tables:
            return {}
        table = min(tables, key=lambda member: member.name.count("/"))
        where = f"{self.path}: {table.name}"
        label_files.require_small(table.size, where)
        try:
            labels = label_files.parse_dataset_json(self._read(table), where, _RULES)
        except Undecodable as error:
            raise DataError(where, str(error), "make a new archive of the folder") from error
        folder = table.name.removesuffix(names.LABEL_FILE)
        return {folder + name: label for name, label in labels.items()}

    @cached_property
    def _companions(self) -> dict[str, str]:
        """Label by key: the text of KEY.cls, or "class", "class_name" or "label" of KEY.json, if it has one."""
        if self.labels != "auto" or self.table:
            return {}
        images = {first_key(member.name) for member in self._members if _is_image(member.name)}
        labels: dict[str, dict[str, str]] = {".cls": {}, ".json": {}}
        for member in self._members:  # each once, in their order: a compressed archive is read from its start
            suffix, key = names.extension(member.name), first_key(member.name)
            if suffix not in labels or key not in images or member.size > _MAX_COMPANION_BYTES:
                continue
            try:
                label = label_in(self._read(member), suffix)
            except (Undecodable, ValueError, RecursionError) as error:
                where = f"{self.path}: {member.name}"
                raise DataError(where, f"this label cannot be read ({error})", "fix it") from error
            if label is not None:
                labels[suffix][key] = label
        return labels[".cls"] | labels[".json"]  # a name from the second says more than a number from the first


def label_in(data: bytes, suffix: str) -> str | None:
    """The label that a .cls or .json file holds, None if it has none. Raises ValueError if it is malformed."""
    text = data.decode("utf-8")
    if suffix == ".cls":
        return text.strip() or None
    value = json.loads(text)
    candidates = [value.get(field) for field in ("class", "class_name", "label")] if isinstance(value, dict) else []
    return next((str(label) for label in candidates if isinstance(label, str | int) and str(label)), None)


def _is_image(name: str) -> bool:
    return names.extension(name) in names.images(_RULES) and not any(map(names.is_clutter, name.split("/")))
