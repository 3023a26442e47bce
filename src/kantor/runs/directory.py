"""The run directory: its layout, how it is created and found, and its lock."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kantor import atomic, lock
from kantor.disk_errors import resource_errors
from kantor.errors import DataError, ModelError, did_you_mean, printable

CONFIG, ENVIRONMENT = "config.toml", "environment.json"
METRICS, EVENTS, LOG, GENERATOR = "metrics.csv", "events.jsonl", "log.txt", "generator.safetensors"
NOTE = "note.txt"
CHECKPOINTS, SAMPLES, EVALUATIONS = "checkpoints", "samples", "evaluations"
MOST_LISTED = 5


def create(runs: Path, name: str, config_toml: str, environment: dict[str, Any]) -> Path:
    """Creates RUNS/00000-NAME atomically, with config.toml in it; concurrent calls get different numbers."""
    safe = safe_name(name) or "run"
    atomic.make_folder(runs)
    while True:
        path = runs / f"{max(map(number_of, _numbered(runs)), default=-1) + 1:05d}-{safe}"
        try:
            with atomic.new_folder(path) as temporary:
                for folder in (CHECKPOINTS, f"{SAMPLES}/fixed", f"{SAMPLES}/random"):
                    (temporary / folder).mkdir(parents=True)
                atomic.write_text(temporary / CONFIG, config_toml)
                atomic.write_json(temporary / ENVIRONMENT, environment)
            return path
        except FileExistsError:
            continue


def safe_name(name: str) -> str:
    """`name` as it can stand after the number of a run; "" if nothing of it can."""
    return re.sub(r"[^\w.-]+", "-", printable(name)).strip("-.").encode()[:80].decode("utf-8", "ignore")


def find(text: str, runs: Path, flag: str = "") -> Path:
    """Finds a run directory: by its path, or in `runs` by name, name without number (the newest), number or "latest".

    A part of the name of a single run will do, where there is no file or folder of this name.

    Raises ModelError if there is no such run, or several; its text begins with `flag`.
    """
    try:
        return find_exactly(text, runs, flag)
    except ModelError:
        parts = _named_in_part(text, runs)
        if len(parts) == 1:
            return parts[0]
        if parts:
            what = f"is part of the names of {len(parts)} runs"
            raise ModelError(flag + text, what, f"choose one of: {_listing(parts)}") from None
        raise


def find_exactly(text: str, runs: Path, flag: str = "") -> Path:
    """As `find`, but a part of a name is not enough."""
    entries = _numbered(runs) if runs.is_dir() else []
    if text == "latest":
        if not entries:
            do = "train one with kantor train, or name the folder of your runs with --runs"
            raise ModelError(f"{flag}latest", f"no runs in {runs}", do)
        return entries[-1]
    number = int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
    by_name = [e for e in entries if text in (e.name, name_of(e)) or number_of(e) == number]
    path = Path(text)
    if not _is_run(path) and by_name:  # a folder of images may have the name of its run
        path = by_name[-1]
    if _is_run(path):
        return path
    if os.path.exists(path):  # noqa: PTH110 - Path.exists raises if the name is too long
        what = "not a run directory (it has no config.toml)"
    elif text != path.name:
        what = "does not exist"
    else:
        what = f"no run of this {'name' if number is None else 'number'} in {runs}"
    do = f"choose one of: {_listing(entries)}" if entries else "train one first"
    if number is None:
        do = did_you_mean(path.name, (name for e in entries for name in (e.name, name_of(e)))) or do
    raise ModelError(flag + text, what, do)


def _named_in_part(text: str, runs: Path) -> list[Path]:
    """Runs with `text` in their names, whatever its case; none for a number, or for the name of something on the disk."""
    if not text or text != Path(text).name or text.isdecimal() or os.path.lexists(text):
        return []
    return [run for run in listed(runs) if text.casefold() in run.name.casefold()]


def _listing(runs: Sequence[Path]) -> str:
    """The newest few."""
    more = f" and {len(runs) - MOST_LISTED} more" if len(runs) > MOST_LISTED else ""
    return ", ".join(run.name for run in runs[-MOST_LISTED:]) + more


def names_a_run(text: str, runs: Path) -> bool:
    """Whether `text` names a run in `runs` in full: `fish` is the run if there is one, `fish/` always the folder."""
    with suppress(ModelError):
        return text == Path(text).name and bool(find_exactly(text, runs))
    return False


def is_checkpoint(path: Path) -> bool:
    """Whether a path looks like RUN/checkpoints/000001024."""
    return path.parent.name == CHECKPOINTS and bool(re.fullmatch("[0-9]{1,18}", path.name))


def _is_run(path: Path) -> bool:
    return os.path.isfile(path / CONFIG)  # noqa: PTH113 - Path.is_file raises if the name is too long


def listed(runs: Path) -> list[Path]:
    """All runs in a folder, by number."""
    return [path for path in numbered(runs) if _is_run(path)]


def numbered(runs: Path) -> list[Path]:
    """All folders named like a run, by number, whatever is in them; none if `runs` is no folder."""
    return [path for path in _numbered(runs) if path.is_dir()] if runs.is_dir() else []


def _numbered(runs: Path) -> list[Path]:
    """Entries named like a run, by number."""
    with resource_errors(runs):
        return sorted((e for e in runs.iterdir() if re.match(r"[0-9]{5,18}-", e.name)), key=lambda e: (number_of(e), e))


def number_of(run: Path) -> int:
    """3, of runs/00003-fish."""
    return int(run.name.partition("-")[0])


def name_of(run: Path) -> str:
    """ "fish", of runs/00003-fish."""
    return run.name.partition("-")[2]


def require_file(path: Path) -> None:
    """Raises DataError if there is a folder in place of a file of the run."""
    if path.is_dir():
        raise DataError(path, "is a folder, where a file of the run should be", "move it away")


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Locks a run, so that only one process writes into it; the lock ends with the process.

    Raises BusyError, which names the process, if another has locked it.
    """
    with lock.locked(run):
        for folder in (run, run / CHECKPOINTS, run / SAMPLES, run / SAMPLES / "fixed", run / SAMPLES / "random"):
            atomic.remove_leftovers(folder)
        yield
