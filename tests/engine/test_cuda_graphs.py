"""Recorded steps, with a backend that records on a processor: it keeps the call and its buffers, as a CUDA graph does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from kantor.engine.cuda_graphs import WARM_UP, CudaGraphs, Recorder, recorder_for
from kantor.engine.state import State
from kantor.engine.steps import Steps
from support import engine_fakes
from support.engine_fakes import feed, parts, same
from support.tape import FIELDS, Tape


def trained(recorder: Recorder, fields: dict[str, Any], cycles: int = 12) -> tuple[State, Steps]:
    return engine_fakes.trained(fields, cycles, recorder=recorder)


@pytest.mark.parametrize("fields", FIELDS, ids=lambda f: f.get("objective.kind", "wgan-gp"))
def test_recorded_steps_equal_eager_steps(fields: dict[str, Any]) -> None:
    notes: list[str] = []
    tape = Tape()
    plain, _ = trained(Recorder(), fields)
    recorded, _ = trained(Recorder(tape, notes.append), fields)
    assert notes == []
    assert tape.recorded >= 3 and tape.replayed > tape.recorded
    assert same(recorded.model_tensors(), plain.model_tensors())
    assert recorded.values() == plain.values()


def test_each_kind_of_step_is_recorded_once() -> None:
    fields = {
        "objective.kind": "relativistic",
        "critic.norm": "none",
        "cycle.critic_steps": 2,
        "generator.norm": "pixel",
    }
    penalties = {"r1": {"at": {"kind": "real"}, "every": 2}}
    tape = Tape()
    cycles = WARM_UP + 4
    trained(Recorder(tape), {**fields, "objective.penalties": penalties}, cycles)
    assert tape.recorded == 4  # images, critic with and without the penalty, generator: each once a cycle
    assert tape.replayed == 4 * (cycles - WARM_UP)  # the first replay is the trial


def test_a_recording_that_differs_is_rejected() -> None:
    class Wrong(Tape):
        def record(self, compute: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
            replay, result = super().record(compute)

            def twice() -> None:
                replay()
                replay()

            return twice, result

    notes: list[str] = []
    plain, _ = trained(Recorder(), FIELDS[1])
    recorded, steps = trained(Recorder(Wrong(), notes.append), FIELDS[1])
    assert len(notes) == 1
    assert "a recorded step differs from an eager one by" in notes[0]
    assert "falling back to eager steps (slower)" in notes[0]
    assert steps.recorder.backend is None
    assert same(recorded.model_tensors(), plain.model_tensors())


@pytest.mark.parametrize("spoilt", ["weights that stay", "weights that go back", "wrong images"])
def test_a_recording_with_one_fault_is_rejected(spoilt: str) -> None:
    """Counters and sums move by far more than weights do, and must not hide them."""
    state, steps = parts("wgan-gp", {**FIELDS[1], "optimizer.critic.lr": 1e-5, "optimizer.generator.lr": 1e-5})

    class Spoilt(Tape):
        def record(self, compute: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
            replay, result = super().record(compute)

            def again() -> None:
                before = [p.detach().clone() for p in state.critic.parameters()]
                replay()
                if spoilt == "wrong images" and isinstance(result, Tensor):
                    result.mul_(0.9)
                for p, old in zip(state.critic.parameters(), before, strict=True):
                    if spoilt == "weights that stay":
                        p.detach().copy_(old)
                    elif spoilt == "weights that go back":
                        p.detach().copy_(2 * old - p)

            return again, result

    notes: list[str] = []
    steps.recorder = Recorder(Spoilt(), notes.append)
    stream = feed()
    for _ in range(12):
        steps.cycle(state, stream)
    assert len(notes) == 1 and "differs from an eager one" in notes[0]


def test_a_recording_is_tried_again_if_the_step_was_skipped() -> None:
    tape, notes = Tape(), []  # type: ignore[var-annotated]
    state, steps = parts("wgan-gp", FIELDS[1])
    steps.recorder = Recorder(tape, notes.append)
    stream = feed()
    for cycle in range(WARM_UP + 4):
        bias = state.critic.score.bias.detach()  # type: ignore[union-attr, operator]
        good = bias.clone()
        if cycle == WARM_UP:
            bias.fill_(float("nan"))
        steps.cycle(state, stream)
        bias.copy_(torch.where(bias.isnan(), good, bias))
        if cycle == WARM_UP:
            state.tally.clear()
    assert notes == [] and steps.recorder.backend is tape and tape.recorded > 3


def test_steps_stay_eager_if_recording_fails() -> None:
    class Broken(Tape):
        def record(self, compute: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
            compute()  # half of it is done already
            raise RuntimeError("operation not permitted when stream is capturing\nand more")

    notes: list[str] = []
    plain, _ = trained(Recorder(), FIELDS[0])
    recorded, _ = trained(Recorder(Broken(), notes.append), FIELDS[0])
    assert notes == [
        "steps cannot be recorded here (operation not permitted when stream is capturing); "
        "falling back to eager steps (slower)"
    ]
    assert same(recorded.model_tensors(), plain.model_tensors())
    assert recorded.values() == plain.values()


def test_networks_with_dropout_are_not_recorded() -> None:
    tape = Tape()
    plain, _ = trained(Recorder(), {"critic.dropout": 0.5})
    recorded, _ = trained(Recorder(tape), {"critic.dropout": 0.5})
    assert tape.recorded == 0
    assert same(recorded.model_tensors(), plain.model_tensors())


def test_each_state_gets_its_own_recordings() -> None:
    """A recording works on the tensors that it was made with."""
    tape = Tape()
    state, steps = trained(Recorder(tape), FIELDS[1])
    other, before = copy.deepcopy(state), tape.recorded
    for one in (state, other):
        stream = feed()
        stream.position = one.counters.images_seen
        for _ in range(WARM_UP + 2):
            steps.cycle(one, stream)
    assert tape.recorded == 2 * before
    assert same(state.model_tensors(), other.model_tensors())


def test_steps_that_share_a_recorder_do_not_replay_each_others_recordings() -> None:
    """A trial shares the recorder of the run, by a copy of `Steps`."""
    state, steps = trained(Recorder(Tape()), FIELDS[1])
    plain, eager = trained(Recorder(), FIELDS[1])
    other, other_steps = copy.deepcopy(state), replace(steps)
    for one_state, its_steps in ((other, other_steps), (state, steps), (plain, eager)):
        stream = feed()
        stream.position = one_state.counters.images_seen
        for _ in range(WARM_UP + 2):
            its_steps.cycle(one_state, stream)
    assert same(state.model_tensors(), plain.model_tensors())


def test_only_cuda_records() -> None:
    assert recorder_for(torch.device("cpu")).backend is None
    assert isinstance(recorder_for(torch.device("cuda")).backend, CudaGraphs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("fields", FIELDS, ids=lambda f: f.get("objective.kind", "wgan-gp"))
def test_cuda_graphs(fields: dict[str, Any]) -> None:
    notes: list[str] = []
    states = []
    for recorder in (Recorder(), Recorder(CudaGraphs(), notes.append)):
        state, steps = parts("wgan-gp", fields, device=torch.device("cuda"))
        steps.recorder = recorder
        stream = feed(device=torch.device("cuda"))
        for _ in range(12):
            steps.cycle(state, stream)
        states.append(state)
    assert notes == [] and recorder.backend is not None
    origin, _ = parts("wgan-gp", fields)
    start = torch.cat([p.detach().flatten() for p in origin.critic.parameters()])
    plain, recorded = (torch.cat([p.detach().cpu().flatten() for p in s.critic.parameters()]) for s in states)
    assert (recorded - plain).norm() < 0.1 * (plain - start).norm()
