"""Record batches of an Arrow file or stream, checked before they are read: the file may be foreign.

Columns are validated in full, so that no offset leads out of them, and a batch may unpack to 2 GB at most: the sizes
that its compressed buffers claim are summed first, which pyarrow does not offer. The layout of messages is that of
https://arrow.apache.org/docs/format/Columnar.html, in FlatBuffers.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import Any

MAX_BATCH_BYTES = 2 << 30  # of a record batch, decompressed
_MAX_SCHEMA_BYTES = 64 << 20
_MAGIC, _CONTINUED = b"ARROW1", b"\xff\xff\xff\xff"
_DICTIONARY, _BATCH = 2, 3  # kinds of a message


class Broken(Exception):
    """Raised for a file that breaks the format or its limits; str() says how."""


def is_arrow(start: bytes) -> bool:
    """Whether a file that begins like this is an Arrow file or stream."""
    size = int.from_bytes(start[4:8], "little")
    stream = start.startswith(_CONTINUED) and 16 <= size <= _MAX_SCHEMA_BYTES and size % 8 == 0
    return stream or start.startswith((_MAGIC, b"FEA1"))


class ArrowFile:
    """The columns of a file that is mapped into memory.

    Raises Broken, OSError or pyarrow.ArrowException, here and in its methods, if the file is damaged.

    Attributes:
        schema: Arrow's.
        names: of the columns.
        lengths: rows of each record batch.
    """

    def __init__(self, path: str) -> None:
        import pyarrow

        self._mapped = pyarrow.memory_map(path)
        try:
            self._bytes = self._mapped.read_buffer()
            start = bytes(self._bytes[:8])
            if start.startswith(b"FEA1"):
                raise Broken("it is of version 1 of Feather, which is no longer read")
            self._has_footer = start.startswith(_MAGIC)
            self.schema = self._reader(None).schema
            self.names = list(self.schema.names)
            rows = [_checked(message) for message in self._messages()]
            self.lengths = [length for length in rows if length is not None]
        except BaseException:
            self.close()
            raise
        self._open: tuple[int, int, Any] | None = None  # column, number of a stream's next batch, reader

    def close(self) -> None:
        """Unmaps the file."""
        self._bytes, self._open = b"", None
        self._mapped.close()

    def values(self, column: int, number: int) -> Any:
        """A column of a record batch; of a stream, those before it are passed over."""
        import pyarrow

        if self._open is None or self._open[0] != column or self._open[1] > number:
            self._open = column, 0, self._reader(column)
        _, at, reader = self._open
        if self._has_footer:
            return self._validated(reader.get_batch(number), number)
        for passed in range(at, number):
            self._open = column, passed + 1, reader
            with contextlib.suppress(pyarrow.ArrowInvalid):  # whoever needs that batch is told
                reader.read_next_batch()
        self._open = column, number + 1, reader
        return self._validated(reader.read_next_batch(), number)

    def _validated(self, batch: Any, number: int) -> Any:
        values = batch.column(0)
        values.validate(full=True)
        if len(values) != self.lengths[number]:
            raise Broken(f"record batch {number} has another length than it says")
        return values

    def _reader(self, column: int | None) -> Any:
        """A reader of one column, or of all."""
        import pyarrow.ipc as ipc

        options = ipc.IpcReadOptions(included_fields=[] if column is None else [column])
        return (ipc.open_file if self._has_footer else ipc.open_stream)(self._bytes, options=options)

    def _messages(self) -> Iterator[Any]:
        import pyarrow.ipc as ipc

        if not self._has_footer:
            yield from ipc.MessageReader.open_stream(self._bytes)
            return
        for offset, length in self._blocks():
            if not 0 <= offset <= offset + length <= len(self._bytes):
                raise Broken("its footer points out of it")
            yield ipc.read_message(self._bytes[offset : offset + length])

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of the messages that the footer lists."""
        size = len(self._bytes)
        length = int.from_bytes(bytes(self._bytes[size - 10 : size - 6]), "little")
        if not 0 < length <= size - 10:
            raise Broken("its footer is missing")
        footer = _FlatBuffer(bytes(self._bytes[size - 10 - length : size - 10]))
        root = footer.root()
        for field in (2, 3):  # dictionaries, record batches
            for offset, head, body in footer.structs(root, field, "<qi4xq"):
                yield offset, head + body


def _checked(message: Any) -> int | None:
    """The rows of a record batch, None for other messages. Raises Broken above MAX_BATCH_BYTES."""
    head, body = _FlatBuffer(bytes(message.metadata)), message.body
    root = head.root()
    kind, batch = head.number(root, 1, "<B"), head.table(root, 2)
    if kind not in (_DICTIONARY, _BATCH) or batch is None:
        return None
    if kind == _DICTIONARY:
        batch = head.table(batch, 1)
        if batch is None:
            return None
    compressed = head.table(batch, 3) is not None
    total = 0
    for offset, length in head.structs(batch, 2, "<qq"):
        if not 0 <= offset <= offset + length <= len(body):
            raise Broken("a record batch is cut short")
        claim = int.from_bytes(bytes(body[offset : offset + 8]), "little", signed=True) if length >= 8 else 0
        total += claim if compressed and claim > 0 else length
    if total > MAX_BATCH_BYTES:
        raise Broken(f"a record batch unpacks to {total >> 20:,} MB, more than {MAX_BATCH_BYTES >> 20:,} MB")
    rows = head.number(batch, 0, "<q")
    if rows < 0:
        raise Broken("a record batch has a negative length")
    return None if kind == _DICTIONARY else rows


class _FlatBuffer:
    """Reads tables of a FlatBuffer. Raises Broken where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def root(self) -> int:
        return self._unpack("<I", 0)[0]

    def table(self, table: int, field: int) -> int | None:
        """Where a field that is a table lies, None if there is none."""
        at = self._at(table, field)
        return None if at is None else at + self._unpack("<I", at)[0]

    def number(self, table: int, field: int, kind: str) -> int:
        """The value of a number, 0 if it is left out."""
        at = self._at(table, field)
        return 0 if at is None else self._unpack(kind, at)[0]

    def structs(self, table: int, field: int, kind: str) -> list[tuple[int, ...]]:
        """The elements of a list of structures."""
        at = self.table(table, field)
        if at is None:
            return []
        (count,) = self._unpack("<I", at)
        size = struct.calcsize(kind)
        if at + 4 + count * size > len(self._data):
            raise Broken("a list is cut short")
        return list(struct.iter_unpack(kind, self._data[at + 4 : at + 4 + count * size]))

    def _at(self, table: int, field: int) -> int | None:
        fields = table - self._unpack("<i", table)[0]
        if 4 + 2 * field >= self._unpack("<H", fields)[0]:
            return None
        (offset,) = self._unpack("<H", fields + 4 + 2 * field)
        return table + offset if offset else None

    def _unpack(self, kind: str, at: int) -> tuple[int, ...]:
        try:
            if at < 0:
                raise Broken("a message is damaged")
            return struct.unpack_from(kind, self._data, at)
        except struct.error as error:
            raise Broken("a message is cut short") from error
