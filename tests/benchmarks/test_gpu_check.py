"""benchmarks/gpu_check.py in its tiny form on the CPU, with the stand-in for CUDA graphs."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import gpu_check
import pytest
import torch
from gpu_parts.check import Check
from PIL import Image

from support.tape import Tape

ROOT = Path(__file__).parents[2]


def checked(out: Path, parts: str) -> tuple[int, dict[tuple[str, ...], dict[str, str]]]:
    """Exit code of the tiny form, and its rows by part, case, precision and measure."""
    code = gpu_check.main(["--cpu", "--out", str(out), "--only", parts])
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(math.isfinite(float(row["value"])) for row in rows)
    return code, {tuple(row[name] for name in ("part", "case", "precision", "measure")): row for row in rows}


@pytest.mark.slow
def test_recorded_and_compiled_steps_are_compared(tmp_path: Path) -> None:
    code, rows = checked(tmp_path, "recorded,compiled")
    assert code == 0, (tmp_path / "summary.txt").read_text()
    kinds = {"default": ("shared", "shared+r1+r2"), "wgan-gp": ("fakes", "critic+gradient", "generator")}
    for preset in kinds:
        for precision in ("float32", "bfloat16"):
            for kind in kinds[preset]:
                row = rows["recorded", f"{preset}: {kind}", precision, "recorded step against eager"]
                assert (row["value"], row["limit"], row["equal"]) == ("0", "0.05", "yes")  # it is the eager step
            assert rows["recorded", preset, precision, "kinds of step that are not recorded"]["equal"] == "yes"
    for kind in ("fakes", "scores", "critic", "critic+r1+r2", "generator"):
        row = rows["compiled", f"default: {kind}", "float32", "compiled pass against eager"]
        assert (row["limit"], row["equal"]) == ("0.02", "yes")


@pytest.mark.slow
def test_memory_and_rates_are_measured(tmp_path: Path) -> None:
    code, rows = checked(tmp_path, "memory,bfloat16,points,throughput")
    assert code == 0, (tmp_path / "summary.txt").read_text()
    for preset, precision in product(("default", "wgan-gp"), ("float32", "bfloat16")):
        error = rows["bfloat16", f"{preset}: critic", precision, "gradients against float32 without TF32"]
        assert (float(error["value"]) > 0.001) == (precision == "bfloat16") and float(error["value"]) < 0.3
        assert float(rows["bfloat16", preset, precision, "images a second, recorded"]["value"]) > 0
    for name in ("plain loop", "kantor eager", "kantor recorded"):
        allocated = rows["memory", name, "float32", "peak memory, allocated"]
        assert 0.1 < float(allocated["value"]) < 100 and allocated["unit"] == "MB"
        assert float(rows["throughput", f"{name}, batch 4", "bfloat16", "images a second"]["value"]) > 0
    alone = rows["points", "wgan-gp, no norm in the critic", "bfloat16", "points of one critic step by themselves"]
    assert float(alone["value"]) > 0
    assert (tmp_path / "summary.txt").read_text().count("\n") == 4


@pytest.mark.slow
def test_the_run_leaves_its_grid_and_its_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    code, rows = checked(tmp_path, "train")
    assert code == 0
    assert rows["train", "default, letters at 16x16", "auto", "images seen"]["value"] == "64"
    for name in ("samples.png", "losses.png"):
        assert Image.open(tmp_path / name).size > (100, 100)


class Stale(Tape):
    """Replays on what the first replay got, as a recording would whose inputs are not in its buffers."""

    def record(self, compute: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        replay, result = super().record(compute)
        kept: list[torch.Tensor] = []

        def again() -> None:
            replay()
            if isinstance(result, torch.Tensor):
                kept.append(result.clone())
                result.copy_(kept[0])

        return again, result


def test_a_later_replay_that_differs_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first replay, which the engine tries, is right."""
    monkeypatch.setattr(Check, "backend", lambda self: Stale())
    monkeypatch.setattr("gpu_parts.check.PRESETS", ("wgan-gp",))
    code, rows = checked(tmp_path, "recorded")
    assert code == 1
    assert rows["recorded", "wgan-gp: fakes", "float32", "recorded step against eager"]["equal"] == "no"
    assert rows["recorded", "wgan-gp: generator", "float32", "recorded step against eager"]["equal"] == "yes"
    assert "NOT EQUAL: wgan-gp: fakes float32" in (tmp_path / "summary.txt").read_text()


def test_a_part_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_parts.memory.memory", lambda check: 1 / 0)
    monkeypatch.setattr("gpu_parts.rates.interpolation", lambda check: "measured")
    assert gpu_check.main(["--cpu", "--out", str(tmp_path), "--only", "memory,points"]) == 2
    lines = (tmp_path / "summary.txt").read_text().splitlines()
    assert lines == ["memory: failed (exit code 70; above is why)", "points: measured"]


def test_a_part_is_skipped_if_too_little_time_is_left(tmp_path: Path) -> None:
    assert gpu_check.main(["--cpu", "--out", str(tmp_path), "--only", "train", "--seconds", "60"]) == 0
    assert "train: skipped, " in (tmp_path / "summary.txt").read_text()


def test_a_process_is_stopped_with_its_children(tmp_path: Path) -> None:
    child = f"import time; time.sleep(3); open({str(tmp_path / 'alive')!r}, 'w')"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    assert gpu_check.in_own_process([sys.executable, "-c", code], 1.5) == 124
    assert gpu_check.in_own_process([sys.executable, "-c", "import os; os.abort()"], 60) < 0
    assert gpu_check.in_own_process([sys.executable, "-c", "raise SystemExit(1)"], 60) == 1
    time.sleep(2)
    assert not (tmp_path / "alive").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_it_would_measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(gpu_check.PARTS)
    assert all("no NVIDIA GPU here; would measure" in line for line in lines)
    assert not (tmp_path / "out").exists()


def test_the_script_names_what_a_python_lacks(tmp_path: Path) -> None:
    """A Python with no packages at all."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(bare), "WHEELS": str(tmp_path / "none"), "OUT": str(tmp_path / "out")}
    command = ["bash", str(ROOT / "benchmarks" / "gpu_check.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 5
    assert "lacks torch numpy PIL pydantic" in done.stderr and "put their wheels into" in done.stderr


@pytest.mark.parametrize(
    "words", [["--only", "memroy"], ["--peer", "torchgan"], ["--peer", "torchgan=/no/such/folder"]]
)
def test_mistakes_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        gpu_check.main([*words, "--cpu"])
    assert refused.value.code == 2
