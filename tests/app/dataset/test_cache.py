"""The cache: one packs while others wait, and old sets make room."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kantor import atomic
from kantor.app.dataset import cache
from kantor.cli.main import main
from kantor.errors import BusyError, ConfigError
from kantor.lock import locked
from support.commands import TINY, exit_of
from support.processes import Forked


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("20GB", 20 * 10**9),
        ("500M", 5 * 10**8),
        ("1.5 tb", 15 * 10**11),
        ("7", 7),
        ("", cache.DEFAULT_LIMIT),
        ("2GiB", 2 * 10**9),
    ],
)
def test_limits(text: str, wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LIMIT, text)
    assert cache.limit_bytes() == wanted


@pytest.mark.parametrize("text", ["much", "-3GB", "1e9", "GB", "9" * 40])
def test_invalid_limits(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LIMIT, text)
    with pytest.raises(ConfigError, match="is not a size"):
        cache.limit_bytes()


def packed(folder: Path, name: str, size: int, age_s: float) -> Path:
    path = folder / name
    path.mkdir(parents=True)
    (path / "manifest.json").write_text('{"kantor_pack": 1}')
    (path / "images-00000.npy").write_bytes(bytes(size))
    then = time.time() - age_s
    os.utime(path / "manifest.json", (then, then))
    return path


def test_datasets_used_longest_ago_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LIMIT, "1000")
    sets = [packed(tmp_path, f"set{i}", 300, 1e6 - 1e5 * i) for i in range(3)]
    (tmp_path / "holiday images").mkdir()
    (tmp_path / "holiday images" / "a.jpg").write_bytes(bytes(10**6))
    cache.mark_used(sets[0])
    lines = cache.make_room(tmp_path, 300, tmp_path / "new")
    assert [path.exists() for path in sets] == [True, False, True]
    assert (tmp_path / "holiday images" / "a.jpg").exists()
    assert "removed 1 dataset" in lines[0]


def test_images_from_memory_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LIMIT, "1000")
    (tmp_path / "packs").mkdir()
    (tmp_path / cache.ARRAYS).mkdir()
    files = [tmp_path / cache.ARRAYS / f"array-{i:016x}.npy" for i in range(2)]
    mine = tmp_path / cache.ARRAYS / "mine.npy"
    mine.write_bytes(bytes(4000))
    os.utime(mine, (0, 0))
    for i, path in enumerate(files):
        path.write_bytes(bytes(400))
        os.utime(path, (time.time() - 1e6 + i, time.time() - 1e6 + i))
    cache.make_room(tmp_path / "packs", 300, tmp_path / "packs" / "new")
    assert [path.exists() for path in files] == [False, True]
    cache.mark_used(files[1])
    cache.make_room(tmp_path / "packs", 900, tmp_path / "packs" / "new")
    assert files[1].exists()  # in use
    assert mine.exists()
    assert cache.make_room(tmp_path, 0, tmp_path / "new") == []


def test_recent_datasets_stay_whatever_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LIMIT, "1")
    young, partial = packed(tmp_path, "young", 300, 60), packed(tmp_path, ".new.partial", 300, 1e6)
    assert cache.make_room(tmp_path, 300, tmp_path / "new") == []
    assert young.exists()
    assert partial.exists()  # what is about to go on


def test_a_dataset_being_packed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LIMIT, "1")
    path = packed(tmp_path, ".other.partial", 300, 1e6)
    with locked(path):
        assert cache.make_room(tmp_path, 300, tmp_path / "new") == []
    assert path.exists()
    assert cache.make_room(tmp_path, 300, tmp_path / "new")
    assert not path.exists()


def test_waiting_for_another_process(tmp_path: Path) -> None:
    """It says so once, and goes on when the other has ended."""
    lines: list[str] = []
    calls = iter([BusyError("x", "in use by process 7", "wait"), BusyError("x", "in use by process 7", "wait"), "done"])

    def make() -> str:
        outcome = next(calls)
        if isinstance(outcome, BusyError):
            raise outcome
        return str(outcome)

    assert cache.wait_while_busy(make, lines.append, pause_s=0.01) == "done"
    assert len(lines) == 1
    assert "in use by process 7" in lines[0]


def test_two_trainings_at_once_pack_once(tmp_path: Path) -> None:
    words = ["train", "glyphs", *TINY, "--set", "data.glyphs.count=1500", "--images", "16"]
    words += ["--runs", str(tmp_path / "r"), "--cache", str(tmp_path / "c")]
    both = [Forked(main, words) for _ in range(2)]
    outputs = [process.communicate(120)[0] for process in both]
    assert [process.poll() for process in both] == [0, 0]
    assert sum("packed 1,500 images" in text for text in outputs) == 1
    assert len(list((tmp_path / "r").iterdir())) == 2


def test_a_held_lock_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "glyphs", *TINY, "--set", "data.glyphs.count=30", "--images", "8", "--runs", tmp_path / "r"]
    assert exit_of(*words, "--cache", tmp_path / "c") == 0
    (done,) = (tmp_path / "c" / "packs").iterdir()
    partial = done.with_name(f".{done.name}.partial")
    atomic.remove_folder(done)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(partial):
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    monkeypatch.setattr(cache.time, "sleep", lambda pause_s: release.set() if pause_s >= 0.5 else None)
    assert exit_of(*words, "--cache", tmp_path / "c") == 0
    thread.join()
    assert "waiting for another Kantor" in capsys.readouterr().out


def test_max_bad_applies_to_datasets_packed_earlier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "pictures"
    images.mkdir()
    for i in range(40):
        name = images / f"{i}.png"
        if i < 35:
            Image.fromarray(np.full((16, 16, 3), 5 * i, np.uint8)).save(name)
        else:
            name.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    words = ["train", images, *TINY, "--images", "8", "--runs", tmp_path / "r", "--cache", tmp_path / "c"]
    assert exit_of(*words) == 3
    assert "5 of 40 images cannot be used" in capsys.readouterr().err
    assert exit_of(*words, "--max-bad", "20%") == 0
    capsys.readouterr()
    assert exit_of(*words) == 3
    assert "5 of 40 images cannot be used, more than the 1% allowed; fix" in capsys.readouterr().err
    assert exit_of(*words, "--max-bad", "12.5%") == 0
    assert "packed earlier; 5 files rejected then" in capsys.readouterr().out
