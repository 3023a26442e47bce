"""Images in Arrow's own files (extra `parquet`): IPC files, streams, Feather, and folders of Hugging Face's datasets."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from kantor.data.reasons import Undecodable
from kantor.data.sources import columns as choice
from kantor.data.sources.arrow_file import ArrowFile, Broken
from kantor.data.sources.concatenated import Concatenated
from kantor.data.sources.open_file import cannot_open
from kantor.data.sources.source import RULES, Item, Loaded, Source
from kantor.data.sources.table import Table
from kantor.errors import DataError, ResourceError

_AGAIN = "copy or write it again"
_DAMAGE = (Broken, OSError, ValueError, EOFError, StopIteration)  # and Arrow's own
_MAX_INFO_BYTES = 64 << 20
_DEEPEST = 4  # folders of a cache of datasets: name, configuration, version, fingerprint


class Arrow(Table):
    """Images by row. The file is mapped into memory; record batches that are compressed are unpacked one at a time."""

    def __init__(self, path: str, labels: str = "auto", rules: int = RULES, column: str = "") -> None:
        super().__init__(path, labels, rules, column)
        self._number, self._batch = -1, None  # of the record batch that was read last, and its column of images
        file = self._file()
        self._starts = list(accumulate(file.lengths, initial=0))
        self._names, self.count = file.names, self._starts[-1]
        metadata, info = file.schema.metadata, _json(Path(self.file).with_name("dataset_info.json"))
        self._describe(file.schema, column, lambda n: choice.class_names(metadata, n) or choice.names_in(info, n))
        self.release()

    def load(self, item: Item) -> Loaded:
        """The encoded image, or its numbers [H, W] or [H, W, C]."""
        import pyarrow

        number = bisect_right(self._starts, item.position) - 1
        try:
            if number != self._number:
                self._batch = None  # frees it before the next one is read
                self._number, self._batch = number, self._images(number)
        except (pyarrow.ArrowException, *_DAMAGE):
            self._number = number
        if self._batch is None:
            raise Undecodable("damaged", f"damaged record batch {number}")
        return choice.image_in(self._batch, item.position - self._starts[number], self.columns.form)

    def release(self) -> None:
        """Closes the file and frees the rows that were read."""
        self._number, self._batch = -1, None
        super().release()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_number": -1, "_batch": None}

    def _images(self, number: int) -> Any:
        values = self._file().values(self._names.index(self.columns.image), number)
        return values.field("bytes") if self.columns.form == "struct" else values

    def _open(self) -> ArrowFile:
        try:
            import pyarrow
        except ImportError as error:
            what = "Arrow files need one more package (pyarrow)"
            raise ResourceError(self.path, what, "pip install 'kantor[parquet]'") from error
        try:
            return ArrowFile(self.file)
        except (pyarrow.ArrowException, *_DAMAGE) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise cannot_open(self.path, error) from error
            what = f"it is not a whole Arrow file ({(str(error) or 'cut short').splitlines()[0][:100]})"
            raise DataError(self.path, what, _AGAIN) from error

    def _values(self, column: str, rows: int) -> Iterator[Any]:
        """The values of a column, at most `rows` at a time."""
        file, place = self._file(), self._names.index(column)
        for number in range(len(self._starts) - 1):
            try:
                values = file.values(place, number)
            except (Broken, EOFError, StopIteration) as error:
                raise ValueError(str(error)) from error
            for start in range(0, len(values), rows):
                yield values.slice(start, rows)


def is_saved_dataset(folder: Path) -> bool:
    """Whether Hugging Face's `datasets` wrote a folder: with save_to_disk, or as a cache of Arrow files."""
    return _saved_folder(folder) is not None


def saved_dataset(name: str, folder: Path, labels: str = "auto", rules: int = RULES, column: str = "") -> Source:
    """The images of a folder for which `is_saved_dataset` holds; of several splits, those for training.

    Args:
        name: as the user wrote it.
        labels: as of `Arrow`; in a file, names begin with that of the Arrow file where there are several.
    Raises:
        DataError: no split is for training, or the folder is damaged.
    """
    found = _saved_folder(folder)
    assert found is not None
    splits = _json(found / "dataset_dict.json").get("splits")
    note = ""
    if isinstance(splits, list):
        split, note = _training_split([str(split) for split in splits], name)
        found = found / split
        if not (_is_plain(split) and _is_saved(found)):
            raise DataError(name, f"its folder {split} is not there, or not a dataset", _AGAIN)
    files, said = _files(found, name)
    part_labels = labels if len(files) == 1 else "auto" if labels == "auto" else "none"
    parts = [Arrow(str(found / file), part_labels, rules, column) for file in files]
    source = parts[0] if len(parts) == 1 else Concatenated(name, parts, files, labels)
    source.note = "; ".join(text for text in (note, said, source.note) if text)
    return source


def _saved_folder(folder: Path) -> Path | None:
    """The folder itself, or the one in it, if it alone is there, as in the cache of datasets."""
    for _ in range(_DEEPEST + 1):
        if (folder / "dataset_dict.json").is_file() or _is_saved(folder):
            return folder
        try:
            inner = [entry for entry in folder.iterdir() if entry.suffix not in (".lock", ".json", ".md")]
        except OSError:
            return None
        if len(inner) != 1 or not inner[0].is_dir() or inner[0].is_symlink():
            return None
        folder = inner[0]
    return None


def _is_saved(folder: Path) -> bool:
    return (folder / "dataset_info.json").is_file() and ((folder / "state.json").is_file() or bool(_shards(folder)))


def _shards(folder: Path) -> list[str]:
    """The Arrow files of a cache, without those of functions that were mapped over it."""
    names = (entry.name for entry in folder.glob("*.arrow"))
    return sorted(name for name in names if not name.startswith(("cache-", ".", "tmp")))


def _files(folder: Path, name: str) -> tuple[list[str], str]:
    """The files of a dataset in their order, and what was decided."""
    state = _json(folder / "state.json")
    if state.get("_indices_data_files"):
        do = "save it again with dataset.flatten_indices().save_to_disk"
        raise DataError(name, "its rows are chosen by a second file of indices", do)
    listed = state.get("_data_files")
    if isinstance(listed, list) and listed:
        files = [str(entry.get("filename")) if isinstance(entry, dict) else "" for entry in listed]
        missing = next((f for f in files if not _is_plain(f) or not (folder / f).is_file()), None)
        if missing is not None:
            raise DataError(name, f"its file {missing or '?'} is not there", _AGAIN)
        return files, ""
    files = _shards(folder)
    splits = _json(folder / "dataset_info.json").get("splits")
    known = [str(split) for split in splits] if isinstance(splits, dict) else []
    by_split = {
        split: [f for f in files if re.search(rf"-{re.escape(split)}(-\d+-of-\d+)?\.arrow$", f)] for split in known
    }
    by_split = {split: some for split, some in by_split.items() if some}
    if len(by_split) < 2:
        return files, ""
    split, note = _training_split(list(by_split), name)
    return by_split[split], note


def _training_split(splits: Sequence[str], name: str) -> tuple[str, str]:
    """The split for training, or the only one, and a note if there are others."""
    if len(splits) == 1:
        return splits[0], ""
    training = next((split for split in splits if re.fullmatch(r"train(ing)?", split.lower())), None)
    if training is None:
        what = f"it has several splits, and none is named train ({', '.join(splits)})"
        do = "name one of them" if not splits else f"name one of its folders: {Path(name) / splits[0]}"
        raise DataError(name, what, do)
    others = ", ".join(split for split in splits if split != training)
    return training, f"images are those of the split {training}, not of {others}; to use others, name their folder"


def _is_plain(name: str) -> bool:
    """Whether a name leads to a place in its own folder."""
    return bool(name) and name not in (".", "..") and not re.search(r"[/\\\0]", name)


def _json(path: Path) -> dict[str, Any]:
    """A JSON file's object, {} if there is none."""
    try:
        if path.stat().st_size > _MAX_INFO_BYTES:
            return {}
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
