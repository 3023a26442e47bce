"""CIFAR-10, CIFAR-100 and STL-10 as their authors' binary files: records of one size, without a header."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from kantor.data.reasons import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources.concatenated import Concatenated
from kantor.data.sources.named_arrays import with_class_names
from kantor.data.sources.open_file import FileSource, cannot_open
from kantor.data.sources.source import RULES, Item, Rejected, Source
from kantor.errors import DataError

_MAX_NAMES_BYTES = 1 << 20
_LOOKED_AT = 4096  # records of a file with another name


@dataclass(frozen=True)
class _Kind:
    """A record: labels of a byte each, the last of them the class; then red, green and blue [side, side]."""

    labels: int
    classes: int
    side: int
    names: str  # the file with the names of the classes
    by_columns: bool = False

    @property
    def bytes(self) -> int:
        return self.labels + 3 * self.side * self.side


_CIFAR10 = _Kind(1, 10, 32, "batches.meta.txt")
_CIFAR100 = _Kind(2, 100, 32, "fine_label_names.txt")
_STL10 = _Kind(0, 10, 96, "class_names.txt", by_columns=True)
_NAMES = (
    (re.compile(r"data_batch_\d+\.bin$|test_batch\.bin$"), _CIFAR10),
    (re.compile(r"(train|test)\.bin$"), _CIFAR100),
    (re.compile(r"(train|test|unlabeled)_X\.bin$"), _STL10),
)
_STL10_LABELS = re.compile(r"(train|test)_y\.bin$")
_TRAINING = re.compile(r"data_batch_\d+\.bin$|train\.bin$|train_X\.bin$")
_BESIDE = re.compile(r"\.(txt|md|html?|json|csv)$|^(readme|licen[cs]e)$", re.IGNORECASE)


class Cifar(FileSource):
    """uint8 [32, 32, 3] or [96, 96, 3] by index, from one file.

    Args:
        labels: "auto": those in the file, of CIFAR-100 the fine ones, or the file of labels next to STL-10's, named by the
            list of classes next to it; "none"; or a file of labels, in which the names are indices.
    """

    exact = True

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES) -> None:
        super().__init__(path, labels, rules)
        self._size, kind = Path(path).stat().st_size, _kind_of(Path(path).name, Path(path).stat().st_size, Path(path))
        if kind is None:
            raise DataError(path, "it is not a file of CIFAR or STL-10", "name one such as data_batch_1.bin")
        self._kind, self._count = kind, self._size // kind.bytes
        if kind is _CIFAR100:
            self.note = "classes are CIFAR-100's fine ones; the coarse ones are left out"

    def items(self) -> Iterator[Item | Rejected]:
        """In the order of the file."""
        mtime_ns = Path(self.path).stat().st_mtime_ns
        labels = self._labels() if self.labels == "auto" else None
        size = 3 * self._kind.side**2
        items = (Item(str(i), i, size, mtime_ns, labels[i] if labels else None) for i in range(self._count))
        return label_files.attach_file(items, self.labels, self.rules, self.listing_notes)

    def load(self, item: Item) -> NDArray[np.uint8]:
        """[H, W, C]."""
        kind, file = self._kind, self._file()
        file.seek(item.position * kind.bytes + kind.labels)
        data = file.read(3 * kind.side**2)
        if len(data) != 3 * kind.side**2:
            raise Undecodable("damaged", "cut short in the file")
        planes = np.frombuffer(data, np.uint8).reshape(3, kind.side, kind.side)
        return np.ascontiguousarray(planes.transpose((2, 1, 0) if kind.by_columns else (1, 2, 0)))

    def _open(self) -> IO[bytes]:
        return Path(self.path).open("rb")

    def _labels(self) -> list[str] | None:
        """The class of each image, None if there are none."""
        kind, path = self._kind, Path(self.path)
        try:
            if kind is _STL10:
                numbers = _stl10_labels(path, self._count)
                if numbers is None:
                    return None
            else:
                records = np.memmap(path, np.uint8, "r", shape=(self._count, kind.bytes))
                numbers = np.array(records[:, kind.labels - 1])
                if (bad := np.flatnonzero(numbers >= kind.classes)).size:
                    what = f"label {bad[0]} is {numbers[bad[0]]}, above {kind.classes - 1}"
                    raise DataError(self.path, what, "it is damaged: download it again")
            labels = [str(number) for number in numbers.tolist()]
            return with_class_names(labels, _class_names(path.with_name(kind.names))) or labels
        except OSError as error:
            raise cannot_open(self.path, error) from error


def is_cifar(sizes: Mapping[str, int], folder: Path) -> bool:
    """Whether files of these names and sizes in bytes are CIFAR's or STL-10's, and at most texts next to them.

    folder: where they are; a single file with a name of its own is looked into.
    """
    if len(sizes) == 1:
        name, size = next(iter(sizes.items()))
        return _kind_of(name, size, folder / name) is not None
    parts = [name for name, size in sizes.items() if _kind_of(name, size)]
    others = [name for name in sizes if name not in parts and not _STL10_LABELS.match(name)]
    return bool(parts) and all(_BESIDE.search(name) or name == "fold_indices.txt" for name in others)


def open_folder(path: str, sizes: Mapping[str, int], labels: str = "auto", rules: int = RULES) -> Source:
    """The images of a folder for which `is_cifar`: its training files, or all if none is named so."""
    parts = sorted(name for name, size in sizes.items() if _kind_of(name, size))
    training = [name for name in parts if _TRAINING.match(name)]
    used = training or parts
    left = [name for name in parts if name not in used]
    if len(used) == 1:
        source: Source = Cifar(str(Path(path, used[0])), labels, rules)
    else:
        part_labels = "auto" if labels == "auto" else "none"
        sources = [Cifar(str(Path(path, name)), part_labels, rules) for name in used]
        source = Concatenated(path, sources, used, "none" if labels == "auto" else labels)
    if left:
        what = "is" if len(left) == 1 else "are"
        note = f"training images are used; {', '.join(left)} {what} left out: name one of them to use that"
        source.note = "; ".join(text for text in (note, source.note) if text)
    return source


def _kind_of(name: str, size: int, path: Path | None = None) -> _Kind | None:
    """What a file holds by its name and size; with a path, another .bin by the labels in it."""
    for pattern, kind in _NAMES:
        if pattern.match(name) and size and size % kind.bytes == 0:
            return kind
    if path is None or path.suffix.lower() != ".bin" or not size:
        return None
    fitting = (kind for kind in (_CIFAR10, _CIFAR100) if size % kind.bytes == 0 and _labels_fit(path, kind))
    return next(fitting, None)


def _labels_fit(path: Path, kind: _Kind) -> bool:
    """Whether the labels of the first records are classes."""
    count = min(_LOOKED_AT, path.stat().st_size // kind.bytes)
    records = np.fromfile(path, np.uint8, count * kind.bytes).reshape(count, kind.bytes)
    coarse = kind.labels == 1 or bool((records[:, 0] < 20).all())
    return coarse and bool((records[:, kind.labels - 1] < kind.classes).all())


def _stl10_labels(images: Path, count: int) -> NDArray[np.uint8] | None:
    """Classes from 0 from the file next to the images, in which they begin at 1."""
    path = images.with_name(images.name.replace("_X.bin", "_y.bin"))
    if path == images or not path.is_file():
        return None
    if path.stat().st_size != count:
        what = f"{path.stat().st_size} labels for {count} images"
        raise DataError(path, what, "download it again, or use --labels none")
    numbers = np.fromfile(path, np.uint8)
    if (bad := np.flatnonzero((numbers < 1) | (numbers > 10))).size:
        raise DataError(path, f"label {bad[0]} is {numbers[bad[0]]}, not 1 to 10", "download it again")
    return numbers - 1


def _class_names(path: Path) -> list[str]:
    """The lines of a list of classes, [] if there is none."""
    if not path.is_file() or path.stat().st_size > _MAX_NAMES_BYTES:
        return []
    return [line.strip() for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
