"""Reading events.jsonl, which a killed run or somebody else may have left in any state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kantor.runs.directory import require_file

MOST_IMAGES = 2**53
"""Counts beyond that are no counts: a double does not hold them."""


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events, each with images_seen, a count; a torn or foreign line is passed over. No file, no events.

    Raises:
        DataError: a folder has the name of the file.
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
