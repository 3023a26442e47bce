"""Whatever fails or is killed, a file or folder is the old one or the new one, whole."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kantor import atomic
from kantor.errors import ResourceError
from kantor.lock import locked

OLD, NEW = b"old " * 500, b"new! " * 700


class Faults:
    """Counts the calls by which the module changes the disk, and at call `at` does `act` in place of the call.

    A write is half done before `act`, and a close is done.
    """

    def __init__(self, patch: pytest.MonkeyPatch, at: int, act: Callable[[], None]) -> None:
        self.calls: list[str] = []
        self.at, self.act, self.patch = at, act, patch
        for name in ("open", "fsync", "rename", "replace", "mkdir", "ftruncate", "write"):
            patch.setattr(os, name, self._watched(name, getattr(os, name)))
        real_open = io.open
        patch.setattr(atomic, "open", lambda *a, **k: WatchedFile(real_open(*a, **k), self), raising=False)
        patch.setattr(io, "open", lambda f, mode="r", *a, **k: self._opened(real_open(f, mode, *a, **k), mode))

    def count(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) == self.at:
            self.act()

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.count(name)
            return real(*args, **options)

        return call

    def _opened(self, file: Any, mode: str) -> Any:
        if mode == "rb":
            return file
        self.count("open")
        return WatchedFile(file, self)


class WatchedFile:
    def __init__(self, file: Any, faults: Faults) -> None:
        self.file, self.faults = file, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> WatchedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        self.faults.count("write")
        self.file.write(data[len(data) // 2 :])

    def truncate(self, size: int) -> None:
        self.faults.count("truncate")
        self.file.truncate(size)

    def close(self) -> None:
        self.file.close()
        self.faults.count("close")


def replace_file(folder: Path) -> None:
    atomic.write_bytes(folder / "file", NEW)


def make_new_folder(folder: Path) -> None:
    with atomic.new_folder(folder / "fresh") as inside:
        atomic.write_bytes(inside / "a", NEW)
        atomic.write_json(inside / "b", {"x": [1, 2]})


def replace_folder(folder: Path) -> None:
    with atomic.new_folder(folder / "folder", exist_ok=True) as inside:
        atomic.write_bytes(inside / "a", NEW)


def append(folder: Path) -> None:
    with atomic.AppendFile(folder / "log", 8) as file:
        file.line("third")
        file.sync()


def patch_file(folder: Path) -> None:
    atomic.patch(folder / "patched", b"NEW", 2)


def lock(folder: Path) -> None:
    with locked(folder / "held"):
        pass


def delete_folder(folder: Path) -> None:
    atomic.remove_folder(folder / "folder")


ACTIONS = [replace_file, make_new_folder, replace_folder, append, patch_file, lock, delete_folder]


def fill(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "folder").mkdir(parents=True)
    (folder / "folder" / "a").write_bytes(OLD)
    (folder / "file").write_bytes(OLD)
    (folder / "log").write_bytes(b"1\n2\n3\n4\nlost by a ki")
    (folder / "patched").write_bytes(b"0123456789")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_whole(folder: Path, before: dict[str, bytes], after: dict[str, bytes], name: str) -> bool:
    """Old or new; True where new. Leftovers go."""
    atomic.remove_leftovers(folder)
    found = contents(folder)
    assert not [n for n in found if atomic.TEMPORARY in n]
    if name in ("append", "patch_file"):  # not atomic by promise: what was there before its offset stays
        assert found["log"].startswith(b"1\n2\n3\n4\n") and found["patched"][:2] == b"01"
        assert found["patched"][5:] == b"56789"
        found |= {"log": after["log"], "patched": after["patched"]}
    for state in (found, before, after):
        state.pop("held/lock", None)
    assert found in (before, after)
    return found == after


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.ESTALE, errno.ENXIO])
@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: a.__name__)
def test_every_call_of_an_action_fails_once(
    tmp_path: Path, action: Callable[[Path], None], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "x")
    before = contents(folder)
    action(folder)
    after, at = contents(folder), 0

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    while True:
        at += 1
        fill(folder)
        error: ResourceError | None = None
        with monkeypatch.context() as patch:
            faults = Faults(patch, at, fail)
            try:
                action(folder)
            except ResourceError as caught:
                error = caught
        if len(faults.calls) < at:
            break
        new = assert_whole(folder, dict(before), dict(after), action.__name__)
        call = faults.calls[at - 1]
        assert error or new, f"{call} failed in silence and nothing was done"
        if error:
            assert str(folder) in error.where and error.exit_code == 5 and "\n" not in str(error)
            if number == errno.ENOSPC:
                assert "disk is full" in error.what and "MB free" in error.what
                assert action is not replace_file or "0.0 MB needed" in error.what
    assert at > 1, "nothing was watched"


@pytest.mark.parametrize("action", [a for a in ACTIONS if a is not replace_folder], ids=lambda a: a.__name__)
def test_killed_at_every_call(tmp_path: Path, action: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """replace_folder is left out: between its two renames the older folder waits under another name."""
    folder = fill(tmp_path / "x")
    before = contents(folder)
    action(folder)
    after, at, killed = contents(folder), 0, True
    while killed:
        at += 1
        fill(folder)
        child = os.fork()
        if not child:
            Faults(monkeypatch, at, lambda: os.kill(os.getpid(), signal.SIGKILL))
            action(folder)
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert_whole(folder, dict(before), dict(after), action.__name__) or killed or pytest.fail("not done")
    assert at > 1


def test_order_of_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contents are on the disk before their name is, and the name before the call returns."""
    with monkeypatch.context() as patch:
        faults = Faults(patch, 0, lambda: None)
        replace_file(tmp_path)
    assert faults.calls == ["open", "write", "fsync", "close", "replace", "open", "fsync"]
    with monkeypatch.context() as patch:
        faults = Faults(patch, 0, lambda: None)
        make_new_folder(tmp_path)
    saves = ["open", "write", "fsync", "close", "replace", "open", "fsync"] * 2
    assert faults.calls == ["mkdir", *saves, "open", "fsync", "rename", "open", "fsync"]
