"""What archives of pictures have in common: regular members by name. Nothing is unpacked to the disk."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from kantor.data.formats import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError

MAX_MEMBER = 512 << 20
MAX_TOTAL_RATIO = 200
ALWAYS_ALLOWED = 1 << 30  # bytes in total, whatever the ratio
AGAIN = "make a new archive of the folder"
_LARGEST_COMPANION = 1 << 20


class Member(NamedTuple):
    """A regular file in an archive: its name with "/" between folders, and its size in bytes, unpacked."""

    name: str
    size: int


Read = Callable[[int], bytes]


def entries(path: str, members: Sequence[Member], read: Read, labels: str) -> Iterator[Item | Rejected]:
    """The pictures of an archive in order of the bytes of the name; positions count the members.

    Args:
        members: in that order.
        read: the bytes of the member at a position.
        labels: "auto" takes a dataset.json, else the .cls or .json beside each picture (WebDataset), else folders,
            of which single ones around everything are no classes; "none"; or a CSV or JSON file.
    Raises:
        DataError: no pictures (after the last entry), or its labels are wrong.
    """
    if labels not in ("auto", "none"):
        return label_files.attach(_pictures(path, members, None), label_files.read_file(labels), labels)
    if labels == "auto":
        if own := _own_labels(path, members, read):
            return label_files.attach(_pictures(path, members, None), own, f"{path}: {names.LABEL_FILE}")
        if beside := _labels_beside(path, members, read):
            return _labelled(_pictures(path, members, None, beside), beside)
        return _pictures(path, members, names.class_depth(m.name for m in members if _accepted(m.name)))
    return _pictures(path, members, None)


def name_fault(name: str) -> str | None:
    """What speaks against an entry of this name."""
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


def too_large(path: str, total: int) -> DataError | None:
    """The error for an archive that unpacks to `total` bytes, where that is out of proportion."""
    if total <= ALWAYS_ALLOWED or total <= MAX_TOTAL_RATIO * Path(path).stat().st_size:
        return None
    what = f"it would unpack to {total >> 20} MB, more than {MAX_TOTAL_RATIO} times its size: a bomb"
    return DataError(path, what, AGAIN)


def _pictures(
    path: str, members: Sequence[Member], depth: int | None, companions: dict[str, str] | None = None
) -> Iterator[Item | Rejected]:
    """companions: files .cls and .json beside pictures are their labels, not strangers."""
    seen = Counter[str]()
    found, changed = 0, Path(path).stat().st_mtime_ns
    for position, (name, size) in enumerate(members):
        if any(names.is_clutter(part) for part in name.split("/")):
            continue
        reason = names.not_picture(name)
        if reason:
            strange = name.rsplit("/", 1)[-1] != names.LABEL_FILE
            if strange and not (companions and name.endswith((".cls", ".json", ".txt"))):
                seen[names.extension(name)] += 1
                yield Rejected(name, reason)
            continue
        found += 1
        parts = name.split("/")
        label = parts[depth] if depth is not None and len(parts) > depth + 1 else None
        yield Item(name, position, size, changed, label)
    if not found:
        raise names.no_pictures(path, seen)


def _own_labels(path: str, members: Sequence[Member], read: Read) -> dict[str, str]:
    """Labels of the topmost dataset.json, their names counted from its folder."""
    tables = [i for i, m in enumerate(members) if m.name.rsplit("/", 1)[-1] == names.LABEL_FILE]
    if not tables:
        return {}
    table = min(tables, key=lambda i: members[i].name.count("/"))
    where = f"{path}: {members[table].name}"
    try:
        found = label_files.parse_own(read(table), where)
    except Undecodable as error:
        raise DataError(where, str(error), AGAIN) from error
    prefix = members[table].name.removesuffix(names.LABEL_FILE)
    return {prefix + name: label for name, label in found.items()}


def _key(name: str) -> str:
    """What the files of one sample share: the path up to the first dot of the file's name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _labels_beside(path: str, members: Sequence[Member], read: Read) -> dict[str, str]:
    """Label by key: the text of KEY.cls, or "class", "class_name" or "label" of KEY.json, where it has one."""
    pictures = {_key(m.name) for m in members if _accepted(m.name)}
    found: dict[str, str] = {}
    for suffix in (".cls", ".json"):  # a name out of the second says more than a number out of the first
        for position, (name, size) in enumerate(members):
            if not name.endswith(suffix) or _key(name) not in pictures or size > _LARGEST_COMPANION:
                continue
            try:
                label = _label_in(read(position), suffix)
            except (Undecodable, ValueError, RecursionError) as error:
                raise DataError(f"{path}: {name}", f"this label cannot be read ({error})", "mend it") from error
            if label is not None:
                found[_key(name)] = label
    if len(set(found.values())) > label_files.MAX_CLASSES:
        raise DataError(path, f"more than {label_files.MAX_CLASSES} different labels", "use --labels none")
    return found


def _label_in(data: bytes, suffix: str) -> str | None:
    text = data.decode("utf-8")
    if suffix == ".cls":
        return text.strip() or None
    value = json.loads(text)
    if not isinstance(value, dict):
        return None
    named = (value.get(field) for field in ("class", "class_name", "label"))
    return next((str(label) for label in named if isinstance(label, str | int) and str(label)), None)


def _labelled(found: Iterator[Item | Rejected], labels: dict[str, str]) -> Iterator[Item | Rejected]:
    for entry in found:
        yield replace(entry, label=labels.get(_key(entry.name))) if isinstance(entry, Item) else entry


def _accepted(name: str) -> bool:
    """Whether the name is a picture's."""
    parts = name.split("/")
    return bool(parts[-1]) and not any(map(names.is_clutter, parts)) and names.extension(name) in names.PICTURES
