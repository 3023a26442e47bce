"""Tables of pixels: a CSV file with an image in each row, as Kaggle has digits, fashion and faces."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.reasons import Undecodable
from kantor.data.sources import labels as label_files
from kantor.data.sources.array_shapes import SAMPLE, Layout, row_note, row_shape
from kantor.data.sources.open_file import DECOMPRESSION_ERRORS, FileSource, cannot_open, is_compressed, open_inflated
from kantor.data.sources.source import RULES, Item, Rejected
from kantor.errors import DataError

MAX_LINE_BYTES = 4 << 20
_LOOKED_AT = 256  # rows that tell the type of the numbers
_TABLE = re.compile(r"\.(csv|tsv)(\.(gz|bz2|xz))?$", re.IGNORECASE)
_PIXEL = re.compile(r"[a-z_ ]{0,12}\d+([x_]\d+)?$")
_ROW = ("pixels", "pixel", "image", "values")  # columns of rows with blanks
_NUMBERS = ("", "id", "index", "image_id", "imageid", "row_id", "filename", "file_name")  # a value a row: no classes
_LABELS = ("label", "labels", "class", "target", "emotion", "y", "digit", "category", "species", "letter", "character")
_USAGE = ("usage", "split", "set", "subset", "dataset")
_TRAINING = re.compile(rb"^train(ing)?$", re.IGNORECASE)
_MAX_LABEL_BYTES = 1000
_MARK = b"\xef\xbb\xbf"  # of UTF-8
_SMALLEST = 49  # pixels of an image
_MOST = {"uint8": 255, "uint16": 65_535}


@dataclass(frozen=True)
class _Columns:
    """Where the cells of a row are. single: the pixels are in one cell, with blanks between.

    label, usage: columns, None if there are none. header: whether the first line names the columns.
    """

    delimiter: bytes
    count: int
    first: int
    pixels: int
    label: int | None
    usage: int | None = None
    single: bool = False
    header: bool = True


class CsvPixels(FileSource):
    """Images by row, from 0: k*k grey or 3*k*k colour pixels in columns, or in one cell with blanks between.

    It is local, and read in order. Rows that a column "Usage" marks for tests are left out.

    Args:
        labels: "auto": the column of labels, if there is one; "none"; or a file of labels, in which the names are the
            numbers of the rows.
    """

    exact = True
    local_only = True

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES) -> None:
        super().__init__(path, labels, rules)
        self._columns, self.note = _look(path)
        self._starts, self._labels = array("q"), list[str | None]()
        self._used = self._index()
        rows = self._sample()
        self._type = _type_of(rows)
        shape = row_shape(self._columns.pixels) or ()
        layout = Layout(len(self._starts), shape, "planes" if len(shape) == 3 else "last")
        if layout.order == "planes" and (whole := [row for row in rows if len(row) == self._columns.pixels]):
            layout = layout.looked_at(np.stack(whole))
        self._layout = replace(layout, note=row_note(shape[0], layout.order))
        self.note = "; ".join(text for text in (self._layout.note, self.note) if text)

    def items(self) -> Iterator[Item | Rejected]:
        """In the order of the rows."""
        mtime_ns = Path(self.path).stat().st_mtime_ns
        size = self._columns.pixels
        labelled = self.labels == "auto" and self._columns.label is not None
        items = (
            Item(str(row), i, size, mtime_ns, self._labels[i] if labelled else None) for i, row in enumerate(self._used)
        )
        return label_files.attach_file(items, self.labels, self.rules, self.listing_notes)

    def load(self, item: Item) -> NDArray[Any]:
        """[H, W] or [H, W, 3]: uint8 or uint16 if all numbers looked at fit, else float64."""
        try:
            row = self._row(item.position)
        except DECOMPRESSION_ERRORS as error:
            raise Undecodable("damaged", "damaged in the file") from error
        if row is None:
            raise Undecodable("content", f"the row does not hold {self._columns.pixels:,} numbers")
        if not _fits(row, self._type):
            most = _MOST[self._type]
            odd = row[~_whole_up_to(row, most)][0]
            what = f"the row holds {odd:g}, others whole numbers from 0 to {most}"
            raise Undecodable("content", what, "correct it")
        return self._layout.image(row.astype(self._type))

    def _index(self) -> list[int]:
        """The numbers of the rows that are used; notes where they start, and their labels."""
        used, columns, left, classes = list[int](), self._columns, 0, set[str]()
        for number, (start, line) in enumerate(_lines(self.path, columns.header)):
            if columns.usage is not None and not _TRAINING.match(_cell(line, columns.usage, columns)):
                left += 1
                continue
            used.append(number)
            self._starts.append(start)
            if columns.label is None or self.labels != "auto":
                continue
            label = _cell(line, columns.label, columns).decode("utf-8", "replace")
            if len(label) > _MAX_LABEL_BYTES:
                raise DataError(self.path, f"the label of row {number} is {len(label):,} characters long", "correct it")
            classes.add(label)
            self._labels.append(_plain(label) or None)
        if not used:
            raise DataError(self.path, "there is no row of pixels for training in it", "name a file with images")
        label_files.require_few_classes(len(classes), self.path)
        if left:
            text = f"{len(used):,} of {len(used) + left:,} rows are used, those for training"
            self.note = "; ".join(note for note in (self.note, text) if note)
        return used

    def _sample(self) -> list[NDArray[np.float64]]:
        """Some rows from all of the file, or from its start if it is compressed."""
        count = len(self._starts)
        step = max(1, count // _LOOKED_AT)
        rows = [self._row(position) for position in range(0, count, step)]
        self.release()
        found = [row for row in rows if row is not None]
        if not found:
            raise DataError(self.path, "its rows do not hold numbers", "correct them")
        return found

    def _row(self, position: int) -> NDArray[np.float64] | None:
        """The pixels of a row, None if they are not numbers, or not as many as others have."""
        file, columns = self._file(), self._columns
        file.seek(self._starts[position])
        cells = file.readline(MAX_LINE_BYTES).replace(b'"', b"").split(columns.delimiter)
        if len(cells) != columns.count:
            return None
        cells = (
            cells[columns.first].split() if columns.single else cells[columns.first : columns.first + columns.pixels]
        )
        if len(cells) != columns.pixels:
            return None
        try:
            return np.array(list(map(float, cells)))
        except ValueError:
            return None


def is_table(name: str) -> bool:
    """Whether a file of this name is a table, of pixels or other things."""
    return _TABLE.search(name) is not None


def is_pixels(path: Path) -> bool:
    """Whether a table has an image in each row."""
    try:
        return _columns_of(*_start(str(path))) is not None
    except DataError:
        return False


def in_folder(folder: Path, names: Sequence[str]) -> list[str]:
    """The tables of pixels among the files of a folder: those for training if any is named so."""
    found = sorted(name for name in names if is_table(name) and is_pixels(folder / name))
    training = [name for name in found if re.search(r"(?<![a-z])train(ing)?(?![a-z])", name.lower())]
    return training or found


def _look(path: str) -> tuple[_Columns, str]:
    """The columns, and a note on what was decided. Raises DataError if it is not a table of pixels."""
    first, rows = _start(path)
    columns = _columns_of(first, rows)
    if columns is None:
        what = "a table, but not of pixels: it holds no image in each row"
        raise DataError(path, what, f"name the folder of the images, and add --labels {path} if it names their classes")
    if columns.header or columns.label is None:
        return columns, ""
    place = "first" if columns.label == 0 else "last"
    return columns, f"the class is the {place} number of each row"


def _start(path: str) -> tuple[bytes, list[bytes]]:
    """The first line, the next ones up to some megabytes, and some from all of the file if it is not compressed."""
    lines, size = list[bytes](), 0
    try:
        with open_inflated(path) as file:
            while len(lines) < SAMPLE and size < MAX_LINE_BYTES and (line := file.readline(MAX_LINE_BYTES)):
                size += len(line)
                if line.strip():
                    lines.append(line)
        if not is_compressed(path):
            lines += _spread(path)
    except DECOMPRESSION_ERRORS as error:
        raise DataError(path, f"cannot be read ({error})", "check it, or download it again") from error
    return (lines[0].removeprefix(_MARK), lines[1:]) if lines else (b"", [])


def _spread(path: str) -> list[bytes]:
    """Lines from all of a file: rows may be sorted by class."""
    total, lines = Path(path).stat().st_size, list[bytes]()
    with Path(path).open("rb") as file:
        for part in range(1, SAMPLE):
            file.seek(total * part // SAMPLE)
            file.readline(MAX_LINE_BYTES)
            lines.append(file.readline(MAX_LINE_BYTES))
    return [line for line in lines if line.strip()]


def _columns_of(first: bytes, rows: list[bytes]) -> _Columns | None:
    """The columns of a table with this first line, None if it does not hold images."""
    delimiter = next((d for d in (b",", b"\t", b";") if d in first), b",")
    cells = [cell.decode("utf-8", "replace").lower() for cell in _split(first, delimiter)]
    if rows and any(cells == [str(i) for i in range(start, start + len(cells))] for start in (0, 1)):
        columns = _without_header(delimiter, rows)  # the first line numbers the columns
        return replace(columns, header=True) if columns else None
    if all(_is_number(cell) for cell in cells):
        return _without_header(delimiter, [first, *rows])
    single = next((cells.index(name) for name in _ROW if name in cells), None)
    usage = next((cells.index(name) for name in _USAGE if name in cells), None)
    if single is not None and rows:
        parts = _split(rows[0], delimiter)
        pixels = len(parts[single].split()) if len(parts) == len(cells) else 0
        if _is_image(pixels):
            return _Columns(delimiter, len(cells), single, pixels, _label(cells, [single]), usage, single=True)
    named = [i for i, cell in enumerate(cells) if _PIXEL.match(cell) and cell not in _LABELS]
    if not named or not _is_image(len(named)) or named != list(range(named[0], named[0] + len(named))):
        return None
    return _Columns(delimiter, len(cells), named[0], len(named), _label(cells, named), usage)


def _without_header(delimiter: bytes, rows: list[bytes]) -> _Columns | None:
    """The columns of rows of numbers: the label is the first, unless that is the same in all rows and the last is not."""
    values = [_split(row, delimiter) for row in rows]
    count = len(values[0])
    if _is_image(count):
        return _Columns(delimiter, count, 0, count, None, header=False)
    if not _is_image(count - 1):
        return None
    firsts, lasts = ({row[place] for row in values if len(row) == count} for place in (0, -1))
    whole = all(_is_whole(cell) for cell in firsts)
    at_end = not whole or (len(firsts) == 1 < len(lasts) and all(_is_whole(cell) for cell in lasts))
    return _Columns(delimiter, count, 0 if at_end else 1, count - 1, count - 1 if at_end else 0, header=False)


def _label(cells: list[str], pixels: Sequence[int]) -> int | None:
    """The column of labels beside those of pixels."""
    named = next((cells.index(name) for name in _LABELS if name in cells and cells.index(name) not in pixels), None)
    others = [i for i, cell in enumerate(cells) if i not in pixels and cell not in (*_NUMBERS, *_USAGE)]
    return named if named is not None else others[0] if len(others) == 1 and len(pixels) > 1 else None


def _is_image(pixels: int) -> bool:
    return pixels >= _SMALLEST and row_shape(pixels) is not None


def _lines(path: str, header: bool) -> Iterator[tuple[int, bytes]]:
    """Where each row starts, and the row; blank ones are skipped."""
    try:
        with open_inflated(path) as file:
            named = header
            start = len(_MARK) if file.read(len(_MARK)) == _MARK else 0
            file.seek(start)
            while line := file.readline(MAX_LINE_BYTES):
                if not line.endswith(b"\n") and len(line) == MAX_LINE_BYTES:
                    raise DataError(path, f"a row is longer than {MAX_LINE_BYTES >> 20} MB", "name a table of pixels")
                if line.strip():
                    if not named:
                        yield start, line
                    named = False
                start += len(line)
    except OSError as error:
        raise cannot_open(path, error) from error
    except DECOMPRESSION_ERRORS as error:
        raise DataError(path, f"cannot be read ({error})", "check it, or download it again") from error


def _split(line: bytes, delimiter: bytes) -> list[bytes]:
    """The cells of a row without blanks and quotes around them."""
    return [cell.strip(b' \t"\r\n') if delimiter != b"\t" else cell.strip(b' "\r\n') for cell in line.split(delimiter)]


def _cell(line: bytes, place: int, columns: _Columns) -> bytes:
    """The cell at a place before or after the pixels, which are not split; b"" if the row is too short."""
    if place < columns.first:
        cells, at = line.split(columns.delimiter, place + 1), place
    else:
        cells, at = line.rsplit(columns.delimiter, columns.count - place), 1
    return _split(cells[at], columns.delimiter)[0] if len(cells) > at else b""


def _plain(label: str) -> str:
    """`3` for `3.0` and `3.000e+00`, "" for `nan`."""
    if label.isdecimal() or not _is_number(label):
        return label
    value = float(label)
    return "" if value != value else str(int(value)) if value.is_integer() else label


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_whole(cell: bytes) -> bool:
    text = cell.decode("utf-8", "replace")
    return _is_number(text) and float(text).is_integer() and float(text) >= 0


def _type_of(rows: list[NDArray[np.float64]]) -> str:
    """The smallest type that holds all numbers of some rows as they are."""
    return next(dtype for dtype in ("uint8", "uint16", "float64") if all(_fits(row, dtype) for row in rows))


def _fits(row: NDArray[np.float64], dtype: str) -> bool:
    return dtype not in _MOST or bool(_whole_up_to(row, _MOST[dtype]).all())


def _whole_up_to(row: NDArray[np.float64], most: int) -> NDArray[np.bool_]:
    return np.asarray((row >= 0) & (row <= most) & (row == np.floor(row)))
