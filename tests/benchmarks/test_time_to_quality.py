"""benchmarks/time_to_quality.py: the clock, what is not done twice, and the arithmetic of its report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quality import race as racing
from quality.plan import Contestant, Dataset, Machine, Trial
from quality.recorder import Recorder
from quality.report import (
    Curves,
    Point,
    Reached,
    disagreements,
    failures,
    first_below,
    modes_table,
    scores_table,
    speed_up_table,
    wilson,
)
from quality.scores import FIELDS, Table, score
from scipy.stats import binomtest

ROOT = Path(__file__).parents[2]


# --- the report -------------------------------------------------------------------------------------------------------


def test_a_power_law_is_interpolated_exactly() -> None:
    """600 / t reaches 25 at t = 24, wherever it was measured."""
    curve = [Point(t, 600 / t) for t in (5.0, 10.0, 30.0, 100.0)]
    reached = first_below(curve, 25.0)
    assert reached.measured_s == 30.0
    assert reached.between_s == pytest.approx(24.0)
    assert str(reached) == "24 (measured 30)"


def test_the_first_crossing_counts_even_if_the_score_rises_again() -> None:
    reached = first_below([Point(10, 80), Point(20, 40), Point(40, 90), Point(80, 20)], 40.0)
    assert reached == Reached(20, 20)


def test_a_target_met_at_the_first_mark_gives_a_bound() -> None:
    reached = first_below([Point(5, 10), Point(10, 5)], 50.0)
    assert reached == Reached(5, 5, bound=True)
    assert str(reached) == "<= 5"


def test_a_target_that_is_never_met() -> None:
    assert str(first_below([Point(5, 100), Point(10, 90)], 50.0)) == "not reached"
    assert first_below([], 50.0) == Reached(None, None)


def row(contestant: str, seed: int, mark: float, fd: float | str, **more: Any) -> dict[str, str]:
    values = {"dataset": "glyphs", "processor": "avx2", "threads": 2, "paired": 0, "budget_s": "100", "feature": "a",
              "weights": "w", "generated": 100, "which": "weights", "seconds": mark, "start_up_s": 10, "images": 1000,
              "peak_mb": 500, "recall": 0.5, "error": ""}  # fmt: skip
    values |= {"contestant": contestant, "seed": seed, "mark_s": f"{mark:g}", "fd": fd, **more}
    return {name: str(values.get(name, "")) for name in FIELDS}


def rows_of(fast: float, slow: float, **more: Any) -> list[dict[str, str]]:
    """Two contestants with two seeds, whose mean scores are fast / t and slow / t."""
    marks, sides = (10.0, 20.0, 100.0), (0.9, 1.1)
    scores = {"fast": fast, "slow": slow}
    return [
        row(name, seed, mark, scores[name] * side / mark, **more)
        for name in scores
        for seed, side in enumerate(sides)
        for mark in marks
    ]


def test_times_sooner_is_the_training_time_of_the_other_over_the_time_of_the_mean() -> None:
    """slow ends with 20; fast has that after 25 of 100 seconds."""
    curves = Curves([*rows_of(500, 2000), *(row("fast", seed, 100, fd, which="file") for seed, fd in ((0, 6), (1, 8)))])
    (table,) = speed_up_table(curves, ["fast"])
    shorter = [
        r | {"seconds": "90"} if (r["contestant"], r["mark_s"]) == ("slow", "100") else r for r in rows_of(500, 2000)
    ]
    assert "| 3.6 |" in speed_up_table(Curves(shorter), ["fast"])[0], "its budget of 100 s left 90 for training"
    line = "| fast | slow | 20 | 25 (measured 100) | 22.5 (measured 100), 27.5 (measured 100) | 4.0 | 0.25 |"
    assert table.splitlines()[2:] == [line]
    assert "| fast | 2 | 50 (45 to 55) | 25 (22.5 to 27.5) | 5 (4.5 to 5.5) | 7 | 1,000 | 10 | 500 |" in scores_table(
        curves
    )


def test_modes_are_shown_by_seed_and_are_no_distances() -> None:
    rows = [row("kantor", seed, 100, "", feature="digits", modes=990 + seed, modes_kl=0.1 * seed) for seed in (0, 1)]
    assert modes_table(rows).splitlines()[2:] == ["| kantor | 990 (KL 0.00), 991 (KL 0.10) |"]
    assert Curves(rows).marks == [] and Curves([{**each, "which": "file"} for each in rows]).files("kantor") is None
    assert failures(rows, above=1, recall_below=0) == []


def test_start_up_can_be_counted() -> None:
    assert [p.seconds for p in Curves(rows_of(500, 2000), start_up=True).mean("fast")] == [20, 30, 110]


def test_the_mean_curve_has_only_marks_that_all_seeds_have() -> None:
    rows = [r for r in rows_of(500, 2000) if (r["contestant"], r["seed"], r["mark_s"]) != ("fast", "1", "20")]
    assert [p.seconds for p in Curves(rows).mean("fast")] == [10, 100]


def test_extractors_that_disagree_are_named() -> None:
    rows = rows_of(500, 2000) + rows_of(700, 300, feature="b")
    assert disagreements(rows) == ["glyphs, avx2: fast is better than slow in a (100 images), worse in b (100 images)"]
    assert disagreements(rows_of(500, 2000) + rows_of(300, 700, feature="b")) == []


@pytest.mark.parametrize(("failed", "total"), [(0, 30), (1, 30), (15, 30), (30, 30)])
def test_wilson_is_scipys(failed: int, total: int) -> None:
    expected = binomtest(failed, total).proportion_ci(method="wilson")
    assert wilson(failed, total) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_runs_fail_that_diverge_or_end_badly() -> None:
    ends = [row("kantor", seed, 100, fd) for seed, fd in enumerate((20, 25, 90))]
    ends += [
        row("kantor", 3, 100, 20, recall=0.0),
        row("kantor", 4, 100, "", error="diverged"),
        row("kantor", 0, 50, 99),
    ]
    (line,) = failures(ends, above=50, recall_below=0.01)
    assert "3 of 5 runs failed (seeds 2, 3, 4)" in line
    assert failures(ends, above=100, recall_below=0.0)[0].count("1 of 5 runs failed (seeds 4)") == 1


# --- the clock --------------------------------------------------------------------------------------------------------


def test_only_cycles_are_timed(tmp_path: Path) -> None:
    clock = iter([0.0, 1.0, 10.0, 11.5, 100.0, 104.0])  # cycles of 1, 1.5 and 4 seconds
    weights = iter("abc")
    recorder = Recorder(
        {"marks": [2, 3, 5, 9], "started_s": 0, "folder": tmp_path}, lambda: next(weights), lambda: next(clock)
    )
    for _ in range(3):
        recorder.cycle(lambda: 32)
    recorder.close()
    recorder.write(lambda w: np.full((1, 2, 2, 1), ord(w), np.uint8), {"file": np.zeros((1, 2, 2, 1), np.uint8)})
    moments = json.loads((tmp_path / "run.json").read_text())["moments"]
    assert [(m["mark_s"], m["seconds"], m["images"], m["which"], m["file"]) for m in moments] == [
        (2, 2.5, 64, "weights", "images-2.npy"),
        (3, 6.5, 96, "weights", "images-3.npy"),  # two marks passed in one cycle, and one that the run never reached
        (5, 6.5, 96, "weights", "images-3.npy"),
        (9, 6.5, 96, "weights", "images-3.npy"),
        (9, 6.5, 96, "file", "images-file.npy"),
    ]
    assert np.load(tmp_path / "images-2.npy")[0, 0, 0, 0] == ord("a")
    assert np.load(tmp_path / "images-3.npy")[0, 0, 0, 0] == ord("b")


# --- what is done is not done again -----------------------------------------------------------------------------------


def trial(contestant: str, seed: int) -> Trial:
    return Trial(Dataset.of("glyphs"), Machine("avx2", 1), Contestant.of(contestant), seed, [1, 2], 8)


def test_an_interrupted_race_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, int]] = []

    def fake(trial: Trial, work: Path, *_: object) -> bool:
        ran.append((trial.contestant.text, trial.seed))
        folder = trial.path(work)
        folder.mkdir(parents=True, exist_ok=True)
        if len(ran) == 2:
            raise KeyboardInterrupt
        (folder / "run.json").write_text("{}")
        return True

    monkeypatch.setattr(racing, "run_trial", fake)
    monkeypatch.setattr(racing, "prepared", lambda *_: tmp_path / "data.npy")
    trials = [trial(name, seed) for seed in (0, 1) for name in ("a", "b:lr=1")]
    with pytest.raises(KeyboardInterrupt):
        racing.race(trials[:2], tmp_path, {})
    assert racing.race(trials, tmp_path, {}) == 0
    assert ran == [("a", 0), ("b:lr=1", 0), ("b:lr=1", 0), ("a", 1), ("b:lr=1", 1)]
    racing.race(trials, tmp_path, {})
    assert len(ran) == 5


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., Table]:
    """Scores a trial that has left images at two marks, of which the second has those of the first."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "data.npy", rng.integers(0, 256, (40, 8, 8, 3), np.uint8))
    folder = trial("a", 0).path(tmp_path)
    folder.mkdir(parents=True)
    np.save(folder / "images-1.npy", rng.integers(0, 100, (30, 8, 8, 3), np.uint8))
    (folder / "spec.json").write_text(
        json.dumps({"contestant": "a", "data": str(tmp_path / "data.npy"), "marks": [1, 2]})
    )
    moment = {"seconds": 1.0, "wall_s": 2.0, "images": 64, "which": "weights", "file": "images-1.npy"}
    run = {"start_up_s": 1.0, "peak_mb": 100.0, "moments": [{**moment, "mark_s": 1}, {**moment, "mark_s": 2}]}
    (folder / "run.json").write_text(json.dumps(run))

    def scoring(features: str = "random", marks: list[float] | None = None) -> Table:
        score(tmp_path, Table(tmp_path / "t.csv"), [features], 20, marks)
        return Table(tmp_path / "t.csv")

    return scoring


def test_scores_are_written_once(scored: Callable[..., Table]) -> None:
    assert [r["mark_s"] for r in scored(marks=[2]).rows] == ["2"]
    first = scored().rows
    assert [r["mark_s"] for r in first] == ["2", "1"]
    assert float(first[0]["fd"]) > 0
    assert first[0]["fd"] == first[1]["fd"]
    assert scored().rows == first


# --- words on the command line ----------------------------------------------------------------------------------------


def test_contestants_are_read() -> None:
    old = Contestant.of("kantor@5690a5f:preset=wgan-gp,train.batch=64")
    assert (old.name, old.commit) == ("kantor", "5690a5f")
    assert old.options == {"preset": "wgan-gp", "train.batch": "64"}
    assert Contestant.of("EmilienDupont/wgan-gp").folder == "EmilienDupont-wgan-gp"
    with pytest.raises(ArgumentTypeError, match="NAME=VALUE"):
        Contestant.of("plain:lr")


def test_datasets_are_read() -> None:
    assert Dataset.of("fish=images/fish,size=64").source == "images/fish"
    assert Dataset.of("glyphs").fields == {"size": "32"}
    with pytest.raises(ArgumentTypeError, match="NAME=PATH"):
        Dataset.of("unknown")


def test_a_limited_processor_has_kernels_of_its_own(tmp_path: Path) -> None:
    limited, native = (Machine(isa, 1).environment(tmp_path) for isa in ("avx2", "native"))
    assert limited["ATEN_CPU_CAPABILITY"] == "avx2"
    assert "ATEN_CPU_CAPABILITY" not in native
    assert Machine("avx2", 1).folder == "avx2-1t"


# --- one contestant as it runs ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("channels", [3, 4])
def test_kantor_trains_under_the_clock(channels: int, tmp_path: Path) -> None:
    """The command itself runs, with alpha where images have it; at its end the clock has the weights that the run has written."""
    np.save(tmp_path / "data.npy", np.random.default_rng(0).integers(0, 256, (64, 16, 16, channels), np.uint8))
    options = {"generator.width": "8", "critic.width": "8", "train.batch": "8"}
    spec = {"options": options, "seed": 1, "marks": [0.2, 2], "count": 6, "folder": str(tmp_path / "trial"),
            "data": str(tmp_path / "data.npy"), "started_s": 0}  # fmt: skip
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "benchmarks")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "KANTOR_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "quality.run_kantor", str(tmp_path / "spec.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads((tmp_path / "trial" / "run.json").read_text())
    first, last, file = run["moments"]
    assert first["images"] <= last["images"] <= run["horizon_images"] + 8
    assert first["seconds"] <= last["seconds"] < last["wall_s"]
    images = {m["which"]: np.load(tmp_path / "trial" / m["file"]) for m in (last, file)}
    assert images["weights"].shape == (6, 16, 16, channels)
    assert np.array_equal(images["weights"], images["file"])
