"""What a list of runs says about one of them, out of the files in its directory, whatever state they are in.

Reads as little as it can and imports nothing heavy: hundreds of runs are listed in the time of a glance.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import struct
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kantor import lock
from kantor.errors import UserError, printable
from kantor.metrics.score import BETTER, ByName, Score, kind, measured_how
from kantor.runs import directory
from kantor.runs.manage import read_note
from kantor.sinks.events_log import is_count, read_events

MAX_HEADER = 10_000_000
MAX_CONFIG = 1_000_000
_TAIL = 1 << 16
_DIVERGED = ("exploding-scores", "non-finite-steps", "diverged")
"""Findings after which a run that ended without a last word has diverged."""


@dataclass(frozen=True)
class RunSummary:
    """A run in a list.

    Attributes:
        state: "finished", "stopped", "training", "diverged", "killed" (it ended without a word) or "damaged".
        problem: what is wrong with a damaged run, else "".
        objective: the preset that the run was started with, if it is known, else the objective.
        data: name of the source of its images.
        images_seen, total_images: so far and in the end; None if unknown.
        scored_at: images seen by the model that is drawn, if it was scored, else at the last scores; None without scores.
        scores: of that moment, by name.
        provenance: how they were measured.
        elapsed_s: seconds of training; None if unknown.
        size: bytes on the disk.
        note: the user's, "" without one.
        began_s: when the run was made, in seconds since 1970.
    """

    path: Path
    state: str = "damaged"
    problem: str = ""
    objective: str = ""
    data: str = ""
    seed: int | None = None
    images_seen: int | None = None
    total_images: int | None = None
    scored_at: int | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    main_score: str = ""
    elapsed_s: float | None = None
    size: int = 0
    note: str = ""
    began_s: float = 0.0

    def score(self, name: str) -> tuple[str, Score] | None:
        """A score with its full name, by its name or its name without features ("fd"); None if it was not measured."""
        named = ByName({full: full for full in self.scores}, self.provenance.get("more_features", ()))
        with contextlib.suppress(KeyError):
            return named[name], self.scores[named[name]]
        return None

    def measured_how(self, name: str) -> str:
        """Equal for runs whose scores of this full name can be compared."""
        return measured_how(name, self.provenance)

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "path": str(self.path), "name": self.path.name, "state": self.state, "problem": self.problem or None,
            "objective": self.objective, "data": self.data, "seed": self.seed, "images_seen": self.images_seen,
            "total_images": self.total_images, "scored_at": self.scored_at,
            "scores": {name: score.as_json() for name, score in self.scores.items()},
            "provenance": dict(self.provenance), "elapsed_s": self.elapsed_s, "bytes": self.size,
            "note": self.note or None, "began": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(self.began_s)),
        }  # fmt: skip


def summarize(run: Path) -> RunSummary:
    """The summary of a run. Raises nothing: what is wrong with a run is part of it."""
    common: dict[str, Any] = {"path": run}
    try:
        common |= {"size": _bytes_in(run), "note": read_note(run), "began_s": _began_s(run)}
        env = _environment(run)
        common |= _settings(run, env)
        events = list(read_events(run / directory.EVENTS))
        common |= _progress(run, events) | _scores(run, events)
        reached = common["images_seen"] is not None and common["images_seen"] >= (common["total_images"] or math.inf)
        state = _state(run, events, reached, bool(env.get("length_from_budget")))
        return RunSummary(**common, state=state)
    except UserError as error:
        inside = str(error.where).removeprefix(f"{run}{os.sep}")
        return RunSummary(**common, problem=f"{inside}: {error.what}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        what = f"{what} is missing in one of its files" if isinstance(error, KeyError) else what
        return RunSummary(**common, problem=printable(what)[:200] or type(error).__name__)


def _environment(run: Path) -> dict[str, Any]:
    """environment.json, empty if it is damaged: a run does not need it."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads((run / directory.ENVIRONMENT).read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def _settings(run: Path, env: Mapping[str, Any]) -> dict[str, Any]:
    """What config.toml says; ValueError or OSError if it cannot be read."""
    path = run / directory.CONFIG
    if not path.is_file():
        raise ValueError("it has no config.toml")
    try:
        tree = tomllib.loads(path.read_bytes()[:MAX_CONFIG].decode())
    except ValueError as error:
        raise ValueError(f"config.toml cannot be read ({error})") from error
    objective, train, source = tree["objective"], tree["train"], str(tree["data"]["source"])
    name = objective.get("name") if objective.get("kind") == "custom" else objective.get("kind")
    total = train.get("images")
    return {
        "objective": printable(_preset(env.get("command")) or str(name)),
        "data": printable(Path(source).name or source),
        "seed": train.get("seed") if is_count(train.get("seed")) else None,
        "total_images": total if is_count(total) else None,
    }


def _preset(command: Any) -> str:
    """The preset in the command line that began the run, "" if there was none."""
    words = list(map(str, command)) if isinstance(command, list) else []
    for word, following in itertools.pairwise([*words, ""]):
        if word.partition("=")[0] == "--preset":
            return word.partition("=")[2] or following
    return ""


def _progress(run: Path, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Images and seconds, of the last row of metrics.csv and the last event."""
    row = _last_row(run / directory.METRICS)
    seen = [int(row["images_seen"])] if "images_seen" in row else []
    seen += [event["images_seen"] for event in events[-1:]]
    return {"images_seen": max(seen, default=None), "elapsed_s": row.get("seconds")}


def _last_row(path: Path) -> dict[str, float]:
    """The numbers in the last whole line of a metrics.csv; empty if there is none. Raises ValueError for another file."""
    directory.require_file(path)
    if not path.exists():
        return {}
    with path.open("rb") as file:
        header = file.readline(_TAIL).decode("utf-8", "replace").rstrip("\n").split(",")
        if "images_seen" not in header and header != [""]:
            raise ValueError("line 1 of metrics.csv is not a header")
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
        lines = file.read().decode("utf-8", "replace").split("\n")[:-1]
        for line in reversed(lines):
            cells = line.split(",")
            with contextlib.suppress(ValueError):
                if len(cells) == len(header):
                    row = {name: float(cell) for name, cell in zip(header, cells, strict=True) if cell}
                    return {name: value for name, value in row.items() if math.isfinite(value)}
    return {}


def _scores(run: Path, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Those of the model that is drawn, or the last ones."""
    scored = [event for event in events if event.get("event") == "scored"]
    drawn = images_of_model(run / directory.GENERATOR)
    chosen = next((event for event in reversed(scored) if event["images_seen"] == drawn), None)
    chosen = chosen or next(iter(scored[-1:]), None)
    if chosen is None:
        return {}
    scores = {str(name): Score.from_json(score) for name, score in chosen["scores"].items()}
    named = [event.get("name") for event in events if event.get("event") == "best" and event.get("name") in scores]
    main = [*named[-1:], *(name for name in scores if kind(name) in BETTER), *scores]
    return {
        "scored_at": chosen["images_seen"], "scores": scores, "provenance": dict(chosen["provenance"]),
        "main_score": next(iter(main), ""),
    }  # fmt: skip


def images_of_model(path: Path) -> int | None:
    """Images seen by the model in a generator.safetensors, from its header; None without such a file."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, struct.error, RecursionError):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, MAX_HEADER)))
        return int(json.loads(header["__metadata__"]["kantor"])["images_seen"])
    return None


def _state(run: Path, events: Sequence[Mapping[str, Any]], reached: bool, from_budget: bool) -> str:
    """reached: its length; from_budget: that length is what the time budget allows."""
    if lock.is_locked(run):
        return "training"
    last: Mapping[str, Any] = next((e for e in reversed(events) if e.get("event") in ("started", "finished")), {})
    if last.get("event") == "finished":
        if last.get("reason") in _DIVERGED:
            return "diverged"
        as_planned = last.get("reason") == "done" or (from_budget and last.get("reason") == "time-budget")
        return "finished" if reached or as_planned else "stopped"
    found = [event.get("name") for event in events[-2:] if event.get("event") == "found"]
    return "diverged" if set(found) & set(_DIVERGED) else "killed"


def _began_s(run: Path) -> float:
    for name in (directory.ENVIRONMENT, directory.CONFIG, "."):
        with contextlib.suppress(OSError):
            return (run / name).stat().st_mtime
    return 0.0


def _bytes_in(folder: Path) -> int:
    """Bytes of all files below; links count as links."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118 - thousands of files
    return total
