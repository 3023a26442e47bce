"""A folder of files that hold many images each: which are used, and what their names say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote

from kantor.data.sources import names
from kantor.data.sources.arrangement import ALL, AUTO, part_of
from kantor.data.sources.npy import has_labels
from kantor.errors import DataError

Kind = Literal["tar", "tfrecord", "parquet", "arrow", "npy", "npz", "zip", "hdf5", "lmdb", "csv"]

KINDS: dict[Kind, re.Pattern[str]] = {
    "tar": re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$"),
    "tfrecord": re.compile(r"\.tfrecords?([.-]\S*)?$|-of-\d{5}$"),
    "parquet": re.compile(r"\.(parquet|pq)$"),
    "arrow": re.compile(r"\.(arrow|feather)$"),
    "npy": re.compile(r"\.npy$"),
    "npz": re.compile(r"\.npz$"),
    "zip": re.compile(r"\.zip$"),
    "hdf5": re.compile(r"\.(h5|hdf5|hdf)$"),
    "lmdb": re.compile(r"^data\.mdb$|\.lmdb$"),
}
NAMED_BY_CLASS = ("npy", "npz", "zip", "hdf5", "lmdb")  # people keep a file a class in these, and shards in the others
_TEXTS = frozenset((
    "", ".json", ".jsonl", ".txt", ".md", ".csv", ".tsv", ".idx", ".index", ".html", ".xml", ".yaml", ".yml", ".labels", ".lock", ".py",
    ".pdf", ".cff", ".rst", ".bib", ".sha256", ".md5",
))  # fmt: skip
_LOCK = re.compile(r"(^|/)lock\.mdb$|\.lmdb-lock$")  # of LMDB
_LSUN = re.compile(r"([_.-](train|val|test|lmdb))+$")  # after the class: bedroom_train_lmdb
_LABELS = re.compile(r"(^|[._-])(labels?|classes|targets?)([._-](train(ing)?|val(idation)?|test(ing)?))?\.npy$")
_MAYBE_LABELS = re.compile(r"(^|[._-])y([._-]\w+)?\.npy$")  # of x_train.npy, or the letter
_MOST = 100_000
_MOST_LEVELS = 4
_SHARD = re.compile(r"[0-9]+(of[0-9]+)?$")


class Files(NamedTuple):
    """The files of a folder that are used, of one kind."""

    kind: Kind
    paths: list[str]  # relative, in order
    classes: list[str | None]  # of each, None if its name is not that of a class
    note: str  # what was decided, "" if there is nothing to say


def find(folder: Path, split: str) -> Files | None:
    """The files with images in a folder and below it; None if there is anything but files of one such kind, and texts.

    split: data.split. Raises DataError if there is no such part.
    """
    found: list[str] = []
    kind: Kind | None = None
    for path in _files(folder):
        own = _kind_of(path)
        if _is_beside(folder / path, own):
            continue
        if own is None or kind not in (None, own) or len(found) == _MOST:
            return None
        kind = own
        found.append(path)
    if kind is None:
        return None
    used, note = _of_split(found, split, str(folder))
    classes: list[str | None] = _classes(used) if kind in NAMED_BY_CLASS else [None] * len(used)
    if kind == "lmdb":
        classes = [name and (_LSUN.sub("", name) or name) for name in classes]
    return Files(kind, used, classes, note)


def _is_beside(path: Path, kind: Kind | None) -> bool:
    """Whether a file only belongs to those with images: a text, labels, the lock of an LMDB."""
    if kind is None:
        return names.extension(path.name) in _TEXTS or bool(_LOCK.search(path.name.lower()))
    if kind == "hdf5":  # NAME_y.h5, read with NAME_x.h5
        return path.stem.endswith("_y") and path.with_name(path.stem[:-1] + "x" + path.suffix).is_file()
    return kind == "npy" and _is_labels(path)


def _kind_of(path: str) -> Kind | None:
    name = path.rpartition("/")[2].lower()
    return next((kind for kind, pattern in KINDS.items() if pattern.search(name)), None)


def _is_labels(path: Path) -> bool:
    """Whether a .npy file holds the labels of another one."""
    name = path.name.lower()
    return _LABELS.search(name) is not None or (_MAYBE_LABELS.search(name) is not None and has_labels(path))


def _files(folder: Path) -> Iterator[str]:
    """Relative paths of all files but clutter, in order; links to folders are not followed."""
    for root, folders, files in os.walk(folder):
        relative = os.path.relpath(root, folder)
        depth = 0 if relative == "." else relative.count(os.sep) + 1
        kept = [name for name in folders if not names.is_clutter(name) and not names.left_out(name)]
        folders[:] = sorted(kept) if depth < _MOST_LEVELS else []
        for name in sorted(files):
            if not names.is_clutter(name):
                yield name if depth == 0 else f"{relative.replace(os.sep, '/')}/{name}"


def _of_split(paths: Sequence[str], split: str, where: str) -> tuple[list[str], str]:
    """The files of the part that is used, and what was decided."""
    parts = {path: part_of(path) for path in paths}
    if split == ALL:
        return list(paths), ""
    training = [path for path in paths if parts[path] == "train"]
    if split == AUTO:
        used = [path for path in paths if parts[path] in ("train", None)] if training else list(paths)
    else:
        used = [path for path in paths if split in (parts[path], Path(path).stem, *Path(path).parts)]
        if not used and any(KINDS[kind].search(paths[0].lower()) for kind in ("tar", "zip")):
            return list(paths), ""  # a part inside the archives
        if not used:
            raise DataError(
                where, f"there is no part {split} in it (files: {', '.join(paths[:3])})", "leave data.split out"
            )
    if len(used) == len(paths):
        return used, ""
    others = [path for path in paths if path not in used]
    shown = others[0] + (" and such" if len(others) > 1 else "")
    return used, f"{len(used)} of {len(paths)} files of this folder are used, not {shown} (data.split)"


def _classes(paths: Sequence[str]) -> list[str | None]:
    """The class that each file's name means: its folder's if there are several, else its own, unless it is a number of a shard."""
    folders = [path.rpartition("/")[0] for path in paths]
    if len(set(folders)) > 1:
        return [folder.rpartition("/")[2] or None for folder in folders]
    stems = [_decoded(Path(path).name) for path in paths]
    prefix = os.path.commonprefix(stems)  # noqa: RUF071 - of texts
    prefix = prefix[: len(prefix) - len(re.split(r"[ _-]", prefix)[-1])]
    own = [stem.removeprefix(prefix) for stem in stems]
    if len(own) < 2 or all(_SHARD.fullmatch(name.replace("-", "").replace("_", "")) for name in own):
        return [None] * len(paths)
    return list(own)


def _decoded(name: str) -> str:
    """The name without its ending; "full%2Fnumpy_bitmap%2Fdog.npy" is "dog"."""
    return unquote(name).rpartition("/")[2].partition(".")[0] or name
