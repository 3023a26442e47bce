"""What HDF5 and Zarr have in common: named arrays in groups, compressed in chunks, that a library reads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.reasons import Undecodable
from kantor.data.sources import array_shapes, named_arrays, names
from kantor.data.sources import labels as label_files
from kantor.data.sources.array_shapes import Layout
from kantor.data.sources.named_arrays import Kind
from kantor.data.sources.npy import indexed_items
from kantor.data.sources.open_file import ALWAYS_ALLOWED, MAX_TOTAL_RATIO, FileSource
from kantor.data.sources.source import MAX_BYTES, RULES, Item, Loaded, Rejected
from kantor.errors import DataError

MAX_ARRAYS = 200_000
MAX_DEPTH = 8  # groups in groups
MAX_CHUNK_BYTES = 1 << 30  # unpacked
READ_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError, IndexError, EOFError, NotImplementedError)
_BATCH_BYTES = 16 << 20
_BATCH_ENCODED = 16  # images
AGAIN = "copy or download it again"


class StoredArrays(FileSource):
    """Images by index: numbers [N, H, W] ..., or the bytes of one file each [N]; or one array for each image.

    It is local, and reads some images at a time: several are compressed together.

    Args:
        labels: "auto": the array of labels next to that of the images; "none"; or a file of labels, in which the names are
            indices.
        array: the name of the array of images, if it is not to be found.
    """

    local_only = True

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES, array: str = "") -> None:
        super().__init__(path, labels, rules)
        self._kinds: dict[str, Kind] = {}
        self._faults: dict[str, DataError] = {}
        self._forget()
        try:
            self._list()
            self._single_images = [] if array or rules < 2 else named_arrays.one_each(self._kinds)
            if self._single_images:
                self._describe_single_images()
                return
            self.name = self._find_images(array.strip("/"))
            self._kind = self._kinds[self.name]
            self.exact = not self._kind.encoded
            self.layout = self._layout()
            self._rows = self._batch_rows()
            if self.layout.order == "planes":
                self.layout = self.layout.looked_at(self._read(self.name, 0, self.layout.sample(self._image_bytes)))
        except READ_ERRORS as error:
            raise DataError(path, f"it is damaged ({_first_line(error)})", AGAIN) from error
        finally:
            self.release()
        others = ", ".join([name for name in self._kinds if name != self.name][:12])
        chosen = self.name != "/" and f"images are the array {self.name} of {path}"  # else it is the only one
        notes = (chosen, others and f"{others} also there", self.layout.note)
        self.note = "; ".join(note for note in notes if note)

    @abstractmethod
    def _list(self) -> None:
        """Fills `_kinds` with the arrays that can be read, and `_faults` with what is wrong with others."""

    @abstractmethod
    def _read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Elements `start` to `stop` of an array along its first axis; texts as numpy's, encoded images as objects."""

    @abstractmethod
    def _chunk(self, name: str) -> tuple[int, ...] | None:
        """Shape of the parts in which an array is compressed, None if it is not."""

    @abstractmethod
    def _stored_bytes(self) -> int:
        """What the arrays take on disk."""

    def _labels_beside(self, count: int) -> list[str] | None:
        """The labels of `count` images in another file."""
        return None

    def items(self) -> Iterator[Item | Rejected]:
        """In order of the index, or of the names."""
        if self._single_images:
            return label_files.attach_file(self._single_items(), self.labels, self.rules, self.listing_notes)
        count, labels = self.layout.count, None
        if self.labels == "auto":
            found = named_arrays.find_labels(self._kinds, self.name, count, self.path, self._whole, self.rules)
            labels = found.names or self._labels_beside(count)
        size = 0 if self._kind.encoded else self._image_bytes
        return indexed_items(self._newest_file, count, size, self.labels, labels, self.rules, self.listing_notes)

    def load(self, item: Item) -> Loaded:
        """The encoded image, or [H, W] or [H, W, C]."""
        if self._single_images:
            return self._single_image(self._single_images[item.position])
        element = self._element(item.position)
        if not self._kind.encoded:
            return self.layout.image(np.asarray(element))
        return element.tobytes() if isinstance(element, np.ndarray | np.void) else bytes(element)

    def release(self) -> None:
        """Closes the file and frees the images that were read."""
        self._forget()
        super().release()

    @cached_property
    def _newest_file(self) -> Path:
        """The one that was changed last: a folder of Zarr keeps its own time when a chunk is written again."""
        path = Path(self.path)
        return max([path, *path.rglob("*")], key=lambda file: file.stat().st_mtime_ns) if path.is_dir() else path

    def _describe_single_images(self) -> None:
        self.name = ""
        others = ", ".join([name for name in self._kinds if name not in set(self._single_images)][:12])
        note = f"each of {len(self._single_images):,} arrays is an image"
        self.note = note + (f"; {others} also there" if others else "")

    def _single_items(self) -> Iterator[Item]:
        """Named by their array; the groups are classes, unless each holds about one image."""
        depth, mtime_ns = names.class_depth(self._single_images), self._newest_file.stat().st_mtime_ns
        labels = [names.class_of(name.split("/"), depth) for name in self._single_images]
        if self.labels == "none" or 2 * len(set(labels)) > len(labels):
            labels = [None] * len(labels)
        for position, (name, label) in enumerate(zip(self._single_images, labels, strict=True)):
            yield Item(name, position, 0, mtime_ns, label)

    def _single_image(self, name: str) -> NDArray[Any]:
        kind = self._kinds[name]
        if _bytes(kind.shape, kind.dtype) > MAX_BYTES:
            raise Undecodable("size", f"larger than {MAX_BYTES >> 20} MB")
        try:
            return self._read(name, 0, kind.shape[0])
        except READ_ERRORS as error:
            raise Undecodable("damaged", "damaged in the file") from error

    @property
    def _image_bytes(self) -> int:
        return int(np.prod(self._kind.shape[1:], dtype=np.float64)) * self._kind.dtype.itemsize

    def _forget(self) -> None:
        self._first, self._batch = 0, np.zeros(0)

    def _element(self, position: int) -> Any:
        if not self._kind.encoded and self._image_bytes > MAX_BYTES:
            raise Undecodable("size", f"larger than {MAX_BYTES >> 20} MB")
        if not 0 <= position - self._first < len(self._batch):
            self._first = position // self._rows * self._rows
            stop = min(self._first + self._rows, self.layout.count)
            self._batch = np.zeros(0)  # frees it before the next one is read
            try:
                self._batch = self._read(self.name, self._first, stop)
            except READ_ERRORS:  # of one of them, perhaps: it is read alone
                return self._single(position)
        return self._batch[position - self._first]

    def _single(self, position: int) -> Any:
        try:
            return self._read(self.name, position, position + 1)[0]
        except READ_ERRORS as error:
            raise Undecodable("damaged", "damaged in the file") from error

    def _whole(self, name: str) -> NDArray[Any]:
        """An array of labels or names."""
        try:
            return self._read(name, 0, self._kinds[name].shape[0])
        except READ_ERRORS as error:
            raise DataError(f"{self.path}: {name}", "is damaged", AGAIN) from error

    def _find_images(self, array: str) -> str:
        """The name of the array of images."""
        if array in self._faults:
            raise self._faults[array]
        if array and array not in self._kinds:
            found = named_arrays.listing(self._kinds) or "nothing"
            raise DataError(self.path, f"there is no array {array} in it (found: {found})", "name one of them")
        return array or named_arrays.require_images(self._kinds, self._faults, self.path, f"name one: {self.path}:/")

    def _layout(self) -> Layout:
        """What the array of images means. Raises DataError if it is none, or claims more than the file can hold."""
        kind, where = self._kind, f"{self.path}: {self.name}"
        chunk = self._chunk(self.name)
        if chunk and _bytes(chunk, kind.dtype) > MAX_CHUNK_BYTES:
            what = f"its chunks take more than {MAX_CHUNK_BYTES >> 30} GB each"
            raise DataError(where, what, "save it in smaller chunks, such as one image each")
        total, stored = _bytes(kind.shape, kind.dtype), self._stored_bytes()
        if total > max(MAX_TOTAL_RATIO * stored, ALWAYS_ALLOWED):
            what = f"it would unpack to {total >> 20} MB, more than {MAX_TOTAL_RATIO} times its size"
            raise DataError(where, what, "save it again without what was never written")
        if kind.encoded:
            if len(kind.shape) != 1 or not kind.shape[0]:
                raise DataError(where, f"it holds encoded images as {kind}", "save them in one row")
            return Layout(kind.shape[0], ())
        return array_shapes.layout(kind.shape, kind.dtype, where)

    def _batch_rows(self) -> int:
        """How many images are read at a time: whole chunks, so that each is unpacked once."""
        if self._kind.encoded:
            return _BATCH_ENCODED
        size = max(1, self._image_bytes)
        chunk = (self._chunk(self.name) or (1,))[0]
        rows = max(1, _BATCH_BYTES // size)
        return max(chunk, rows // chunk * chunk) if chunk * size <= MAX_CHUNK_BYTES else rows


def texts(values: NDArray[Any]) -> NDArray[np.str_]:
    """Strings or bytes of any length as numpy's texts."""
    decoded = [
        v.decode("utf-8", "surrogateescape") if isinstance(v, bytes) else str(v) for v in values.ravel().tolist()
    ]
    return np.array(decoded, dtype=np.str_).reshape(values.shape)


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    size = dtype.itemsize
    for side in shape:
        size *= side
    return size


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
