"""The run directory: made whole, found by any name, held by one."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kantor import lock
from kantor.errors import BusyError, ModelError, ResourceError
from kantor.runs import directory

CONFIG = "[train]\nseed = 3\n"
ENVIRONMENT = {"torch": "2.13.0", "argv": ["kantor", "train", "ü"]}


def create(runs: Path, name: str = "fish") -> Path:
    return directory.create(runs, name, CONFIG, ENVIRONMENT)


def test_create(tmp_path: Path) -> None:
    runs = tmp_path / "not" / "yet"
    first, second = create(runs), create(runs, "other")
    assert (first.name, second.name) == ("00000-fish", "00001-other")
    assert (first / "config.toml").read_text() == CONFIG
    assert "2.13.0" in (first / "environment.json").read_text()
    folders = {str(p.relative_to(first)) for p in first.rglob("*") if p.is_dir()}
    assert folders == {"checkpoints", "samples", "samples/fixed", "samples/random"}
    assert {p.name for p in runs.iterdir()} == {"00000-fish", "00001-other"}


def test_numbers_only_grow(tmp_path: Path) -> None:
    for name in ("00007-gone", "notes", "12-x", "00003-x", ".00099-x.tmp-0a0b0c0d", "99999-full"):
        (tmp_path / name).mkdir()
    assert create(tmp_path).name == "100000-fish"
    assert create(tmp_path).name == "100001-fish"
    assert directory.find("latest", tmp_path).name == "100001-fish"
    assert directory.find("100000", tmp_path).name == "100000-fish"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("fish 64", "fish-64"),
        ("../../etc/passwd", "etc-passwd"),
        ("/", "run"),
        ("..", "run"),
        ("", "run"),
        ("-rf", "rf"),
        ("a\nb", "a-nb"),
        ("\x1b[31m", "x1b-31m"),
        ("\udcff", "udcff"),
        ("C:\\x", "C-x"),
        ("Fische_für.魚", "Fische_für.魚"),
        ("漢" * 200, "漢" * 26),
        ("x" * 300, "x" * 80),
        ("<script>'\"", "script"),
    ],
)
def test_names_with_odd_characters(tmp_path: Path, name: str, safe: str) -> None:
    run = create(tmp_path / "runs", name)
    assert run.name == f"00000-{safe}"
    assert run.parent == tmp_path / "runs" and (run / "config.toml").is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]
    assert directory.find("0", tmp_path / "runs") == run


def make_five(runs: Path, start: threading.Event) -> None:
    start.wait()
    for _ in range(5):
        create(runs)


def test_eight_at_once_get_distinct_numbers(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    start = fork.Event()
    makers = [fork.Process(target=make_five, args=(tmp_path, start)) for _ in range(8)]
    for maker in makers:
        maker.start()
    start.set()
    for maker in makers:
        maker.join(60)
    assert [maker.exitcode for maker in makers] == [0] * 8
    runs = sorted(p.name for p in tmp_path.iterdir())
    assert runs == [f"{i:05d}-fish" for i in range(40)]
    assert all((tmp_path / run / "environment.json").is_file() for run in runs)


def test_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        seen.append([p.name for p in tmp_path.iterdir() if p.name[0] != "."])
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", watched)
        run = create(tmp_path)
    assert len(seen) > 4 and seen[:-1] == [[]] * (len(seen) - 1), "only the last call finds it under its name"
    assert seen[-1] == [run.name]
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda *_: os._exit(9))  # killed at the last moment
        child = os.fork()
        if not child:
            create(tmp_path)
        assert os.waitpid(child, 0)[1] == 9 << 8
    assert [p.name for p in tmp_path.iterdir() if p.name[0] != "."] == [run.name]
    assert create(tmp_path).name == "00001-fish"


def test_create_where_it_is_impossible(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for runs in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(ResourceError, match="is a file, not a folder"):
            create(runs)


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    made = [create(runs, name) for name in ("fish", "birds", "fish")]
    (runs / "zebra").mkdir()
    assert directory.find("latest", runs) == made[2]
    assert directory.find("00001-birds", runs) == made[1]
    assert directory.find("1", runs) == directory.find("00001", runs) == made[1]
    assert directory.find("birds", runs) == made[1]
    assert directory.find("fish", runs) == made[2], "the newest of several"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fish").mkdir()
    assert directory.find("fish", runs) == made[2], "next to a folder of images of the same name"
    assert directory.find(str(made[0]), Path("elsewhere")) == made[0]
    monkeypatch.chdir(runs)
    assert directory.find("00002-fish", Path("elsewhere")) == Path("00002-fish")


@pytest.mark.parametrize(
    "text",
    ["brids", "3", "²", "٣", "", "zebra", "9" * 5000, "a" * 300, "a\0b", "/", "\udcff", "-1", "1e3", "00000-fish/"],
)
def test_find_missing_runs(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    if text == "00000-fish/":  # a run that has lost its configuration
        (create(runs) / "config.toml").unlink()
        text = "0"
    else:
        create(runs, "birds")
    exists, number = text in ("", "/", "0"), text == "3"
    what = (
        r"not a run directory \(it has no config\.toml\)"
        if exists
        else f"no run of this {'number' if number else 'name'} in"
    )
    with pytest.raises(ModelError, match=f'{what}.*(choose one of: 00000-|did you mean "birds")') as caught:
        directory.find(text, runs)
    assert caught.value.exit_code == 4 and str(caught.value).isprintable()
    with pytest.raises(ModelError, match="train one first"):
        directory.find(text, tmp_path / "none")


def test_find_latest_without_runs(tmp_path: Path) -> None:
    for runs in (tmp_path, tmp_path / "none"):
        with pytest.raises(ModelError, match="latest: no runs in "):
            directory.find("latest", runs)


HOLDER = """
import sys, time
from pathlib import Path
from kantor.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(run: Path) -> subprocess.Popen[bytes]:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline() == b"held\n"
    return holder


def test_lock(tmp_path: Path) -> None:
    run = create(tmp_path)
    holder = hold(run)
    try:
        for _ in range(20):
            message = rf"in use by process {holder.pid} on \S+ since 2"
            with pytest.raises(BusyError, match=message) as caught, directory.locked(run):
                pytest.fail("two hold it")
        assert caught.value.exit_code == 7 and caught.value.where == str(run)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with directory.locked(run):
        assert re.match(rf"{os.getpid()} on ", (run / "lock").read_text()), "the new holder, and nothing of the old"
    with directory.locked(run):
        pass


def test_lock_removes_leftovers_but_not_those_of_its_holder(tmp_path: Path) -> None:
    run = create(tmp_path)
    leftovers = [run / ".config.toml.tmp-0a0b0c0d", run / "checkpoints" / ".000000064.tmp-0a0b0c0d"]
    leftovers += [run / "samples" / "fixed" / ".000000064.png.tmp-0a0b0c0d"]
    leftovers += [
        run / "samples" / "random" / ".000000064.png.tmp-0a0b0c0d",
        run / "samples" / ".reals.png.tmp-0a0b0c0d",
    ]
    for path in (leftovers[0], *leftovers[2:]):
        path.write_text("torn")
    leftovers[1].mkdir()
    (leftovers[1] / "model.safetensors").write_text("torn")
    with lock.locked(run), pytest.raises(BusyError), directory.locked(run):
        pass
    assert all(p.exists() for p in leftovers), "they may be in use"
    with directory.locked(run):
        assert not any(p.exists() for p in leftovers)
    assert (run / "config.toml").read_text() == CONFIG


def test_lock_is_released_after_an_error(tmp_path: Path) -> None:
    run = create(tmp_path)
    with pytest.raises(ZeroDivisionError), directory.locked(run):
        1 / 0  # noqa: B018
    with directory.locked(run):
        pass


@pytest.mark.parametrize("what", ["folder", "link", "file"])
def test_lock_that_cannot_be_opened(tmp_path: Path, what: str) -> None:
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "lock"
    if what == "folder":
        file.mkdir()
    elif what == "link":
        file.symlink_to(tmp_path / "victim")
    else:
        file = tmp_path / "run" / "file"
        file.write_text("x")
    with pytest.raises(ResourceError), lock.locked(file if what == "file" else tmp_path / "run"):
        pass
    assert not (tmp_path / "victim").exists(), "a link is not followed"


def test_find_by_part_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    fish, shark = create(runs, "fish-dcgan"), create(runs, "shark-dcgan")
    assert directory.find("shark", runs) == shark
    assert directory.find("FISH", runs) == fish
    with pytest.raises(
        ModelError, match="dcgan: is part of the names of 2 runs; choose one of: 00000-fish-dcgan, 0000"
    ) as caught:
        directory.find("dcgan", runs)
    assert caught.value.exit_code == 4
    with pytest.raises(ModelError, match="no run of this number"):
        directory.find("00", tmp_path)
    with pytest.raises(ModelError, match="no run of this name"):
        directory.find_exactly("shark", runs)
    assert not directory.names_a_run("shark", runs) and directory.names_a_run("shark-dcgan", runs)
    (tmp_path / "shark").mkdir()  # a folder of images
    with pytest.raises(ModelError, match="not a run directory"):
        directory.find("shark", runs)
    again = create(runs, "shark")
    assert directory.find("shark", runs) == again  # the whole name of one run, part of another's


def test_a_look_at_the_lock_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lock.locked(tmp_path):
        pass
    looker = os.open(tmp_path / "lock", os.O_RDWR)
    lock._lock(looker)
    monkeypatch.setattr(lock.time, "sleep", lambda _: os.close(looker))  # the look ends
    with lock.locked(tmp_path):
        pass
