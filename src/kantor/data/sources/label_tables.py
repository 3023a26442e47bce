"""Tables of labels as people have them: CSV with any separator, CelebA's lists, JSON, lines of JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kantor.data.sources.label_limits import require_small
from kantor.errors import DataError

MAX_ROWS = 5_000_000
MAX_COLUMNS = 10_000
_MAX_CELLS = 1 << 25  # more than two bytes of text for each
_MAX_LINE = 1 << 20  # characters
_SAMPLED_LINES = 50
_SAMPLED_BYTES = 512
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # Excel's "Unicode text"
_SAMPLED = 1 << 16  # characters
_SEPARATORS = ",\t;"
_WRITE = 'write "name,label"'


@dataclass(frozen=True)
class Table:
    """Rows of trimmed texts; a short row lacks its last cells, which count as empty.

    Attributes:
        header: names of the columns; None if the first row may be one.
        places: the line of each row, or the number of its entry.
        unit: "line" or "entry", for messages.
        is_null: the file says that there are no labels.
        unusable: by number of the column, what it holds if that is no text or number ("vectors of 2 numbers").
    """

    rows: Sequence[tuple[str, ...]]
    header: tuple[str, ...] | None
    places: Sequence[int]
    unit: str = "line"
    unusable: Mapping[int, str] = field(default_factory=dict)
    is_null: bool = False

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.header if self.header is not None else self.rows[0] if self.rows else ())

    def column(self, number: int) -> list[str]:
        """The cells of a column."""
        return [row[number] if number < len(row) else "" for row in self.rows]

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called: their header, else their number from 1."""
        header = self.header or ("",) * self.width
        return tuple(name or str(number) for number, name in enumerate(header, 1))

    def with_header(self) -> Table:
        """The same, with the first row as the names of the columns."""
        return Table(self.rows[1:], self.rows[0], self.places[1:], self.unit, self.unusable)


def of_mapping(labels: Mapping[str, str]) -> Table:
    """A table of names and labels."""
    return Table(list(labels.items()), ("name", "label"), range(len(labels)), "entry")


def parse(data: bytes, where: str) -> Table:
    """The table in the bytes of a text: CSV and the like, CelebA's lists, JSON. Raises DataError if it is malformed or too large."""
    require_small(len(data), where)
    if b"\0" in data[:_SAMPLED_BYTES] and not data.startswith(_UTF_16):
        what = "a MATLAB file, not a table" if data.startswith(b"MATLAB") else "not a table of text"
        raise DataError(where, what, "save the labels, one for each image, with numpy.save('labels.npy', labels)")
    text = _decoded(data)
    if text.lstrip()[:1] not in ("{", "["):
        return _csv_table(text, where)
    if where.lower().endswith((".jsonl", ".ndjson")):
        return records(_json_lines(text, where), where)
    try:
        return of_json(json.loads(text), where)
    except (ValueError, RecursionError) as error:
        if getattr(error, "msg", "") == "Extra data" and "\n" in text.strip():
            return records(_json_lines(text, where), where)
        raise _not_json(error, where, getattr(error, "lineno", 1)) from error


def parse_dataset_json(data: bytes, where: str) -> Table | None:
    """The table of names and labels in NVIDIA's dataset.json, None if it is another program's file."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return parse(data, where)
    pairs = value.get("labels") if isinstance(value, dict) else None
    return of_json(pairs, where) if isinstance(pairs, list) and not any(isinstance(p, dict) for p in pairs) else None


def of_json(value: Any, where: str) -> Table:
    """A table from parsed JSON: name to label, pairs, dicts of columns, or {"labels": any of these or null}."""
    if isinstance(value, dict) and isinstance(value.get("labels", ""), list | dict | None):
        value = value["labels"]
        if value is None:
            return Table([], ("name", "label"), [], is_null=True)
    if isinstance(value, dict):
        if isinstance(value.get("images"), list) and isinstance(value.get("annotations"), list):
            what = "COCO's annotations of objects, not one label for each image"
            raise DataError(where, what, f"{_WRITE} for each image, or use --labels none")
        if value and all(isinstance(row, dict) for row in value.values()):
            return records([{"name": name, **row} for name, row in value.items()], where)
        entries: Sequence[Any] = list(value.items())
    else:
        entries = value if isinstance(value, list) else [value]
    if entries and all(isinstance(entry, dict) for entry in entries):
        return records(entries, where)
    for number, entry in enumerate(entries):
        spot = f"{where}, entry {number}"
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[0], str):
            raise DataError(spot, f"{json.dumps(entry)[:60]} found", 'write ["name", label]')
        _require_label(entry[1], f"{spot} ({entry[0]})")
    return _table([dict(zip(("name", "label"), entry, strict=True)) for entry in entries], ("name", "label"), "entry")


def records(rows: Sequence[Mapping[str, Any]], where: str) -> Table:
    """A table from dicts by name of the column."""
    header: dict[str, None] = {}
    for row in rows:
        header.update(dict.fromkeys(map(str, row)))
        if len(header) > MAX_COLUMNS or len(header) * len(rows) > _MAX_CELLS // 2 or len(rows) > MAX_ROWS:
            raise DataError(where, f"{len(rows):,} entries with {len(header):,} names", "keep names and labels only")
    return _table(rows, tuple(header), "entry")


def _table(rows: Sequence[Mapping[str, Any]], header: tuple[str, ...], unit: str) -> Table:
    columns, unusable = [], {}
    for number, name in enumerate(header):
        values = [row.get(name) for row in rows]
        if any(isinstance(value, list | dict) for value in values):
            values, what = _indices(values)
            unusable.update({number: what} if what else {})
        columns.append([_text(value) for value in values])
    return Table(list(zip(*columns, strict=True)), header, range(len(rows)), unit, unusable)


def _indices(values: list[Any]) -> tuple[list[Any], str]:
    """Places of the only 1 in one-hot vectors, and ""; or nothing, and what these values are instead."""
    lists = [value for value in values if isinstance(value, list)]
    numbers = all(isinstance(n, int | float) for value in lists for n in value)
    lengths = {len(value) for value in lists}
    if len(lists) < len(values) or not numbers:
        return [None] * len(values), "lists" if lists else "objects"
    if len(lengths) == 1 and all(set(value) <= {0, 1} and value.count(1) == 1 for value in lists):
        return [value.index(1) for value in lists], ""
    size = f" of {lengths.pop()} numbers" if len(lengths) == 1 else ""
    return [None] * len(values), f"vectors{size}"


def _require_label(value: Any, spot: str) -> None:
    """Raises DataError unless a value is text, a whole number from 0, or a list, which is looked at later."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if not isinstance(value, str | list) and (isinstance(value, bool) or not whole or value < 0):
        raise DataError(spot, f"the label is {json.dumps(value)[:60]}", "give one text or one whole number from 0")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else str(value)


def _decoded(data: bytes) -> str:
    if data.startswith(_UTF_16):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "surrogateescape")


def _json_lines(text: str, where: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _not_json(error, where, number) from error
        if not isinstance(row, dict):
            raise DataError(f"{where}, line {number}", f"{line.strip()[:60]} found", 'write {"file_name": ...}')
        if len(rows) >= MAX_ROWS:
            raise DataError(f"{where}, line {number}", f"more than {MAX_ROWS:,} lines", "keep names and labels only")
        rows.append(row)
    return rows


def _not_json(error: Exception, where: str, line: int) -> DataError:
    reason = getattr(error, "msg", "nested too deeply")
    return DataError(f"{where}, line {line}", f"not JSON ({reason})", "correct it")


def _csv_table(text: str, where: str) -> Table:
    separator = _separator(text)
    rows: list[tuple[str, ...]] = []
    places: list[int] = []
    pool: dict[str, str] = {}  # equal cells are one text
    cells_left = _MAX_CELLS
    for number, row in _blank_rows(text, where) if separator == " " else _csv_rows(text, separator, where):
        cells = [pool.setdefault(cell, cell) for cell in map(str.strip, row)]
        width = len(rows[0]) if rows else 0
        while len(cells) > max(width, 1) and not cells[-1] and rows:
            cells.pop()
        cells_left -= len(cells)
        if len(rows) >= MAX_ROWS or len(cells) > MAX_COLUMNS or cells_left < 0:
            what = f"more than {MAX_ROWS:,} lines or {MAX_COLUMNS:,} columns"
            raise DataError(f"{where}, line {number}", what, "keep names and labels only")
        rows.append(tuple(cells))
        places.append(number)
    rows, places, header = _list_header(rows, places) if separator == " " else (rows, places, None)
    if header is None and len(rows) > 2 and all(len(row) == len(rows[0]) + 1 for row in rows[1:]):
        header, rows, places = ("", *rows[0]), rows[1:], places[1:]  # as R writes it
    table = Table(rows, header, places)
    _check_widths(table, where, separator)
    return table


def _check_widths(table: Table, where: str, separator: str) -> None:
    """Raises DataError if there is one column only, or a row is longer than the first."""
    for place, row in zip(table.places, table.rows, strict=True):
        if len(row) < 2:
            raise DataError(f"{where}, line {place}", f"one column found, {separator.join(row)[:60]}", _WRITE)
        if len(row) > table.width:
            what = f"{len(row)} columns, but {table.width} above"
            raise DataError(f"{where}, line {place}", what, "put texts with separators in quotes")


def _list_header(
    rows: list[tuple[str, ...]], places: list[int]
) -> tuple[list[tuple[str, ...]], list[int], tuple[str, ...] | None]:
    """Rows without CelebA's first line, the number of lines, and with a name for the first column."""
    if len(rows) > 2 and len(rows[0]) == 1 and rows[0][0].isdecimal() and len(rows[1]) + 1 == len(rows[2]):
        return rows[2:], places[2:], ("", *rows[1])
    return rows, places, None


def _separator(text: str) -> str:
    """What stands between cells: the separator by which all of the first lines have equally many; " " for blanks."""
    lines = [line for line in text[:_SAMPLED].splitlines() if line.strip()][:_SAMPLED_LINES]
    if len(text) > _SAMPLED and len(lines) > 1:
        lines.pop()  # perhaps cut
    if not any(separator in line for separator in _SEPARATORS for line in lines):
        return " "
    widths = {separator: _common_width(lines, separator) for separator in _SEPARATORS}
    best = max(_SEPARATORS, key=lambda separator: widths[separator])
    if widths[best] > 1:
        return best
    return next((separator for separator in _SEPARATORS if separator in lines[0]), ",")


def _common_width(lines: list[str], separator: str) -> int:
    """Number of cells in all lines, 0 if it differs."""
    try:
        widths = {len(row) for row in csv.reader(lines, delimiter=separator)}
    except csv.Error:
        return 0
    return widths.pop() if len(widths) == 1 else 0


def _blank_rows(text: str, where: str) -> Iterator[tuple[int, list[str]]]:
    lines = enumerate(_short_lines(_lines(text), where), 1)
    return ((number, cells) for number, line in lines if (cells := line.split()))


def _csv_rows(text: str, separator: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, and the lines at which they end."""
    reader = csv.reader(_short_lines(_lines(text), where), delimiter=separator, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num}", f"not CSV ({error})", _WRITE) from error


def _lines(text: str) -> Iterator[str]:
    """Lines with their ends; "\\r" alone ends one only where there is no "\\n"."""
    end = "\n" if "\n" in text else "\r"
    start = 0
    while start < len(text):
        stop = text.find(end, start) + 1 or len(text)
        yield text[start:stop]
        start = stop


def _short_lines(lines: Iterable[str], where: str) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if len(line) > _MAX_LINE:
            raise DataError(f"{where}, line {number}", f"longer than {_MAX_LINE:,} characters", _WRITE)
        yield line
