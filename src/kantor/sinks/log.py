"""log.txt: what the terminal showed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TextIO

from kantor.atomic import AppendFile


class LogFile(io.TextIOBase, TextIO):
    """A text stream that appends to a file; a Console can write to it."""

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        self._file = AppendFile(path)

    def write(self, text: str) -> int:
        self._file.write(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        self._file.close()
        super().close()
