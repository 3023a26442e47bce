"""What was found in the files of a source, such as their objects: kept in a folder, since finding it takes long."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kantor import atomic
from kantor.data.packing.pool import Pool
from kantor.data.packing.worker import FindObjects, FindPieces
from kantor.data.sources.source import Item, Source
from kantor.errors import ResourceError

_VERSION = 1  # of what is found in an image: raise it when the same file gives something else
_TIMEOUT_S = 60.0


def looked(
    source: Source, items: Sequence[Item], job: FindObjects | FindPieces, workers: int, folder: Path | None
) -> list[Any]:
    """Returns what `job` finds in each item, None for those that cannot be read.

    What was found is kept in `folder`, and not looked for again in a file of the same name, size and time of change in the same
    place. Files that could not be read are tried again.
    """
    path = None if folder is None else _path(source, items, job, folder)
    keys = [json.dumps([item.name, item.size, item.mtime_ns]) for item in items]
    kept = {} if path is None else _kept(path)
    found = [kept.get(key) for key in keys]
    missing = [row for row, value in enumerate(found) if value is None]
    if missing:
        with Pool(source, job, workers, timeout_s=_TIMEOUT_S) as pool:
            for row, value in zip(missing, pool.look(items[row] for row in missing), strict=True):
                found[row] = value
        source.release()
        if path is not None:
            with contextlib.suppress(OSError, ResourceError):  # costs time only
                atomic.make_folder(path.parent)
                known = zip(keys, found, strict=True)
                atomic.write_json(path, {key: value for key, value in known if value is not None})
    return found


def _path(source: Source, items: Sequence[Item], job: FindObjects | FindPieces, folder: Path) -> Path | None:
    """The file for this source and this job; None for items without a time of change, such as those from memory."""
    place = Path(source.path)
    if not place.exists():
        return None
    times = [place.stat().st_size, place.stat().st_mtime_ns] if place.is_file() else []
    if not times and any(item.mtime_ns == 0 for item in items):
        return None
    origin = json.dumps([_VERSION, str(place.resolve()), times, source.rules, type(job).__name__, job])
    return folder / f"looks-{hashlib.sha256(origin.encode()).hexdigest()[:16]}.json"


def _kept(path: Path) -> dict[str, Any]:
    """What was found earlier; nothing if the file is missing or damaged."""
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads(path.read_bytes())
        if isinstance(kept, dict):
            return kept
    return {}
