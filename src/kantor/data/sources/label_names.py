"""Which line of a table of labels belongs to which image: by path, by the end of the path, by file name, by stem."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from kantor.data.sources import names
from kantor.data.sources.label_tables import Table

NAME_HEADERS = (
    "file_name", "filename", "name", "file", "path", "filepath", "file_path", "image", "picture", "image_id", "image_name",
    "image_path", "img", "id", "index",
)  # fmt: skip
_SAMPLED_ROWS = 200
_HERE = re.compile(r"\A(\./)+")
_MAX_DEPTH = 32  # folders of a path that are looked at from its end


@dataclass(frozen=True)
class Match:
    """Rows of a table by name of the image, all found by one rule.

    Attributes:
        names: in each row, as the rule compares them.
        rule: "", or how names were compared if they are not equal.
        clash: why the rule cannot be used: two names that it takes for one; "" if it can.
    """

    rows: dict[str, int]
    names: list[str]
    rule: str
    clash: str = ""


def normal(name: str) -> str:
    """A name as it is compared: with "/" between folders, in one Unicode form."""
    name = name.strip()
    if "\\" in name or name.startswith("./"):
        name = _HERE.sub("", name.replace("\\", "/"))
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def name_column(table: Table, images: Sequence[str]) -> int | None:
    """The column with the names of the most images, by whatever rule; None if no column has any."""
    header = table.header or (table.rows[0] if table.rows else ())
    columns = {number: table.column(number) for number in range(table.width)}
    columns = {number: [*map(normal, cells)] for number, cells in columns.items() if _differ(cells)}
    usual = {number for number in columns if header[number].lower() in NAME_HEADERS}
    endings = _endings(images)
    names_left = [*map(normal, images)]
    for by_stem in (False, True):
        if by_stem:
            columns = {number: _stems(cells, endings) for number, cells in columns.items()}
            names_left = _stems(names_left, endings)
        wanted = {*map(_base, names_left)}
        found = {number: len(wanted.intersection(map(_base, cells))) for number, cells in columns.items()}
        best = max(columns, key=lambda number: (found[number], number in usual), default=None)
        if best is not None and found[best] == len(wanted):
            return best
    return best if best is not None and found[best] else None


def match(cells: Sequence[str], images: Sequence[str]) -> Match:
    """The rows that `cells` name, by the first rule that finds one for each image, else by that which finds the most."""
    endings = _endings(images)
    best = clashing = Match({}, [], "")
    own, theirs = [*map(normal, cells)], [*map(normal, images)]
    for suffix in ("", "without ending"):
        if suffix:
            own, theirs = _stems(own, endings), _stems(theirs, endings)
        for words, pairs_of in _RULES:
            rule, found = f"{words} {suffix}".strip(), pairs_of(own, theirs)
            rows = {images[i]: row for i, row in found.pairs.items()}
            if found.clash:
                clashing = clashing if clashing.clash else Match({}, own, rule, _clash(found.clash, cells, images))
            elif len(rows) == len(images):
                return Match(rows, own, rule)
            elif len(rows) > len(best.rows):
                best = Match(rows, own, rule)
    return best if best.rows else clashing


def is_named(cell: str, images: Sequence[str]) -> bool:
    """Whether a cell is an image's name by any rule, or has the ending of one."""
    if names.extension(cell) in names.IMAGES:
        return True
    endings = _endings(images)
    wanted = _base(_stem(normal(cell), endings))
    return any(wanted in image and _base(_stem(image, endings)) == wanted for image in map(normal, images))


@dataclass(frozen=True)
class _Found:
    pairs: dict[int, int]  # number of the image -> of the row
    clash: tuple[str, int, int] | None = None  # "images" or "table", and the numbers of two names


def _by_key(cells: list[str], images: list[str]) -> _Found:
    """Pairs of equal names."""
    clash: tuple[str, int, int] | None = None
    first: dict[str, int] = {}
    pairs: dict[int, int] = {}
    rows: dict[str, int] = {}
    for row, cell in enumerate(cells):
        rows.setdefault(cell, row)
    for number, image in enumerate(images):
        if image not in rows:
            continue
        if (other := first.setdefault(image, number)) != number:
            clash = clash or ("images", other, number)
        pairs[number] = rows[image]
    return _Found(pairs, clash)


def _by_base(cells: list[str], images: list[str]) -> _Found:
    """Pairs whose names are equal without folders."""
    bases = [_base(cell) for cell in cells]
    found = _by_key(bases, [_base(image) for image in images])
    if found.clash:
        return found
    used = {bases[row]: row for row in found.pairs.values()}
    for row, base in enumerate(bases):
        if base in used and cells[row] != cells[used[base]]:
            return _Found(found.pairs, ("table", used[base], row))
    return found


def _by_end(cells: list[str], images: list[str]) -> _Found:
    """Pairs of which one name is the end of the other, or equal to it."""
    rows: dict[str, int] = {}
    for row, cell in enumerate(cells):
        rows.setdefault(cell, row)
    numbers = {image: number for number, image in enumerate(images)}
    pairs: dict[int, int] = {}
    owner: dict[int, int] = {}
    for number, image in enumerate(images):
        end = image if image in rows else next((end for end in _ends(image) if end in rows), None)
        if end is not None:
            if (other := owner.setdefault(rows[end], number)) != number:
                return _Found(pairs, ("images", other, number))
            pairs[number] = rows[end]
    for cell, row in rows.items():
        end = cell if cell in numbers else next((end for end in _ends(cell) if end in numbers), None)
        if end is not None and (other := pairs.setdefault(numbers[end], row)) != row and cells[other] not in numbers:
            return _Found(pairs, ("table", other, row))
    return _Found(pairs)


_RULES: tuple[tuple[str, Callable[[list[str], list[str]], _Found]], ...] = (
    ("", _by_key),
    ("by the end of the path", _by_end),
    ("by file name", _by_base),
)


def _differ(cells: list[str]) -> bool:
    """Whether at least half of the first cells are different, unlike those of an attribute."""
    some = [cell for cell in cells[:_SAMPLED_ROWS] if cell]
    return 2 * len(set(some)) >= len(some) > 0


def _ends(name: str) -> Iterator[str]:
    """The name, and what is left of it without its first folders."""
    parts = name.rsplit("/", _MAX_DEPTH)
    for i in range(len(parts)):
        yield "/".join(parts[i:])


def _clash(clash: tuple[str, int, int], cells: Sequence[str], images: Sequence[str]) -> str:
    side, first, second = clash
    names_of = images if side == "images" else cells
    return f"{names_of[first]} and {names_of[second]}"


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _endings(images: Collection[str]) -> frozenset[str]:
    """The endings of names that do not count when stems are compared."""
    return names.IMAGES | {names.extension(image) for image in images}


def _stems(texts: list[str], endings: frozenset[str]) -> list[str]:
    return [_stem(text, endings) for text in texts]


def _stem(name: str, endings: frozenset[str]) -> str:
    ending = names.extension(name)
    return name[: -len(ending)] if ending and ending in endings else name
