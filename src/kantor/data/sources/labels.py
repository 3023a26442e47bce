"""Labels from files: tables (CSV and the like, CelebA's lists, JSON) and arrays (.npy, .npz), and the items that they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kantor.data.sources import first_label_rules, label_limits, label_tables
from kantor.data.sources.label_arrays import label_names, read_array
from kantor.data.sources.label_columns import NotClasses, choose_labels, has_headers, labels_by_name, metadata_columns
from kantor.data.sources.label_limits import MAX_CLASSES, require_few_classes, require_small
from kantor.data.sources.label_tables import Table
from kantor.data.sources.source import RULES, Item, Rejected
from kantor.errors import DataError

__all__ = [
    "MAX_CLASSES", "METADATA", "Table", "attach", "attach_file", "choose_labels", "metadata_labels", "parse_dataset_json", "parse_metadata",
    "require_few_classes", "require_small", "split_column", "unused_tables",
]  # fmt: skip

METADATA = ("metadata.csv", "metadata.jsonl")  # of a Hugging Face ImageFolder, in the folder of the images
_TABLE = re.compile(r".*\.(csv|tsv)|(list_attr|identity).*\.txt|.*(label|class|annotation|attribute).*\.(txt|json|npy)")
_CLASSES = re.compile(r"label|class|attr|annotation|categor")
_NO_CLASSES = re.compile(r"identity|landmark|bbox|box|keypoint|partition|split")
_OF_NO_IMAGE = re.compile(
    r"submission|coco|mapping|_map\b|_to_|names\.|^class(es)?\.txt$"
)  # forms to fill in, names of classes, boxes
_SHEETS = (".xlsx", ".xls", ".ods")
_ARRAYS = (b"\x93NUMPY", b"PK\x03\x04")


def split_column(labels: str) -> tuple[str, str | None]:
    """The file and the column that FILE or FILE:COLUMN names. A file of the whole name comes first."""
    path, colon, column = labels.rpartition(":")
    if not colon or not column or _exists(labels):
        return labels, None
    while ":" in path and not _exists(path):  # a column with ":" in its name
        shorter, _, more = path.rpartition(":")
        if not _exists(shorter):
            break
        path, column = shorter, f"{more}:{column}"
    is_drive = len(path) == 1 and path.isalpha() and column.startswith(("\\", "/"))
    return (labels, None) if is_drive else (path, column)


def attach_file(
    entries: Iterator[Item | Rejected], labels: str, rules: int = RULES, notes: list[str] | None = None
) -> Iterator[Item | Rejected]:
    """The items with the labels of a file, as --labels names it; as they are if `labels` is "auto" or "none".

    notes: gets a line for the user on what was decided, when the first item is asked for.
    """
    if labels in ("auto", "none"):
        return entries
    if rules < 2:
        return first_label_rules.attach_file(entries, labels)
    path, column = split_column(labels)
    try:
        with _place(path).open("rb") as file:
            start = file.read(6)
            if path.lower().endswith(_SHEETS):
                raise DataError(path, "a spreadsheet, not a table of text", "save it as CSV, and name that")
            if start.startswith(_ARRAYS):
                return _with_array(entries, str(_place(path)), column)
            data = start + file.read(label_limits.MAX_TABLE_BYTES + 1)
    except OSError as error:
        do = "name a CSV, JSON, .npy or .npz file, or FILE:COLUMN"
        raise DataError(path, f"the labels cannot be read ({error.strerror})", do) from error
    return attach(entries, label_tables.parse(data, path), path, rules, notes, column)


def attach(
    entries: Iterable[Item | Rejected],
    labels: Mapping[str, str] | Table,
    where: str,
    rules: int = RULES,
    notes: list[str] | None = None,
    column: str | None = None,
) -> Iterator[Item | Rejected]:
    """The items with their labels. Raises DataError, before the first one, if an image has none or it is not clear."""
    if rules < 2 and not isinstance(labels, Table):
        yield from first_label_rules.attach(entries, dict(labels), where)
        return
    table = labels if isinstance(labels, Table) else label_tables.of_mapping(labels)
    if table.is_null:
        _add(notes, [f"{where} says that there are no labels"])
        yield from entries
        return
    listing = list(entries)
    images = [entry.name for entry in listing if isinstance(entry, Item)]
    others = [entry.name for entry in listing if isinstance(entry, Rejected)]
    found, lines = choose_labels(table, images, column, where, others)
    require_few_classes(len(set(found.values())), where)
    _add(notes, lines)
    for entry in listing:
        yield replace(entry, label=found[entry.name]) if isinstance(entry, Item) else entry


def parse_dataset_json(data: bytes, where: str, rules: int = RULES, notes: list[str] | None = None) -> dict[str, str]:
    """Labels by name from a dataset.json next to the images.

    None if it is another program's file, or by newer rules if its labels are vectors, with a note.
    """
    if rules < 2:
        return first_label_rules.parse_dataset_json(data, where)
    table = label_tables.parse_dataset_json(data, where)
    if table is None or not table.rows:
        return {}
    try:
        return labels_by_name(table, where)
    except NotClasses as error:
        _add(notes, [f"{where}: {error.what}; none are used"])
        return {}


def parse_metadata(data: bytes, where: str, column: str | None = None) -> Table | None:
    """The table in a file of a name in METADATA, with names relative to its folder.

    None if it has no column `file_name`, or none that can be labels: captions only. With `column`, that is for
    `choose_labels` to find.
    """
    table = label_tables.parse(data, where)
    if not has_headers(table, ("file_name",)):
        return None
    table = table if table.header is not None else table.with_header()
    return table if column is not None else metadata_columns(table)


def metadata_labels(data: bytes, where: str, images: list[str], notes: list[str]) -> dict[str, str]:
    """Labels of images, named relative to the folder of a file of a name in METADATA; {} if it has none."""
    table = parse_metadata(data, where)
    if table is None or not images:
        return {}
    try:
        found, lines = choose_labels(table, images, None, where, [])
    except DataError as error:
        _add(notes, [f"{where}: {error.what}; none of its labels are used"])
        return {}
    _add(notes, lines)
    return found


def unused_tables(names: Iterable[str], labels: str, labelled: bool, where: str) -> list[str]:
    """A note on tables next to images whose labels come from elsewhere, or from nowhere.

    Args:
        names: of files that are no images.
        labelled: whether a table is used already.
    """
    if labels != "auto" or labelled:
        return []
    lowered = {name: name.rpartition("/")[2].lower() for name in names}
    tables = [name for name, base in lowered.items() if _TABLE.fullmatch(base) and not _OF_NO_IMAGE.search(base)]
    tables.sort(key=lambda name: (_use(lowered[name]), name))
    if not tables:
        return []
    shown = ", ".join(tables[:3]) + (" ..." if len(tables) > 3 else "")
    return [f"not used: {shown}; name one for its labels: --labels {Path(where) / tables[0]}"]


def _use(name: str) -> int:
    """How unlikely a table of this name is to hold classes with many images each."""
    return 2 if _NO_CLASSES.search(name) else 0 if _CLASSES.search(name) else 1


def _with_array(entries: Iterator[Item | Rejected], path: str, array: str | None) -> Iterator[Item | Rejected]:
    """The items with the labels of a .npy or .npz file, in the order of both."""
    listing = list(entries)
    count = sum(isinstance(entry, Item) for entry in listing)
    labels = label_names(read_array(path, array), path, count)
    require_few_classes(len(set(labels)), path)
    following = iter(labels)
    for entry in listing:
        yield replace(entry, label=next(following)) if isinstance(entry, Item) else entry


def _add(notes: list[str] | None, lines: list[str]) -> None:
    """Adds lines that are not there yet: a source is listed several times."""
    if notes is not None:
        notes += [line for line in lines if line not in notes]


def _place(path: str) -> Path:
    """A path as the user wrote it; "~" is the home folder, unless a file here has that name."""
    return Path(path) if Path(path).exists() else Path(path).expanduser()


def _exists(path: str) -> bool:
    try:
        return bool(path) and _place(path).exists()
    except (OSError, ValueError, RuntimeError):  # a name that is too long; no such user
        return False
