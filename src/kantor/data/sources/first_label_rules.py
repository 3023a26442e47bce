"""Labels by rules 1, the behaviour of old runs: names equal those of the images, and usual headers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from kantor.data.sources.label_limits import require_few_classes
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError

_NAME_HEADERS = ("name", "file", "filename", "file_name", "path", "image", "picture", "image_id", "id")
_LABEL_HEADERS = ("label", "class", "category", "target", "label_name", "class_name")


def read_file(path: str) -> dict[str, str]:
    """Labels by name from a CSV or JSON file. Raises DataError if it is unreadable, malformed or empty."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(path, f"the labels cannot be read ({error.strerror})", "name a CSV or JSON file") from error
    labels = parse(data, path)
    if not labels:
        raise DataError(path, "there are no labels in it", 'write lines "name,label", or use --labels auto')
    return labels


def parse_dataset_json(data: bytes, where: str) -> dict[str, str]:
    """Labels from a dataset.json next to the images; none if it is another program's file."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return parse(data, where)
    return _from_json(value, where) if isinstance(value, dict) and isinstance(value.get("labels"), list) else {}


def parse(data: bytes, where: str) -> dict[str, str]:
    """Labels by name from the bytes of a CSV or JSON file; NVIDIA's dataset.json without labels gives none."""
    text = data.decode("utf-8-sig", "surrogateescape")
    if text.lstrip()[:1] not in ("{", "["):
        return _from_csv(text, where)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        line, reason = getattr(error, "lineno", 1), getattr(error, "msg", "nested too deeply")
        raise DataError(f"{where}, line {line}", f"not JSON ({reason})", "correct it") from error
    return _from_json(value, where)


def attach_file(entries: Iterator[Item | Rejected], labels: str) -> Iterator[Item | Rejected]:
    """The items with the labels of a CSV or JSON file; as they are if `labels` is "auto" or "none"."""
    return entries if labels in ("auto", "none") else attach(entries, read_file(labels), labels)


def attach(entries: Iterable[Item | Rejected], labels: dict[str, str], where: str) -> Iterator[Item | Rejected]:
    """The items with their labels. Raises DataError, before the first one, if a label or an image is missing."""
    require_few_classes(len(set(labels.values())), where)
    listing = list(entries)
    missing = [entry.name for entry in listing if isinstance(entry, Item) and entry.name not in labels]
    if missing:
        have = "has" if len(missing) == 1 else "have"
        raise DataError(where, f"{_some(missing)} {have} no label", "add them, or use --labels none")
    if unknown := sorted(labels.keys() - {entry.name for entry in listing}):
        raise DataError(where, f"it labels {_some(unknown)}, not among the images", "correct or remove the names")
    for entry in listing:
        yield replace(entry, label=labels[entry.name]) if isinstance(entry, Item) else entry


def _some(names: list[str]) -> str:
    """`7 images (a, b, c ...)`."""
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"{len(names)} image{'s' * (len(names) != 1)} ({shown})"


def _from_csv(text: str, where: str) -> dict[str, str]:
    first = text.split("\n", 1)[0]
    delimiter = next((d for d in (",", "\t", ";") if d in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    labels: dict[str, str] = {}
    name_at, label_at = 0, 1
    try:
        for row in reader:
            spot = f"{where}, line {reader.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if not labels and (columns := _header_columns(row)):
                name_at, label_at = columns
                continue
            if len(row) <= max(name_at, label_at):
                raise DataError(spot, f"one column found, {delimiter.join(row)[:60]}", 'write "name,label"')
            if len(row) > 2 and (name_at, label_at) == (0, 1) and not labels and reader.line_num == 1:
                what = f"{len(row)} columns, and no line above names them"
                raise DataError(spot, what, 'begin with a line such as "name,label"')
            _add(labels, row[name_at], row[label_at].strip(), spot)
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num}", f"not CSV ({error})", 'write "name,label"') from error
    return labels


def _header_columns(row: list[str]) -> tuple[int, int] | None:
    """The columns of names and labels, None if these are not the names of columns."""
    names = [i for i, cell in enumerate(row) if cell.strip().lower() in _NAME_HEADERS]
    labels = [i for i, cell in enumerate(row) if cell.strip().lower() in _LABEL_HEADERS]
    return (names[0], labels[0]) if names and labels else None


def _from_json(value: Any, where: str) -> dict[str, str]:
    """Labels from a parsed JSON file: a mapping, or pairs, or {"labels": either}."""
    if isinstance(value, dict) and isinstance(value.get("labels"), list | None) and "labels" in value:
        value = value["labels"] or []
    if isinstance(value, dict):
        entries: Iterable[Any] = value.items()
    else:
        entries = value if isinstance(value, list) else [value]
    labels: dict[str, str] = {}
    for number, entry in enumerate(entries):
        spot = f"{where}, entry {number}"
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[0], str):
            raise DataError(spot, f"{json.dumps(entry)[:60]} found", 'write ["name", label]')
        _add(labels, entry[0], _label(entry[1], f"{spot} ({entry[0]})"), spot)
    return labels


def _label(value: Any, spot: str) -> str:
    """A label from JSON: text, or a whole number that is not negative."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    raise DataError(spot, f"the label is {json.dumps(value)[:60]}", "give one text or one whole number from 0")


def _add(labels: dict[str, str], name: str, label: str, spot: str) -> None:
    name = name.strip().replace("\\", "/").removeprefix("./")
    if not name or not label or label.lower() == "nan":
        raise DataError(spot, f"the {'label' if name else 'name'} is empty", "fill it in, or remove the line")
    if labels.setdefault(name, label) != label:
        raise DataError(spot, f"{name} is {label} here and {labels[name]} above", "keep one of them")
