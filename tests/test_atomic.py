"""The only writer of files: what it promises where nothing fails, and on a full disk."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from kantor import atomic
from kantor.errors import BusyError, ResourceError
from kantor.lock import locked

OLD, NEW = b"old " * 500, b"new! " * 700


def fill(folder: Path) -> Path:
    (folder / "folder").mkdir(parents=True)
    (folder / "folder" / "a").write_bytes(OLD)
    (folder / "file").write_bytes(OLD)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_file_written_in_parts_is_the_old_one_until_all_are_there(tmp_path: Path) -> None:
    with atomic.new_file(tmp_path / "file") as file:
        file.write(OLD)
        assert not (tmp_path / "file").exists()
    with pytest.raises(ZeroDivisionError), atomic.new_file(tmp_path / "file") as file:
        file.write(NEW)
        raise ZeroDivisionError
    assert contents(tmp_path) == {"file": OLD}
    with atomic.new_file(tmp_path / "file") as file:
        for part in (NEW[:9], NEW[9:]):
            file.write(part)
    assert contents(tmp_path) == {"file": NEW}


def test_full_disk(tmp_path: Path) -> None:
    size = 256 * 1024
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "x", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("mount is not permitted here")
    try:
        atomic.write_bytes(tmp_path / "file", OLD)
        for needed in (size, 3 * size, size - 4095, 10**6 + 1):  # the older file has a page
            with pytest.raises(ResourceError, match=r"disk is full \(0\.\d MB free, \d\.\d MB needed\)"):
                atomic.write_bytes(tmp_path / "file", bytes(needed))
            assert contents(tmp_path) == {"file": OLD}
        log = atomic.AppendFile(tmp_path / "log")
        with pytest.raises(ResourceError, match="log: the disk is full"):
            for _ in range(100):
                log.write(bytes(4096))
        with (
            locked(tmp_path / "."),
            pytest.raises(BusyError, match="in use by process"),
            locked(tmp_path),
        ):
            pass  # a lock needs no space
        log.close()
        (tmp_path / "log").unlink()
        atomic.write_bytes(tmp_path / "file", NEW)
        assert contents(tmp_path)["file"] == NEW
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.parametrize("name", ["漢" * 85, "😀" * 63, "x" * 255, "-rf", "a\nb", "\udcff\udcfe"])
def test_any_legal_name(tmp_path: Path, name: str) -> None:
    atomic.write_text(tmp_path / name, "\udcffé")
    assert contents(tmp_path) == {name: b"\xff\xc3\xa9"}
    with pytest.raises(ResourceError, match="name is too long"):
        atomic.write_bytes(tmp_path / ("y" * 256), NEW)
    with pytest.raises(ResourceError, match="no such folder"):
        atomic.write_bytes(tmp_path / "no" / "file", NEW)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResourceError, match="a folder is in the way"):
        atomic.write_bytes(tmp_path / "folder", NEW)
    with pytest.raises(ResourceError, match="is a file, not a folder"):
        atomic.make_folder(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "folder"])


def test_new_folder_replaces_nothing_unasked(tmp_path: Path) -> None:
    for before in ("empty", "full"):
        (tmp_path / before).mkdir()
    (tmp_path / "full" / "a").write_bytes(OLD)
    for name in ("empty", "full"):
        with pytest.raises(FileExistsError), atomic.new_folder(tmp_path / name) as inside:
            atomic.write_bytes(inside / "b", NEW)
    with pytest.raises(ZeroDivisionError), atomic.new_folder(tmp_path / "third"):
        1 / 0  # noqa: B018
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "full"]
    assert contents(tmp_path) == {"full/a": OLD}


def test_new_folder_loses_a_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process publishes between the look and the rename."""
    with atomic.new_folder(tmp_path / "x") as first:
        atomic.write_bytes(first / "a", OLD)
    monkeypatch.setattr(Path, "exists", lambda self: False)
    with pytest.raises(FileExistsError), atomic.new_folder(tmp_path / "x") as second:
        atomic.write_bytes(second / "a", NEW)
    assert contents(tmp_path) == {"x/a": OLD}


def test_remove_leftovers_removes_nothing_else(tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside")
    folder = fill(tmp_path / "x")
    before = contents(folder)
    for leftover in (".file.tmp-0a1b2c3d", ".folder.tmp-ffffffff/deep/er"):
        (folder / leftover).parent.mkdir(parents=True, exist_ok=True)
        (folder / leftover).write_bytes(b"torn")
    (folder / ".link.tmp-00000000").symlink_to(outside)
    mine = [".hidden", "a.tmp-note", ".tmp"]
    for name in mine:
        (folder / name).write_bytes(b"mine")
    atomic.remove_leftovers(folder)
    assert contents(folder) == before | dict.fromkeys(mine, b"mine")
    assert contents(outside) == before


@pytest.mark.parametrize(("offset", "kept"), [(None, b"1\n22\n"), (2, b"1\n"), (0, b""), (99, b"1\n22\ntorn")])
def test_append_file(tmp_path: Path, offset: int | None, kept: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"1\n22\ntorn")
    with atomic.AppendFile(path, offset) as file:
        assert file.offset == len(kept)
        file.line("ü\udcff")
        assert path.read_bytes() == kept + b"\xc3\xbc\\udcff\n", "handed over at once"
        assert file.offset == len(path.read_bytes())
        file.sync()
    with atomic.AppendFile(tmp_path / "new") as file:
        assert file.offset == 0


def test_equal_values_give_equal_json(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "a", {"b": 1, "a": [1.5, None, "é"]})
    atomic.write_json(tmp_path / "b", {"a": [1.5, None, "é"], "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_bytes()) == {"a": [1.5, None, "é"], "b": 1}


def payload(rng: random.Random) -> bytes:
    body = rng.randbytes(rng.randrange(1, 300_000))
    return hashlib.sha256(body).digest() + body


def is_payload(data: bytes) -> bool:
    return hashlib.sha256(data[32:]).digest() == data[:32]


def test_killed_at_random_instants(tmp_path: Path) -> None:
    rng = random.Random(7)
    atomic.write_bytes(tmp_path / "file", payload(rng))
    made: set[str] = set()
    for trial in range(40):
        ready, tell = os.pipe()
        child = os.fork()
        if not child:
            mine = random.Random(trial)
            for i in range(10_000):
                if i == trial % 2:  # half of them are killed in or after their second round, however slow the disk
                    os.write(tell, b".")
                atomic.write_bytes(tmp_path / "file", payload(mine))
                with atomic.new_folder(tmp_path / f"{trial:02d}-{i:05d}") as inside:
                    for name in ("a", "b"):
                        atomic.write_bytes(inside / name, payload(mine))
            os._exit(0)
        os.read(ready, 1)
        os.close(ready), os.close(tell)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert is_payload((tmp_path / "file").read_bytes())
        folders = {p.name for p in tmp_path.iterdir() if p.is_dir() and p.name[0] != "."}
        assert made <= folders, "what was there stays"
        made = folders
        for name in folders:
            if name.startswith(f"{trial:02d}"):
                files = contents(tmp_path / name)
                assert sorted(files) == ["a", "b"] and all(map(is_payload, files.values()))
    assert len(made) >= 20
    atomic.remove_leftovers(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == made | {"file"}


# --- many files -----------------------------------------------------------------------------------------------------


def test_many_files_are_on_disk_at_the_end_and_each_folder_is_flushed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(atomic, "sync_folder", flushed.append)
    folders = [tmp_path / "a", tmp_path / "b"]
    files = {folders[i % 2] / f"{i}.png": bytes([i]) * i for i in range(100)}
    for folder in folders:
        folder.mkdir()
    with atomic.many_files() as write:
        for path, data in files.items():
            write(path, data)
    assert {tmp_path / name: data for name, data in contents(tmp_path).items()} == files
    assert flushed == folders


def test_many_files_stop_at_the_first_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "7.png").mkdir()  # in the way
    written = 0
    with pytest.raises(ResourceError, match=r"7\.png"), atomic.many_files() as write:
        for i in range(1000):
            write(tmp_path / f"{i}.png", b"image")
            written = i
    assert written < 100
    assert not list(tmp_path.glob(f".*{atomic.TEMPORARY}*"))
