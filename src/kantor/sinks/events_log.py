"""events.jsonl: what happened in a run, one JSON object per line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kantor.engine.events import Best, Event, Finished, Found, Request, Saved, Scored, Started
from kantor.sinks.metrics_csv import LinesListener


class EventsLog(LinesListener):
    """Writes starts, scores, findings, saves and ends to `path`, in the folder of the run.

    Paths are relative to that folder, so that a run can be moved or published. On resume, lines written after the
    checkpoint are cut off; the line that announces the checkpoint stays.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._folder = path.parent

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        if isinstance(event, Started):
            self._open(event)
        fields = self._fields(event)
        if fields is not None:
            line = {"event": type(event).__name__.lower(), "images_seen": event.images_seen, **fields}
            self._lines.file.line(json.dumps(line, allow_nan=False))
        if isinstance(event, Saved | Finished):
            self._lines.sync()
        return None

    def _open(self, event: Started) -> None:
        offset = self._lines.loaded_offset if event.resumed else 0
        path = self._lines.path
        if offset and path.exists():
            # the checkpoint is older than the line that announces it
            offset += _length_until(path.read_bytes()[offset:], event.images_seen)
        self._lines.open(offset)

    def _fields(self, event: Event) -> dict[str, Any] | None:
        match event:
            case Started():
                names = ("resumed", "total_images", "epoch_images", "budget_s")
                return {name: _number(getattr(event, name)) for name in names}
            case Found():
                evidence = {name: _number(value) for name, value in event.evidence.items()}
                return {"name": event.name, "message": self._relative(event.message), "evidence": evidence}
            case Scored():
                scores = {name: dict(details) for name, details in event.details.items()}
                return {"scores": scores, "provenance": dict(event.provenance), "elapsed_s": round(event.elapsed_s, 3)}
            case Best():
                return {"name": event.name, "value": _number(event.value)}
            case Saved():
                return {"path": self._inside(event.path)}
            case Finished():
                return {"reason": event.reason}
        return None

    def _inside(self, path: Path) -> str:
        folder, path = self._folder.resolve(), path.resolve()
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name

    def _relative(self, text: str) -> str:
        """The message without the path of the run."""
        for folder in (self._folder.resolve(), self._folder):
            if folder.name:
                text = text.replace(f"{folder}/", "").replace(f"{folder}\\", "")
        return text


def _number(value: float) -> float | str:
    """A number as JSON can hold it: NaN and infinity become text."""
    value = value.item() if hasattr(value, "item") else value
    return value if math.isfinite(value) else str(value)


def _length_until(tail: bytes, images_seen: int) -> int:
    """Bytes of the leading lines of `tail` up to `images_seen`."""
    length = 0
    for line in tail.splitlines(keepends=True):
        try:
            past = not line.endswith(b"\n") or json.loads(line)["images_seen"] > images_seen
        except (ValueError, KeyError, TypeError, RecursionError):
            past = True
        if past:
            break
        length += len(line)
    return length
