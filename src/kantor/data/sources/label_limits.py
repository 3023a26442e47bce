"""How many classes there may be, and how large a table of labels next to the images."""

from __future__ import annotations

from kantor.errors import DataError

MAX_CLASSES = 65_536
MAX_TABLE_BYTES = 64 << 20  # takes ten times as much memory when parsed


def require_small(size: int, where: str) -> None:
    """Raises DataError if a table of labels is larger than millions of images need."""
    if size > MAX_TABLE_BYTES:
        what = f"it is larger than {MAX_TABLE_BYTES >> 20} MB"
        raise DataError(where, what, "remove it, use --labels none, or name a file of labels")


def require_few_classes(classes: int, where: str) -> None:
    """Raises DataError above MAX_CLASSES."""
    if classes > MAX_CLASSES:
        what = f"{classes:,} different labels, at most {MAX_CLASSES:,} are possible"
        raise DataError(where, what, "give one class name an image, not a number of its own, or use --labels none")
