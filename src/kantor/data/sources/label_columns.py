"""Which column of a table holds the labels, and what they are called."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Sequence

from kantor.data.sources.label_names import NAME_HEADERS, Match, is_named, match, name_column, normal
from kantor.data.sources.label_tables import Table
from kantor.errors import DataError

LABEL_HEADERS = ("label", "class", "category", "target", "label_name", "class_name")
_MORE_HEADERS = ("labels", "classes", "class_id", "label_id", "category_name", "category_id")
_KEEP_NUMBERS = (*LABEL_HEADERS, *_MORE_HEADERS, "targets", "y", "sex", "gender")
_CAPTIONS = ("text", "caption", "captions", "prompt", "description", "additional_feature", "split", "url", "source")
_YES_AND_NO = ({"1", "0"}, {"1", "-1"}, {"true", "false"})
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_UNDECODED = re.compile("[\udc80-\udcff]")  # bytes, by surrogateescape
_NONE = "or use --labels none"
_SHOWN = 3
_FEW = 10  # so many images may each have a class of their own


class NotClasses(DataError):
    """The labels are vectors, lists or objects."""


def choose_labels(
    table: Table, images: Sequence[str], column: str | None, where: str, others: Collection[str] = ()
) -> tuple[dict[str, str], list[str]]:
    """The label of each image, and notes for the user.

    Args:
        images: their names, all different.
        column: names of the columns of labels, with commas between them; None to find the only one that can be.
        where: the file, for messages.
        others: files next to the images that the table may name too.

    Raises:
        NotClasses: the labels are vectors, lists or objects.
        DataError: an image has no label or two, or which column holds labels is not clear.
    """
    if not table.rows:
        raise DataError(where, "there are no labels in it", 'write lines "name,label", or use --labels auto')
    name_at = name_column(table, images)
    if name_at is None:
        raise _mismatch(table, images, where)
    table = _headed(table, name_at, images)
    labels, chosen = _labels(table, name_at, column, where)
    found = match(table.column(name_at), images)
    if found.clash:
        what = f"its names fit those of the images {found.rule} only, and so {found.clash} are the same"
        raise DataError(where, what, "write the path of each image, such as cat/1.png")
    _require_all(found, table.column(name_at), images, where)
    extra = _without_image(found, others)
    if extra and _are_numbers(images) and 2 * extra > len(set(found.names)):
        what = f"it has {len(set(found.names)):,} names for {len(images):,} images"
        raise DataError(where, what, f"give it a line for each image, {_NONE}")
    notes = [chosen] if chosen else []
    if found.rule:
        notes.append(f"names in {where} are compared with those of the images {found.rule}")
    if extra:
        notes.append(f"{extra:,} of the {len(set(found.names)):,} names in {where} have no image here")
    return _checked(table, found, labels, where), notes


def labels_by_name(table: Table, where: str) -> dict[str, str]:
    """The second column by the names in the first. Raises as `choose_labels`."""
    names = [normal(name) for name in table.column(0)]
    found = Match({name: row for row, name in reversed([*enumerate(names)])}, names, "")
    return _checked(table, found, _classes(table, 1, where), where)


def metadata_columns(table: Table) -> Table | None:
    """The columns of names and labels of a Hugging Face ImageFolder, None if there is no column that can be labels."""
    header = [name.lower() for name in table.header or ()]
    if "file_name" not in header or not table.rows:
        return None
    name_at = header.index("file_name")
    label_at = _usual(table, name_at)
    if label_at is None:
        able = [c for c in _candidates(table, name_at) if header[c] not in _CAPTIONS and header[c] not in NAME_HEADERS]
        label_at = able[0] if len(able) == 1 else None
    if label_at is None or label_at in table.unusable:
        return None
    rows = list(zip(table.column(name_at), table.column(label_at), strict=True))
    names = (table.header or ())[name_at], (table.header or ())[label_at]
    return Table(rows, names, table.places, table.unit)


def has_headers(table: Table, wanted: Iterable[str]) -> bool:
    """Whether the first row names one of these columns."""
    first = table.header or (table.rows[0] if table.rows else ())
    return any(cell.lower() in wanted for cell in first)


def some(names: list[str]) -> str:
    """`7 images (a, b, c ...)`."""
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"{len(names)} image{'s' * (len(names) != 1)} ({shown})"


def _headed(table: Table, name_at: int, images: Sequence[str]) -> Table:
    """The table with its first row as names of the columns, if it is not a row like the others."""
    if table.header is not None or len(table.rows) < 2:
        return table
    first = table.rows[0]
    if is_named(first[name_at], images):
        return table
    usual = has_headers(table, (*NAME_HEADERS, *LABEL_HEADERS, *_MORE_HEADERS))
    numbers = any(_NUMBER.fullmatch(cell) for cell in first)
    recurring = any(cell and cell in set(table.column(c)[1:]) for c, cell in enumerate(first))
    is_header = not first[name_at] or usual or not (numbers or recurring)
    return table.with_header() if is_header else table


def _labels(table: Table, name_at: int, column: str | None, where: str) -> tuple[list[str], str]:
    """The label of each row, and a note on what was chosen."""
    if column is not None:
        parts = [_classes(table, number, where) for number in _named(table, column, where, name_at)]
        return [", ".join(row) if all(row) else "" for row in zip(*parts, strict=True)], ""
    label_at = _usual(table, name_at)
    if label_at is not None:
        return _classes(table, label_at, where), ""
    if table.width == 2:
        label_at = 1 - name_at
        _require_shared(table, label_at, where)
    elif one_hot := _one_hot(table, name_at):
        return one_hot, f"classes are the columns of {where}, one for each image"
    else:
        candidates = _candidates(table, name_at)
        if len(candidates) != 1:
            raise _unclear(table, name_at, candidates, where)
        label_at = candidates[0]
    note = f"classes are the column {table.names[label_at]} of {where}" if table.header else ""
    return _classes(table, label_at, where), note


def _require_shared(table: Table, number: int, where: str) -> None:
    """Raises DataError if a column without a usual header holds another text for each of many images: captions."""
    cells = [cell for cell in table.column(number) if cell]
    if len(cells) < _FEW or len(set(cells)) < len(cells) or all(map(_WHOLE.fullmatch, cells)):
        return
    name = table.names[number]
    what = (
        f"its column {name} has another text in each of {len(cells):,} lines, such as {cells[0][:40]}, and no classes"
    )
    raise DataError(where, what, f"take them nevertheless: --labels {shlex.quote(f'{where}:{name}')}; {_NONE}")


def _named(table: Table, column: str, where: str, name_at: int) -> list[int]:
    """The numbers of the columns that the user names; without a header, these are numbers from 1."""
    header = table.names
    wanted = [column] if column in header else column.split(",")
    numbers = []
    for name in map(str.strip, wanted):
        able = [i for i, own in enumerate(header) if own == name]
        able = able or [i for i, own in enumerate(header) if own.lower() == name.lower()]
        if len(able) != 1:
            what = f"it has {'several columns' if able else 'no column'} {name or '(empty)'}"
            raise DataError(where, what, "choose one of: " + ", ".join(h for i, h in enumerate(header) if i != name_at))
        numbers.append(able[0])
    return numbers


def _usual(table: Table, name_at: int) -> int | None:
    """The first column with a usual header of labels."""
    header = [name.lower() for name in table.header or ()]
    for usual in (LABEL_HEADERS, _MORE_HEADERS):
        able = [i for i, name in enumerate(header) if name in usual and i != name_at]
        if able:
            return able[0]
    return None


def _candidates(table: Table, name_at: int) -> list[int]:
    """Columns that can be labels: images share a value, others differ or it is an attribute's, and it is no fraction."""
    able = []
    for number in range(table.width):
        if number == name_at or number in table.unusable:
            continue
        values = [cell for cell in table.column(number) if cell]
        distinct = set(values)
        fractions = all(map(_NUMBER.fullmatch, distinct)) and not all(map(_WHOLE.fullmatch, distinct))
        is_attribute = {_plain(cell) for cell in distinct} <= {"0", "1", "-1"}
        if (is_attribute or len(distinct) > 1) and len(distinct) < len(values) and not fractions:
            able.append(number)
    return able


def _one_hot(table: Table, name_at: int) -> list[str]:
    """The name of the column with the only 1 of each row, [] if there are no such columns."""
    if table.header is None:
        return []
    columns = {
        number: [_plain(cell) for cell in table.column(number)]
        for number in range(table.width)
        if number != name_at and number not in table.unusable
    }
    columns = {number: cells for number, cells in columns.items() if set(cells) <= {"0", "1"}}
    if len(columns) < 2:
        return []
    header, numbers = table.header, list(columns)
    rows = zip(*columns.values(), strict=True)
    labels = [header[numbers[row.index("1")]] if row.count("1") == 1 else "" for row in rows]
    return labels if all(labels) else []


def _classes(table: Table, number: int, where: str) -> list[str]:
    """The class in each row by one column: NAME and "not NAME" if it says yes and no; 3.0 is 3."""
    if number in table.unusable:
        what = f"the labels are {table.unusable[number]}, not classes"
        raise NotClasses(where, what, f"give one text or one whole number from 0, {_NONE}")
    cells = table.column(number)
    distinct = set(cells) - {""}
    plain = {cell: _plain(cell).lower() for cell in distinct}
    name = table.header[number] if table.header else ""
    if name and name.lower() not in _KEEP_NUMBERS and any({*plain.values()} <= pair for pair in _YES_AND_NO):
        called = {cell: name if plain[cell] in ("1", "true") else f"not {name}" for cell in distinct}
    elif all(map(_WHOLE.fullmatch, distinct)):
        called = {cell: cell.partition(".")[0] for cell in distinct}
    else:
        return cells
    return [called.get(cell, "") for cell in cells]


def _plain(cell: str) -> str:
    return cell.partition(".")[0] if _WHOLE.fullmatch(cell) else cell


def _checked(table: Table, found: Match, labels: list[str], where: str) -> dict[str, str]:
    """The label by image. Raises DataError if one is empty, or a name has two different ones."""
    rows = {found.names[row]: row for row in found.rows.values()}
    for row, (name, label) in enumerate(zip(found.names, labels, strict=True)):
        first = rows.get(name)
        if first is None:
            continue
        spot = f"{where}, {table.unit} {table.places[row]}"
        if not label or label.lower() == "nan":
            raise DataError(spot, "the label is empty", "fill it in, or remove the line and the image")
        if labels[first] != label:
            raise DataError(spot, f"{name} is {label} here and {labels[first]} above", "keep one of them")
    return {image: _readable(labels[row]) for image, row in found.rows.items()}


def _readable(label: str) -> str:
    """A label whose bytes are no UTF-8, as Excel writes it for Western Europe."""
    if not _UNDECODED.search(label):
        return label
    return label.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def _require_all(found: Match, cells: list[str], images: Sequence[str], where: str) -> None:
    missing = [image for image in images if image not in found.rows]
    if not missing:
        return
    have = "has" if len(missing) == 1 else "have"
    used = {found.names[row] for row in found.rows.values()}
    unused = next((cell for cell, name in zip(cells, found.names, strict=True) if cell and name not in used), None)
    sides = f"; the table has {unused}, the images are named {missing[0]}" if unused else ""
    raise DataError(where, f"{some(missing)} {have} no label{sides}", f"add them, {_NONE}")


def _without_image(found: Match, others: Collection[str]) -> int:
    """Number of different names in the table that belong to no image and to none of the other files."""
    used = {found.names[row] for row in found.rows.values()}
    known = {normal(other).rpartition("/")[2] for other in others}
    return sum(name.rpartition("/")[2] not in known for name in {*found.names} - used)


def _are_numbers(images: Sequence[str]) -> bool:
    return all(image.rpartition("/")[2].isdecimal() for image in images)


def _mismatch(table: Table, images: Sequence[str], where: str) -> DataError:
    """The error for a table without a name of an image."""
    header = table.header or table.rows[0]
    usual = next((i for i, cell in enumerate(header) if cell.lower() in NAME_HEADERS), 0)
    cells = (row[usual] for row in table.rows if usual < len(row) and row[usual] and row[usual] != header[usual])
    shown = next(cells, header[usual])
    what = f"none of its names is that of an image: the table has {shown}, the images are named {images[0]}"
    return DataError(where, what, f"write names as the images have them, {_NONE}")


def _unclear(table: Table, name_at: int, candidates: list[int], where: str) -> DataError:
    """The error that lists the columns, with what to type."""
    header = table.names
    able = candidates or [number for number in range(table.width) if number != name_at]
    different = {number: len(set(table.column(number))) for number in able}
    different = {number: count for number, count in different.items() if count > 1} or different
    listed = list(different)
    counts = ", ".join(f"{header[n]} ({count:,} value{'s' * (count != 1)})" for n, count in different.items())
    unnamed = "" if table.header else " (no line names them)"
    what = f"which of its {table.width} columns{unnamed} holds the labels is not clear: {counts}"
    commands = [f"--labels {shlex.quote(f'{where}:{header[number]}')}" for number in listed[:_SHOWN]]
    more = f" ...; several: {where}:{header[listed[0]]},{header[listed[1]]}" if len(listed) > _SHOWN else ""
    return DataError(where, what, f"choose one: {' or '.join(commands)}{more}")
