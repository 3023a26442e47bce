"""Files of lines in a run directory: log.txt, and what metrics.csv and events.jsonl have in common."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any, TextIO

from kantor.atomic import AppendFile
from kantor.engine.events import Listener
from kantor.errors import ResourceError


class LinesListener(Listener):
    """A listener that appends lines to `path`; checkpoints keep its length.

    A run that starts anew (killed before its first checkpoint, say) starts the file anew. A resumed run cuts off what
    was written after its checkpoint; if the checkpoint does not know the file, all whole lines stay.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: AppendFile | None = None
        self._loaded_offset: int | None = None

    @property
    def _lines(self) -> AppendFile:
        return self._file or self._open(self._loaded_offset)

    def _open(self, offset: int | None) -> AppendFile:
        """Cuts the file after its last whole line, or the last one that ends within `offset` bytes, to append to it."""
        self.close()
        kept = self.path.read_bytes()[:offset] if self.path.exists() else b""
        self._file = AppendFile(self.path, kept.rfind(b"\n") + 1)
        return self._file

    def sync(self) -> None:
        """Flushes to disk. Never fails: a full disk must not cost a checkpoint."""
        if self._file:
            with contextlib.suppress(OSError, ResourceError):
                self._file.sync()

    def state(self) -> dict[str, Any]:
        self.sync()
        return {"offset": self._file.offset if self._file else self._loaded_offset or 0}

    def load(self, state: dict[str, Any]) -> None:
        self.close()
        self._loaded_offset = int(state["offset"])

    def close(self) -> None:
        if self._file:
            self._loaded_offset = self._file.offset  # a later line is appended
            self._file.close()
        self._file = None


class LogFile(io.TextIOBase, TextIO):
    """A text stream that appends to a file, such as log.txt; a Console can write to it."""

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
