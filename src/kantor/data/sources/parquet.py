"""Images in a Parquet file (extra `parquet`): a column of images, and one of labels."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from kantor.data.reasons import Undecodable
from kantor.data.sources import columns as choice
from kantor.data.sources.open_file import cannot_open
from kantor.data.sources.source import RULES, Item, Loaded
from kantor.data.sources.table import IMAGE_ROWS, LABEL_ROWS, Table
from kantor.errors import DataError, ResourceError

_BATCH_BYTES = 32 << 20
_BUFFER_BYTES = 1 << 20


class Parquet(Table):
    """Images by row; a row group can be larger than the memory."""

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES, column: str = "") -> None:
        super().__init__(path, labels, rules, column)
        self._damaged_from: dict[int, int] = {}  # by number of the row group, the first row that cannot be read
        self._group, self._first = -1, 0  # row group, and the row in it at which the batch starts
        self._batch: Any = ()  # of the column of images, in Arrow's memory
        self._batches: Iterator[Any] = iter(())
        schema, footer = self._file().schema_arrow, self._file().metadata
        self.count = footer.num_rows
        groups = (footer.row_group(number).num_rows for number in range(footer.num_row_groups))
        self._starts = list(accumulate(groups, initial=0))
        self._describe(schema, column, lambda name: choice.class_names(schema.metadata, name))
        self.release()

    def load(self, item: Item) -> Loaded:
        """The encoded image, or its numbers [H, W] or [H, W, C]."""
        import pyarrow

        file, group = self._file(), bisect_right(self._starts, item.position) - 1
        row = item.position - self._starts[group]
        if row >= self._damaged_from.get(group, row + 1):
            raise Undecodable("damaged", f"damaged row group {group}")
        try:
            self._go_to(file, group, row)
            return choice.image_in(self._batch, row - self._first, self.columns.form)
        except (pyarrow.ArrowException, OSError, ValueError, StopIteration) as error:
            self._damaged_from[group] = self._first + len(self._batch)
            self._group = -1
            raise Undecodable("damaged", f"damaged row group {group}") from error

    def release(self) -> None:
        """Closes the file and frees the rows that were read."""
        self._group, self._batch, self._batches = -1, (), iter(())
        super().release()

    def _go_to(self, file: Any, group: int, row: int) -> None:
        """Reads forward to the batch with this row of a row group."""
        if group != self._group or row < self._first:
            self._group, self._first, self._batch = group, 0, ()
            rows = _rows_at_once(file.metadata.row_group(group))
            self._batches = file.iter_batches(rows, row_groups=[group], columns=[self.columns.leaf])
        while row >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = ()  # frees it before the next one is read
            column = next(self._batches).column(0)
            self._batch = column.field("bytes") if self.columns.form == "struct" else column

    def _open(self, coded: list[str] | None = None) -> Any:
        """Opens the file. coded: columns that are read as indices into their distinct values."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            what = "Parquet files need one more package (pyarrow)"
            raise ResourceError(self.path, what, "pip install 'kantor[parquet]'") from error
        try:
            return pyarrow.parquet.ParquetFile(self.file, read_dictionary=coded, buffer_size=_BUFFER_BYTES)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise cannot_open(self.path, error) from error
            what = f"it is not a whole Parquet file ({str(error).splitlines()[0][:100]})"
            raise DataError(self.path, what, "copy or download it again") from error

    def _values(self, column: str, rows: int) -> Iterator[Any]:
        """The values of a column, at most `rows` at a time. Raises DataError if it is too large for classes."""
        footer = self._file().metadata
        if rows == LABEL_ROWS and _column_bytes(footer, column) > choice.MAX_LABEL_BYTES * (self.count + rows):
            what = f"its column {column} is too large to hold names of classes"
            raise DataError(self.path, what, "use --labels none, or name a file of labels")
        leaves = {footer.schema.column(i).path for i in range(footer.num_columns)}
        with self._open([column] if column in leaves else None) as file:
            for number in range(footer.num_row_groups):
                most = rows if column in leaves else min(rows, _rows_at_once(footer.row_group(number)))
                for batch in file.iter_batches(most, row_groups=[number], columns=[column]):
                    yield batch.column(0)


def _rows_at_once(group: Any) -> int:
    """How many images of a row group are read at a time."""
    mean_bytes = max(1, int(group.total_byte_size) // max(1, int(group.num_rows)))
    return max(1, min(IMAGE_ROWS, _BATCH_BYTES // mean_bytes))


def _column_bytes(footer: Any, name: str) -> int:
    """The size of a column according to the footer, decompressed."""
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == name)
