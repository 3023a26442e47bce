"""Which checkpoint is the last, and which are kept."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from kantor.runs import checkpoint
from kantor.runs.checkpoint import Checkpoint, last, load, save, thin


def put(folder: Path, images_seen: int) -> Path:
    return save(folder, images_seen, Checkpoint({"w": torch.tensor([float(images_seen)])}, {}, {"at": images_seen}))


def copy(template: Path, folder: Path, images_seen: int) -> None:
    """Faster than a save, which waits for the disk."""
    path = Path(shutil.copytree(template, folder / f"{images_seen:09d}"))
    manifest = json.loads((path / "manifest.json").read_text()) | {"images_seen": images_seen}
    manifest["sha256"] = checkpoint._own_digest(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def names(folder: Path) -> list[int]:
    return sorted(int(p.name) for p in folder.iterdir())


def damage(path: Path) -> None:
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x55")


@pytest.mark.parametrize("total", [64_000, 20_000])
def test_a_long_run_keeps_few_checkpoints_and_the_first(tmp_path: Path, total: int) -> None:
    """320 saves; with total 20,000 the run continues for three times its planned length."""
    template, most, seen = put(tmp_path.parent, 7), 0, []
    for images in range(200, 64_001, 200):
        copy(template, tmp_path, images)
        before = names(tmp_path)
        thin(tmp_path, total)
        kept = names(tmp_path)
        assert kept[-2:] == before[-2:], "the last two stay"
        assert kept[0] == 200, "the first stays"
        assert set(kept) <= set(before)
        most = max(most, len(kept))
        seen.append(kept)
    assert most <= 2 + math.log2(64) + 4, "a ladder, however long the run"
    final = seen[-1]
    assert len(final) >= 6
    ages = [64_000 - n for n in final[:-2]]
    assert ages == sorted(ages, reverse=True)
    assert sum(age <= 32_000 for age in ages) >= sum(age > 32_000 for age in ages), "denser towards the end"
    load(tmp_path / "000000200")


def test_a_renamed_checkpoint_neither_counts_nor_is_deleted(tmp_path: Path) -> None:
    for images in range(100, 5_000, 100):
        put(tmp_path, images)
        if images == 200:
            (tmp_path / "000000100").rename(tmp_path / "000009999")
        thin(tmp_path, 5_000)
    assert len(names(tmp_path)) < 14
    assert names(tmp_path)[-3:] == [4_800, 4_900, 9_999]
    path, faults = last(tmp_path)
    assert path == tmp_path / "000004900"
    assert [str(fault) for fault in faults] == [
        f"{tmp_path}/000009999: holds the state after 100 images; rename it to 000000100"
    ]


def test_the_best_checkpoint_stays(tmp_path: Path) -> None:
    best = put(tmp_path, 600)
    for images in range(700, 20_000, 100):
        copy(best, tmp_path, images)
        thin(tmp_path, 20_000, keep=best)
        assert best.is_dir()
    assert len(names(tmp_path)) < 14


@pytest.mark.parametrize("which", [-1, -2])
def test_valid_checkpoints_never_make_room_for_damaged_ones(tmp_path: Path, which: int) -> None:
    paths = [put(tmp_path, images) for images in range(1000, 1010)]
    damage(paths[which])
    thin(tmp_path, 10**6)
    assert names(tmp_path) == list(range(1000, 1010)), "nothing is deleted"
    shutil.rmtree(paths[which])
    thin(tmp_path, 10**6)
    assert len(names(tmp_path)) == 3
    assert last(tmp_path)[0] == (paths[-2] if which == -1 else paths[-1])


def test_two_checkpoints_are_never_thinned(tmp_path: Path) -> None:
    for images in (1, 2):
        put(tmp_path, images)
    thin(tmp_path, 0)
    assert names(tmp_path) == [1, 2]


def test_last_skips_damaged_checkpoints(tmp_path: Path) -> None:
    assert last(tmp_path) == last(tmp_path / "none") == (None, [])
    paths = [put(tmp_path, images) for images in (64, 128, 192)]
    for path, expected in zip(reversed(paths), [paths[1], paths[0], None], strict=True):
        damage(path)
        found, faults = last(tmp_path)
        assert found == expected
        assert [f.where for f in faults] == [str(p / "model.safetensors") for p in reversed(paths) if p >= path]


def test_last_compares_numbers_not_names(tmp_path: Path) -> None:
    """Ten digits come after nine, though their first letter is smaller; times of files do not matter."""
    small, large = put(tmp_path, 999_999_999), put(tmp_path, 1_000_000_000)
    os.utime(large, (0, 0))
    assert last(tmp_path) == (large, [])
    middle = put(tmp_path, 999_999_000)
    thin(tmp_path, 10**9)
    assert small.is_dir() and large.is_dir() and middle.is_dir()


@pytest.mark.parametrize(
    "name", [".000000999.tmp-0a0b0c0d", "000000999.tmp", "²²²²²²²²²", "٣٣٣٣٣٣٣٣٣", "latest", "999"]
)
def test_other_entries_are_ignored(tmp_path: Path, name: str) -> None:
    good = put(tmp_path, 64)
    shutil.copytree(good, tmp_path / name)
    (tmp_path / "000000998").write_text("a file")
    assert last(tmp_path) == (good, [])
    thin(tmp_path, 1000)
    assert (tmp_path / name).is_dir()


def test_a_killed_save_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = put(tmp_path, 64)
    real, at, killed = os.fsync, 0, True
    while killed:
        at += 1
        calls = 0

        def dying(descriptor: int, at: int = at) -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)
            real(descriptor)

        child = os.fork()
        if not child:
            monkeypatch.setattr(os, "fsync", dying)
            put(tmp_path, 128)
            os._exit(0)
        killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
        found, faults = last(tmp_path)
        assert faults == []
        assert found in (good, tmp_path / "000000128")
        if killed and found == good:
            assert load(good).values == {"at": 64}
    assert at > 10 and found == tmp_path / "000000128" and load(found).values == {"at": 128}


def test_as_many_of_the_newest_as_wanted(tmp_path: Path) -> None:
    best, *_ = [put(tmp_path, images) for images in range(100, 900, 100)]
    thin(tmp_path, 10**6, keep=best, newest=3)
    assert names(tmp_path) == [100, 600, 700, 800]
    thin(tmp_path, 10**6, newest=9)
    assert names(tmp_path) == [100, 600, 700, 800]
    thin(tmp_path, 10**6, newest=1)
    assert names(tmp_path) == [700, 800], "never fewer than two"


def test_the_newest_must_verify_before_others_go(tmp_path: Path) -> None:
    paths = [put(tmp_path, images) for images in range(1000, 1006)]
    damage(paths[-1])
    thin(tmp_path, 10**6, newest=2)
    assert names(tmp_path) == list(range(1000, 1006))
