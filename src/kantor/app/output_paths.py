"""Checks --out: --overwrite replaces a command's own files, and folders that hold nothing else."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from kantor import atomic
from kantor.disk_errors import resource_errors
from kantor.errors import ConfigError


def target(out: Path, sources: Iterable[Path | str]) -> Path:
    """`out` as an absolute path. Raises ConfigError if it has no name, or lies inside a folder of images."""
    path = out.absolute()
    if not path.resolve().name:
        raise ConfigError(f"--out {out}", "cannot be created", "choose another name")
    for source in map(Path, sources):
        if source.is_dir() and path.resolve().is_relative_to(source.resolve()):
            raise ConfigError(f"--out {out}", "lies inside the folder of images", "choose a folder elsewhere")
    return path


def require_free(out: Path, overwrite: bool, ours: str) -> None:
    """Raises ConfigError if `out` exists and may not be replaced; `ours`: regular expression of names that may."""
    if not out.exists() and not out.is_symlink():
        return
    if not overwrite:
        raise ConfigError(out, "already exists", "choose another --out, or add --overwrite")
    if out.is_symlink() or not out.is_dir():
        what = "is not a folder that this command wrote, so it will not be replaced"
        raise ConfigError(out, what, "choose another --out")
    if (name := atomic.stranger(out, ours)) is not None:
        what = f"holds {name}, which this command does not write, so it will not be replaced"
        raise ConfigError(out, what, "choose another --out")


def require_free_files(files: Iterable[Path], overwrite: bool) -> None:
    """Raises ConfigError if one of the files exists and may not be replaced."""
    taken = None if overwrite else next((path for path in files if path.exists() or path.is_symlink()), None)
    if taken is not None:
        raise ConfigError(taken, "already exists", "choose another --out, or add --overwrite")


def spare_sources(out: Path, files: Iterable[Path], sources: Iterable[Path]) -> None:
    """Raises ConfigError if one of the files, in `out`, is one of those that they are made of, --overwrite or not."""
    read = {source.resolve() for source in sources}
    if (taken := next((file for file in files if file.resolve() in read), None)) is not None:
        raise ConfigError(f"--out {out}", f"would replace {taken}, which is read", "choose another folder")


@contextlib.contextmanager
def new_numbered(parent: Path) -> Iterator[Path]:
    """Makes PARENT/00000, or the next number; an error takes it away if nothing is in it."""
    path = make_numbered(parent)
    try:
        yield path
    except BaseException:
        with contextlib.suppress(OSError):
            path.rmdir()
        raise


def make_numbered(parent: Path) -> Path:
    """Makes PARENT/00000, or the next number; concurrent calls make different folders."""
    atomic.make_folder(parent)
    while True:
        with resource_errors(parent):
            numbers = [int(path.name) for path in parent.iterdir() if re.fullmatch("[0-9]{5,9}", path.name)]
            path = parent / f"{max(numbers, default=-1) + 1:05d}"
            try:
                path.mkdir()
                return path
            except FileExistsError:  # another process was faster
                continue


def distinct_name(base: str, taken: set[str]) -> str:
    """`base`, or base-2, base-3 ... if another name equals it but for case; it is added to `taken`, which are case-folded."""
    name, number = base, 2
    while name.casefold() in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name.casefold())
    return name
