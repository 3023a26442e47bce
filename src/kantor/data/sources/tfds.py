"""Folders of TFRecord files: as tensorflow_datasets and StyleGAN lay them out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from kantor.data.sources.labels import MAX_CLASSES
from kantor.errors import DataError

_SHARD = re.compile(r"\.tfrecord-\d{5}-of-\d{5}$|\.tfrecord$")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_LEVEL = re.compile(r"(.+)-r(\d\d)\.tfrecords?")
_MAX_NAMES_BYTES = 64 << 20
_MOST_FOLDERS = 20
_DEEPEST = 3  # folders above the files: name, configuration, version


def tfds_folder(path: Path) -> Path | None:
    """The folder with the TFRecord files of a dataset that tensorflow_datasets wrote, None if `path` is no such dataset.

    path: that folder, or one above it: of the newest version, the only configuration. Raises DataError if there are
    several datasets or configurations.
    """
    return _found(path, _DEEPEST)


def class_names_beside(path: Path) -> list[str]:
    """The names of classes that tensorflow_datasets wrote beside a TFRecord file, [] if there are none."""
    files = sorted(path.parent.glob("*.labels.txt"))
    usual = [
        file
        for name in ("label", "labels", "class", "fine_label")
        for file in files
        if file.name == f"{name}.labels.txt"
    ]
    chosen = usual[0] if usual else files[0] if len(files) == 1 else None
    if chosen is None:
        return []
    try:
        if chosen.stat().st_size > _MAX_NAMES_BYTES:
            return []
        names = chosen.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return []
    return names if len(names) <= MAX_CLASSES else []


def stylegan_levels(files: Iterable[str]) -> list[str]:
    """Of the files NAME-r02.tfrecords, NAME-r03.tfrecords ... those of the largest size, one for each NAME; else []."""
    levels: dict[str, tuple[int, str]] = {}
    for file in files:
        if match := _LEVEL.fullmatch(file):
            levels[match[1]] = max(levels.get(match[1], (-1, "")), (int(match[2]), file))
    return sorted(file for _, file in levels.values())


def stylegan_labels(path: Path) -> Path | None:
    """The file of labels that StyleGAN wrote beside a TFRecord file of one size, None if there is none."""
    match = _LEVEL.fullmatch(path.name)
    labels = path.with_name(f"{match[1]}-rxx.labels") if match else path
    return labels if match and labels.is_file() else None


def _found(path: Path, deeper: int) -> Path | None:
    if _is_dataset(path):
        return path
    if not deeper:
        return None
    try:
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.is_symlink())
    except OSError:
        return None
    versions = [folder for folder in folders if _VERSION.fullmatch(folder.name) and _is_dataset(folder)]
    if versions:
        return max(versions, key=lambda folder: [int(number) for number in folder.name.split(".")])
    if len(folders) > _MOST_FOLDERS:  # no place where tensorflow_datasets writes
        return None
    datasets = [(folder, found) for folder in folders if (found := _found(folder, deeper - 1))]
    if len(datasets) > 1:
        names = ", ".join(folder.name for folder, _ in datasets[:8])
        raise DataError(str(path), f"there are several datasets in it ({names})", f"name one: {datasets[0][0]}")
    return datasets[0][1] if datasets else None


def _is_dataset(path: Path) -> bool:
    """Whether a folder has the files of a dataset and its descriptions."""
    if not (path / "features.json").is_file() or not (path / "dataset_info.json").is_file():
        return False
    return any(_SHARD.search(entry.name) for entry in path.iterdir())
