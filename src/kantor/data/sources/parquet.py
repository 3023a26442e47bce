"""Pictures in a Parquet file (extra `parquet`): a column of encoded pictures, and one of labels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kantor.data.formats import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources.source import Item, Rejected
from kantor.errors import DataError, ResourceError

PICTURES = ("image", "img", "picture", "images", "jpg", "png", "bytes", "image_bytes")
LABELS = ("label", "labels", "class", "fine_label", "class_name", "y")


class Parquet:
    """Pictures by row. A picture is binary, or a struct with `bytes` in it, as Hugging Face's data sets have it.

    Args:
        path: the file.
        labels: "auto": the column of labels, if there is one; "none"; or a CSV or JSON file, in which the names are
            row numbers.
    """

    exact = False

    def __init__(self, path: str, labels: str = "auto") -> None:
        self.path, self.labels = path, labels
        self._file: tuple[int, Any] | None = None
        self._group: tuple[int, list[Any]] | None = None
        schema = self._opened().schema_arrow
        self.column = self._picture_column(schema)
        self.label_column = next((name for name in LABELS if name in schema.names), None)
        self.note = f"pictures are the column {self.column} of {path}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_group": None}

    def items(self) -> Iterator[Item | Rejected]:
        """In the order of the rows.

        Raises:
            DataError: the file or its labels cannot be read.
        """
        if self.labels not in ("auto", "none"):
            return label_files.attach(self._items(False), label_files.read_file(self.labels), self.labels)
        return self._items(self.labels == "auto" and self.label_column is not None)

    def load(self, item: Item) -> bytes:
        """The encoded picture.

        Raises:
            Undecodable: there is none in this row, or its row group is damaged.
        """
        group, row = item.position >> 32, item.position & 0xFFFFFFFF
        if self._group is None or self._group[0] != group:
            self._group = (group, self._column(group, self.column))
        value = self._group[1][row]
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise Undecodable("the row holds no picture")
        return data

    def _items(self, labelled: bool) -> Iterator[Item | Rejected]:
        changed, names = Path(self.path).stat().st_mtime_ns, self._class_names()
        file, number = self._opened(), 0
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            try:
                labels = self._column(group, self.label_column) if labelled else [None] * rows
            except Undecodable as error:
                raise DataError(self.path, f"its labels cannot be read ({error})", "use --labels none") from error
            for row, label in enumerate(labels):
                known = isinstance(label, int) and 0 <= label < len(names)
                text = None if label is None else names[label] if known else str(label)
                yield Item(str(number), group << 32 | row, 0, changed, text)
                number += 1
        if not number:
            raise DataError(self.path, "there are no rows in it", "name a file with pictures")

    def _column(self, group: int, name: str | None) -> list[Any]:
        """One column of a row group."""
        import pyarrow

        try:
            return list(self._opened().read_row_group(group, columns=[name]).column(0).to_pylist())
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise Undecodable(f"damaged row group {group}") from error

    def _opened(self) -> Any:
        process = os.getpid()
        if self._file is None or self._file[0] != process:
            self._file = (process, _open(self.path))
        return self._file[1]

    def _picture_column(self, schema: Any) -> str:
        import pyarrow.types as kinds

        def holds_bytes(name: str) -> bool:
            kind = schema.field(name).type
            if kinds.is_struct(kind):
                return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
            return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))

        able = [name for name in schema.names if holds_bytes(name)]
        usual = next((name for name in PICTURES if name in able), None)
        if usual is None and len(able) != 1:
            what = f"which column holds encoded pictures is not clear (columns: {', '.join(schema.names)})"
            raise DataError(self.path, what, "name it image")
        return usual or able[0]

    def _class_names(self) -> list[str]:
        """Names of the classes, where Hugging Face's data sets left them."""
        metadata = self._opened().schema_arrow.metadata or {}
        try:
            features = json.loads(metadata[b"huggingface"])["info"]["features"]
            return [str(name) for name in features[self.label_column]["names"]]
        except (KeyError, TypeError, ValueError, RecursionError):
            return []


def _open(path: str) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        what = "Parquet files need one more package (pyarrow)"
        raise ResourceError(path, what, "pip install 'kantor[parquet]'") from error
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        what = f"it is no whole Parquet file ({str(error).splitlines()[0][:100]})"
        raise DataError(path, what, "copy or download it again") from error
