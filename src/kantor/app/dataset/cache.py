"""The cache of packed images: shared by runs, kept below a size."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kantor import atomic
from kantor.app import units
from kantor.data.loading import layout
from kantor.errors import BusyError
from kantor.lock import locked

LIMIT = "KANTOR_CACHE_LIMIT"
DEFAULT_LIMIT = 50 * 10**9
ARRAYS = "arrays"  # images that came from memory, beside the packed sets
FEATURES = "features"  # of real images, for scores
_OUR_FILE = re.compile(r"array-[0-9a-f]{16}(\.npy|-[0-9a-f]{8}\.json)|features-[0-9a-f]{16}\.safetensors")
_RECENT_S = 3600.0
T = TypeVar("T")


def limit_bytes() -> int:
    """What KANTOR_CACHE_LIMIT allows: "20GB", "500M"; 50 GB where it is not set.

    Raises:
        ConfigError: it is not a size.
    """
    text = os.environ.get(LIMIT, "")
    return units.byte_size(text, LIMIT) if text else DEFAULT_LIMIT


def make_room(packs: Path, needed_bytes: int, keep: Path) -> list[str]:
    """Removes packed sets, those that were used longest ago first, until `needed_bytes` more fit below the limit.

    Only what is a packed set, images that came from memory, features of a set, or the rest of an attempt that nobody
    works on, is ever removed; nothing that was used within the last hour is. A run that has a set open goes on reading it where the system allows that, else it stays.

    Args:
        packs: the folder of packed sets.
        keep: never removed: the set about to be made.
    Returns:
        A line for the user where something was removed.
    """
    limit = limit_bytes()
    for left in packs.glob(f".*{atomic.TEMPORARY}*"):  # of a removal that was killed: nobody knows its name any more
        if time.time() - _used_s(left) > _RECENT_S:
            shutil.rmtree(left, ignore_errors=True)
    sets = [path for path in packs.iterdir() if _is_ours(path) and path.name.strip(".").split(".")[0] != keep.name]
    files = [path for folder in (ARRAYS, FEATURES) for path in (packs.parent / folder).glob("*")]
    sets += [path for path in files if _OUR_FILE.fullmatch(path.name) and path.is_file()]
    sizes = {path: _size(path) for path in sets}
    total, freed, removed = sum(sizes.values()), 0, 0
    for path in sorted(sets, key=_used_s):
        if total - freed + needed_bytes <= limit or time.time() - _used_s(path) < _RECENT_S:
            break
        with contextlib.suppress(OSError, BusyError):
            _remove(path)
        if not path.exists():
            freed, removed = freed + sizes[path], removed + 1
    if not removed:
        return []
    return [
        f"removed {removed} set{'s' if removed > 1 else ''} of images ({freed / 1e9:.1f} GB) from the cache, which {LIMIT} keeps below {limit / 1e9:.3g} GB"
    ]


def mark_used(path: Path) -> None:
    """This set, or file of images, is in use: it is removed last."""
    with contextlib.suppress(OSError):
        os.utime(path / layout.MANIFEST if path.is_dir() else path)


def _remove(path: Path) -> None:
    if path.is_file():
        path.unlink()
        return
    with locked(path):
        atomic.remove_folder(path)


def alone(make: Callable[[], T], note: Callable[[str], None], pause_s: float = 1.0) -> T:
    """What `make` gives, once nobody else is at it: while it raises BusyError, waits and tries again."""
    told = False
    while True:
        try:
            return make()
        except BusyError as busy:
            if not told:
                note(f"waiting for another Kantor that packs the same images ({busy.what})")
            told = True
            time.sleep(pause_s)


def _is_ours(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and (layout.is_packed(path) or path.name.endswith(".partial"))


def _used_s(path: Path) -> float:
    file = path / layout.MANIFEST
    with contextlib.suppress(OSError):
        return (file if file.exists() else path).stat().st_mtime
    return 0.0


def _size(path: Path) -> int:
    total = 0
    for file in path.rglob("*") if path.is_dir() else (path,):
        with contextlib.suppress(OSError):
            total += file.lstat().st_size
    return total
