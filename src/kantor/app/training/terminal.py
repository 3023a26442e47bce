"""The terminal as training sees it: notes, progress, questions; interrupt.py handles Ctrl-C, cli/terminal.py prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kantor.engine.events import Listener
from kantor.progress import Progress


@dataclass(frozen=True)
class Terminal:
    """Shows notes and progress to the user, and asks questions.

    Attributes:
        console: makes the listener for the run in this folder.
        stop_asked: "signal", or the name of one, once the user wants training to end, else "".
        ask: asks a yes-no question; answers no if nobody can be asked.
    """

    note: Callable[[str], None]
    packing: Progress
    console: Callable[[Path], Listener]
    stop_asked: Callable[[], str]
    ask: Callable[[str], bool] = lambda question: False
