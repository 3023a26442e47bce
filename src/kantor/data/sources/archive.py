"""What archives of images have in common: regular members by name. Nothing is unpacked to the disk."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from kantor.data.reasons import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError

MAX_MEMBER = 512 << 20
MAX_TOTAL_RATIO = 200
ALWAYS_ALLOWED = 1 << 30  # bytes in total, whatever the ratio
ALWAYS_LISTED = 100_000  # entries: each takes memory, even where it is empty
AGAIN = "make a new archive of the folder"
_LARGEST_COMPANION = 1 << 20


class Member(NamedTuple):
    """A regular file in an archive.

    Attributes:
        name: with "/" between folders.
        size: bytes, unpacked.
        place: where it is, as the archive's own reader understands it; the `position` of its item.
    """

    name: str
    size: int
    place: int


Read = Callable[[Member], bytes]


class Entries:
    """The images of an archive, in the order of its members. Its labels are read once, however often it is listed.

    Args:
        members: in their order.
        read: the bytes of a member.
        labels: "auto" takes a dataset.json, else the .cls or .json beside each image (WebDataset), else folders,
            of which single ones around everything are no classes; "none"; or a CSV or JSON file.
    Raises:
        DataError: its labels are wrong.
    """

    def __init__(self, path: str, members: Sequence[Member], read: Read, labels: str) -> None:
        self._path, self._members, self._labels = path, members, labels
        self._own: dict[str, str] = {}
        self._beside: dict[str, str] = {}
        self._depth: int | None = None
        if labels == "auto":
            self._own = _own_labels(path, members, read)
            self._beside = {} if self._own else _labels_beside(path, members, read)
            if not self._own and not self._beside:
                self._depth = names.class_depth(m.name for m in members if _accepted(m.name))

    def __iter__(self) -> Iterator[Item | Rejected]:
        """Raises DataError where there are no images (after the last entry), or where a file of labels is wrong."""
        found = _images(self._path, self._members, self._depth, self._beside)
        if self._labels not in ("auto", "none"):
            return label_files.attach(found, label_files.read_file(self._labels), self._labels)
        if self._own:
            return label_files.attach(found, self._own, f"{self._path}: {names.LABEL_FILE}")
        return _labelled(found, self._beside) if self._beside else found


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


def too_large(path: str, total: int, count: int = 0) -> DataError | None:
    """The error for a file that unpacks to `total` bytes in `count` entries, where that is out of proportion."""
    if total <= ALWAYS_ALLOWED and count <= ALWAYS_LISTED:
        return None
    size = Path(path).stat().st_size
    if count > max(size, ALWAYS_LISTED):
        return DataError(path, f"it has more entries ({count:,}) than bytes: a bomb", AGAIN)
    if total <= max(MAX_TOTAL_RATIO * size, ALWAYS_ALLOWED):
        return None
    what = f"it would unpack to {total >> 20} MB, more than {MAX_TOTAL_RATIO} times its size: a bomb"
    return DataError(path, what, AGAIN)


def _images(
    path: str, members: Sequence[Member], depth: int | None, companions: dict[str, str]
) -> Iterator[Item | Rejected]:
    """companions: files .cls and .json beside images are their labels, not strangers."""
    seen = Counter[str]()
    found, changed = 0, Path(path).stat().st_mtime_ns
    for name, size, place in members:
        if any(names.is_clutter(part) for part in name.split("/")):
            continue
        reason = names.not_image(name)
        if reason:
            strange = name.rsplit("/", 1)[-1] != names.LABEL_FILE
            if strange and not (companions and name.endswith((".cls", ".json", ".txt"))):
                seen[names.extension(name)] += 1
                yield Rejected(name, reason)
            continue
        found += 1
        parts = name.split("/")
        label = parts[depth] if depth is not None and len(parts) > depth + 1 else None
        yield Item(name, place, size, changed, label)
    if not found:
        raise names.no_images(path, seen)


def _own_labels(path: str, members: Sequence[Member], read: Read) -> dict[str, str]:
    """Labels of the topmost dataset.json, their names counted from its folder."""
    tables = [member for member in members if member.name.rsplit("/", 1)[-1] == names.LABEL_FILE]
    if not tables:
        return {}
    table = min(tables, key=lambda member: member.name.count("/"))
    where = f"{path}: {table.name}"
    label_files.require_small(table.size, where)
    try:
        found = label_files.parse_own(read(table), where)
    except Undecodable as error:
        raise DataError(where, str(error), AGAIN) from error
    prefix = table.name.removesuffix(names.LABEL_FILE)
    return {prefix + name: label for name, label in found.items()}


def _key(name: str) -> str:
    """What the files of one sample share: the path up to the first dot of the file's name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _labels_beside(path: str, members: Sequence[Member], read: Read) -> dict[str, str]:
    """Label by key: the text of KEY.cls, or "class", "class_name" or "label" of KEY.json, where it has one."""
    images = {_key(m.name) for m in members if _accepted(m.name)}
    found: dict[str, dict[str, str]] = {".cls": {}, ".json": {}}
    for member in members:  # each once, in their order: a compressed archive is read from its start on
        suffix = names.extension(member.name)
        key = _key(member.name)
        if suffix not in found or key not in images or member.size > _LARGEST_COMPANION:
            continue
        try:
            label = _label_in(read(member), suffix)
        except (Undecodable, ValueError, RecursionError) as error:
            raise DataError(f"{path}: {member.name}", f"this label cannot be read ({error})", "mend it") from error
        if label is not None:
            found[suffix][key] = label
    return found[".cls"] | found[".json"]  # a name out of the second says more than a number out of the first


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
    """Whether the name is an image's."""
    parts = name.split("/")
    return bool(parts[-1]) and not any(map(names.is_clutter, parts)) and names.extension(name) in names.IMAGES
