"""What a value in an LMDB is; run as a program, lists all of them.

Listing is a process of its own: the pages of a damaged database can crash the library that reads them.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from kantor.data.decoding.signatures import is_encoded_image, is_whole_file, what_else
from kantor.data.decoding.tf_examples import fields
from kantor.data.decoding.tfrecords import Malformed

IMAGE, DATUM, PICKLE, TEXT, OTHER = "image", "datum", "pickle", "text", "other"
_MAX_TEXT_BYTES = 1000
_LABEL = re.compile(rb"label-\d+")
_HEAD_BYTES = 64


class Datum(NamedTuple):
    """A message of Caffe's kind."""

    image: bytes | NDArray[Any]  # encoded, or [H, W] or [H, W, C], red first
    label: int | None


def parse_datum(data: bytes) -> Datum | None:
    """The image of a Caffe Datum, None if it is not one. Its colour planes are blue, green, red, as Caffe's tools write."""
    numbers: dict[int, int] = {}
    content, floats = b"", []
    try:
        for number, value in fields(data):
            if isinstance(value, int):
                numbers[number] = value
            elif number == 4:
                content = bytes(value)
            elif number == 6 and len(value) % 4 == 0:
                floats.append(bytes(value))
            else:
                return None
    except Malformed:
        return None
    if not numbers.keys() <= {1, 2, 3, 5, 7}:
        return None
    label = numbers.get(5)
    if label is not None and label >= 1 << 63:
        label -= 1 << 64
    if content and is_encoded_image(content) and numbers.get(7, 0):
        return Datum(content, label)
    shape = tuple(numbers.get(number, 0) for number in (1, 2, 3))
    planes = np.frombuffer(content, np.uint8) if content else np.frombuffer(b"".join(floats), "<f4")
    if shape[0] not in (1, 3, 4) or planes.size == 0 or planes.size != math.prod(shape):
        return None
    image = planes.reshape(shape).transpose(1, 2, 0)
    order = [2, 1, 0, 3][: shape[0]]
    return Datum(image[:, :, 0] if shape[0] == 1 else np.ascontiguousarray(image[:, :, order]), label)


def examined(key: bytes, value: memoryview) -> tuple[str, str | None]:
    """The kind of a value, and its label, its text, or its first bytes in words."""
    head = bytes(value[:_HEAD_BYTES])
    is_label = _LABEL.fullmatch(key) and len(value) <= _MAX_TEXT_BYTES
    if is_encoded_image(head) and not (is_label and not is_whole_file(bytes(value))):  # "BMW" begins like a BMP
        return IMAGE, None
    if is_label:
        return TEXT, bytes(value).decode("utf-8", "replace")
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5") and bytes(value[-1:]) == b".":
        return PICKLE, None
    if head[:1] in (b"\x08", b"\x10", b"\x18", b"\x22") and (datum := parse_datum(bytes(value))):
        return DATUM, None if datum.label is None else str(datum.label)
    return OTHER, str(what_else(head)).removeprefix("not an image ").strip("()")


class Environment:
    """An open database, read only and without a lock. A process can open one only once, so `opened` shares them."""

    def __init__(self, path: str, in_folder: bool) -> None:
        import lmdb

        switches = {"readonly": True, "lock": False, "create": False, "readahead": False}
        self._environment = lmdb.open(path, subdir=in_folder, max_dbs=0, **switches)

    def begin(self) -> Any:
        """A transaction that reads; its values are memory of the file."""
        return self._environment.begin(buffers=True)

    def close(self) -> None:
        """Does nothing: it is closed when nobody has it any more."""


_OPEN: WeakValueDictionary[tuple[int, int, int], Environment] = WeakValueDictionary()  # by process and file


def opened(path: str, in_folder: bool) -> Environment:
    """The database, which others in this process may share. Raises lmdb.Error."""
    status = (Path(path) / "data.mdb" if in_folder else Path(path)).stat()
    key = os.getpid(), status.st_dev, status.st_ino
    environment = _OPEN.get(key)
    if environment is None:
        environment = _OPEN[key] = Environment(path, in_folder)
    return environment


def _lines(path: str, in_folder: bool) -> Iterator[list[Any]]:
    """[key in hexadecimal, size, kind, detail] of each value."""
    before: bytes | None = None
    with opened(path, in_folder).begin() as transaction:
        for key, value in transaction.cursor():
            key = bytes(key)
            if before is not None and key <= before:
                raise ValueError("its keys are not in order")
            before = key
            yield [key.hex(), len(value), *examined(key, value)]


def main() -> None:
    """Writes a line of JSON for each value, then `true`, or why the database cannot be read."""
    import lmdb

    try:
        for line in _lines(sys.argv[2], sys.argv[3] == "folder"):
            sys.stdout.write(json.dumps(line) + "\n")
    except (lmdb.Error, OSError, ValueError, MemoryError) as error:
        sys.stdout.write(json.dumps(str(error) or type(error).__name__) + "\n")
        return
    sys.stdout.write("true\n")
