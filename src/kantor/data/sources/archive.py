"""What archives of images have in common: regular members by name. Nothing is unpacked to disk."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path

from kantor.data.decoding.signatures import is_encoded_image, what_else
from kantor.data.reasons import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.archive_by_first_rules import FirstRules, label_in
from kantor.data.sources.arrangement import ALL, AUTO, Arrangement, Folders, choose_half, half_of, is_mask
from kantor.data.sources.open_file import FileSource, is_compressed
from kantor.data.sources.samples import Samples
from kantor.data.sources.source import RULES, Item, Rejected, require_images
from kantor.data.sources.spool import Member, Spool
from kantor.errors import DataError

MAX_MEMBER = 512 << 20
AGAIN = "make a new archive of the folder"
START_BYTES = 64
_MAX_COMPANION_BYTES = 1 << 20
_LABEL_SUFFIXES = (".cls", ".json")
_COMPANIONS = (*_LABEL_SUFFIXES, ".txt", ".idx")


class Archive(FileSource):
    """Regular members of an archive, in its order, or sorted by name.

    Args:
        labels: "auto" uses a dataset.json, else metadata.csv or .jsonl, else the .cls or .json next to each image (WebDataset), else
            folders (see arrangement.py); "none"; or a file of labels.
        split: "auto", "all", or the part of the dataset to use (data.split).
        videos: whether its images are frames of videos, too.
        part, beside: of pairs, the folder or kind that is used, or the one whose images are not (see `half_of`).
    """

    def __init__(
        self,
        path: str,
        labels: str = "auto",
        rules: int = RULES,
        split: str = AUTO,
        videos: bool = False,
        part: str = "",
        beside: str = "",
    ) -> None:
        super().__init__(path, labels, rules)
        self.split, self._suffixes, self.part, self.beside = split, names.images(rules, videos), part, beside
        self.local_only = is_compressed(path)  # as a whole, unlike a zip: it can only be read from its start

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the members. Labels are read once, however often they are listed."""
        if self.rules < 2:
            first = self._by_first_rules
            entries = require_images(first.entries(), self.path, True)
            if first.table:
                return label_files.attach(entries, first.table, f"{self.path}: {names.LABEL_FILE}", self.rules)
            return label_files.attach_file(entries, self.labels, self.rules)
        entries = require_images(self._entries(), self.path, True)
        if self._tables:
            return label_files.attach(entries, self._tables, self.path, self.rules, self.listing_notes)
        return label_files.attach_file(entries, self.labels, self.rules, self.listing_notes)

    def load(self, item: Item) -> bytes:
        """The member's bytes."""
        return self._read(Member(item.name, item.size, item.position))

    @abstractmethod
    def _scan(self) -> Iterable[Member]:
        """All regular files, checked, in any order; reading one's bytes at once is cheap."""

    @abstractmethod
    def _read(self, member: Member) -> bytes:
        """The member's bytes. Raises Undecodable if they are damaged."""

    @abstractmethod
    def _read_start(self, member: Member) -> bytes:
        """The first START_BYTES of a member. Raises Undecodable if they are damaged."""

    @property
    def sorted_by_name(self) -> bool:
        """Whether the members are listed in order of the bytes of their names."""
        return False

    def _entries(self) -> Iterator[Item | Rejected]:
        mtime_ns, arrangement, kind = Path(self.path).stat().st_mtime_ns, self._arrangement, self._kind
        for member, label in self._samples:
            parts = member.name.split("/")
            if not arrangement.uses(parts):
                continue
            if member.role == "image":
                if kind is not None and self._samples.kind_of(member.name) != kind:
                    continue
                label = label if self._samples.has_labels else names.class_of(parts, arrangement.class_depth)
                yield Item(member.name, member.place, member.size, mtime_ns, label)
            elif not self._is_label_file(member.name):
                reason = names.not_image(member.name, self.rules)
                yield Rejected(member.name, reason or what_else((member.text or "").encode("latin-1"), 2))

    def _is_label_file(self, name: str) -> bool:
        """Whether a member is no image, but says what images are."""
        known = name.rpartition("/")[2] in (names.LABEL_FILE, *label_files.METADATA)
        return known or (bool(self._samples.has_labels or self._samples.kinds) and name.endswith(_COMPANIONS))

    @cached_property
    def _members(self) -> Iterable[Member]:
        """All members but hidden ones, with what label files say."""
        spool: Spool | list[Member] = [] if self.sorted_by_name else Spool()
        add = spool.append if isinstance(spool, list) else spool.add
        for member in self._scan():
            if not any(names.is_clutter(part) or names.left_out(part) for part in member.name.split("/")):
                add(self._examined(member))
        if isinstance(spool, list):
            spool.sort(key=lambda member: member.name.encode("utf-8", "surrogateescape"))
        return spool

    def _examined(self, member: Member) -> Member:
        """The member with its role."""
        suffix, base = names.extension(member.name), member.name.rpartition("/")[2]
        if suffix in self._suffixes:
            return member._replace(role="image")
        if self.labels == "auto" and suffix in _LABEL_SUFFIXES and base != names.LABEL_FILE:
            if member.size > _MAX_COMPANION_BYTES:
                return member
            where = f"{self.path}: {member.name}"
            try:
                return member._replace(role="label", text=label_in(self._read(member), suffix))
            except (Undecodable, ValueError, RecursionError) as error:
                raise DataError(
                    where, f"this label cannot be read ({error})", "fix it, or use --labels none"
                ) from error
        if not suffix and member.size:
            try:
                start = self._read_start(member)
            except Undecodable:
                return member._replace(role="image")  # loading it says what is wrong
            is_image = is_encoded_image(start, self.rules)
            return member._replace(role="image") if is_image else member._replace(text=start.decode("latin-1"))
        return member

    @cached_property
    def _samples(self) -> Samples:
        """Raises DataError if each sample has several images, and the user has not chosen one."""
        samples = Samples(self._members, self.path)
        if not samples.kinds or (self.part or self.beside) in samples.kinds:
            return samples
        wanted = self.split.split("/")
        if ALL in wanted or not samples.kinds.keys().isdisjoint(wanted):
            return samples
        shown = " and ".join(f"{kind} ({count:,})" for kind, count in sorted(samples.kinds.items()))
        kinds = sorted(samples.kinds)
        likely = next((kind for kind in kinds if not is_mask(kind)), kinds[-1])
        other = next(kind for kind in kinds if kind != likely)
        what, above = f"each of its samples has several images: {shown}", "" if self.split == AUTO else f"{self.split}/"
        raise DataError(self.path, what, choose_half(self.path, likely, other, above))

    @cached_property
    def _kind(self) -> str | None:
        """The kind of image that is used, None for all."""
        kinds = self._samples.kinds
        if (self.part or self.beside) in kinds:
            return half_of(kinds, self.split, self.part, self.beside, self.path)
        return next((name for name in self.split.split("/") if name in kinds), None)

    @cached_property
    def _arrangement(self) -> Arrangement:
        folders = Folders(self.path)
        for member in self._members:
            if member.role == "image":
                folders.add(member.name)
        kinds = self._samples.kinds
        halves = ("", "") if (self.part or self.beside) in kinds else (self.part, self.beside)
        above = "/".join(name for name in self.split.split("/") if name not in kinds)
        arrangement = folders.arranged(above or AUTO, *halves)
        if self.labels != "auto" or self._samples.has_labels or self._tables:
            arrangement = replace(arrangement, class_depth=None, class_notes=())
        notes = [*arrangement.notes, *arrangement.class_notes]
        beside = [name for name in self._loose_names() if arrangement.is_beside(name.split("/"))]
        notes += label_files.unused_tables(beside, self.labels, bool(self._tables), self.path)
        self.listing_notes += [note for note in notes if note not in self.listing_notes]
        return arrangement

    def _loose_names(self) -> list[str]:
        """The first names of files that are no images."""
        return list(islice((member.name for member in self._members if not member.role), 200))

    @cached_property
    def _tables(self) -> dict[str, str]:
        """Labels by name, from the topmost dataset.json or metadata file, whose names are relative to its folder."""
        if self.labels != "auto":
            return {}
        known = (names.LABEL_FILE, *label_files.METADATA)
        tables = [member for member in self._members if member.name.rpartition("/")[2] in known]
        for table in sorted(
            tables, key=lambda member: (known.index(member.name.rpartition("/")[2]), member.name.count("/"))
        ):
            where, (folder, _, base) = f"{self.path}: {table.name}", table.name.rpartition("/")
            label_files.require_small(table.size, where)
            try:
                data = self._read(table)
            except Undecodable as error:
                raise DataError(where, str(error), AGAIN) from error
            if base == names.LABEL_FILE:
                labels = label_files.parse_dataset_json(data, where, self.rules, self.listing_notes)
            else:
                labels = label_files.metadata_labels(data, where, self._names_in(folder), self.listing_notes)
            if labels:
                return {f"{folder}/{name}" if folder else name: label for name, label in labels.items()}
        return {}

    def _names_in(self, folder: str) -> list[str]:
        """The names of images in a folder and below it, relative to it."""
        prefix = f"{folder}/" if folder else ""
        images = (member.name for member in self._members if member.role == "image")
        return [name.removeprefix(prefix) for name in images if name.startswith(prefix)]

    @cached_property
    def _by_first_rules(self) -> FirstRules:
        return FirstRules(self.path, self.labels, list(self._scan()), self._read, not self.local_only)


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
