"""The terminal as training sees it: notes, progress, questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kantor.engine.events import Listener
from kantor.progress import Progress


class ConsoleListener(Listener, Protocol):
    """A listener that shows a run on the terminal until it is closed."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Terminal:
    """Shows notes and progress to the user, and asks questions.

    Attributes:
        note: shows a line.
        packing: shows the progress of packing.
        console: makes the listener for the run in this folder.
        stop_asked: "signal" once the user wants training to end, else "".
        ask: asks a yes-no question; answers no if nobody can be asked.
    """

    note: Callable[[str], None]
    packing: Progress
    console: Callable[[Path], ConsoleListener]
    stop_asked: Callable[[], str]
    ask: Callable[[str], bool] = lambda question: False
