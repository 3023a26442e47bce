"""What the folders around images mean: parts of a dataset (train, val, test), classes, mere shards, images beside masks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from kantor.errors import DataError, nearest

AUTO, ALL = "auto", "all"  # values of data.split
HALVES = {"left-half": "right-half", "right-half": "left-half"}  # values of data.condition, and where the image then is
Part = Literal["train", "val", "test", "other"]

_PARTS: dict[Part, re.Pattern[str]] = {
    "train": re.compile(r"(?<![a-z])(train(ing)?|trn|trainset)(?![a-z])"),
    "val": re.compile(r"(?<![a-z])(val(id(ation)?)?|dev|valset)(?![a-z])"),
    "test": re.compile(r"(?<![a-z])(test(ing)?|tst|eval(uation)?|testset)(?![a-z])"),
    "other": re.compile(r"(?<![a-z])(unlabell?ed|pred(iction)?|holdout|held.?out|extra)(?![a-z])"),
}
_IMAGES = frozenset((
    "images", "image", "imgs", "img", "jpegimages", "photos", "photo", "rgb", "input", "inputs", "original", "originals", "leftimg8bit",
    "pictures", "color", "colour",
))  # fmt: skip
_MASKS = frozenset((
    "masks", "mask", "labels", "label", "annotations", "annotation", "segmentation", "segmentations", "segmentationclass",
    "segmentationobject", "gt", "ground_truth", "groundtruth", "gtfine", "target", "targets", "trimaps", "depth", "edges", "alpha",
    "instances", "binary_masks",
))  # fmt: skip
_SHARD_WORD = re.compile(r"(part|shard|batch|chunk|subset|split|vol|page|folder|dir|set|images?|data)[ _-]?[0-9]+")
_SIDE = re.compile(r"(train|val|test)[AB]")  # as CycleGAN names them
_CAMERA = re.compile(r"[0-9]{3}[A-Z0-9_]{5}")  # 100CANON, as cameras number them
_SHOWN = 5


@dataclass
class _Folder:
    """The images straight in a folder."""

    count: int = 0
    first: str = ""  # of their names, in order
    last: str = ""
    prefixed: bool = True  # whether all their names begin with the folder's


@dataclass(frozen=True)
class Arrangement:
    """How to read the path of an image."""

    class_depth: int | None = None  # which part of the path is the class
    split_depth: int | None = None  # which part says to which part of the dataset it belongs
    split: frozenset[str] = frozenset()  # the folders there that are used; empty for all
    notes: tuple[str, ...] = ()  # what was decided, for the user
    class_notes: tuple[str, ...] = ()  # and about classes, if folders are to name them
    half: tuple[int, str] | None = None  # of pairs, the folder that is used, and which part of the path it is

    def uses(self, parts: Sequence[str]) -> bool:
        """Whether an image with these parts of a path belongs to the dataset."""
        if self.half is not None and not _is_in(parts[:-1], *self.half):
            return False
        depth = self.split_depth
        return depth is None or not self.split or (len(parts) > depth + 1 and parts[depth] in self.split)


@dataclass
class Folders:
    """The folders that hold images, counted; in memory that grows with the folders, not with the images."""

    where: str  # the source, for messages
    _folders: dict[str, _Folder] = field(default_factory=dict)

    def add(self, name: str) -> None:
        """Counts the image of this path."""
        path, _, base = name.rpartition("/")
        folder = self._folders.get(path) or self._folders.setdefault(path, _Folder(first=base))
        folder.count += 1
        folder.first, folder.last = min(folder.first, base), max(folder.last, base)
        folder.prefixed = folder.prefixed and base.startswith(path.rpartition("/")[2])

    def names(self, depth: int) -> set[tuple[str, ...]]:
        """The paths of folders at this depth that hold images, or folders with images."""
        paths = (tuple(path.split("/")) for path in self._folders if path)
        return {path[: depth + 1] for path in paths if len(path) > depth}

    def arranged(self, split: str, part: str = "", beside: str = "") -> Arrangement:
        """Decides what the folders mean. split: data.split; part, beside: see `half_of`.

        Raises DataError if there are images and masks, of which the user must choose; or there is no such part.
        """
        folders = {tuple(path.split("/")) if path else (): folder for path, folder in self._folders.items()}
        if not part and not beside:
            return _Levels(folders, split).arranged(self.where)
        named = part or beside
        depths = [path.index(named) for path in folders if named in path]
        if not depths:
            known = {name for path in folders for name in path} | ({"edges"} if beside else set())
            raise DataError(self.where, f"there is no part {named} in it", nearest(named, known))
        depth = min(depths)
        name = half_of({path[depth] for path in folders if len(path) > depth}, split, part, beside, self.where)
        folders = {path: folder for path, folder in folders.items() if _is_in(path, depth, name)}
        arrangement = _Levels(folders, AUTO if split == name else split).arranged(self.where)
        return replace(arrangement, half=(depth, name))


class _Levels:
    """Goes down from the top, one level of folders at a time."""

    def __init__(self, folders: dict[tuple[str, ...], _Folder], split: str) -> None:
        self._folders, self._split = folders, split
        self._split_depth: int | None = None
        self._used: frozenset[str] = frozenset()
        self._half: tuple[int, str] | None = None
        self._half_below = False  # whether `split` names a folder in the parts, rather than a part
        self._notes: list[str] = []
        self._class_notes: list[str] = []

    def arranged(self, where: str) -> Arrangement:
        depth, class_depth = 0, None
        while len(counts := self._counts(depth)) > 0:
            beside = sum(folder.count for path, folder in self._folders.items() if len(path) == depth)
            if self._are_parts(counts, depth, where, beside):
                depth += 1
            elif beside:
                self._say_beside(counts, depth)
                break
            elif len(counts) == 1:
                depth += 1
            elif self._is_sharded(counts, depth):
                shown = ", ".join(sorted(counts)[:3])
                self._class_notes.append(
                    f"folders {shown}{' ...' if len(counts) > 3 else ''} only divide the images: no classes"
                )
                depth += 1
            else:
                class_depth = depth
                break
        if class_depth is not None and self._split_depth is None:
            below = self._counts(class_depth + 1)
            straight = any(len(path) == class_depth + 1 for path in self._folders)
            if below and not straight:
                self._is_divided(below, class_depth + 1, where, 0)
        if (self._split_depth if not self._half_below else self._half) is None and self._split not in (AUTO, ALL):
            there = ", ".join(sorted(self._counts(0))[:_SHOWN]) or "none"
            raise DataError(where, f"there is no part {self._split} in it (folders: {there})", "leave data.split out")
        notes = tuple(self._notes), tuple(self._class_notes)
        return Arrangement(class_depth, self._split_depth, self._used, *notes, self._half)

    def _counts(self, depth: int) -> Counter[str]:
        """Images in and below each folder of a level."""
        counts = Counter[str]()
        for path, folder in self._folders.items():
            if len(path) > depth:
                counts[path[depth]] += folder.count
        return counts

    def _are_parts(self, counts: Counter[str], depth: int, where: str, beside: int) -> bool:
        """Whether the folders of a level are parts of the dataset, or halves of one; those that are used are then chosen."""
        if self._split_depth is None:
            return self._is_divided(counts, depth, where, beside)
        return not beside and self._has_halves(counts, depth, where)

    def _is_divided(self, counts: Counter[str], depth: int, where: str, beside: int) -> bool:
        """Whether a level holds parts of the dataset; then those that are not used are left out from here on."""
        if self._split in counts and self._split not in (AUTO, ALL):
            return self._use({self._split}, counts, depth)
        if beside or len(counts) < 2:
            return False
        kinds = {name: part_of(name) for name in counts}
        others = {name for name, kind in kinds.items() if kind is None and is_mask(name)}
        training = {name for name, kind in kinds.items() if kind == "train"}
        if all(kind or name in others for name, kind in kinds.items()) and (training or not others):
            if self._split == ALL:
                return self._use(set(), counts, depth)
            below = {path[depth + 1] for path in self._folders if len(path) > depth + 1}
            self._half_below = self._split in below and self._split not in kinds.values()
            wanted = "train" if self._split == AUTO or self._half_below else self._split
            return self._use({name for name, kind in kinds.items() if kind == wanted}, counts, depth)
        return self._are_halves(counts, where) and self._use(set(), counts, depth)

    def _has_halves(self, counts: Counter[str], depth: int, where: str) -> bool:
        """Whether the parts of the dataset have folders that belong together; the one that `split` names is used."""
        if self._half_below and self._split in counts:
            self._half = depth, self._split
            self._folders = {path: folder for path, folder in self._folders.items() if _is_in(path, *self._half)}
            return True
        return len(counts) > 1 and self._are_halves(counts, where)

    def _are_halves(self, counts: Counter[str], where: str) -> bool:
        """Whether folders belong together, and all are wanted. Raises DataError if the user must choose."""
        images = {name for name in counts if name.lower() in _IMAGES}
        masks = {name for name in counts if is_mask(name)}
        if all(map(_SIDE.fullmatch, counts)):
            images, masks = ({name for name in counts if name[-1] == side} for side in "BA")
        if not images or not masks or len(images | masks) < len(counts):
            return False
        if self._split == ALL:
            return True
        both = " and ".join(f"{name}/ ({counts[name]:,})" for name in sorted(images) + sorted(masks))
        raise DataError(where, f"{both} belong together and are no classes", choose_half(max(images), max(masks)))

    def _use(self, used: set[str], counts: Counter[str], depth: int) -> bool:
        """Leaves out the folders of this level that are not in `used`, if it is not empty."""
        if self._split not in (AUTO, ALL) and not used:
            return False
        self._split_depth, self._used = depth, frozenset(used)
        parts = ", ".join(f"{name} ({count:,})" for name, count in sorted(counts.items()))
        which = " and ".join(sorted(used)) if used else "all"
        self._notes.append(f"parts of the dataset: {parts}; used: {which} (data.split)")
        if used:
            self._folders = {p: f for p, f in self._folders.items() if len(p) > depth and p[depth] in used}
        return True

    def _say_beside(self, counts: Counter[str], depth: int) -> None:
        if len(counts) > 1:
            path, folder = next((p, f) for p, f in self._folders.items() if len(p) == depth)
            name = "/".join([*path, folder.first])
            self._class_notes.append(f"no classes: {name} is next to the folders, not in one of them")

    def _is_sharded(self, counts: Counter[str], depth: int) -> bool:
        """Whether the folders of a level only divide the images: numbered, or named by the first letters of a hash."""
        names = sorted(counts)
        if all(_SHARD_WORD.fullmatch(name.lower()) for name in names) or all(map(_CAMERA.fullmatch, names)):
            return True
        folders = [(path, folder) for path, folder in self._folders.items() if len(path) > depth]
        if all(re.fullmatch(r"[0-9a-f]{2,3}", name) for name in names):
            hashes = all(re.match(r"[0-9a-f]{8}", folder.first) for _, folder in folders)
            return hashes and all(folder.first.startswith(path[depth]) for path, folder in folders)
        if not all(re.fullmatch(r"[0-9]{4,}", name) for name in names) or len({len(name) for name in names}) > 1:
            return False
        spans = {name: list(_within(folders, depth, name)) for name in names}
        ends = [(min(f.first for f in spans[name]), max(f.last for f in spans[name])) for name in names]
        continued = all(last < first for (_, last), (first, _) in pairwise(ends))
        own = all(folder.prefixed for name in names for folder in spans[name])
        return continued and not own and len({counts[name] for name in names[:-1]}) == 1


def half_of(names: Collection[str], split: str, part: str, beside: str, where: str) -> str:
    """Which of the folders or kinds next to each other is used, of those that make pairs.

    Args:
        split: data.split, which may name it.
        part: the one that is used; else `beside`, the one that is not: the images are then found by their name.
    Raises DataError if several could be the images.
    """
    if part:
        return part
    others = sorted(set(names) - {beside})
    alike = [name for name in others if beside.startswith(name) or name[:-1] == beside[:-1]]  # train_masks, trainA
    for found in ([n for n in others if n == split], others, [n for n in others if n.lower() in _IMAGES], alike):
        if len(found) == 1:
            return found[0]
    if not others:
        raise DataError(where, f"there is nothing beside {beside} that could hold the images", "check data.condition")
    shown = ", ".join(others[:_SHOWN])
    raise DataError(where, f"beside {beside} there are {shown}", f"name the images: --set data.split={others[0]}")


def choose_half(images: str, conditions: str) -> str:
    """What to do about images that belong together; an input is what a target is made of."""
    conditions = images if images.lower() in ("input", "inputs") else conditions
    pairs = f"train on pairs: --preset painter-colours --set data.condition={conditions}"
    return f"choose one: --set data.split={images}; {pairs}; or take all: --set data.split=all"


def is_mask(name: str) -> bool:
    """Whether a folder or kind of this name holds what belongs to images, rather than images."""
    return name.lower() in _MASKS


def part_of(name: str) -> Part | None:
    """Which part of a dataset a folder or file of this name holds, None if it does not say."""
    return next((part for part, pattern in _PARTS.items() if pattern.search(name.lower())), None)


def _is_in(folders: Sequence[str], depth: int, name: str) -> bool:
    return len(folders) > depth and folders[depth] == name


def _within(folders: list[tuple[tuple[str, ...], _Folder]], depth: int, name: str) -> Iterator[_Folder]:
    return (folder for path, folder in folders if path[depth] == name)
