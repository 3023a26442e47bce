"""Where images come from: one file for each kind of source."""

from __future__ import annotations

import contextlib
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from kantor.data.decoding.formats import PADDING_FITS
from kantor.data.decoding.signatures import is_encoded_image
from kantor.data.decoding.tfrecords import is_record_head
from kantor.data.loading.store import is_packed
from kantor.data.sources import idx, names
from kantor.data.sources.arrow import Arrow
from kantor.data.sources.arrow_file import is_arrow
from kantor.data.sources.columns import split_column
from kantor.data.sources.concatenated import Concatenated
from kantor.data.sources.folder import Folder
from kantor.data.sources.glyphs import Glyphs
from kantor.data.sources.idx import Idx
from kantor.data.sources.lmdb import Lmdb, is_lmdb
from kantor.data.sources.npy import Npy
from kantor.data.sources.npz import Npz
from kantor.data.sources.open_file import cannot_open, start_of
from kantor.data.sources.packed import Packed
from kantor.data.sources.parquet import Parquet
from kantor.data.sources.python_object import PREFIX, PythonObject
from kantor.data.sources.source import Item, Source
from kantor.data.sources.tar import Tar
from kantor.data.sources.tfrecord import TfRecord
from kantor.data.sources.zip import Zip
from kantor.errors import ConfigError, DataError

if TYPE_CHECKING:  # worker processes import this room, and need not load pydantic
    from kantor.config.data import DataConfig

__all__ = [
    "Arrow", "Concatenated", "Folder", "Glyphs", "Idx", "Item", "Lmdb", "Npy", "Npz", "Packed", "Parquet", "PythonObject",
    "Source", "Tar", "TfRecord", "Zip", "open_source",
]  # fmt: skip

GLYPHS = "glyphs"
_GLYPHS_SIDE = 32
_ACCEPTED = "name a folder of images, a zip or tar of them, a .npy, .npz, IDX, TFRecord or Parquet file, or glyphs"
_UNPACK = "unpack it into a folder, or make a zip of that"
_SAVE = "save its images as uint8 with numpy.savez('new.npz', images=x)"
_UNSUPPORTED = {
    ".7z": ("7z", _UNPACK), ".rar": ("rar", _UNPACK), ".zst": ("Zstandard", _UNPACK),
    ".pt": ("PyTorch", _SAVE), ".pth": ("PyTorch", _SAVE), ".pkl": ("pickle", _SAVE), ".pickle": ("pickle", _SAVE),
    ".h5": ("HDF5", _SAVE), ".hdf5": ("HDF5", _SAVE), ".mat": ("MATLAB", _SAVE),
}  # fmt: skip
_TAR = re.compile(r"\.(tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$")
_TFRECORD = re.compile(r"\.tfrecords?([.-]\S*)?$|-of-\d{5}$")
_PARQUET = re.compile(r"\.parquet$")
_TEXTS = (".json", ".txt", ".md", ".csv", ".idx")
_TRAINING = re.compile(r"(?<![a-z])train(ing)?(?![a-z])")
_EVALUATION = re.compile(r"(?<![a-z])(test(ing)?|val(id(ation)?)?|dev|eval)(?![a-z])")


def open_source(config: DataConfig) -> Source:
    """The source that `config.source` names, recognised by its contents rather than its extension.

    A packed dataset is opened only to be stacked or outlined; its source's `note` says what was decided.

    Raises:
        DataError: it is missing, unreadable, or unsupported.
        ConfigError: settings contradict each other.
    """
    _check(config)
    name, labels = config.source, config.labels
    if name == GLYPHS:
        return _glyphs(config)
    if name.startswith(PREFIX):
        return PythonObject(name, labels)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
        raise DataError(name, "a web address", "download it first, then name the file or folder")
    file, column = split_column(name)
    path = place(file)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        nearest = next((str(parent) for parent in path.absolute().parents if parent.exists()), "/")
        raise DataError(name, f"no such file or folder ({nearest} exists)", "check the spelling") from None
    except (OSError, ValueError) as error:
        raise cannot_open(name, error) from error
    if (config.stack or config.edges != "none") and is_packed(path):
        return Packed(str(path), labels, config.stack > 0)
    if stat.S_ISDIR(mode):
        return _folder(name, path, labels, config.rules)
    if not stat.S_ISREG(mode):
        raise DataError(name, "neither a folder nor a regular file", _ACCEPTED)
    return _file(f"{path}:{column}" if column else str(path), labels, config.rules)


def _check(config: DataConfig) -> None:
    """Raises ConfigError if settings contradict each other."""
    outlined = config.edges != "none"
    if (outlined or config.stack) and config.channels not in ("auto", "gray" if outlined else "rgb"):
        kind, field = ("outlines are grey", "edges") if outlined else ("stacked images are rgb", "stack")
        do = f"leave --channels out, or leave data.{field} out"
        raise ConfigError("data.channels", f"{kind}, but {config.channels} is requested", do)
    if config.choose == "random" and not config.limit:
        what = "chooses some of the images, but all are used"
        raise ConfigError("data.choose", what, "set how many: data.limit=3000")
    if config.pad and config.fit not in PADDING_FITS:
        raise ConfigError("data.pad", "needs --fit replicate or mirror", f"choose one: {config.fit} does not pad")


def place(name: str) -> Path:
    """A path as the user wrote it; "~" is the home folder, unless a file here has that name."""
    path = Path(name)
    with contextlib.suppress(RuntimeError, OSError):  # no such user; a name that is too long
        if not path.exists():
            return path.expanduser()
    return path


def _glyphs(config: DataConfig) -> Glyphs:
    from kantor.config.base import parse_size

    if config.labels not in ("auto", "none"):
        raise DataError(config.labels, "the built-in dataset brings its own labels", "use --labels auto or none")
    size = config.size if "auto" in (config.size, config.pack_size) else config.pack_size
    height, width = (_GLYPHS_SIDE, _GLYPHS_SIDE) if size == "auto" else parse_size(size)
    return Glyphs(config.glyphs.count, config.glyphs.seed, height, width, labelled=config.labels == "auto")


def _folder(name: str, path: Path, labels: str, rules: int) -> Source:
    try:
        files = [entry.name for entry in path.iterdir() if not names.is_clutter(entry.name)]
    except OSError as error:
        raise cannot_open(name, error) from error
    if images := idx.choose(files, name):
        return Idx(name, labels, str(path / images), rules)
    parts, note = _shards(files)
    if not parts:
        return Folder(str(path), labels, rules)
    if len(parts) == 1:
        source = _file(str(path / parts[0]), labels, rules)
    else:
        part_labels = "auto" if labels == "auto" else "none"
        source = Concatenated(str(path), [_file(str(path / part), part_labels, rules) for part in parts], parts, labels)
    source.note = "; ".join(text for text in (note, source.note) if text)
    return source


def _shards(files: list[str]) -> tuple[list[str], str]:
    """The shards of a folder that holds a dataset in parts of one kind, and at most texts next to them; else none.

    Those for evaluation are left out if others are named for training; then the note is not empty.
    """
    for kind in (_TAR, _TFRECORD, _PARQUET):
        shards = sorted(name for name in files if kind.search(name.lower()))
        if shards and all(kind.search(name.lower()) or name.lower().endswith(_TEXTS) for name in files):
            break
    else:
        return [], ""
    training = [name for name in shards if _TRAINING.search(name.lower())]
    used = [name for name in shards if name in training or not _EVALUATION.search(name.lower())]
    others = [name for name in shards if name not in used]
    if not training or not others:
        return shards, ""
    note = f"{len(used)} of {len(shards)} files of this folder are used, those for training, not {others[0]}"
    note += " and such" if len(others) > 1 else ""
    return used, note + "; to use others, move them into a folder of their own"


def _file(name: str, labels: str, rules: int) -> Source:
    """The source of one file, or of a column in it: "x.parquet:photo"."""
    name, column = split_column(name)
    path = Path(name)
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise cannot_open(name, error) from error
    extension = path.suffix.lower()
    if not start:
        raise DataError(name, "an empty file", _ACCEPTED)
    if extension in _UNSUPPORTED:
        kind, do = _UNSUPPORTED[extension]
        raise DataError(name, f"{kind} files are not read", do)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")) or extension in (".zip", ".npz"):
        return Npz(name, labels, rules) if extension == ".npz" else Zip(name, labels, rules)
    if start.startswith(b"PAR1") or extension == ".parquet":
        return Parquet(name, labels, rules, column)
    if is_arrow(start):
        return Arrow(name, labels, rules, column)
    if column:
        raise DataError(f"{name}:{column}", "only Parquet and Arrow files have columns", f"name {path.name} alone")
    if is_lmdb(path):
        return Lmdb(name, labels, rules)
    if start.startswith(b"\x93NUMPY") or extension == ".npy":
        return Npy(name, labels, rules)
    inflated = start_of(path)
    if idx.is_idx(inflated):
        return Idx(name, labels, rules=rules)
    if inflated[257:262] == b"ustar" or _TAR.search(path.name.lower()):
        return Tar(name, labels, rules)
    if is_record_head(inflated[:12]) or _TFRECORD.search(path.name.lower()):
        return TfRecord(name, labels, rules)
    if extension in (".arrow", ".feather"):
        return Arrow(name, labels, rules, column)
    if is_encoded_image(start):
        raise DataError(name, "one image, but training needs many", "name its folder")
    raise DataError(name, "unsupported file format", _ACCEPTED)
