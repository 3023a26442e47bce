"""Errors for the user. Each is one line: WHERE: what is wrong; what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """An error that the user can fix, as one line: "images/a.png: not an image; remove it or raise --max-bad".

    Args:
        where: the file, flag or field at fault, as the user named it.
        what: what is wrong with it.
        do: what the user can do; starts with a verb.
    """

    exit_code = 2

    def __init__(self, where: object, what: str, do: str) -> None:
        self.where, self.what, self.do = printable(str(where)) or '""', printable(what), printable(do)
        super().__init__(f"{self.where}: {self.what}; {self.do}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.where, self.what, self.do)


class ConfigError(UserError):
    """An invalid flag, field or combination (exit 2)."""


class DataError(UserError):
    """Images that cannot be read or used (exit 3)."""

    exit_code = 3


class ModelError(UserError):
    """A model or checkpoint that cannot be read or used (exit 4)."""

    exit_code = 4


class ResourceError(UserError):
    """A device, disk, permission or extra that is missing (exit 5)."""

    exit_code = 5


class DivergedError(UserError):
    """Training diverged beyond repair, or a policy stopped it (exit 6)."""

    exit_code = 6


class BusyError(UserError):
    """The directory is in use by another process (exit 7)."""

    exit_code = 7


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that memory ran out.

    PyTorch raises OutOfMemoryError on NVIDIA GPUs, and plain RuntimeErrors on Apple's and on the CPU. oneDNN only says
    "could not create a primitive" when it lacks memory for a convolution.
    """
    texts = ("can't allocate memory", "backend out of memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
    by_name = type(error).__name__ == "OutOfMemoryError" or str(error) == "could not create a primitive"
    return by_name or isinstance(error, MemoryError) or any(text in str(error) for text in texts)


def printable(text: str) -> str:
    """`text` on one line and without terminal escapes: file names are not trusted."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in text
    )


def did_you_mean(name: str, names: Iterable[str], prefix: str = "") -> str:
    """`did you mean "x"?` if one of `names` is close, else ""; the prefix is shown before it."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f'did you mean "{prefix}{close[0]}"?' if close else ""


def nearest(name: str, names: Iterable[str], prefix: str = "") -> str:
    """`did_you_mean`, or the list of `names` if none is close."""
    names = sorted(names)
    return did_you_mean(name, names, prefix) or "choose one of: " + ", ".join(names)
