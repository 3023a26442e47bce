"""How a long piece of work says how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Called now and then with what is done, out of how many, and how many of the former were rejected."""

    def __call__(self, done: int, total: int, rejected: int = 0, /) -> None: ...


ProgressOf = Callable[[str], Progress]
"""progress_of("packing") -> the progress of packing."""


def silent(_done: int, _total: int, _rejected: int = 0, /) -> None:
    """Shows nothing."""


def all_silent(_doing: str) -> Progress:
    """Shows nothing of any work."""
    return silent
