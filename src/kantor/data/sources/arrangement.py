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
WITHOUT_FILES = ("none", "edges", "smaller")  # values of data.condition for which no file is looked for
Part = Literal["train", "val", "test", "other"]

_PARTS: dict[Part, re.Pattern[str]] = {
    "train": re.compile(r"(?<![a-z])(train(ing)?|trn|trainset)(?![a-z])"),
    "val": re.compile(r"(?<![a-z])(val(id(ation)?)?|dev|valset)(?![a-z])"),
    "test": re.compile(r"(?<![a-z])(test(ing)?|tst|eval(uation)?|testset)(?![a-z])"),
    "other": re.compile(r"(?<![a-z])(unlabell?ed|unsup(ervised)?|pred(iction)?|holdout|held.?out|extra)(?![a-z])"),
}
_TASK = ("Tr", "Ts")  # imagesTr for training, imagesTs for tests
_PART = re.compile(r"(train|val|valid|test)(ing|idation)?([ _-]?\d+)?")
_DOMAIN = re.compile(r"(train|val|test)[ _-]?[AB]")  # of unpaired translation: trainA, trainB
_WORDS = re.compile(r"[^a-z0-9]+")
_IMAGES = frozenset((
    "images", "image", "imgs", "img", "jpegimages", "photos", "photo", "rgb", "input", "inputs", "original", "originals", "leftimg8bit",
    "pictures", "color", "colour",
))  # fmt: skip
_MASKS = frozenset((
    "masks", "mask", "labels", "label", "annotations", "annotation", "segmentation", "segmentations", "segmentationclass",
    "segmentationobject", "gt", "ground_truth", "groundtruth", "gtfine", "target", "targets", "trimaps", "depth", "edges", "alpha",
    "instances", "seg", "segm",
))  # fmt: skip
_SHARD_WORD = re.compile(r"(part|shard|batch|chunk|subset|split|vol|page|folder|dir|set|images?|data)[ _-]?[0-9]+")
_DATE = re.compile(r"(19|20)\d\d[-_.]?(0[1-9]|1[0-2])([-_.]?([0-2]\d|3[01]))?|photos from (19|20)\d\d")
_YEAR, _MONTH_OR_DAY = re.compile(r"(19|20)\d\d"), re.compile(r"0[1-9]|[12]\d|3[01]")
_SIZE = re.compile(r".*?(?<!\d)(\d{2,4})x\1")  # data128x128 beside data256x256
_CAMERA = re.compile(r"[0-9]{3}[A-Z0-9_]{5}")  # 100CANON, as cameras number them
_MASK_FILE = re.compile(
    r".*[ _-](masks?|seg|segmentation|labels?|labelids|gt)([ _-]?[0-9]+)?\.[a-z0-9]+", re.IGNORECASE
)
_FILES = _IMAGE_FILES, _MASK_FILES = "images", "masks"  # values of data.split that choose among files of one folder
_SHOWN = 5


@dataclass
class _Folder:
    """The images straight in a folder."""

    count: int = 0
    first: str = ""  # of their names, in order
    last: str = ""
    prefixed: bool = True  # whether all their names begin with the folder's
    masks: int = 0  # how many are named as masks of others


@dataclass(frozen=True)
class Arrangement:
    """How to read the path of an image."""

    class_depth: int | None = None  # which part of the path is the class
    used: tuple[tuple[int, frozenset[str]], ...] = ()  # which part of the path must be one of these folders
    files: str = ""  # "images" or "masks" if only these are used of folders that hold both
    notes: tuple[str, ...] = ()  # what was decided, for the user
    class_notes: tuple[str, ...] = ()  # and about classes, if folders are to name them

    def uses(self, parts: Sequence[str]) -> bool:
        """Whether an image with these parts of a path belongs to the dataset."""
        if self.files and is_mask_file(parts[-1]) != (self.files == _MASK_FILES):
            return False
        return all(len(parts) > depth + 1 and parts[depth] in folders for depth, folders in self.used)

    def is_beside(self, parts: Sequence[str]) -> bool:
        """Whether a file with these parts of a path is next to images that are used, or above them."""
        return all(len(parts) <= depth + 1 or parts[depth] in folders for depth, folders in self.used)


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
        folder.masks += is_mask_file(base)

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
        named, wanted = part or beside, split.split("/")
        depths = [path.index(named) for path in folders if named in path]
        if not depths and named in _FILES and any(folder.masks for folder in folders.values()):
            files = part or next(name for name in _FILES if name != beside)
            parts = [name for name in wanted if name not in (AUTO, *_FILES)]
            return _Levels(folders, "/".join([*parts, files])).arranged(self.where)
        if not depths:
            known = {name for path in folders for name in path} | ({"edges"} if beside else set())
            raise DataError(self.where, f"there is no part {named} in it", nearest(named, known))
        depth = min(depths)
        halves = {path[depth] for path in folders if len(path) > depth}
        name = half_of(halves, split, part, beside, self.where)
        folders = {path: folder for path, folder in folders.items() if len(path) > depth and path[depth] == name}
        elsewhere = {folder for path in folders for i, folder in enumerate(path) if i != depth}
        above = "/".join(name for name in wanted if name not in halves - elsewhere)  # what names a half is decided
        arrangement = _Levels(folders, above or AUTO).arranged(self.where)
        return replace(arrangement, used=(*arrangement.used, (depth, frozenset({name}))))


class _Levels:
    """Goes down from the top, one level of folders at a time.

    split: data.split; "val/images" names a folder of one level and one of another.
    """

    def __init__(self, folders: dict[tuple[str, ...], _Folder], split: str) -> None:
        self._folders, self._split = folders, split
        self._all = ALL in split.split("/")
        self._wanted = [name for name in split.split("/") if name not in (AUTO, ALL)]
        self._levels: dict[int, frozenset[str]] = {}  # folders that are used, by level; empty for all
        self._notes: list[str] = []
        self._class_notes: list[str] = []
        self._domains = False  # whether the parts that are used are classes

    def arranged(self, where: str) -> Arrangement:
        there = ", ".join(sorted(self._counts(0))[:_SHOWN]) or "none"
        depth, class_depth = 0, None
        while len(counts := self._counts(depth)) > 0:
            beside = sum(folder.count for path, folder in self._folders.items() if len(path) == depth)
            if self._is_divided(counts, depth, where, beside):
                if self._domains:
                    class_depth = depth
                    break
                depth += 1
            elif beside:
                self._say_beside(counts, depth)
                break
            elif len(counts) == 1 or self._has_parts_and_more(counts, depth, where):
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
        if class_depth is not None and not self._domains:
            below = self._counts(class_depth + 1)
            straight = any(len(path) == class_depth + 1 for path in self._folders)
            if below and not straight:
                self._is_divided(below, class_depth + 1, where, 0)
        files = self._files_used(where)
        if self._wanted:
            what = f"there is no part {'/'.join(self._wanted)} in it (folders: {there})"
            raise DataError(where, what, "leave data.split out")
        used = tuple((depth, folders) for depth, folders in self._levels.items() if folders)
        return Arrangement(class_depth, used, files, tuple(self._notes), tuple(self._class_notes))

    def _counts(self, depth: int) -> Counter[str]:
        """Images in and below each folder of a level."""
        counts = Counter[str]()
        for path, folder in self._folders.items():
            if len(path) > depth:
                counts[path[depth]] += folder.count
        return counts

    def _is_divided(self, counts: Counter[str], depth: int, where: str, beside: int) -> bool:
        """Whether a level holds parts of the dataset; then those that are not used are left out from here on."""
        if named := next((name for name in self._wanted if name in counts), ""):
            self._wanted.remove(named)
            return self._use({named}, counts, depth)
        if beside or len(counts) < 2:
            return False
        self._require_one_size(counts, where)
        kinds = {name: part_of(name) for name in counts}
        masks = {name for name in counts if is_mask(name)}
        images = {name for name in counts if is_image(name)}
        training = {name for name, kind in kinds.items() if kind == "train"}
        if (
            all(kind or name in masks for name, kind in kinds.items())
            and any(kinds.values())
            and (training or not masks)
        ):
            return self._use(self._part(kinds, counts, where), counts, depth)
        if not images or not masks or len(images | masks) < len(counts):
            return False
        if self._all:
            return self._use(set(), counts, depth)
        raise self._pairs(images, masks, counts, where)

    def _has_parts_and_more(self, counts: Counter[str], depth: int, where: str) -> bool:
        """Whether train/ and test/ or val/, by exactly such names, are next to other folders; these are left out."""
        kinds = {name: part_of(name) if _PART.fullmatch(name.lower()) else None for name in counts}
        if "train" not in kinds.values() or not {"val", "test"} & {*kinds.values()}:
            return False
        return self._use(self._part(kinds, counts, where), counts, depth)

    def _require_one_size(self, counts: Counter[str], where: str) -> None:
        """Raises DataError if folders are named by the size of what is in them, and none is chosen."""
        if len(counts) < 2 or self._split == ALL or not all(map(_SIZE.fullmatch, counts)):
            return
        shown = " and ".join(f"{name}/ ({count:,})" for name, count in sorted(counts.items()))
        largest = max(counts, key=lambda name: int(name.rpartition("x")[2]))
        do = f"choose one: --set data.split={largest}; or take all: --set data.split=all"
        raise DataError(where, f"{shown} are sizes of one dataset and no classes", do)

    def _part(self, kinds: dict[str, Part | None], counts: Counter[str], where: str) -> set[str]:
        """The folders of the part that is used, empty for all. Raises DataError if they are images and masks."""
        if self._all:
            return set()
        part = next((name for name in self._wanted if name in kinds.values()), "")
        if part:
            self._wanted.remove(part)
        used = {name for name, kind in kinds.items() if kind == (part or "train")}
        masks = {name for name in used if is_mask(name)}
        if masks and used - masks:
            raise self._pairs(used - masks, masks, counts, where)
        self._domains = len(used) > 1 and all(map(_DOMAIN.fullmatch, used))
        return used

    def _pairs(self, images: set[str], masks: set[str], counts: Counter[str], where: str) -> DataError:
        both = " and ".join(f"{name}/ ({counts[name]:,})" for name in sorted(images) + sorted(masks))
        return self._question(both, min(images), min(masks), where)

    def _question(self, both: str, images: str, masks: str, where: str) -> DataError:
        above = "" if self._split == AUTO else f"{self._split}/"
        return DataError(where, f"{both} belong together and are no classes", choose_half(where, images, masks, above))

    def _files_used(self, where: str) -> str:
        """ "images" or "masks" if folders hold both and one is chosen, else "". Raises DataError if the user must choose."""
        count = sum(folder.count for folder in self._folders.values())
        masks = sum(folder.masks for folder in self._folders.values())
        both = all(0 < folder.masks < folder.count for folder in self._folders.values())
        chosen = next((name for name in self._wanted if name in _FILES), "")
        if not both or not count or not 0.3 * count <= masks <= 0.7 * count or (self._all and not chosen):
            return ""
        shown = f"images ({count - masks:,}) and masks ({masks:,}) in the same folders"
        if not chosen:
            raise self._question(shown, _IMAGE_FILES, _MASK_FILES, where)
        self._wanted.remove(chosen)
        self._notes.append(f"{shown}; used: {chosen} (data.split)")
        return chosen

    def _use(self, used: set[str], counts: Counter[str], depth: int) -> bool:
        """Leaves out the folders of this level that are not in `used`, if it is not empty."""
        self._levels[depth] = frozenset(used)
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
        if self._is_dated(names, depth):
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

    def _is_dated(self, names: list[str], depth: int) -> bool:
        """Whether folders are dates: 2019-05-01, or 2019/05. Years straight over images may be classes."""
        folders = [path for path in self._folders if len(path) > depth]
        if all(_DATE.fullmatch(name.lower()) for name in names):
            return True
        if all(map(_MONTH_OR_DAY.fullmatch, names)):
            return all(any(map(_YEAR.fullmatch, path[:depth])) for path in folders)
        below = ["".join(path[depth + 1 : depth + 2]) for path in folders]
        return all(map(_YEAR.fullmatch, names)) and all(_DATE.fullmatch(b) or _MONTH_OR_DAY.fullmatch(b) for b in below)


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
    for found in (
        [n for n in others if n in split.split("/")],
        others,
        [n for n in others if n.lower() in _IMAGES],
        alike,
    ):
        if len(found) == 1:
            return found[0]
    if not others:
        raise DataError(where, f"there is nothing beside {beside} that could hold the images", "check data.condition")
    shown = ", ".join(others[:_SHOWN])
    raise DataError(where, f"beside {beside} there are {shown}", f"name the images: --set data.split={others[0]}")


def choose_half(where: str, images: str, conditions: str, above: str = "") -> str:
    """What to do about images that belong together; an input is what a target is made of. above: what comes before in data.split."""
    conditions = images if images.lower() in ("input", "inputs") else conditions
    data = where
    if conditions in ("edges", "none"):  # these mean something else
        data, conditions = f"{where}/{above}{images}", f"{where}/{above}{conditions}"
    pairs = f"train on pairs: kantor train {data} --preset painter-colours --set data.condition={conditions}"
    return f"choose one: --set data.split={above}{images}; {pairs}; or take all: --set data.split=all"


def is_mask(name: str) -> bool:
    """Whether a folder or kind of this name holds what belongs to images, rather than images."""
    return _is_one_of(name, _MASKS)


def is_image(name: str) -> bool:
    """Whether a folder of this name holds images, as opposed to what belongs to them."""
    return _is_one_of(name, _IMAGES) and not is_mask(name)


def is_mask_file(base: str) -> bool:
    """Whether a file of this name is the mask of another: 1_mask.png beside 1.jpg."""
    return _MASK_FILE.fullmatch(base) is not None


def part_of(name: str) -> Part | None:
    """Which part of a dataset a folder or file of this name holds, None if it does not say."""
    if name[-2:] in _TASK and _is_one_of(name[:-2], _IMAGES | _MASKS):
        return "train" if name.endswith("Tr") else "test"
    if _DOMAIN.fullmatch(name):
        name = name[:-1]
    return next((part for part, pattern in _PARTS.items() if pattern.search(name.lower())), None)


def _is_one_of(name: str, known: frozenset[str]) -> bool:
    """Whether a name, or a word of it but the first: "train_masks", is known."""
    name = name[:-2] if name[-2:] in _TASK else name
    return name.lower() in known or any(word in known for word in _WORDS.split(name.lower())[1:])


def _within(folders: list[tuple[tuple[str, ...], _Folder]], depth: int, name: str) -> Iterator[_Folder]:
    return (folder for path, folder in folders if path[depth] == name)
