"""Checks --out: --overwrite replaces a command's own files, and folders that hold nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kantor import atomic
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
