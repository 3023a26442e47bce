"""Where memory does not suffice."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kantor.app.training.trial import memory_errors
from kantor.engine import passes
from kantor.objectives import objective
from support.commands import TINY, exit_of
from support.engine_fakes import CPU, large

GLYPHS = ["train", "--images", "128", "--set", "data.glyphs.count=64"]
SMALL = [*TINY, "--set", "critic.norm=none", "--set", "generator.norm=pixel"]
LACK = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried ..."


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine that can differentiate ten images at once, and no more. Gives how many were tried."""
    tried: list[int] = []
    inner = passes.critic_pass

    def critic_pass(*args: Any) -> Any:
        tried.append(len(args[-1].fake))
        if tried[-1] > 10:
            raise RuntimeError(LACK)
        return inner(*args)

    monkeypatch.setattr(passes, "critic_pass", critic_pass)
    return tried


def test_the_error_names_what_fits(short: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = [*GLYPHS, *SMALL, "--batch", "64", "--runs", tmp_path / "r"]
    assert exit_of(*shared) == 5
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "the memory of this machine: too small for 64 images of" in err
    assert "add --set train.micro_batch=8, which fits (tried)" in err
    assert short[-1] == 8
    assert exit_of(*shared, "--set", "train.micro_batch=8") == 0  # and it does


def test_where_a_network_mixes_the_batch_a_smaller_one_is_named(
    short: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = [*GLYPHS, *SMALL, "--runs", tmp_path / "r", "--set", "critic.minibatch_stddev=2"]
    assert exit_of(*shared, "--batch", "64") == 5
    assert (
        "use --batch 8, which fits (tried); a step is on a whole batch, so this changes the run"
        in capsys.readouterr().err
    )
    assert exit_of(*shared, "--set", "train.micro_batch=8") == 2
    err = capsys.readouterr().err
    assert "train.micro_batch: the critic mixes the images of a batch (minibatch stddev)" in err


def test_a_share_of_a_batch_is_none_of_its_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = [*GLYPHS, *SMALL, "--runs", tmp_path / "r", "--set", "objective.penalties.r1.share=0.5"]
    assert exit_of(*shared, "--set", "train.micro_batch=8") == 2
    assert "objective.penalties.r1.share: is a share of a whole batch" in capsys.readouterr().err


def test_a_run_may_go_on_in_smaller_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = ["--runs", tmp_path / "r"]
    assert exit_of(*GLYPHS, *SMALL, *shared) == 0
    again = ["train", "--resume", "latest", "--images", "256", *shared]
    capsys.readouterr()
    assert exit_of(*again, "--set", "train.micro_batch=8") == 0
    assert "train.micro_batch: 0 -> 8: numbers will differ by rounding" in capsys.readouterr().out
    assert "micro_batch = 8" in next((tmp_path / "r").glob("00000-*/config.toml")).read_text()


def test_a_loss_that_mixes_a_batch_is_not_taken_in_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "REGISTERED", {})

    def relative(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(fake - real.mean())

    objective.register("relative-average", relative, lambda real, fake: -fake)
    own = ["--set", "objective.kind=custom", "--set", "objective.name=relative-average"]
    shared = [*GLYPHS, *SMALL, *own, "--runs", tmp_path / "r"]
    assert exit_of(*shared, "--set", "train.micro_batch=2") == 2
    assert "train.micro_batch: the critic's loss mixes the images of a batch" in capsys.readouterr().err


def test_where_the_steps_fit_nothing_is_said_of_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("kantor.app.training.run.Sampler.__call__", full)
    assert exit_of(*GLYPHS, *SMALL, "--runs", tmp_path / "r") == 5
    err = capsys.readouterr().err
    assert "memory: out of memory outside the training step (the step itself fits)" in err


class FullAt(TorchDispatchMode):
    """Has no memory left for the n-th derivative of a convolution."""

    def __init__(self, nth: int) -> None:
        super().__init__()
        self.left = nth

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= "convolution_backward" in str(func)
        if self.left < 0:
            raise RuntimeError(LACK)
        return func(*args, **kwargs or {})


def test_a_failed_step_holds_on_to_nothing() -> None:
    """Autograd keeps what it was about to do when an error cut it short."""
    state, steps, real, draws = large("default")

    def trial(mode: TorchDispatchMode) -> None:
        state.counters.critic_steps = 0  # penalties are due
        (fake,) = steps.fakes(state, [real], draws, 0)
        with mode:
            steps.critic_step(state, real, fake, draws, 0)

    def alive_after(nth: int) -> tuple[bool, int]:
        """Whether it fitted, and how many tensors are alive besides those of before the test."""
        fitted = True
        try:
            with memory_errors(CPU):
                trial(FullAt(nth))
        except MemoryError:
            fitted = False
        gc.collect()
        return fitted, sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    gc.collect()
    gc.freeze()  # all that other tests have left alive: to look at it again and again takes long
    try:
        alive_after(1000)
        fitted, before = alive_after(1000)
        assert fitted
        assert [alive_after(nth) for nth in range(18)] == [(False, before)] * 18
    finally:
        gc.unfreeze()
