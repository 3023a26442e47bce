"""Pictures that the user names, at the size that they have: files, and folders with their sub-folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kantor.app.output_paths import distinct_name
from kantor.data.decoding.decode import whole
from kantor.data.reasons import Undecodable
from kantor.data.sources.folder import is_grid_with_labels
from kantor.data.sources.names import GENERATED, GRID, MORE_IMAGES, is_clutter
from kantor.data.sources.source import MAX_BYTES
from kantor.errors import DataError
from kantor.types import Images


class Picture(NamedTuple):
    """A file, and what it is called where it is written to: its path in the folder that was named, without suffix."""

    path: Path
    name: str


def find_pictures(sources: Sequence[str]) -> list[Picture]:
    """All pictures of files and folders, in order, without the grids beside generated ones. Raises DataError if one does not exist or holds none."""
    taken = set[str]()
    return [
        Picture(path, distinct_name(name, taken)) for source in sources for path, name in _files(Path(source), source)
    ]


def _files(place: Path, text: str) -> list[tuple[Path, str]]:
    try:
        if place.is_file():
            return [(place, place.stem)]
        if not place.is_dir():
            what = "is not a regular file" if place.exists() else "does not exist"
            raise DataError(text, what, "name pictures, a folder of them, or a run")
        inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in MORE_IMAGES and path.is_file())
    except OSError as error:
        raise DataError(text, f"cannot be read ({error.strerror})", "check the path") from error
    found = [path.relative_to(place) for path in inside]
    grids = {path.with_name(GRID) for path in found if GENERATED.fullmatch(path.name)}
    grids |= {path for path in found if is_grid_with_labels(os.fsencode(place), os.fsencode(path), rules=2)}
    found = [path for path in found if path not in grids and not any(map(is_clutter, path.parts))]
    if not found:
        raise DataError(text, "there are no pictures in this folder", "name pictures, a folder of them, or a run")
    return [(place / path, path.with_suffix("").as_posix()) for path in found]


def read_bytes(path: Path) -> bytes:
    """What is in a file. Raises DataError if it cannot be read, or is too large for an image."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(path, f"is larger than {MAX_BYTES >> 20} MB", "make it smaller")
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})", "check the file and its permissions") from error


def read_if_usable(path: Path) -> Images | DataError:
    """As `read_picture`; the error of a picture that cannot be used."""
    try:
        return read_picture(path)
    except DataError as error:
        return error


def read_picture(path: Path) -> Images:
    """uint8 [H, W, C], upright, grey, RGB or RGBA. Raises DataError if it cannot be used."""
    try:
        return whole(read_bytes(path))
    except Undecodable as error:
        do = error.reason.remedy or "repair or replace it, or leave it out"
        raise DataError(path, f"cannot be used: {error.reason.detail}", do) from error
