"""Images in an LMDB (extra `formats`): the values of its keys."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kantor.data.decoding.signatures import is_encoded_image
from kantor.data.reasons import Reason, Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources.lmdb_values import DATUM, IMAGE, OTHER, PICKLE, TEXT, Environment, opened, parse_datum
from kantor.data.sources.open_file import FileSource, cannot_open
from kantor.data.sources.source import MAX_BYTES, RULES, Item, Loaded, Rejected
from kantor.errors import DataError, ResourceError

_DATA = "data.mdb"
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_META = struct.Struct("<8x2xH4x II 8x8x I44x 32xQ8x QQ")  # flags, magic, version, page size, entries, last page, change
_META_FLAG = 0x08
_AGAIN = "copy or write it again"
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from kantor.data.sources.lmdb_values import main; main()"
)
_LEVEL = re.compile(r"(\d+)-\d{5,}")  # size and number of an image, as StyleGAN2's in PyTorch writes
_NUMBERED = re.compile(r"image-(\d+)")
_COUNTS = ("length", "num-samples", "nSamples", "__len__", "__keys__")
_HEX = "0x"

_PREPARED: list[Environment] = []


class _Value(NamedTuple):
    key: str
    size: int
    kind: str
    detail: str | None  # a label, a text, or the first bytes in words


def is_lmdb(path: Path) -> bool:
    """Whether a folder or a file is an LMDB, by its first bytes."""
    with contextlib.suppress(OSError), (path / _DATA if path.is_dir() else path).open("rb") as file:
        return file.read(20)[16:] == _MAGIC.to_bytes(4, "little")
    return False


class Lmdb(FileSource):
    """Images by key: encoded files, or Caffe's Datum messages.

    Where several sizes of each image are stored, the largest is used. Names are the keys: as text, or as 0x and
    hexadecimal digits where they are not text. Values are only read in other processes: a damaged database can crash
    the library.

    Args:
        labels: "auto": those of Datum messages, or the texts of label-000000001 ... where few are different; "none";
            or a file of labels, in which the names are keys.
    """

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES) -> None:
        self._in_folder = Path(path).is_dir()
        super().__init__(path, labels, rules, str(Path(path) / _DATA) if self._in_folder else path)
        if importlib.util.find_spec("lmdb") is None:
            raise ResourceError(path, "LMDB files need one more package (lmdb)", "pip install 'kantor[formats]'")
        self._listing = self._listed(_require_whole(path, self.file))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_listing": []}

    def items(self) -> Iterator[Item | Rejected]:
        """In the order of the keys."""
        return label_files.attach_file(iter(self._listing), self.labels, self.rules, self.listing_notes)

    def prepare(self) -> None:
        """Maps the file, before the limit on a worker's memory, and keeps it so: it may be larger than the limit."""
        _PREPARED.append(self._file())

    def load(self, item: Item) -> Loaded:
        """The encoded image, or the pixels of a Datum [H, W] or [H, W, C]."""
        import lmdb

        try:
            with self._file().begin() as transaction:
                found = transaction.get(_key(item.name))
                value = None if found is None else bytes(found)
        except lmdb.Error as error:
            raise Undecodable("damaged", "damaged pages") from error
        if value is None or len(value) != item.size:
            raise Undecodable("damaged", "gone since the listing" if value is None else "changed since the listing")
        if is_encoded_image(value):
            return value
        datum = parse_datum(value)
        if datum is None:
            raise Undecodable("damaged", "neither an encoded image nor a Datum")
        return datum.image

    def _open(self) -> Environment:
        import lmdb

        try:
            return opened(self.path, self._in_folder)
        except lmdb.Error as error:
            raise DataError(self.path, f"it cannot be opened ({error})", _AGAIN) from error

    def _listed(self, entries: int) -> list[Item | Rejected]:
        """All entries; says in `note` what was decided. Raises DataError if no value is an image."""
        values = list(_values(self.path, self._in_folder, entries))
        images = [value for value in values if value.kind in (IMAGE, DATUM)]
        if not images:
            raise _no_images(self.path, values)
        notes = []
        if levels := _levels(images):
            largest = max(levels)
            others = [value for value in values if value.kind not in (IMAGE, DATUM)]
            images = [value for value in images if value.key.startswith(f"{largest}-")]
            values = sorted(images + others, key=lambda value: _key(value.key))
            if len(levels) > 1:
                notes.append(f"images are those of {largest} pixels, the largest of {len(levels)} sizes")
        if any(value.kind == DATUM for value in images):
            notes.append("colours of Caffe's Datum are taken as blue, green, red, the order of Caffe's own tools")
        classes, said = self._classes(values) if self.labels == "auto" else ({}, "")
        self.note = "; ".join(text for text in (*notes, said) if text)
        mtime_ns = Path(self.file).stat().st_mtime_ns
        entries_ = (_entry(value, mtime_ns, classes.get(value.key)) for value in values)
        return [entry for entry in entries_ if entry is not None]

    def _classes(self, values: list[_Value]) -> tuple[dict[str, str], str]:
        """Classes by key of the image, and what was decided."""
        data = {value.key: value.detail for value in values if value.kind == DATUM and value.detail is not None}
        texts = {value.key.removeprefix("label-"): value.detail or "" for value in values if value.kind == TEXT}
        if not texts:
            return data, ""
        numbers = {value.key: match[1] for value in values if (match := _NUMBERED.fullmatch(value.key))}
        classes = {key: texts[number] for key, number in numbers.items() if texts.get(number)}
        different = len(set(classes.values()))
        if different > len(classes) // 2:
            return data, f"labels are texts, {different:,} different ones of {len(classes):,} images; not classes"
        return classes | data, ""


def _entry(value: _Value, mtime_ns: int, label: str | None) -> Item | Rejected | None:
    """The entry of a value; None for what describes others."""
    if value.kind == TEXT or (value.kind in (PICKLE, OTHER) and value.key in _COUNTS):
        return None
    if value.kind == PICKLE:
        return Rejected(value.key, Reason("not_image", "a pickle, which could run code"))
    if value.kind == OTHER:
        return Rejected(value.key, Reason("not_image", f"not an image ({value.detail})"))
    if value.size > MAX_BYTES:
        return Rejected(value.key, Reason("size", f"larger than {MAX_BYTES >> 20} MB"))
    return Item(value.key, 0, value.size, mtime_ns, label)


def _levels(images: list[_Value]) -> set[int]:
    """The sizes of the images, if every key begins with one."""
    matches = [_LEVEL.fullmatch(value.key) for value in images]
    return {int(match[1]) for match in matches if match} if all(matches) else set()


def _no_images(path: str, values: list[_Value]) -> DataError:
    values = [value for value in values if value.key not in _COUNTS]
    if not values:
        return DataError(path, "there are no values in it", "name a database with images")
    if sum(value.kind == PICKLE for value in values) * 2 > len(values):
        do = "where you trust it, convert it: for key, value in old.cursor(): new.put(key, png(pickle.loads(value)))"
        return DataError(path, "its values are pickles, which could run code", do)
    kinds = Counter("pickles" if v.kind == PICKLE else "texts" if v.kind == TEXT else str(v.detail) for v in values)
    found = ", ".join(f"{kind}: {count:,}" for kind, count in kinds.most_common(4))
    return DataError(path, f"its values are not images (found: {found})", "store encoded images, such as PNG files")


def _values(path: str, in_folder: bool, entries: int) -> Iterator[_Value]:
    """All values, as another process lists them. Raises DataError if it says or shows that they are damaged."""
    words = [sys.executable, "-c", _BOOT, json.dumps(sys.path), path, "folder" if in_folder else "file"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    last: Any = None
    with process:
        assert process.stdout is not None
        try:
            for number, line in enumerate(process.stdout):
                last = json.loads(line) if line.endswith(b"\n") else None
                if not isinstance(last, list):
                    break
                if number >= entries:
                    last = "it has more values than it says"
                    break
                key, size, kind, detail = last
                yield _Value(_name(bytes.fromhex(key)), size, kind, detail)
        finally:
            process.kill()
    if last is not True:
        what = f"it is damaged ({last if isinstance(last, str) else 'its pages lead nowhere'})"
        raise DataError(path, what, _AGAIN)


def _name(key: bytes) -> str:
    """A key as text if that is unique and can be shown, else as hexadecimal digits."""
    with contextlib.suppress(UnicodeDecodeError):
        text = key.decode("utf-8")
        if text.isprintable() and not text.startswith(_HEX):
            return text
    return _HEX + key.hex()


def _key(name: str) -> bytes:
    return bytes.fromhex(name.removeprefix(_HEX)) if name.startswith(_HEX) else name.encode()


def _require_whole(path: str, file: str) -> int:
    """The number of values. Raises DataError if the file ends before its last page, which would crash the reader."""
    try:
        with Path(file).open("rb") as data:
            size = data.seek(0, 2)
            data.seek(0)
            first = _meta(data.read(_META.size), path)
            data.seek(first.page_bytes)
            second = _meta(data.read(_META.size), path)
    except OSError as error:
        raise cannot_open(path, error) from error
    newest = max(first, second, key=lambda meta: meta.change)
    needed = (newest.last_page + 1) * first.page_bytes
    if needed > size:
        raise DataError(path, f"it is cut short: {size:,} of {needed:,} bytes", _AGAIN)
    return newest.entries


class _Meta(NamedTuple):
    page_bytes: int
    entries: int
    last_page: int
    change: int  # number of the change that wrote it


def _meta(data: bytes, path: str) -> _Meta:
    """One of the two pages that describe a database."""
    if len(data) < _META.size:
        raise DataError(path, "it is cut short", _AGAIN)
    flags, magic, version, page_bytes, entries, last_page, change = _META.unpack(data)
    if magic != _MAGIC or not flags & _META_FLAG or page_bytes not in (1 << n for n in range(9, 17)):
        raise DataError(path, "it is not a whole LMDB: its first pages are damaged or empty", _AGAIN)
    if version != _VERSION:
        raise DataError(path, f"it is an LMDB of version {version}, which is not read", "write it with version 0.9")
    return _Meta(page_bytes, entries, last_page, change)
