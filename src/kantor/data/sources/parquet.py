"""Images in a Parquet file (extra `parquet`): a column of encoded images, and one of labels."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate, repeat
from pathlib import Path
from typing import Any

from kantor.data.reasons import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources.open_file import FileSource, cannot_open
from kantor.data.sources.source import RULES, Item, Rejected
from kantor.errors import DataError, ResourceError

IMAGES = ("image", "img", "picture", "images", "jpg", "png", "bytes", "image_bytes")
LABELS = ("label", "labels", "class", "fine_label", "class_name", "y")
_MAX_LABEL_BYTES = 1000
_LABEL_ROWS = 1024
_BATCH_ROWS = 64
_BATCH_BYTES = 32 << 20
_BUFFER_BYTES = 1 << 20
_DAMAGED = "it is damaged: copy or download it again"


class Parquet(FileSource):
    """Images by row. An image is binary, or a struct with `bytes` in it, as Hugging Face's datasets have it.

    It is local, and read in order, some rows at a time: a row group can be larger than the memory.

    Args:
        labels: "auto": the column of labels, if there is one; "none"; or a CSV or JSON file, in which the names are
            row numbers.
    """

    local_only = True

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES) -> None:
        super().__init__(path, labels, rules)
        self._damaged_from: dict[int, int] = {}  # by number of the row group, the first row that cannot be read
        self._group, self._first = -1, 0  # row group, and the row in it at which the batch starts
        self._batch: Any = ()  # of the column of images, in Arrow's memory
        self._batches: Iterator[Any] = iter(())
        schema, footer = self._file().schema_arrow, self._file().metadata
        if footer.num_rows > Path(path).stat().st_size:
            what = f"its footer claims {footer.num_rows:,} rows, more than it has bytes"
            raise DataError(path, what, _DAMAGED)
        self.column, self._leaf, self.label_column = _choose_columns(schema, path)
        groups = (footer.row_group(number).num_rows for number in range(footer.num_row_groups))
        self._starts = list(accumulate(groups, initial=0))
        self.note = f"images are the column {self.column}"
        self.release()

    def items(self) -> Iterator[Item | Rejected]:
        """In the order of the rows."""
        return label_files.attach_file(self._items(), self.labels, self.rules, self.listing_notes)

    def load(self, item: Item) -> bytes:
        """The encoded image."""
        import pyarrow

        file, group = self._file(), bisect_right(self._starts, item.position) - 1
        row = item.position - self._starts[group]
        if row >= self._damaged_from.get(group, row + 1):
            raise Undecodable("damaged", f"damaged row group {group}")
        try:
            self._go_to(file, group, row)
            data = self._batch[row - self._first].as_py()
        except (pyarrow.ArrowException, OSError, ValueError, StopIteration) as error:
            self._damaged_from[group] = self._first + len(self._batch)
            self._group = -1
            raise Undecodable("damaged", f"damaged row group {group}") from error
        if not isinstance(data, bytes):
            raise Undecodable("damaged", "the row holds no image")
        return data

    def release(self) -> None:
        """Closes the file and frees the rows that were read."""
        self._group, self._batch, self._batches = -1, (), iter(())
        super().release()

    def _go_to(self, file: Any, group: int, row: int) -> None:
        """Reads forward to the batch with this row of a row group."""
        if group != self._group or row < self._first:
            footer = file.metadata.row_group(group)
            mean_bytes = max(1, footer.total_byte_size // max(1, footer.num_rows))
            rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES // mean_bytes))
            self._group, self._first, self._batch = group, 0, ()
            self._batches = file.iter_batches(rows, row_groups=[group], columns=[self._leaf])
        while row >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = ()  # frees it before the next one is read
            column = next(self._batches).column(0)
            self._batch = column.field("bytes") if hasattr(column, "field") else column

    def _open(self, coded: list[str] | None = None) -> Any:
        """Opens the file. coded: columns that are read as indices into their distinct values."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            what = "Parquet files need one more package (pyarrow)"
            raise ResourceError(self.path, what, "pip install 'kantor[parquet]'") from error
        try:
            return pyarrow.parquet.ParquetFile(self.path, read_dictionary=coded, buffer_size=_BUFFER_BYTES)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise cannot_open(self.path, error) from error
            what = f"it is not a whole Parquet file ({str(error).splitlines()[0][:100]})"
            raise DataError(self.path, what, "copy or download it again") from error

    def _items(self) -> Iterator[Item | Rejected]:
        mtime_ns, count = Path(self.path).stat().st_mtime_ns, self._starts[-1]
        if not count:
            raise DataError(self.path, "there are no rows in it", "name a file with images")
        labels = self._labels if self.labels == "auto" and self.label_column else repeat(None)
        for row, label in zip(range(count), labels, strict=False):
            yield Item(str(row), row, 0, mtime_ns, label)

    @cached_property
    def _labels(self) -> list[str | None]:
        """The label of each row."""
        import pyarrow

        column, count = str(self.label_column), self._starts[-1]
        if _column_bytes(self._file().metadata, column) > _MAX_LABEL_BYTES * (count + _LABEL_ROWS):
            what = f"its column {column} is too large to hold names of classes"
            raise DataError(self.path, what, "use --labels none, or name a file of labels")
        classes = _class_names(self._file().schema_arrow.metadata or {}, column)
        labels: list[str | None] = []
        try:
            with self._open([column]) as file:
                for batch in file.iter_batches(_LABEL_ROWS, columns=[column]):
                    labels += _labels_in(batch.column(0), classes, self.path)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            what = f"its labels cannot be read (damaged after row {len(labels)})"
            raise DataError(self.path, what, "use --labels none") from error
        if len(labels) != count:
            raise DataError(self.path, f"its footer claims {count:,} rows, but it has {len(labels):,} labels", _DAMAGED)
        return labels


def _choose_columns(schema: Any, path: str) -> tuple[str, str, str | None]:
    """The column of images, the field in it that holds their bytes, and the column of labels."""
    import pyarrow.types as kinds

    binary, structs, labels = [], [], []
    for field in schema:
        kind = field.type.value_type if kinds.is_dictionary(field.type) else field.type
        if kinds.is_struct(kind) and any(kind.field(i).name == "bytes" for i in range(kind.num_fields)):
            structs.append(field.name)
        elif kinds.is_binary(field.type) or kinds.is_large_binary(field.type):
            binary.append(field.name)
        elif any(fits(kind) for fits in (kinds.is_integer, kinds.is_boolean, kinds.is_string, kinds.is_large_string)):
            labels.append(field.name)
    images = binary + structs
    column = next((name for name in IMAGES if name in images), images[0] if len(images) == 1 else None)
    if column is None:
        what = f"which column holds encoded images is not clear (columns: {', '.join(schema.names)})"
        raise DataError(path, what, "name it image")
    leaf = f"{column}.bytes" if column in structs else column
    return column, leaf, next((name for name in LABELS if name in labels), None)


def _class_names(metadata: dict[bytes, bytes], column: str) -> list[str]:
    """Names of the classes in Hugging Face's metadata, [] if there are none."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []


def _column_bytes(footer: Any, name: str) -> int:
    """The size of a column according to the footer, decompressed."""
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == name)


def _labels_in(values: Any, classes: list[str], path: str) -> list[str | None]:
    """Labels as text; numbers are indices into `classes`."""
    import pyarrow.compute as compute
    import pyarrow.types as kinds

    coded = kinds.is_dictionary(values.type)
    distinct = values.dictionary if coded else values
    if kinds.is_string(distinct.type) or kinds.is_large_string(distinct.type):
        longest = compute.max(compute.binary_length(distinct)).as_py() or 0
        if longest > _MAX_LABEL_BYTES:
            raise DataError(path, f"a label is {longest:,} bytes long, not the name of a class", "use --labels none")

    def text(value: Any) -> str | None:
        has_name = isinstance(value, int) and 0 <= value < len(classes)
        return None if value is None else classes[value] if has_name else str(value)

    texts = [text(value) for value in distinct.to_pylist()]
    return [None if i is None else texts[i] for i in values.indices.to_pylist()] if coded else texts
