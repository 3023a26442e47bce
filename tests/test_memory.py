"""Where memory does not suffice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commands import TINY, exit_of
from kantor.engine import passes, steps

GLYPHS = ["train", "--images", "1000", "--set", "data.glyphs.count=64"]
SMALL = [*TINY, "--set", "critic.norm=none", "--set", "generator.norm=pixel"]
LACK = RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried ...")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine that can differentiate ten pictures at once, and no more. Gives how many were tried."""
    tried: list[int] = []
    inner = passes.critic_pass

    def critic_pass(*args: Any) -> Any:
        tried.append(len(args[4]))
        if len(args[4]) > 10:
            raise LACK
        return inner(*args)

    monkeypatch.setattr(steps, "critic_pass", critic_pass)
    return tried


def test_the_error_names_what_fits(short: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = [*GLYPHS, *SMALL, "--batch", "64", "--runs", tmp_path / "r", "--cache", tmp_path / "c"]
    assert exit_of(*shared) == 5
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "the memory of this machine: does not suffice for 64 pictures of" in err
    assert "--set train.micro_batch=8 fits (it was tried)" in err
    assert short[-1] == 8
    assert exit_of(*shared, "--set", "train.micro_batch=8") == 0  # and it does


def test_where_a_network_mixes_the_batch_a_smaller_one_is_named(
    short: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = [
        *GLYPHS,
        *SMALL,
        "--runs",
        tmp_path / "r",
        "--cache",
        tmp_path / "c",
        "--set",
        "critic.minibatch_stddev=2",
    ]
    assert exit_of(*shared, "--batch", "64") == 5
    assert "--batch 8 fits (it was tried); the networks mix a batch" in capsys.readouterr().err
    assert exit_of(*shared, "--set", "train.micro_batch=8") == 2
    err = capsys.readouterr().err
    assert "train.micro_batch: the critic mixes the pictures of a batch (minibatch stddev)" in err


def test_a_run_may_go_on_in_smaller_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = ["--runs", tmp_path / "r", "--cache", tmp_path / "c"]
    assert exit_of(*GLYPHS, *SMALL, *shared) == 0
    again = ["train", "--resume", "latest", "--images", "2000", *shared]
    assert exit_of(*again, "--set", "train.micro_batch=8") == 0
    assert "micro_batch = 8" in next((tmp_path / "r").glob("00000-*/config.toml")).read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_a_real_lack_of_memory(tmp_path: Path) -> None:
    """1.5 GB more than the process has at its start."""
    code = f"""
import resource, sys
import torch, kantor.cli.main, kantor.app.train
torch.nn.functional.conv2d(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 3, 3))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**29, resource.RLIM_INFINITY))
kantor.cli.main.main(["train", "--batch", "4096", "--size", "64", "--images", "100000", "--set", "data.glyphs.count=64",
    "--runs", "{tmp_path / "r"}", "--cache", "{tmp_path / "c"}"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 5, done.stderr
    assert (
        "the memory of this machine: does not suffice for 4096 pictures of 64x64 at once; --set train.micro_batch="
        in (done.stderr)
    )
