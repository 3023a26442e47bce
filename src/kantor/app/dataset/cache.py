"""The cache of packed datasets: shared by runs, kept below a size."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kantor import atomic
from kantor.app import units
from kantor.app.dataset.packing_news import PackingNews
from kantor.data.loading import layout
from kantor.errors import BusyError
from kantor.lock import locked
from kantor.progress import Progress, silent

LIMIT = "KANTOR_CACHE_LIMIT"
DEFAULT_LIMIT = 50 * 10**9
ARRAYS = "arrays"  # images that came from memory
FEATURES = "features"  # of real images, for metrics
LOOKS = "looks"  # what was found in files, such as objects
_CACHED_FILE = re.compile(
    r"array-[0-9a-f]{16}(\.npy|-[0-9a-f]{8}\.json)|(features|looks)-[0-9a-f]{16}\.(safetensors|json)"
)
_RECENT_S = 3600.0
T = TypeVar("T")

Note = Callable[[str], None]


def no_notes(_line: str) -> None:
    """Drops a line for the user."""


@dataclass(frozen=True)
class DatasetCache:
    """Where datasets are packed (see `cache_folder`), and who receives progress, lines for the user, and news."""

    folder: Path
    progress: Progress = silent
    note: Note = no_notes
    news: PackingNews | None = None

    @property
    def packs(self) -> Path:
        """The folder of packed datasets."""
        return self.folder / "packs"

    @property
    def looks(self) -> Path:
        """The folder of what was found in files: see `kantor.data.packing.looks`."""
        return self.folder / LOOKS


def cache_folder(option: str | Path | None) -> Path:
    """Returns the cache folder: --cache, else KANTOR_CACHE, else the platform's. Raises as `limit_bytes`."""
    limit_bytes()  # raises before anything is packed
    if option is not None:
        return Path(option)
    if os.environ.get("KANTOR_CACHE"):
        return Path(os.environ["KANTOR_CACHE"]).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("kantor"))


def limit_bytes() -> int:
    """Returns what KANTOR_CACHE_LIMIT allows ("20GB"), 50 GB if unset. Raises ConfigError if it is not a size."""
    text = os.environ.get(LIMIT, "")
    return units.byte_size(text, LIMIT) if text else DEFAULT_LIMIT


def make_room(packs: Path, needed_bytes: int, keep: Path) -> list[str]:
    """Removes what was used longest ago, but not within the last hour, until `needed_bytes` more fit below the limit.

    Removes only packed datasets, images that came from memory, features, what was found in files, and what an
    interrupted attempt left. A run that reads a removed dataset continues where the system allows that; elsewhere the
    dataset stays.

    Returns a line for the user if something was removed. keep: the dataset about to be packed, never removed.
    """
    limit = limit_bytes()
    for leftover in packs.glob(f".*{atomic.TEMPORARY}*"):  # of a removal that was killed
        if time.time() - _used_s(leftover) > _RECENT_S:
            shutil.rmtree(leftover, ignore_errors=True)
    entries = [path for path in packs.iterdir() if _is_pack(path) and path.name.strip(".").split(".")[0] != keep.name]
    files = [path for folder in (ARRAYS, FEATURES, LOOKS) for path in (packs.parent / folder).glob("*")]
    entries += [path for path in files if _CACHED_FILE.fullmatch(path.name) and path.is_file()]
    sizes = {path: _size_bytes(path) for path in entries}
    total, freed, removed = sum(sizes.values()), 0, 0
    for path in sorted(entries, key=_used_s):
        if total - freed + needed_bytes <= limit or time.time() - _used_s(path) < _RECENT_S:
            break
        with contextlib.suppress(OSError, BusyError):
            if path.is_file():
                path.unlink()
            else:
                with locked(path):
                    atomic.remove_folder(path)
        if not path.exists():
            freed, removed = freed + sizes[path], removed + 1
    if not removed:
        return []
    what = f"removed {removed} {'dataset' if removed == 1 else 'datasets'} ({freed / 1e9:.1f} GB) from the cache"
    return [f"{what}, to stay below {LIMIT} = {limit / 1e9:.3g} GB"]


def mark_used(path: Path) -> None:
    """Marks a dataset or file as in use, so that it is removed last."""
    with contextlib.suppress(OSError):
        os.utime(path / layout.MANIFEST if path.is_dir() else path)


def wait_while_busy(make: Callable[[], T], note: Note, pause_s: float = 1.0) -> T:
    """Calls `make` until it does not raise BusyError, and returns what it returns. Notes once that it waits."""
    waiting = False
    while True:
        try:
            return make()
        except BusyError as busy:
            if not waiting:
                note(f"waiting for another Kantor that packs the same images ({busy.what})")
            waiting = True
            time.sleep(pause_s)


def _is_pack(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and (layout.is_packed(path) or path.name.endswith(".partial"))


def _used_s(path: Path) -> float:
    file = path / layout.MANIFEST
    with contextlib.suppress(OSError):
        return (file if file.exists() else path).stat().st_mtime
    return 0.0


def _size_bytes(path: Path) -> int:
    total = 0
    for file in path.rglob("*") if path.is_dir() else (path,):
        with contextlib.suppress(OSError):
            total += file.lstat().st_size
    return total
