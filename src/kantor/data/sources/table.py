"""Images in the rows of a table, whatever file it is in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

from kantor.data.reasons import Undecodable
from kantor.data.sources import columns as choice
from kantor.data.sources import labels as label_files
from kantor.data.sources.columns import Columns, NotClasses
from kantor.data.sources.open_file import FileSource
from kantor.data.sources.source import RULES, Item, Loaded, Rejected
from kantor.errors import DataError

DAMAGED = "it is damaged: copy or download it again"
LABEL_ROWS = 1024
IMAGE_ROWS = 64


class Table(FileSource):
    """Images by row: encoded files, structs with `bytes` in them, as Hugging Face's datasets have it, or numbers.

    It is local, and read in order, some rows at a time: a table can be larger than the memory.

    Args:
        labels: "auto": the column of labels, if there is one; "none"; or a file of labels, in which the names are
            row numbers.
        column: of the images; "" chooses it by type and name.
    """

    local_only = True
    columns: Columns
    count: int  # of the rows

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES, column: str = "") -> None:
        super().__init__(f"{path}:{column}" if column else path, labels, rules, path)
        self._labels: list[str | None] | None = None

    def items(self) -> Iterator[Item | Rejected]:
        """In the order of the rows."""
        return label_files.attach_file(self._items(), self.labels, self.rules, self.listing_notes)

    @abstractmethod
    def load(self, item: Item) -> Loaded:
        """The encoded image, or its numbers [H, W] or [H, W, C]."""

    @abstractmethod
    def _values(self, column: str, rows: int) -> Iterator[Any]:
        """The values of a column, at most `rows` at a time. Raises DataError if it is too large for classes."""

    def _describe(self, schema: Any, column: str, class_names: Callable[[str], list[str]]) -> None:
        """Chooses the columns, looks at the first images and reads the labels.

        class_names: gives the names of the classes in a column of labels.
        """
        if self.count > Path(self.file).stat().st_size:
            raise DataError(self.path, f"its footer claims {self.count:,} rows, more than it has bytes", DAMAGED)
        try:
            self.columns = choice.choose_columns(schema, self.file, self.rules, column)
        except UnicodeDecodeError as error:
            raise DataError(self.path, "the name of a column is not text", DAMAGED) from error
        self.exact = self.columns.form == "numbers"
        notes = [self.columns.note]
        if self.columns.form == "struct" and self.rules >= 2:
            self._require_bytes()
        if self.columns.form == "numbers":
            self._require_shape()
        if self.labels == "auto":
            notes += self._find_labels(schema, class_names)
        self.note = "; ".join(notes)

    def _items(self) -> Iterator[Item | Rejected]:
        if not self.count:
            raise DataError(self.path, "there are no rows in it", "name a file with images")
        mtime_ns = Path(self.file).stat().st_mtime_ns
        for row, label in zip(range(self.count), self._labels or repeat(None), strict=False):
            yield Item(str(row), row, 0, mtime_ns, label)

    def _require_bytes(self) -> None:
        """Raises DataError if no row holds an image, but rows hold the paths of images."""
        path = None
        for values in _readable(self._values(self.columns.image, IMAGE_ROWS)):
            if not hasattr(values, "field") or values.field("bytes").null_count < len(values):
                return
            if path is None and any(field.name == "path" for field in values.type):
                path = next((text for text in values.field("path").to_pylist() if text), None)
        if path is not None:
            what = f"its rows hold paths of images, not the images (the first is {str(path)[:200]})"
            do = 'store {"bytes": ..., "path": None} in each row, or pack the dataset through python:NAME'
            raise DataError(self.path, what, do)

    def _require_shape(self) -> None:
        """Raises DataError if the first row's numbers have no shape of an image."""
        for values in _readable(self._values(self.columns.image, 1)):
            try:
                choice.image_in(values, 0, "numbers")
            except Undecodable as error:
                if error.reason.kind == "content":
                    do = error.reason.remedy or "store lists [height][width] or [height][width][3]"
                    where = f"{self.path}: column {self.columns.image}"
                    raise DataError(where, f"row 0: {error.reason.detail}", do) from error
            return

    def _find_labels(self, schema: Any, class_names: Callable[[str], list[str]]) -> list[str]:
        """Reads the labels; returns why columns that are named like labels were not used."""
        said = []
        for name in self.columns.labels:
            field = choice.field_of(schema, name)
            try:
                if not self.columns.by_first_rules:
                    choice.require_classes(field)
                self._labels = self._read_labels(name, class_names(name))
            except NotClasses as reason:
                said.append(f"column {name} {reason}; not classes")
                continue
            break
        return said

    def _read_labels(self, column: str, classes: list[str]) -> list[str | None]:
        """The label of each row."""
        import pyarrow

        read = choice.labels_by_first_rules if self.columns.by_first_rules else choice.labels_in
        labels: list[str | None] = []
        try:
            for some in read(self._values(column, LABEL_ROWS), classes, self.path):
                labels += some
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            what = f"its labels cannot be read (damaged after row {len(labels)})"
            raise DataError(self.path, what, "use --labels none") from error
        if len(labels) != self.count:
            what = f"its footer claims {self.count:,} rows, but it has {len(labels):,} labels"
            raise DataError(self.path, what, DAMAGED)
        return labels


def _readable(batches: Iterator[Any]) -> Iterator[Any]:
    """Those before the first that is damaged, which `load` will report."""
    import pyarrow

    try:
        yield from batches
    except (pyarrow.ArrowException, OSError, ValueError):
        return
