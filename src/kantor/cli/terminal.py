"""Prints lines and progress; training gets them as app/training/terminal.py, and Ctrl-C is in its interrupt.py."""

from __future__ import annotations

import contextlib
import os
import sys
from contextlib import AbstractContextManager

from kantor import progress
from kantor.errors import ResourceError, printable
from kantor.progress import ProgressOf


def show(line: str) -> None:
    """Prints a line of news; if it cannot be written, nothing is lost."""
    with contextlib.suppress(OSError, ValueError, ResourceError):
        tell(line)


def tell(line: str) -> None:
    """Prints a line that the command exists for, with the characters that the terminal can show.

    Raises ResourceError if it cannot be written. A closed pipe (`| head`) is not an error.
    """
    encoding = sys.stdout.encoding or "ascii"
    try:
        print(printable(line).encode(encoding, "replace").decode(encoding), flush=True)  # noqa: T201
    except OSError as error:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - or Python tries again at exit
        if isinstance(error, BrokenPipeError):
            return
        raise ResourceError("standard output", f"could not be written ({error.strerror})", "free some space") from error


def interactive() -> bool:
    """Whether a user can be asked."""
    try:
        return sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):  # closed by whoever called us
        return False


def ask(question: str) -> bool:
    """Asks the user at a terminal; without a terminal the answer is no."""
    import typer

    return interactive() and typer.confirm(printable(question), default=False)


def counted(count: int, noun: str) -> str:
    """ "1 image", "2,000 images"."""
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def show_progress() -> AbstractContextManager[ProgressOf]:
    """Bars on a terminal, else a line every few seconds, for the work done inside of it."""
    return progress.show_progress(show, sys.stdout.isatty())
