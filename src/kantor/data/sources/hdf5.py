"""Images in an HDF5 file (extra `formats`), and in MATLAB's files of version 7.3, which are HDF5."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources import label_arrays, stored_arrays
from kantor.data.sources.array_shapes import Layout, is_stack
from kantor.data.sources.named_arrays import Kind
from kantor.data.sources.open_file import cannot_open
from kantor.data.sources.stored_arrays import AGAIN, MAX_ARRAYS, MAX_DEPTH, StoredArrays
from kantor.errors import DataError, ResourceError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MATLAB = b"MATLAB 7.3 MAT-file"
_OLD_MATLAB = b"MATLAB 5.0 MAT-file"
_FILTERS = (1, 2, 3, 4, 5, 6, 32000)  # gzip, shuffle, fletcher32, szip, nbit, scaleoffset, lzf
_LONGEST_TEXT = 4096  # bytes of a fixed length: longer ones are files
_COPY = "copy its images into the file, with h5py"


class Hdf5(StoredArrays):
    """Images by index, in an array with a usual name (images, x_train, data ...) or the only one with the shape of images.

    Arrays in other files are refused: external and virtual ones, and links to other files.
    """

    def _open(self) -> Any:
        return _open(self.path)

    def _list(self) -> None:
        with Path(self.path).open("rb") as file:
            self._by_matlab = file.read(len(_MATLAB)) == _MATLAB
        self._add(self._file(), "", 1, set())
        if not self._kinds and not self._faults:
            raise DataError(self.path, "there is no array in it", "name a file with images")

    def _read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        dataset = self._file()[name]
        if self._by_matlab and name != self.name:
            return np.asarray(dataset[()]).T[start:stop]
        values = np.asarray(dataset[start:stop])
        return stored_arrays.texts(values) if self._kinds[name].is_text else values

    def _chunk(self, name: str) -> tuple[int, ...] | None:
        chunks: tuple[int, ...] | None = self._file()[name].chunks
        return chunks

    def _stored_bytes(self) -> int:
        return Path(self.path).stat().st_size

    def _layout(self) -> Layout:
        layout = super()._layout()
        if not self._by_matlab or self._kind.encoded:
            return layout
        stored = self._file()[self.name].shape
        if _turned(stored) != self._kind.shape:
            what = f"its shape {list(stored)[::-1]} in MATLAB has the images along its first axis"
            code = f"import h5py, numpy; numpy.savez('new.npz', images=h5py.File('{self.path}')['{self.name}'][()].T)"
            raise DataError(f"{self.path}: {self.name}", what, f'convert it: python -c "{code}"')
        return replace(layout, order="turned", note="MATLAB's arrays are turned: the last axis counts the images")

    def _labels_beside(self, count: int) -> list[str] | None:
        """The labels in NAME_y.h5 next to NAME_x.h5, as PatchCamelyon has them."""
        import h5py

        path = Path(self.path)
        beside = path.with_name(path.stem[:-1] + "y" + path.suffix)
        if not path.stem.endswith("_x") or not beside.is_file():
            return None
        with _open(str(beside)) as file:
            if not isinstance(file.get("y", getlink=True), h5py.HardLink) or not isinstance(file["y"], h5py.Dataset):
                return None
            dataset = file["y"]
            if _fault(dataset) or dataset.shape is None:
                return None
            where = f"{beside}: y"
            label_arrays.require_label_array(dataset.shape, dataset.dtype, where, count)
            return label_arrays.label_names(np.asarray(dataset[()]), where, count)

    def _add(self, group: Any, prefix: str, depth: int, seen: set[Any]) -> None:
        """Lists the arrays of a group and of those in it."""
        import h5py

        for base in group:
            name = prefix + base
            link = group.get(base, getlink=True)
            if base.startswith("#") or isinstance(link, h5py.SoftLink):  # MATLAB's own; another name of one listed
                continue
            if isinstance(link, h5py.ExternalLink):
                self._faults[name] = DataError(f"{self.path}: {name}", "is a link to another file", _COPY)
                continue
            item = group[base]
            place = h5py.h5o.get_info(item.id).addr
            if place in seen:
                continue
            seen.add(place)
            if len(seen) > MAX_ARRAYS:
                what = f"it holds more than {MAX_ARRAYS:,} arrays and groups"
                raise DataError(self.path, what, "save its images as one array [count, height, width, channels]")
            if isinstance(item, h5py.Dataset):
                self._add_array(name, item)
            elif isinstance(item, h5py.Group) and depth < MAX_DEPTH:
                self._add(item, name + "/", depth + 1, seen)

    def _add_array(self, name: str, dataset: Any) -> None:
        try:
            shape, fault = dataset.shape, _fault(dataset)
            kind = None if fault or not shape else _kind(dataset, shape)
        except (TypeError, ValueError, OSError, RuntimeError):  # a type that numpy has not
            fault, kind = "is of a type that cannot be read", None
        if fault:
            self._faults[name] = DataError(f"{self.path}: {name}", fault, _COPY)
        elif kind is not None:
            self._kinds[name] = _by_matlab(kind) if self._by_matlab else kind


def is_hdf5(start: bytes) -> bool:
    """Whether a file that starts with these bytes is HDF5."""
    return start.startswith((_SIGNATURE, _MATLAB))


def refuse_old_matlab(name: str, start: bytes) -> None:
    """Raises DataError, with the line that converts it, if a file with the extension .mat is not HDF5."""
    if not is_hdf5(start):
        load = f"import numpy, scipy.io; m = scipy.io.loadmat('{Path(name).name}')"
        save = "numpy.savez('new.npz', images=m['X'].transpose(3, 0, 1, 2), labels=m['y'])"
        what = "X [height, width, channels, count] and labels y, as in SVHN"
        if "emnist" in Path(name).name.lower():
            load, what = f"{load}; t = m['dataset']['train'][0, 0][0, 0]", "the training images, turned upright"
            save = "numpy.savez('new.npz', images=t['images'].reshape(-1, 28, 28).transpose(0, 2, 1), labels=t['labels'].ravel())"
        kind = "a MATLAB file of version 5" if start.startswith(_OLD_MATLAB) else "an old MATLAB file, or damaged"
        do = f'convert it: python -c "{load}; {save}" for {what}'
        raise DataError(name, f"{kind}, which is not read", do)


def _open(path: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        what = "HDF5 files need one more package (h5py)"
        raise ResourceError(path, what, "pip install 'kantor[formats]'") from error
    try:
        return h5py.File(path, "r", locking="best-effort")
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise cannot_open(path, error) from error
        raise DataError(path, "it is not a whole HDF5 file", AGAIN) from error


def _kind(dataset: Any, shape: tuple[int, ...]) -> Kind:
    import h5py

    dtype = dataset.dtype
    text = h5py.check_string_dtype(dtype)
    if text is not None:
        encoded = text.length is not None and text.length > _LONGEST_TEXT
        return Kind(shape, np.dtype("U") if text.length is None else dtype, encoded)
    parts = h5py.check_vlen_dtype(dtype)
    if parts is not None:
        return Kind(shape, dtype, np.dtype(parts).itemsize == 1 and np.dtype(parts).kind in "iu")
    return Kind(shape, dtype, dtype.kind == "V" and dtype.names is None and dtype.subdtype is None)


def _fault(dataset: Any) -> str:
    """Why an array is not read, "" if it is."""
    if dataset.external:
        return "keeps its numbers in another file"
    if dataset.is_virtual:
        return "is made of arrays in other files"
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
    unknown = [name.decode("utf-8", "replace") or str(code) for code, _, _, name in filters if code not in _FILTERS]
    return f"is compressed by {unknown[0]}, which is not read" if unknown else ""


def _by_matlab(kind: Kind) -> Kind:
    """The array as its images [N, H, W, C] or [N, H, W] if the last axis in MATLAB counts them; else as MATLAB sees it."""
    turned = _turned(kind.shape)
    return Kind(turned if turned and is_stack(turned, kind.dtype) else kind.shape[::-1], kind.dtype, kind.encoded)


def _turned(stored: tuple[int, ...]) -> tuple[int, ...] | None:
    """[N, H, W, C] or [N, H, W] of an array that MATLAB has as [H, W, C, N] or [H, W, N], stored as [N, C, W, H]."""
    if len(stored) == 4 and 1 <= stored[1] <= 4:
        return stored[0], stored[3], stored[2], stored[1]
    if len(stored) == 3 and stored[2] <= 4 * stored[0]:
        return stored[0], stored[2], stored[1]
    return None
