"""Which generator of a run is drawn, and why, as its checkpoints tell."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kantor.runs.directory import CHECKPOINTS

STATE = "best score"
"""Name of the listener whose state tells."""
_MAX_STATE_BYTES = 100_000_000


@dataclass(frozen=True)
class SavedChoice:
    """What the newest readable checkpoint says about the generator to keep.

    Attributes:
        newest: images seen at that checkpoint.
        best: images seen by the best generator by its score; None if there is none.
        reason: why a generator is kept: "best by fd@kantor-small", "newest, because recall is 0", "newest".
    """

    newest: int
    best: int | None = None
    reason: str = "newest"

    @property
    def kept(self) -> int:
        """Images seen by the generator that is kept."""
        return self.newest if self.best is None or self.reason.startswith("newest") else self.best

    @property
    def best_reason(self) -> str:
        """Of the best, whether or not it is kept."""
        return "best by its score" if self.reason.startswith("newest") else self.reason


def read_choice(run: Path) -> SavedChoice | None:
    """Of the newest checkpoint whose state can be read, without verifying its tensors; None if there is none."""
    for newest, state in saved_states(run):
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            return _choice(newest, state["listeners"].get(STATE, {}))
    return None


def saved_states(run: Path) -> Iterator[tuple[int, Any]]:
    """Images seen and state.json of each checkpoint whose state can be read, the newest first."""
    folder = run / CHECKPOINTS
    names = [path for path in folder.glob("*") if re.fullmatch("[0-9]{9,18}", path.name)] if folder.is_dir() else []
    for path in sorted(names, key=lambda path: int(path.name), reverse=True):
        file, state = path / "state.json", None
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if file.stat().st_size <= _MAX_STATE_BYTES:
                state = json.loads(file.read_bytes())
        if state is not None:
            yield int(path.name), state


def _choice(newest: int, state: Mapping[str, Any]) -> SavedChoice:
    best = state.get("images_seen")
    before_reasons = "newest" if best is None else f"best by {state['provenance']['name']}"  # of the first version
    return SavedChoice(newest, None if best is None else int(best), str(state.get("reason", before_reasons)))


def moment_line(reason: str, images_seen: int, total: int) -> str:
    """ "model: best by fd@kantor-small, after 120,000 of 200,000 images"; a cause, "..., because recall is 0", comes last.

    Args:
        reason: "" if the user named the moment.
        total: images seen by the newest generator of the run.
    """
    which, _, cause = reason.partition(", because ")
    of_total = f" of {total:,}" if total > images_seen else ""
    named, end = f"{which}, " if which else "", f"; {cause}, so no score chooses" if cause else ""
    return f"model: {named}after {images_seen:,}{of_total} images{end}"
