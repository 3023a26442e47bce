"""Which of several named arrays holds the images, which their labels, and which the names of classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources import array_shapes, label_arrays, label_limits
from kantor.data.sources import labels as label_files
from kantor.data.sources.arrangement import is_mask
from kantor.errors import DataError

IMAGES = ("images", "x_train", "train_images", "x", "X", "data", "pictures", "arr_0")
_MORE_IMAGES = (
    *map(str.lower, IMAGES), "imgs", "image", "img", "train_x", "train_set_x", "train_imgs", "train_data", "train_image",
    "data_train", "images_train", "xtrain", "trainx", "train", "pixels", "samples", "frames", "digits",
)  # fmt: skip
LABELS = ("labels", "y_train", "train_labels", "y", "Y", "label", "arr_1")
_MORE_LABELS = (
    *map(str.lower, LABELS[:-1]), "target", "targets", "train_targets", "train_target", "train_y", "train_set_y",
    "train_label", "labels_train", "ytrain", "trainy", "class", "class_id", "class_ids", "class_label", "class_labels",
    "classes", "fine_labels", "fine_label", "emotion", "digit", "ans",
)  # fmt: skip
_CLASS_NAMES = (
    "class_names", "label_names", "target_names", "classes", "categories", "list_classes", "fine_label_names",
    "classnames", "labelnames",
)  # fmt: skip
UNNAMED = "arr_1"  # labels only if it looks like them: np.savez(path, train, test) uses this name too
_PAIRS = (
    ("images", "labels"), ("imgs", "labels"), ("image", "label"), ("img", "label"), ("x", "y"), ("X", "y"), ("X", "Y"),
    ("data", "labels"), ("data", "label"), ("data", "target"), ("data", "targets"), ("image", "labels"),
)  # fmt: skip
_TRAINING = re.compile(r"(?<![a-z])train(ing)?(?![a-z])")
_EVALUATION = re.compile(r"(?<![a-z])(test(ing)?|val(id(ation)?)?|dev|eval)(?![a-z])")
_RESOLUTION = re.compile(r"(\d+)x\1$")
_ONE_ARRAY = "save its images as one array [count, height, width] or [count, height, width, channels]"
_SHOWN = 12
_MAX_NAME_BYTES = 4096


class Kind(NamedTuple):
    """Shape and type of an array. encoded: its elements are the bytes of files. Texts of any length have type "U"."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    encoded: bool = False

    @property
    def is_stack(self) -> bool:
        """Whether it can hold images."""
        if self.encoded:
            return len(self.shape) == 1 and self.shape[0] > 0
        return array_shapes.is_stack(self.shape, self.dtype)

    @property
    def is_text(self) -> bool:
        """Whether it is a row of texts."""
        return self.dtype.kind in "US" and len(self.shape) == 1 and not self.encoded

    def __str__(self) -> str:
        kind = "encoded" if self.encoded else "text" if self.dtype.kind in "US" else self.dtype
        return f"[{', '.join(map(str, self.shape))}] {kind}"


def choose_images(kinds: Mapping[str, Kind]) -> str | None:
    """The name of the array of images, None if it is not clear.

    One with a usual name comes first, and arrays with sides before rows of numbers; those for evaluation come last.
    """
    stacks = _for_training([name for name in kinds if kinds[name].is_stack])
    sided = [name for name in stacks if kinds[name].encoded or len(kinds[name].shape) > 2]
    rows = [name for name in stacks if name not in sided]
    if (name := _usual(sided)) or (name := _largest(sided)):
        return name
    if name := _usual(rows):
        twins = [other for other in sided if _size(kinds[other]) == _size(kinds[name])]
        return twins[0] if len(twins) == 1 else name
    return next((some[0] for some in (sided, rows) if len(some) == 1), None) if len(sided) < 2 else None


def one_each(kinds: Mapping[str, Kind]) -> list[str]:
    """The arrays that are one image each, [] if images are in one array, or it is not clear.

    At least two, and most of them too plainly single images to be rows of numbers; none is a stack, or beside a mask.
    """
    if choose_images(kinds) is not None or any(kind.encoded for kind in kinds.values()):
        return []
    numeric = {name: kind for name, kind in kinds.items() if kind.dtype.kind in "buif"}
    images = [name for name, kind in numeric.items() if array_shapes.may_be_one_image(kind.shape)]
    stacks = [name for name, kind in numeric.items() if kind.is_stack]
    if len(images) < 2 or 2 * len(stacks) >= len(images) or not set(stacks) <= set(images):
        return []
    pairs = any(map(_is_usual, images)) and len({name.rpartition("/")[2] for name in images}) > 1
    if pairs or any(is_mask(part) for name in images for part in name.split("/")):
        return []
    return _for_training(images)


def require_images(kinds: Mapping[str, Kind], faults: Mapping[str, DataError], where: str, do: str) -> str:
    """The name of the array of images, or of the one that was meant for them.

    Args:
        faults: what is wrong with the arrays that cannot be read at all.
        do: the remedy where it is not clear; the name of an array follows.

    Raises:
        DataError: it is not clear, or cannot be read.
    """
    name = choose_images(kinds)
    if name is None or not _is_usual(name):
        name = _meant(kinds, faults, name)
    if name is not None:
        if name in faults:
            raise faults[name]
        return name
    shown = {**kinds, **dict.fromkeys(faults, "unusable")}
    stacks = [name for name in kinds if kinds[name].is_stack]
    if not stacks:
        found = listing(shown) or "nothing"
        raise DataError(where, f"there is no array of images in it (found: {found})", _ONE_ARRAY)
    what = f"which of its arrays holds the images is not clear (found: {listing(shown)})"
    raise DataError(where, what, do + stacks[0])


def _meant(kinds: Mapping[str, Kind], faults: Mapping[str, DataError], chosen: str | None) -> str | None:
    """The array that was meant for images, by its name or as the only one, but cannot be; else the chosen one."""
    names = [*kinds, *faults]
    usual = (name for base in IMAGES for name in names if name.rpartition("/")[2] == base)
    names = [name for name in names if name in faults or not kinds[name].is_text]
    meant = next(usual, names[0] if len(names) == 1 else None)
    if meant and (meant in faults or (chosen is None and not kinds[meant].is_stack)):
        return meant
    return chosen


def _is_usual(name: str) -> bool:
    base = name.rpartition("/")[2]
    return base in IMAGES or base.lower() in _MORE_IMAGES


def listing(kinds: Mapping[str, object]) -> str:
    """`images [60, 32, 32] uint8, labels [60] int64`."""
    shown = ", ".join(f"{name} {kind}" for name, kind in list(kinds.items())[:_SHOWN])
    return shown + (f" and {len(kinds) - _SHOWN} more" if len(kinds) > _SHOWN else "")


class Labels(NamedTuple):
    """Labels of the images. arrays: those that they come from."""

    names: list[str] | None
    arrays: tuple[str, ...]


def find_labels(
    kinds: Mapping[str, Kind], images: str, count: int, where: str, read: Callable[[str], NDArray[Any]], rules: int
) -> Labels:
    """The labels of `count` images in an array next to theirs, named by an array of names of classes.

    Args:
        read: the array of a name, which is not larger than labels may be.

    Raises:
        DataError: an array that is called labels holds something else.
    """
    for name, sure in _label_arrays(kinds, images, count, rules):
        kind, spot = kinds[name], f"{where}: {name}"
        try:
            label_arrays.require_label_array(kind.shape, kind.dtype, spot, count)
        except DataError:
            if sure:
                raise
            continue
        array = read(name)
        try:
            labels = label_arrays.label_names(array, spot, count)
            label_files.require_few_classes(len(set(labels)), spot)
        except DataError:
            if sure:
                raise
            continue
        if rules >= 2 and kind.dtype.kind in "biuf" and (named := _class_names(kinds, name, labels, read)):
            return Labels(named[0], (name, named[1]))
        return Labels(labels, (name,))
    return Labels(None, ())


def with_class_names(labels: Sequence[str], names: Sequence[str]) -> list[str] | None:
    """Labels that are numbers from 0 as names of classes; None if a number has no name, or two have the same."""
    used = set(labels)
    if not all(label.isdecimal() and int(label) < len(names) for label in used):
        return None
    table = {label: names[int(label)].strip() for label in used}
    if not all(table.values()) or len(set(table.values())) < len(table):
        return None
    return [table[label] for label in labels]


def _label_arrays(kinds: Mapping[str, Kind], images: str, count: int, rules: int) -> Iterator[tuple[str, bool]]:
    """Arrays that may be the labels, the likeliest first, and whether one must be, by its name."""
    if rules < 2:
        if name := next((name for name in LABELS if name in kinds and _fits(kinds[name], name, images, count)), None):
            yield name, True
        return
    fitting = {name for name in kinds if name != images and count in (*kinds[name].shape[:1], _of_one_row(kinds[name]))}
    tried = set[str]()
    for name in _paired(images):
        if name in fitting and name not in tried:
            tried.add(name)
            yield name, name.rpartition("/")[2] in LABELS and _one_each(kinds[name])
    group = images.rpartition("/")[0]
    for place in dict.fromkeys((group, "")):
        inside = {name.rpartition("/")[2]: name for name in kinds if name.rpartition("/")[0] == place}
        for base in LABELS:
            name = inside.get(base, images)
            if name not in tried and _fits(kinds[name], base, images, count, name):
                tried.add(name)
                yield name, name not in fitting or _one_each(kinds[name])
        for base, name in inside.items():
            texts = base == UNNAMED and kinds[name].is_text
            if (texts or base.lower() in _MORE_LABELS) and name in fitting and name not in tried:
                yield name, False


def _fits(kind: Kind, base: str, images: str, count: int, name: str = "") -> bool:
    """Whether an array with a usual name of labels is to be taken for them."""
    if (name or base) == images:
        return False
    if base != UNNAMED:
        return True
    return kind.dtype.kind in "iu" and kind.shape in [(count,), (count, 1)]


def _one_each(kind: Kind) -> bool:
    """Whether it has one value for each image: columns of several factors are no classes."""
    return all(side == 1 for side in kind.shape[1:]) or _of_one_row(kind) > 0


def _of_one_row(kind: Kind) -> int:
    """The values of an array [1, count], 0 for others."""
    return kind.shape[1] if len(kind.shape) == 2 and kind.shape[0] == 1 else 0


def _paired(images: str) -> list[str]:
    """Names that labels have beside images of this name: y_test for x_test."""
    names = (re.sub(rf"(?<![a-zA-Z]){x}(?![a-zA-Z])", y, images) for x, y in _PAIRS)
    return [name for name in names if name != images]


def _class_names(
    kinds: Mapping[str, Kind], labels: str, numbers: Sequence[str], read: Callable[[str], NDArray[Any]]
) -> tuple[list[str], str] | None:
    """The labels by the names of classes beside their array, and the array of those."""
    for place in dict.fromkeys((labels.rpartition("/")[0], "")):
        for base in _CLASS_NAMES:
            name = f"{place}/{base}" if place else base
            if name not in kinds or not _may_name_classes(kinds[name], numbers):
                continue
            texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in read(name).tolist()]
            if named := with_class_names(numbers, texts):
                return named, name
    return None


def _may_name_classes(kind: Kind, numbers: Sequence[str]) -> bool:
    """Whether an array has texts, and not one for each image."""
    if not kind.is_text or kind.shape[0] > label_limits.MAX_CLASSES or kind.dtype.itemsize > _MAX_NAME_BYTES:
        return False
    return kind.shape[0] != len(numbers) or len(set(numbers)) == len(numbers)


def _for_training(names: list[str]) -> list[str]:
    """The names without those for evaluation, unless there are only these."""
    training = [name for name in names if _TRAINING.search(name.lower()) or not _EVALUATION.search(name.lower())]
    return training or names


def _usual(names: list[str]) -> str | None:
    """The name that is most usual for images, None if there is none, or two in different groups."""
    for known, given in ((IMAGES, str), (_MORE_IMAGES, str.lower)):
        for base in known:
            found = [name for name in names if given(name.rpartition("/")[2]) == base]
            training = [name for name in found if _TRAINING.search(name.lower())]
            if len(found) == 1 or len(training) == 1:
                return (training or found)[0]
            if found:
                return None
    return None


def _largest(names: list[str]) -> str | None:
    """The largest of several arrays of the same images in different sizes: data1024x1024 of data4x4, data8x8 ..."""
    matches = {name: match for name in names if (match := _RESOLUTION.search(name))}
    stems = {name[: match.start()] for name, match in matches.items()}
    if len(matches) < 2 or len(matches) < len(names) or len(stems) > 1:
        return None
    return max(matches, key=lambda name: int(matches[name][1]))


def _size(kind: Kind) -> tuple[int, int]:
    """Number of images, and of numbers in each."""
    return kind.shape[0], int(np.prod(kind.shape[1:], dtype=np.int64))
