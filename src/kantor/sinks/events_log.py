"""events.jsonl: what happened in a run, one JSON object per line."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kantor.engine.events import (
    Best,
    Event,
    Finished,
    Found,
    Kept,
    Replanned,
    Request,
    Retuned,
    Saved,
    Scored,
    Started,
)
from kantor.runs.directory import require_file
from kantor.sinks.lines import LinesListener


class EventsLog(LinesListener):
    """Writes starts, scores, findings, saves and ends to `path`, in the folder of the run.

    Paths are relative to that folder, so that a run can be moved or published. On resume, lines written after the
    checkpoint are cut off; the line that announces the checkpoint stays.
    """

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        if isinstance(event, Started):
            offset = self._loaded_offset if event.resumed else 0
            if offset and self.path.exists():
                # the checkpoint is older than the line that announces it
                offset += _length_until(self.path.read_bytes()[offset:], event.images_seen)
            self._open(offset)
        fields = self._fields(event)
        if fields is not None:
            line = {"event": type(event).__name__.lower(), "images_seen": event.images_seen, **fields}
            self._lines.line(json.dumps(line, allow_nan=False))
        if isinstance(event, Saved | Finished):
            self.sync()
        return None

    def _fields(self, event: Event) -> dict[str, Any] | None:
        match event:
            case Started():
                names = ("resumed", "total_images", "epoch_images", "budget_s")
                return {name: _number(getattr(event, name)) for name in names}
            case Replanned():
                return {"total_images": event.total_images}
            case Found():
                evidence = {name: _number(value) for name, value in event.evidence.items()}
                return {"name": event.name, "message": self._relative(event.message), "evidence": evidence}
            case Retuned():
                return {"threads": event.threads, "rates": {str(n): _number(rate) for n, rate in event.rates.items()}}
            case Scored():
                scores = {name: dict(details) for name, details in event.details.items()}
                return {"scores": scores, "provenance": dict(event.provenance), "elapsed_s": round(event.elapsed_s, 3)}
            case Best():
                return {"name": event.name, "value": _number(event.value)}
            case Kept():
                return {"moment": event.moment, "reason": event.reason}
            case Saved():
                folder, path = self.path.parent.resolve(), event.path.resolve()
                return {"path": path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name}
            case Finished():
                return {"reason": event.reason}
        return None

    def _relative(self, text: str) -> str:
        """The message without the path of the run."""
        for folder in (self.path.parent.resolve(), self.path.parent):
            if folder.name:
                text = text.replace(f"{folder}/", "").replace(f"{folder}\\", "")
        return text


def _number(value: float) -> float | str:
    """A number as JSON can hold it: NaN and infinity become text."""
    value = value.item() if hasattr(value, "item") else value
    return value if math.isfinite(value) else str(value)


def _length_until(tail: bytes, images_seen: int) -> int:
    """Bytes of the leading lines of `tail` up to `images_seen`, or up to a damaged line."""
    length = 0
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        for line in tail.splitlines(keepends=True):
            if not line.endswith(b"\n") or json.loads(line)["images_seen"] > images_seen:
                break
            length += len(line)
    return length


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the events of events.jsonl, each with a valid images_seen; skips damaged lines. Yields none without a file.

    Raises:
        DataError: `path` is a folder.
    """
    require_file(path)
    if not path.exists():
        return
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and is_count(value.get("images_seen")):
            yield value


def is_count(value: object) -> bool:
    """Whether a JSON value can be a number of images: a double holds every integer up to 2**53."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**53
