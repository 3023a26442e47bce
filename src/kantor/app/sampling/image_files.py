"""Where generated images go: a folder of PNG files or a zip, with their classes in labels.csv."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kantor import atomic
from kantor.data.sources.names import IMAGES
from kantor.errors import ConfigError
from kantor.sample.grid import png_bytes
from kantor.types import Images

LABELS = "labels.csv"
_IN_ZIP = re.compile(rf"([^/]+/)?seed-[0-9]{{8,20}}\.png|{re.escape(LABELS)}")
_HEADER = ["file", "class", "seed"]
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip can say: equal images give equal bytes

Labels = dict[str, tuple[str, int]]
"""File, relative to the folder -> name of its class, and its seed."""
Write = Callable[[str, bytes], None]
"""(name, data)"""


def refuse_other_images(folder: Path, allowed: re.Pattern[str], folders: Collection[str] = ()) -> None:
    """Raises ConfigError if `folder` holds images of names not `allowed`, or other folders than `folders`."""
    if not str(folder).strip("."):
        raise ConfigError("--out", "is the current folder", "name a folder, such as --out images")
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        is_ours = entry.name in folders if entry.is_dir() else allowed.fullmatch(entry.name)
        if (entry.is_dir() or entry.suffix.lower() in IMAGES) and not is_ours:
            what = f"contains {entry.name}, and generated images would mix with what is there"
            raise ConfigError(f"--out {folder}", what, "choose a new folder")


def refuse_other_zip(path: Path) -> None:
    """Raises ConfigError if the zip at `path` holds anything that `into_zip` does not write; its own may be replaced."""
    try:
        with zipfile.ZipFile(path) as archive:
            other = next((name for name in archive.namelist() if not _IN_ZIP.fullmatch(name)), None)
    except FileNotFoundError:
        return
    except (OSError, zipfile.BadZipFile):
        other = "something else"
    if other is not None:
        what = f"holds {other}, which this command does not write, so it will not be replaced"
        raise ConfigError(path, what, "choose another --out")


def write_images(paths: Sequence[Path], images: Iterable[Images]) -> None:
    """Writes images, uint8 [H, W, C], as PNG files."""
    for folder in {path.parent for path in paths}:
        atomic.make_folder(folder)
    with atomic.many_files() as write:
        for path, image in zip(paths, images, strict=True):
            write(path, png_bytes(image))


@contextmanager
def into_folder(folder: Path) -> Iterator[Write]:
    """Yields what writes files into a folder, each whole or not at all; names may lead into sub-folders."""
    made = set[Path]()
    with atomic.many_files() as write_file:

        def write(name: str, data: bytes) -> None:
            path = folder / name
            if path.parent not in made:
                atomic.make_folder(path.parent)
                made.add(path.parent)
            write_file(path, data)

        yield write


@contextmanager
def into_zip(path: Path) -> Iterator[Write]:
    """Yields what writes files into a zip, uncompressed. The zip is there only once all are in it."""
    atomic.make_folder(path.absolute().parent)
    with atomic.new_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:

        def write(name: str, data: bytes) -> None:
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)

        yield write


def read_labels(path: Path) -> Labels:
    """What an earlier call wrote into labels.csv; {} without one. Raises ConfigError if it is another's file."""
    if not path.exists():
        return {}
    try:
        header, *rows = csv.reader(io.StringIO(path.read_text("utf-8")))
        if header != _HEADER:
            raise ValueError
        return {file: (name, int(seed)) for file, name, seed in rows}
    except (OSError, ValueError, csv.Error) as error:
        what = "is not a file that this command wrote, so it will not be replaced"
        raise ConfigError(path, what, "choose another --out") from error


def labels_csv(labels: Labels) -> bytes:
    """The text of labels.csv, by file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_HEADER, *([file, *labels[file]] for file in sorted(labels))])
    return text.getvalue().encode()
