"""A run that is stopped or killed anywhere, and resumed, ends with the bytes of an unbroken one."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kantor.errors import BusyError, ConfigError, DataError, ModelError, ResourceError
from kantor.lock import locked
from kantor.runs.run_state import RunState
from support.nasty import encode, photo
from support.processes import Forked
from support.resume_child import FIELDS, IMAGES, train_in_child, train_twice_with_two_threads, train_until
from support.run_results import assert_same, results_of

SCHEDULE = {"kind": "linear", "hold": 0.0, "final": 0.5}
PRESETS = ["default", "wgan-gp", "dcgan", "wgan"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Any:
    """(preset, precision) -> what an unbroken run leaves behind."""
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def results(preset: str, precision: str = "float32") -> dict[str, Any]:
        if (preset, precision) not in found:
            runs = tmp_path_factory.mktemp("unbroken")
            path, reason = train_until(None, preset, precision, runs, cache)
            assert reason == "done"
            found[preset, precision] = results_of(path)
        return found[preset, precision]

    return results


def test_there_is_something_to_compare(unbroken: Any, cache: Path, tmp_path: Path) -> None:
    """All kinds of files; ticks, samples and saves at their multiples; another seed differs in all of them."""
    wanted = unbroken("default")
    assert wanted["state"]["counters"]["images_seen"] == IMAGES
    assert [row[2] for row in wanted["metrics"]] == ["images_seen", "12", "24", "36", "48", "60"]
    sheets = [name for name in wanted if name.startswith("samples/fixed")]
    assert [name[-13:] for name in sheets] == [f"{n:09d}.png" for n in (0, 20, 40, 60, 64)]
    fields = {"overrides": FIELDS | {"train.precision": "float32", "train.seed": 1}}
    other = results_of(train_until(None, "default", "float32", tmp_path, cache, **fields)[0])
    assert [name for name in wanted if other[name] == wanted[name]] == ["samples/reals.png"]


@pytest.mark.parametrize(
    ("preset", "precision", "stops"),
    [
        *[(preset, "float32", [stop]) for preset, stop in zip(PRESETS, (2, 1, 1, 2), strict=True)],
        ("default", "float32", [0]),
        ("default", "float32", [1] * 15),
        ("default", "bfloat16", [3, 5]),
        ("default", "float32", [4, 7]),
        ("wgan-gp", "bfloat16", [1]),
        ("dcgan", "float32", [3, 5, 3]),
    ],
)
def test_stopped_and_resumed(
    preset: str, precision: str, stops: list[int], unbroken: Any, cache: Path, tmp_path: Path
) -> None:
    run, reason = train_until(stops[0], preset, precision, tmp_path, cache)
    for cycles in [*stops[1:], None]:
        assert reason == "signal"
        run, reason = train_until(cycles, preset, precision, tmp_path, cache, run)
    assert reason == "done"
    assert_same(run, unbroken(preset, precision))
    assert not list(run.rglob(".*tmp*"))


def test_a_longer_run_holds_the_last_learning_rate(cache: Path, tmp_path: Path) -> None:
    """The horizon of a schedule is fixed at the start, and a line says what is held after it."""
    falling = {f"optimizer.{n}": {"kind": "adam", "lr": 1e-3, "schedule": SCHEDULE} for n in ("critic", "generator")}
    fields = FIELDS | {"train.precision": "float32", **falling}
    run, _ = train_until(None, "default", "float32", tmp_path, cache, images=40, overrides=fields)
    notes: list[str] = []
    train_until(None, "default", "float32", tmp_path, cache, run, notes, images=IMAGES)
    held = r"train\.horizon_images +40 +learning rate 0\.0005 is held from there on; --init-from starts a schedule anew"
    assert any(re.fullmatch(held, note) for note in notes)
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    expected = {24: 1e-3 * (1 - 20 / 40 / 2), 48: 5e-4, 60: 5e-4}  # in the last cycle of a tick, 4 images before it
    assert {n: float(row["generator_lr"]) for row in rows if (n := int(row["images_seen"])) in expected} == expected


def test_a_run_begun_before_horizons_were_keeps_its_length_as_one(unbroken: Any, cache: Path, tmp_path: Path) -> None:
    run, _ = train_until(8, "default", "float32", tmp_path, cache)
    config = run / "config.toml"
    config.write_text(config.read_text().replace(f"horizon_images = {IMAGES}", 'horizon_images = "auto"'))
    saved = RunState.load(sorted((run / "checkpoints").iterdir())[-1])
    fields = json.loads(
        json.dumps(saved.config_fields).replace(f'"horizon_images": {IMAGES}', '"horizon_images": "auto"')
    )
    assert fields != saved.config_fields
    shutil.rmtree(run / "checkpoints")
    replace(saved, config_fields=fields).save(run / "checkpoints")
    train_until(None, "default", "float32", tmp_path, cache, run)
    assert f"horizon_images = {IMAGES}" in config.read_text()
    assert_same(run, unbroken("default"))


def test_a_finished_run_goes_on_to_a_larger_total(unbroken: Any, cache: Path, tmp_path: Path) -> None:
    run, _ = train_until(None, "wgan-gp", "float32", tmp_path, cache, images=40)
    assert results_of(run)["state"]["counters"]["images_seen"] == 40
    run, reason = train_until(None, "wgan-gp", "float32", tmp_path, cache, run, images=IMAGES)
    assert reason == "done"
    assert_same(run, unbroken("wgan-gp"))


# --- processes ------------------------------------------------------------------------------------------------------


def the_run(runs: Path) -> Path | None:
    return next((path for path in runs.glob("00000-*")), None)


def test_two_threads(cache: Path, tmp_path: Path) -> None:
    process = Forked(train_twice_with_two_threads, tmp_path / "a", tmp_path / "b", cache)
    assert process.wait() == 0
    run_a, run_b = the_run(tmp_path / "a"), the_run(tmp_path / "b")
    assert run_a and run_b
    for run in (run_a, run_b):
        assert json.loads((run / "environment.json").read_text())["threads"] == 2
    assert_same(run_b, results_of(run_a))


def moments() -> Iterator[tuple[str, float]]:
    """What to wait for, and for how many seconds more."""
    rng = random.Random(7)
    for seen in ("lock", "metrics.csv", "checkpoints/000000016", "checkpoints/000000048"):
        yield seen, rng.uniform(0, 0.05)


@pytest.mark.parametrize(("seen", "wait_s"), list(moments()))
def test_killed(seen: str, wait_s: float, unbroken: Any, cache: Path, tmp_path: Path) -> None:
    process, began_s = Forked(train_in_child, tmp_path, cache, None), time.monotonic()
    while not ((run := the_run(tmp_path)) and (run / seen).exists()):
        assert time.monotonic() - began_s < 60
        assert process.poll() is None or (run and (run / seen).exists())
        time.sleep(0.001)
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run, reason = train_until(None, "default", "float32", tmp_path, cache, run)
    assert reason == "done"
    assert_same(run, unbroken("default"))
    assert not [path for path in (*run.iterdir(), *(run / "checkpoints").iterdir()) if ".tmp-" in path.name]


# --- damage, refusals, disks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json", "all"])
def test_damage(name: str, unbroken: Any, cache: Path, tmp_path: Path) -> None:
    """A damaged checkpoint is named and the one before it serves; where all are, nothing is touched."""
    run, _ = train_until(9, "default", "float32", tmp_path, cache)
    folders = sorted((run / "checkpoints").iterdir())
    assert [folder.name for folder in folders] == ["000000016", "000000032", "000000036"]
    for folder in folders if name == "all" else folders[-1:]:
        path = folder / ("model.safetensors" if name == "all" else name)
        data = bytearray(path.read_bytes())
        data[len(data) * 3 // 4] ^= 0x10
        path.write_bytes(data)
    notes: list[str] = []
    if name == "all":
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}
        with pytest.raises(ModelError, match=r"000000036.*no other checkpoint is intact"):
            train_until(None, "default", "float32", tmp_path, cache, run, notes)
        assert before == {path: path.read_bytes() for path in before}
        return
    train_until(None, "default", "float32", tmp_path, cache, run, notes)
    assert any("000000036" in note and name in note and "damaged" in note for note in notes)
    assert any("resumed at 32 images" in note for note in notes)
    assert_same(run, unbroken("default"))


def test_refusals(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(12):
        (folder / f"{i}.png").write_bytes(encode(photo(seed=i), "PNG"))
    fields = {"overrides": FIELDS | {"data.source": str(folder), "train.precision": "float32"}}
    run, _ = train_until(1, "default", "float32", tmp_path / "runs", cache, **fields)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}

    def refused(kind: type[Exception], match: str, **more: Any) -> None:
        with pytest.raises(kind, match=match):
            train_until(None, "default", "float32", tmp_path / "runs", cache, more.pop("run", run), **more)
        assert before == {path: path.read_bytes() for path in before}

    differs = {"critic.width": 8, "train.seed": 3, "train.batch": 4}
    refused(ConfigError, r"critic.width: 4 -> 8, train.seed: 0 -> 3;", overrides=differs)
    with locked(run):
        refused(BusyError, f"in use by process {os.getpid()} on ")
    refused(ModelError, "elsewhere: does not exist", run=tmp_path / "elsewhere")
    (folder / "3.png").write_bytes(encode(photo(seed=99), "PNG"))
    refused(DataError, "the images have changed since the run was started")


@pytest.mark.parametrize("holdout", [0.0, 0.25])
def test_images_that_were_moved(tmp_path: Path, holdout: float) -> None:
    """Their packed copy serves; without it the new place can be named; other images are refused there too."""
    cache, old, new = tmp_path / "cache", tmp_path / "pictures", tmp_path / "moved"
    old.mkdir()
    for i in range(20):
        (old / f"{i}.png").write_bytes(encode(photo(seed=i), "PNG"))
    fields = FIELDS | {"data.source": str(old), "train.precision": "float32", "data.holdout": holdout}
    run, _ = train_until(1, "default", "float32", tmp_path / "runs", cache, overrides=fields)
    old.rename(new)

    def go_on(ticks: int, **overrides: Any) -> None:
        train_until(ticks, "default", "float32", tmp_path / "runs", cache, run, overrides=overrides)

    go_on(1)
    shutil.rmtree(cache)
    with pytest.raises(
        DataError, match=r"images of the run are no longer there; restore them, or name their new place"
    ):
        go_on(1)
    go_on(1, **{"data.source": str(new)})
    assert str(new) in (run / "config.toml").read_text()
    (new / "3.png").unlink()
    with pytest.raises(DataError, match="the images have changed since the run was started"):
        go_on(1)


def test_a_second_process_is_refused(cache: Path, tmp_path: Path) -> None:
    run, _ = train_until(1, "default", "float32", tmp_path, cache)
    with locked(run):
        process = Forked(train_in_child, tmp_path, cache, run)
        _, error = process.communicate()
    assert process.poll() == 1
    assert f"BusyError: {run}: in use by process {os.getpid()}" in error


def test_full_disk(unbroken: Any, cache: Path, tmp_path: Path) -> None:
    """No checkpoint is lost, the message says what is full, and the run goes on once there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        run, _ = train_until(5, "default", "float32", disk, cache)
        kept = {path: path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()}
        assert len(kept) == 8
        ballast = disk / "ballast"
        with pytest.raises(ResourceError, match=r"the disk is full \(0\.\d MB free"):
            ballast.write_bytes(bytes(shutil.disk_usage(disk).free - 8192))
            train_until(None, "default", "float32", disk, cache, run)
        assert kept == {path: path.read_bytes() for path in kept}
        ballast.unlink()
        train_until(None, "default", "float32", disk, cache, run)
        assert_same(run, unbroken("default"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
