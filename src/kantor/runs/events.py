"""Reads events.jsonl, which may be damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kantor.runs.directory import require_file

MOST_IMAGES = 2**53
"""The largest count: a double holds every integer up to it."""


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the events, each with a valid images_seen; skips damaged lines. Yields none without a file.

    Raises:
        DataError: `path` is a folder.
    """
    require_file(path)
    if not path.exists():
        return
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and is_count(value.get("images_seen")):
            yield value


def is_count(value: object) -> bool:
    """Whether a JSON value can be a number of images."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_IMAGES
