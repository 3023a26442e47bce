"""Renames runs, writes notes on them, deletes them. No other file of a run knows its name, so that it goes on as before."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kantor import atomic, lock
from kantor.disk_errors import resource_errors
from kantor.errors import ConfigError, ModelError, ResourceError, printable
from kantor.runs import directory

DELETED = ".deleted-"
MAX_NOTE = 10_000


def rename(run: Path, new: str) -> Path:
    """Renames runs/00003-old to runs/00003-`new`, and returns the new path; the number stays.

    Raises:
        ConfigError: the name cannot be one, or another run has it; ModelError: `run` is a link; BusyError: it is in training.
    """
    require_own_folder(run)
    run = run.absolute()
    target = run.with_name(f"{run.name.partition('-')[0]}-{_checked_name(run, new)}")
    if target == run:
        return run
    _move(run, target)
    atomic.sync_folder(target.parent)
    return target


def _move(run: Path, target: Path) -> None:
    """Renames a run that no process trains."""
    with lock.locked(run), resource_errors(run):
        if os.name != "nt":  # where a folder with an open file, the lock, has to keep its name
            run.rename(target)
            return
    with resource_errors(run):
        run.rename(target)


def _checked_name(run: Path, new: str) -> str:
    number, where = run.name.partition("-")[0], f'"{printable(new)}"'
    if re.fullmatch(r"[0-9]{5,18}-.*", new):
        given, _, new = new.partition("-")
        if given != number:
            raise ConfigError(where, f"has another number, and a run keeps its own, {number}", "leave the number out")
    if not new.strip():
        raise ConfigError(where, "is no name", "write one with letters in it")
    refuse_name(where, new)
    if (safe := directory.safe_name(new)) != new:
        do = f"use {safe}" if safe else "write one with letters in it"
        raise ConfigError(where, "cannot be the name of a folder everywhere", do)
    for other in directory.numbered(run.parent):
        if directory.name_of(other) == new and other.name != run.name:
            raise ConfigError(where, f"is the name of {other.name}", "choose another one")
    return new


def refuse_name(where: str, name: str) -> None:
    """Raises ConfigError if `name` would be understood as something else where a run is named."""
    if name == "latest" or name.isdecimal():
        what = "could be mistaken for the number of a run, or for the newest run"
        raise ConfigError(where, what, "choose a name with letters in it")


def read_note(run: Path) -> str:
    """The note on a run, "" without one. A note that cannot be read is none."""
    with suppress(OSError):
        return (run / directory.NOTE).read_bytes()[: 4 * MAX_NOTE].decode("utf-8", "replace").strip()
    return ""


def write_note(run: Path, text: str) -> None:
    """Replaces the note on a run, whole or not at all; an empty one removes it. The run may be in training."""
    text = text.strip()
    if len(text) > MAX_NOTE:
        raise ConfigError("note", f"is longer than {MAX_NOTE:,} characters", "keep it in a file of its own")
    if text:
        atomic.write_text(run / directory.NOTE, text + "\n")
        return
    with resource_errors(run / directory.NOTE):
        (run / directory.NOTE).unlink(missing_ok=True)


def to_delete(named: Sequence[str], runs: Path) -> list[Path]:
    """The runs that a user named to be deleted, each once, if all of them may be.

    Stricter than `directory.find`: part of a name does not do, nor a name that several runs have.

    Raises:
        ModelError: no such run, several, a link, or no run; BusyError: it is in training.
    """
    found = []
    for text in named:
        run = directory.find_exactly(text, runs)
        same = [other for other in directory.numbered(runs) if directory.name_of(other) == text]
        if len(same) > 1:
            what = f"is the name of {len(same)} runs"
            raise ModelError(text, what, f"choose by number: {', '.join(other.name for other in same)}")
        require_own_folder(run)
        with lock.locked(run):
            found.append(run)
    return list(dict.fromkeys(found))


def delete(run: Path) -> None:
    """Deletes a run: first it gets a hidden name, so that whatever happens no half of a run is listed.

    Raises:
        ModelError: a link, or no run; BusyError: it is in training; ResourceError: a part could not be deleted.
    """
    require_own_folder(run)
    run = run.absolute()
    _remove_remains(run.parent)
    hidden = run.with_name(f"{DELETED}{run.name}-{uuid.uuid4().hex[:8]}")
    _move(run, hidden)
    shutil.rmtree(hidden, ignore_errors=True)
    if hidden.exists():
        raise ResourceError(hidden, "some files of this deleted run are still there", "delete this folder yourself")


def _remove_remains(runs: Path) -> None:
    """Deletes what a killed `delete` left."""
    for entry in runs.glob(f"{DELETED}*"):
        ours = re.fullmatch(r"[0-9]{5,18}-.*-[0-9a-f]{8}", entry.name.removeprefix(DELETED))
        if ours and entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)


def require_own_folder(run: Path) -> None:
    """Raises ModelError if `run` is a link, or is not named like a run: then it is not Kantor's to rename or delete."""
    if run.is_symlink():
        raise ModelError(run, "is a link to a run elsewhere", "name the run itself")
    if not re.fullmatch(r"[0-9]{5,18}-.*", run.absolute().name):
        raise ModelError(run, "is not named like a run of Kantor (00003-name)", "do it with your file manager")
