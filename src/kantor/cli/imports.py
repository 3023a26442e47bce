"""Imports of large libraries."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Collects no garbage while PyTorch is imported, which makes none: 0.2 s of 1.7 s. Later collections skip what is there."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if not gc.get_freeze_count():  # once: what a later call finds may be garbage
                gc.freeze()
            gc.enable()
