"""Which kind of source a name means: a file or folder is recognised by its contents, rather than by its extension."""

from __future__ import annotations

import contextlib
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kantor.data.decoding.array_hints import channels_first
from kantor.data.decoding.formats import PADDING_FITS
from kantor.data.decoding.pieces import is_video
from kantor.data.decoding.signatures import is_encoded_image
from kantor.data.decoding.tfrecords import is_record_head
from kantor.data.loading.store import is_packed
from kantor.data.sources import cifar, container_files, csv_pixels, idx, names, recognise_by_first_rules
from kantor.data.sources.arrangement import AUTO, HALVES, WITHOUT_FILES
from kantor.data.sources.arrow import Arrow, is_saved_dataset, saved_dataset
from kantor.data.sources.arrow_file import is_arrow
from kantor.data.sources.cifar import Cifar
from kantor.data.sources.concatenated import Concatenated
from kantor.data.sources.container_files import KINDS
from kantor.data.sources.csv_pixels import CsvPixels
from kantor.data.sources.folder import Folder
from kantor.data.sources.glyphs import Glyphs
from kantor.data.sources.hdf5 import Hdf5, is_hdf5, refuse_old_matlab
from kantor.data.sources.idx import Idx
from kantor.data.sources.lmdb import Lmdb, is_lmdb
from kantor.data.sources.npy import Npy, read_header
from kantor.data.sources.npz import Npz
from kantor.data.sources.open_file import cannot_open, start_of
from kantor.data.sources.packed import Packed
from kantor.data.sources.parquet import Parquet
from kantor.data.sources.python_object import PREFIX, PythonObject
from kantor.data.sources.source import Source
from kantor.data.sources.tar import Tar
from kantor.data.sources.tfds import stylegan_levels, tfds_folder
from kantor.data.sources.tfrecord import TfRecord
from kantor.data.sources.zarr import Zarr, is_zarr, is_zarr_zip, store_of
from kantor.data.sources.zip import Zip
from kantor.errors import ConfigError, DataError

if TYPE_CHECKING:  # worker processes import this room, and need not load pydantic
    from kantor.config.data import DataConfig

GLYPHS = "glyphs"
_GLYPHS_SIDE = 32
_FEW, _LOOKED_AT = 3, 50  # .npy files
_ACCEPTED = "name a folder of images, an archive, or one of the files that docs/data.md lists"
_UNPACK = "unpack it, and name the folder"
_SAVE = "save its images as uint8 with numpy.savez('new.npz', images=x)"
_UNSUPPORTED = {
    ".7z": ("7z", _UNPACK), ".rar": ("rar", _UNPACK), ".zst": ("Zstandard", _UNPACK),
    ".pt": ("PyTorch", _SAVE), ".pth": ("PyTorch", _SAVE), ".pkl": ("pickle", _SAVE), ".pickle": ("pickle", _SAVE),
}  # fmt: skip
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_CUT_ARCHIVE = re.compile(r"(.*\.(zip|tar|tgz|tar\.gz|7z|rar))\.?(part)?0*[0-9]+$|.*\.z[0-9]{2}$", re.IGNORECASE)


def open_source(config: DataConfig) -> Source:
    """The source that `config.source` names: a file, a folder, or SOURCE:NAME for an array, column or folder in it.

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
        return PythonObject(name, labels, config.rules)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
        raise DataError(name, "a web address", "download it first, then name the file or folder")
    path, inner = split_inner(name)
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
        if config.rules < 2:
            _require_no_part(str(path), inner)
            return _by_first_rules(name, path, config)
        return _folder(str(path) if inner else name, path, config, inner)
    if not stat.S_ISREG(mode):
        raise DataError(name, "neither a folder nor a regular file", _ACCEPTED)
    return _file(str(path), config, inner)


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


def split_inner(name: str) -> tuple[Path, str]:
    """The file or folder, and what SOURCE:NAME means in it; "" if there is one of the whole name, or none of SOURCE."""
    path, colon, inner = name.rpartition(":")
    while colon and not place(name).exists():
        if path and inner.strip("/") and place(path).exists():
            return place(path), inner.strip("/")
        path, colon, more = path.rpartition(":")
        inner = f"{more}:{inner}"
    return place(name), ""


def _glyphs(config: DataConfig) -> Glyphs:
    from kantor.config.base import parse_size

    if config.labels not in ("auto", "none"):
        raise DataError(config.labels, "the built-in dataset brings its own labels", "use --labels auto or none")
    size = config.size if "auto" in (config.size, config.pack_size) else config.pack_size
    height, width = (_GLYPHS_SIDE, _GLYPHS_SIDE) if size == "auto" else parse_size(size)
    return Glyphs(config.glyphs.count, config.glyphs.seed, height, width, labelled=config.labels == "auto")


def _folder(name: str, path: Path, config: DataConfig, part: str = "") -> Source:
    """A folder of images, or of files that hold many. part: the folder or kind in it that is used, "" for all."""
    labels, rules, beside = config.labels, config.rules, _beside(config, part)
    try:
        files = [entry.name for entry in path.iterdir() if not names.is_clutter(entry.name)]
        sizes = {file: (path / file).stat().st_size for file in files if len(files) < 200 and (path / file).is_file()}
    except OSError as error:
        raise cannot_open(name, error) from error
    if images := idx.choose(files, name):
        _require_no_split(name, config, part)
        return Idx(name, labels, str(path / images), rules, config.transpose)
    if is_saved_dataset(path):
        _require_no_split(name, config, part)
        return saved_dataset(name, path, labels, rules)
    if is_zarr(path):
        store, array = store_of(path)
        return Zarr(str(store), labels, rules, "/".join(filter(None, (array, part))))
    if is_lmdb(path):
        _require_no_part(name, part)
        return Lmdb(name, labels, rules)
    if len(sizes) == len(files) and cifar.is_cifar(sizes, path):
        _require_no_split(name, config, part)
        return cifar.open_folder(name, sizes, labels, rules)
    if (inner := tfds_folder(path)) is not None:
        path = inner
    found = container_files.find(path, config.split)
    if found is not None and (levels := stylegan_levels(found.paths)):
        note = f"of {len(found.paths)} sizes of the same images the largest is used, {levels[0]}"
        found = found._replace(paths=levels, classes=[None] * len(levels), note=note)
    if found is None and (tables := _tables(path, files)):
        _require_no_split(name, config, part)
        found = container_files.Files("csv", tables, [None] * len(tables), "")
    if found is None or (found.kind == "npy" and _hold_one_image_each([path / file for file in found.paths])):
        _refuse_others(name, files)
        videos = config.frames != "first"
        return Folder(
            str(path), labels, rules, config.split, config.links, found is not None, videos, part=part, beside=beside
        )
    if len(found.paths) == 1:
        source = _file(str(path / found.paths[0]), config, part)
    else:
        own = config.model_copy(update={"labels": "auto" if labels == "auto" else "none"})
        parts = [_file(str(path / file), own, part) for file in found.paths]
        source = Concatenated(str(path), parts, found.paths, labels, found.classes if labels == "auto" else None)
    source.note = "; ".join(text for text in (found.note, source.note) if text)
    return source


def _beside(config: DataConfig, part: str) -> str:
    """The part whose images are conditions, "" if a part is named or none is a condition."""
    condition = config.condition
    return "" if part or condition in (*WITHOUT_FILES, *HALVES) or "/" in condition else condition


def _is_tar(path: Path) -> bool:
    return KINDS["tar"].search(path.name.lower()) is not None or start_of(path)[257:262] == b"ustar"


def _require_no_split(name: str, config: DataConfig, part: str) -> None:
    """Raises DataError for a folder whose parts are files that the user can name."""
    _require_no_part(name, part)
    if config.split != AUTO:
        what = f"data.split = {config.split} does not go with such a folder"
        raise DataError(name, what, "name the file with that part of the dataset instead of the folder")


def _require_no_part(name: str, part: str) -> None:
    """Raises DataError if a part of a file or folder without parts is named."""
    if part:
        raise DataError(f"{name}:{part}", "nothing in it has a name of its own", "name the file alone")


def _tables(path: Path, files: Sequence[str]) -> list[str]:
    """The tables of pixels in a folder that holds nothing else; []: it holds images, or tables of labels."""
    if not any(csv_pixels.is_table(file) for file in files) or any(names.not_image(file, 2) is None for file in files):
        return []
    return csv_pixels.in_folder(path, files)


def _hold_one_image_each(paths: Sequence[Path]) -> bool:
    """Whether .npy files hold an image each. Few with channels first could as well be stacks of three."""
    first = read_header(paths[0]).shape
    if len(first) == 3 and channels_first(first) and first[2] not in (1, 3, 4):
        return len(paths) > _FEW and {read_header(path).shape[0] for path in paths[:_LOOKED_AT]} == {first[0]}
    return _holds_one_image(paths[0])


def _holds_one_image(path: Path) -> bool:
    """Whether a .npy file holds one image rather than a stack of them."""
    shape = read_header(path).shape
    grey = len(shape) == 2 and max(shape) <= 4 * min(shape)
    return grey or (len(shape) == 3 and (shape[2] in (1, 3, 4) or channels_first(shape)))


def _refuse_others(name: str, files: Sequence[str]) -> None:
    """Raises DataError with the next step for a folder of files that are known but not read."""
    if cut := sorted(match[0] for file in files if (match := _CUT_ARCHIVE.fullmatch(file))):
        whole = re.sub(r"\.?(part)?0*[0-9]+$", "", cut[0])
        what = f"it holds an archive that is cut into parts: {', '.join(cut[:3])}"
        raise DataError(name, what, _joined(cut[0], whole))
    pickles = [
        file for file in files if re.fullmatch(r"(data|test)_batch(_[0-9])?|.*\.(pkl|pickle|pt|pth)", file.lower())
    ]
    if pickles and not any(names.extension(file) in names.MORE_IMAGES for file in files):
        what = f"its images are in pickles ({', '.join(sorted(pickles)[:3])}), which could run code"
        do = "download the binary version (.bin), or save the arrays with numpy.savez('new.npz', images=x, labels=y)"
        raise DataError(name, what, do)
    mixed = Counter(kind for file in files for kind, pattern in KINDS.items() if pattern.search(file.lower()))
    if len(mixed) > 1 and sum(mixed.values()) == len(files):
        shown = ", ".join(f"{count} {kind}" for kind, count in mixed.most_common())
        raise DataError(name, f"it holds files of several kinds ({shown})", f"name one of them: {name}/{min(files)}")


def _part_of_archive(name: str, cut: re.Match[str]) -> DataError:
    return DataError(name, "part of an archive that is cut into several", _joined(Path(name).name, cut[1] or cut[0]))


def _joined(part: str, whole: str) -> str:
    """What to do with a part of the archive `whole`."""
    if re.search(r"\.z[0-9]{2}$", part.lower()):
        stem = Path(part).stem
        return f"join them: zip -s 0 {stem}.zip --out {stem}-whole.zip, or open {stem}.zip with 7-Zip"
    return f"join them: cat {whole}* > whole{Path(whole).suffix}, or open the first with 7-Zip"


def _by_first_rules(name: str, path: Path, config: DataConfig) -> Source:
    labels = config.labels
    try:
        files = [entry.name for entry in path.iterdir() if not names.is_clutter(entry.name)]
    except OSError as error:
        raise cannot_open(name, error) from error
    if images := recognise_by_first_rules.idx_file(files, name):
        return Idx(name, labels, str(path / images), 1)
    parts, note = recognise_by_first_rules.shards(files)
    if not parts:
        return Folder(str(path), labels, 1)
    if len(parts) == 1:
        source = _file(str(path / parts[0]), config)
    else:
        part_labels = "auto" if labels == "auto" else "none"
        config = config.model_copy(update={"labels": part_labels})
        source = Concatenated(str(path), [_file(str(path / part), config) for part in parts], parts, labels, rules=1)
    source.note = "; ".join(text for text in (note, source.note) if text)
    return source


def _file(name: str, config: DataConfig, inner: str = "") -> Source:
    """The source in a file. inner: the array or column of images in it, "" if it is to be found."""
    path, labels, rules = Path(name), config.labels, config.rules
    videos = config.frames != "first"
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise cannot_open(name, error) from error
    extension = path.suffix.lower()
    if not start:
        raise DataError(name, "an empty file", _ACCEPTED)
    if extension == ".zip" and path.with_suffix(".z01").exists():
        first = path.with_suffix(".z01").name
        what = f"the last part of an archive that is cut into several, from {first}"
        raise DataError(name, what, _joined(first, first))
    cut = _CUT_ARCHIVE.fullmatch(path.name)
    if cut and start.startswith(_ZIP) and not zipfile.is_zipfile(path):
        raise _part_of_archive(name, cut)
    if extension in _UNSUPPORTED:
        kind, do = _UNSUPPORTED[extension]
        raise DataError(name, f"{kind} files are not read", do)
    if extension == ".npz":
        return Npz(name, labels, rules, inner)
    if is_hdf5(start) or extension in (".h5", ".hdf5"):
        return Hdf5(name, labels, rules, inner)
    if extension == ".mat":
        refuse_old_matlab(name, start)
    if start.startswith(b"PAR1") or extension == ".parquet":
        return Parquet(name, labels, rules, inner)
    if is_arrow(start) or extension in (".arrow", ".feather"):
        return Arrow(name, labels, rules, inner)
    if start.startswith(_ZIP) or extension == ".zip":
        if is_zarr_zip(name):
            return Zarr(name, labels, rules, inner)
        if rules < 2:
            _require_no_part(name, inner)
        return Zip(name, labels, rules, config.split, videos, inner, _beside(config, inner))
    is_tar = _is_tar(path)
    if not is_tar or rules < 2:
        _require_no_part(name, inner)
    if is_lmdb(path):
        return Lmdb(name, labels, rules)
    if start.startswith(b"\x93NUMPY") or extension == ".npy":
        return Npy(name, labels, rules)
    inflated = start_of(path)
    if idx.is_idx(inflated):
        return Idx(name, labels, rules=rules, upright=config.transpose)
    if is_tar:
        return Tar(name, labels, rules, config.split, videos, inner, _beside(config, inner))
    if is_record_head(inflated[:12]) or KINDS["tfrecord"].search(path.name.lower()):
        return TfRecord(name, labels, rules)
    if cifar.is_cifar({path.name: path.stat().st_size}, path.parent):
        return Cifar(name, labels, rules)
    if csv_pixels.is_table(path.name):
        return CsvPixels(name, labels, rules)
    if cut:
        raise _part_of_archive(name, cut)
    if (is_encoded_image(start, rules) or is_video(start)) and (videos or config.tile or config.objects != "none"):
        return Folder(str(path.parent), "none", rules, "all", videos=videos, only=path.name)
    if is_video(start):
        raise DataError(name, "a video", "take its frames: --set data.frames=10 uses every tenth")
    if is_encoded_image(start, rules):
        do = "name its folder; of a sheet, an animation or a scene: --set data.tile=32, --set data.frames=all or --objects auto"
        raise DataError(name, "one image, but training needs many", do)
    raise DataError(name, "unsupported file format", _ACCEPTED)
