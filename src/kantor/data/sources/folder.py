"""A folder of images, with all folders in it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from kantor.data.decoding.array_hints import channels_first
from kantor.data.decoding.signatures import is_encoded_image, what_else
from kantor.data.reasons import Reason, Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.arrangement import AUTO, Arrangement, Folders
from kantor.data.sources.npy import parse_header
from kantor.data.sources.source import MAX_BYTES, RULES, Item, Loaded, Rejected, Source, require_images
from kantor.errors import DataError

_OUR_LABELS = b"file,class,seed\n"  # the first line of its labels.csv
_IN_ICLOUD = Reason("access", "in iCloud, not on this disk", "download them: select them in the Finder, Download Now")
_FOLLOW = "follow links with --set data.links=follow"
_MOST_LOOSE = 1000
_WORDS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "gone since the listing",
    errno.ELOOP: "link in a circle",
    errno.ENAMETOOLONG: "path too long",
    errno.EIO: "the disk cannot read it",
}


class Folder(Source):
    """Images by their path relative to the folder.

    Links are followed only to files inside the folder, unless `links` says otherwise; a link to a folder is rejected,
    since its target is either listed under its own name or outside.

    Args:
        labels: "auto": dataset.json at the top, else metadata.csv or .jsonl next to the images, else folders (see
            arrangement.py); "none"; or a file of labels.
        split: "auto", "all", or the part of the dataset to use (data.split).
        links: "inside", or "follow" to follow all links (data.links).
        arrays: whether its images are .npy files.
        videos: whether its images are frames of videos, too.
        only: the one file in it that is meant, "" for all.
        part, beside: of pairs, the folder that is used, or the one whose images are not (see `half_of`).
    """

    def __init__(
        self,
        path: str,
        labels: str = "auto",
        rules: int = RULES,
        split: str = AUTO,
        links: str = "inside",
        arrays: bool = False,
        videos: bool = False,
        only: str = "",
        part: str = "",
        beside: str = "",
    ) -> None:
        self.path, self.labels, self.rules, self.split, self.links = path, labels, rules, split, links
        self.arrays, self.only, self.part, self.beside = arrays, only, part, beside
        self._suffixes = names.images(rules, videos) | ({".npy"} if arrays else set())

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the bytes of the path."""
        table, labels = Path(self.path) / names.LABEL_FILE, {}
        if self.labels == "auto":
            with contextlib.suppress(OSError):  # if the whole folder is unreadable, walking it says so
                if table.is_file():
                    label_files.require_small(table.stat().st_size, str(table))
                    labels = label_files.parse_dataset_json(
                        table.read_bytes(), str(table), self.rules, self.listing_notes
                    )
        if self.rules < 2:
            depth = self._class_depth() if self.labels == "auto" and not labels else None
            entries = require_images(self._entries(Arrangement(depth)), self.path)
        else:
            if self.labels == "auto" and not labels:
                labels = self._metadata_labels
            entries = self._arranged_entries(with_classes=not labels)
        if labels:
            return label_files.attach(entries, labels, str(table), self.rules, self.listing_notes)
        return label_files.attach_file(entries, self.labels, self.rules, self.listing_notes)

    def _arranged_entries(self, with_classes: bool) -> Iterator[Item | Rejected]:
        """As the folders are arranged, by the rules from 2 on."""
        arrangement, left_out, without, loose = self._arrangement
        notes = list(arrangement.notes)
        if left_out:
            shown = ", ".join(f"{name} ({names.left_out(name)})" for name in sorted(left_out)[:3])
            notes.append(f"left out: {shown}{', ...' if len(left_out) > 3 else ''}")
        if self.labels != "auto" or not with_classes:
            arrangement = replace(arrangement, class_depth=None, class_notes=())
        elif without:
            notes.append(f"no image in {', '.join(without[:5])}{' ...' if len(without) > 5 else ''}: not a class")
        notes += arrangement.class_notes
        beside = [name for name in loose if arrangement.is_beside(name.split("/"))]
        notes += label_files.unused_tables(beside, self.labels, not with_classes, self.path)
        self.listing_notes += [note for note in notes if note not in self.listing_notes]
        return require_images(self._entries(arrangement), self.path)

    @cached_property
    def _metadata_labels(self) -> dict[str, str]:
        """Labels by name, from the metadata files of Hugging Face's ImageFolder."""
        arrangement, _, _, loose = self._arrangement
        tables = [name for name in loose if name.rpartition("/")[2] in label_files.METADATA]
        used = [table for table in tables if arrangement.is_beside(table.split("/"))]
        entries = self._entries(replace(arrangement, class_depth=None)) if used else iter(())
        all_images, labels = [entry.name for entry in entries if isinstance(entry, Item)], dict[str, str]()
        for name in used:
            path, prefix = Path(self.path) / name, name[: len(name) - len(name.rpartition("/")[2])]
            label_files.require_small(path.stat().st_size, str(path))
            images = [image.removeprefix(prefix) for image in all_images if image.startswith(prefix)]
            found = label_files.metadata_labels(path.read_bytes(), str(path), images, self.listing_notes)
            labels |= {prefix + image: label for image, label in found.items()}
        return labels

    @cached_property
    def _arrangement(self) -> tuple[Arrangement, frozenset[str], list[str], list[str]]:
        """How the folders are arranged, names of those left out, folders without images that would be classes, files that are no images."""
        root, folders = os.path.realpath(os.fsencode(self.path)), Folders(self.path)
        visited, left_out, loose = list[str](), set[str](), list[str]()
        for path in (
            _paths(root, self.path, self.rules, self.links == "follow", visited, left_out) if not self.only else ()
        ):
            if isinstance(path, bytes):
                name = os.fsdecode(path)
                if is_grid_with_labels(root, path, self.rules):
                    continue
                if _is_image(root + b"/" + path, self._suffixes, self.rules):
                    folders.add(name)
                elif len(loose) < _MOST_LOOSE or name.rsplit("/", 1)[-1] in label_files.METADATA:
                    loose.append(name)
        arrangement = folders.arranged(self.split, self.part, self.beside)
        depth, without = arrangement.class_depth, list[str]()
        if depth is not None:
            used = folders.names(depth)
            at_depth = (path.split("/") for path in visited if path.count("/") == depth)
            without = sorted("/".join(p) for p in at_depth if tuple(p) not in used and arrangement.uses([*p, ""]))
        return arrangement, frozenset(left_out), without, loose

    def load(self, item: Item) -> Loaded:
        """The file's bytes, or the array in it."""
        data = self._read(item)
        if not self._is_array(item.name):
            return data
        header = parse_header(io.BytesIO(data), item.name, len(data), "save it again with np.save")
        array = header.array(data[header.offset : header.offset + header.size])
        turned = array.ndim == 3 and array.shape[2] not in (1, 3, 4) and channels_first(array.shape)
        return np.moveaxis(array, 0, 2) if turned else array

    def _is_array(self, name: str) -> bool:
        return self.arrays and names.extension(name) == ".npy"

    def _read(self, item: Item) -> bytes:
        path = f"{self.path}/{item.name}"
        try:
            # without O_NONBLOCK, a FIFO put there since the listing would block for ever
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            with os.fdopen(handle, "rb") as file:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise Undecodable("access", "not a regular file")
                if status.st_size > MAX_BYTES:
                    raise Undecodable("size", f"larger than {MAX_BYTES >> 20} MB")
                return file.read(status.st_size + 1)  # a larger buffer would cost more than the reading
        except OSError as error:
            raise Undecodable(*_reason(error)) from error

    def _entries(self, arrangement: Arrangement) -> Iterator[Item | Rejected]:
        """All images that the arrangement uses, and all files there that are not images."""
        root = os.path.realpath(os.fsencode(self.path))
        position, grid = 0, ""
        follow, own_labels = self.links == "follow", self._own_labels(root)
        for path in _paths(root, self.path, self.rules, follow):
            if isinstance(path, Rejected):
                yield path
                continue
            name = os.fsdecode(path)
            parts = name.split("/")
            if not arrangement.uses(parts) or (self.only and name != self.only):
                continue
            status = _examine(root, path, name, self._suffixes, self.rules, follow)
            if isinstance(status, Reason):
                is_known = self.rules >= 2 and (parts[-1] in label_files.METADATA or path == own_labels)
                if name != names.LABEL_FILE and not is_known:
                    yield Rejected(name, status)
            elif name == grid or is_grid_with_labels(root, path, self.rules):
                yield Rejected(name, names.SHEET)
            else:
                if names.GENERATED.fullmatch(parts[-1]):
                    grid = "/".join([*parts[:-1], names.GRID])  # comes after these
                yield Item(
                    name, position, status.st_size, status.st_mtime_ns, names.class_of(parts, arrangement.class_depth)
                )
                position += 1

    def _own_labels(self, root: bytes) -> bytes:
        """The file of labels in use, relative to the folder; nothing if it is elsewhere."""
        labels = os.path.realpath(os.fsencode(label_files.split_column(self.labels)[0]))
        return labels[len(root) + 1 :] if labels.startswith(root + b"/") else b""

    def _class_depth(self) -> int | None:
        """The part of the path that names the class: None if an image is next to folders, or there is one folder."""
        root = os.path.realpath(os.fsencode(self.path))
        for depth in range(64):
            try:
                entries = _contents(root, 1)
            except OSError:
                return None
            inner = [entry for entry in entries if entry.endswith(b"/")]
            if not inner or any(
                _is_image(root + b"/" + entry, names.IMAGES, 1) for entry in entries if not entry.endswith(b"/")
            ):
                return None
            if len(inner) > 1:
                return depth
            root += b"/" + inner[0]
        return None


def _paths(
    root: bytes,
    shown: str,
    rules: int,
    follow: bool,
    visited: list[str] | None = None,
    left_out: set[str] | None = None,
) -> Iterator[bytes | Rejected]:
    """Relative paths of everything that is not a folder, in order of their bytes; each folder once, unless a link repeats it.

    Args:
        follow: whether links to folders are followed; not to one that is around them.
        visited: receives the relative paths of folders.
        left_out: receives the names of those that hold no images of the user's.
    """
    stack: list[tuple[bytes, frozenset[tuple[int, int]]]] = [(b"", frozenset())]
    seen = set[tuple[int, int]]()
    while stack:
        path, around = stack.pop()
        if path and not path.endswith(b"/"):
            base = os.fsdecode(path.rpartition(b"/")[2])
            if names.is_placeholder(base):
                folder = os.fsdecode(path)[: -len(base)]
                yield Rejected(folder + base[1 : -len(names.ICLOUD)], _IN_ICLOUD)
            else:
                yield path
            continue
        try:
            status = os.stat(root + b"/" + path) if follow else os.lstat(root + b"/" + path)  # noqa: PTH116 - bytes
            place = status.st_dev, status.st_ino
            if place in around or (not follow and place in seen):  # a mount can show a folder inside itself
                continue
            seen.add(place)
            entries = _contents(root + b"/" + path, rules, follow, left_out)
        except OSError as error:
            if not path:
                raise DataError(shown, f"cannot be read ({_reason(error)})", "check its permissions") from error
            yield Rejected(os.fsdecode(path.rstrip(b"/")), _reason(error))
            continue
        if visited is not None and path:
            visited.append(os.fsdecode(path.rstrip(b"/")))
        stack += [(path + entry, around | {place}) for entry in reversed(entries)]


def _contents(folder: bytes, rules: int, follow: bool = False, left_out: set[str] | None = None) -> list[bytes]:
    """Names in a folder but clutter and folders left out; those of folders with "/" at the end, so that sorting sorts paths."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = os.fsdecode(entry.name)
            if names.is_clutter(name) and not (rules >= 2 and names.is_placeholder(name)):
                continue
            is_folder = entry.is_dir(follow_symlinks=follow)
            if rules >= 2 and is_folder and names.left_out(name):
                if left_out is not None:
                    left_out.add(name)
                continue
            found.append(entry.name + b"/" if is_folder else entry.name)
    if rules >= 2 and {b"blobs/", b"snapshots/"} <= {*found}:  # the cache of Hugging Face: snapshots link to blobs
        found.remove(b"blobs/")
    return sorted(found)


def is_grid_with_labels(root: bytes, path: bytes, rules: int) -> bool:
    """Whether a file is the grid of generated images that `kantor generate` wrote next to their labels.csv, for models with classes."""
    folder, _, base = (root + b"/" + path).rpartition(b"/")
    if rules < 2 or base != names.GRID.encode():
        return False
    try:
        with Path(os.fsdecode(folder), "labels.csv").open("rb") as file:
            return file.read(len(_OUR_LABELS)) == _OUR_LABELS
    except OSError:
        return False


def _is_image(path: bytes, suffixes: frozenset[str], rules: int) -> bool:
    """Whether a file is an image by its extension or, if it has none, by its first bytes."""
    if suffix := names.extension(os.fsdecode(path)):
        return suffix in suffixes
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with Path(os.fsdecode(path)).open("rb") as file:
            return is_encoded_image(file.read(16), rules)
    except OSError:
        return False


def _examine(
    root: bytes, path: bytes, name: str, suffixes: frozenset[str], rules: int, follow: bool
) -> os.stat_result | Reason:
    """A file's status, or why it is rejected; nothing is opened."""
    full = root + b"/" + path
    try:
        status = os.lstat(full)
        if stat.S_ISLNK(status.st_mode):
            target = os.path.realpath(full)
            if not follow and not (target + b"/").startswith(root.rstrip(b"/") + b"/"):
                return Reason("access", "link leaves the folder", _FOLLOW if rules >= 2 else "")
            status = os.lstat(target)
            if stat.S_ISDIR(status.st_mode):
                return Reason("access", "link to a folder", _FOLLOW if rules >= 2 else "")
        if not stat.S_ISREG(status.st_mode):
            return Reason("access", "not a regular file")
        suffix = names.extension(name)
        reason = None if suffix in suffixes else names.not_image(name, rules)
        if rules >= 2 and reason is None and not suffix and not _is_image(full, suffixes, rules):
            return _unlike_an_image(full)
        if reason is None and not os.access(full, os.R_OK):
            reason = Reason("access", "permission denied")
        return reason or status
    except FileNotFoundError:
        return Reason("access", "dangling link" if Path(os.fsdecode(full)).is_symlink() else "gone since the listing")
    except OSError as error:
        return _reason(error)


def _unlike_an_image(full: bytes) -> Reason:
    with Path(os.fsdecode(full)).open("rb") as file:
        return what_else(file.read(512), 2)


def _reason(error: OSError) -> Reason:
    """An error of the file system in plain words."""
    return Reason("access", _WORDS.get(error.errno or 0, (error.strerror or "cannot be read").lower()))
