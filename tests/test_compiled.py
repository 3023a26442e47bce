"""Compiled passes: traced with all their derivatives, they give what the ordinary ones give and do the same work."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import kantor
from dispatch import HostWaits, MultiplyAdds
from engine_fakes import feed, large, parts, same
from kantor.app import run as run_module
from kantor.app.compiling import compiled_where_faster
from kantor.engine.compiled import Compiler, Kernel, inductor
from kantor.engine.record import Recorder
from kantor.engine.state import State
from kantor.engine.steps import Steps
from test_record import FIELDS, Tape

R1 = {"objective.penalties": {"r1": {"at": {"kind": "real"}, "every": 2}}}
COMPILER = shutil.which("g++") or shutil.which("clang++")
KINDS: list[dict[str, Any]] = [
    *FIELDS,
    {"objective.kind": "relativistic", "critic.norm": "none", **R1},
    {"generator.kind": "resnet", "critic.kind": "resnet", "cycle.critic_steps": 2},
    {"generator.kind": "upsampling", "critic.kind": "upsampling", "critic.norm": "none", "generator.equalised": True},
    {"generator.norm": "batch", "critic.minibatch_stddev": "batch", "critic.equalised": True, "cycle.critic_steps": 2},
]


class Traced:
    """In the place of a compiler: runs the graph, operator by operator."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule) -> Kernel:
        self.graphs.append(graph)
        return graph


def trained(compiler: Compiler, fields: dict[str, Any], cycles: int = 5) -> tuple[State, Steps]:
    state, steps = parts("wgan-gp", fields)
    steps.compiler = compiler
    stream = feed()
    for _ in range(cycles):
        steps.cycle(state, stream)
    return state, steps


@pytest.mark.parametrize("fields", KINDS, ids=str)
def test_a_traced_run_is_the_run(fields: dict[str, Any]) -> None:
    """Bit for bit, buffers and sums too: the graph has the very operators that are run."""
    words: list[str] = []
    plain, _ = trained(Compiler(), fields)
    compiler = Traced()
    compiled, _ = trained(Compiler(compiler, words.append), fields)
    assert words == []
    assert len(compiler.graphs) >= 2
    assert same(compiled.model_tensors(), plain.model_tensors())
    assert compiled.values() == plain.values()


def test_each_kind_of_pass_is_compiled_once_for_all_states() -> None:
    fields = {"objective.kind": "relativistic", "critic.norm": "none", "generator.norm": "pixel", **R1}
    compiler, kernels = Traced(), {}
    first, _ = trained(Compiler(compiler, kernels=kernels), fields)
    assert len(compiler.graphs) == len(kernels) == 4  # pictures, critic with and without the penalty, generator
    again, _ = trained(Compiler(compiler, kernels=kernels), fields)
    assert len(compiler.graphs) == 4
    assert same(first.model_tensors(), again.model_tensors())


def test_the_graph_has_no_work_that_ends_in_zeros() -> None:
    """10F, as in the ordinary step: what `nets.pruned` leaves out is not traced either."""
    state, steps, real, draws = large("wgan-gp")
    (fake,) = steps.fakes(state, [real], draws, 0)

    def work() -> int:
        with MultiplyAdds() as seen:
            steps.critic_step(state, real, fake, draws, 0)
        return seen.total

    ordinary = work()
    steps.compiler = Compiler(Traced())
    work()
    assert work() == ordinary


def test_compiled_steps_do_not_wait_for_the_device() -> None:
    state, steps = trained(Compiler(Traced()), FIELDS[1], 2)
    stream = feed()
    stream.take(4)
    with HostWaits() as waits:
        steps.cycle(state, stream)
    assert waits.found == []


def test_compiled_passes_are_recorded_too() -> None:
    tape = Tape()
    plain, _ = trained(Compiler(), FIELDS[0], 8)
    state, steps = parts("wgan-gp", FIELDS[0])
    steps.compiler, steps.recorder = Compiler(Traced()), Recorder(tape)
    stream = feed()
    for _ in range(8):
        steps.cycle(state, stream)
    assert tape.replayed > tape.recorded >= 3
    assert same(state.model_tensors(), plain.model_tensors())


def wrong_by(change: Callable[[torch.Tensor], torch.Tensor], which: slice) -> Callable[[torch.fx.GraphModule], Kernel]:
    def compile(graph: torch.fx.GraphModule) -> Kernel:
        def run(*tensors: torch.Tensor) -> list[torch.Tensor]:
            results = list(graph(*tensors))
            results[which] = [change(t) for t in results[which]]
            return results

        return run

    return compile


@pytest.mark.parametrize(
    "compile",
    [wrong_by(lambda t: 1.1 * t, slice(0, 3)), wrong_by(lambda t: t + 1, slice(-1, None)), wrong_by(torch.zeros_like, slice(None))],
    ids=["some gradients", "a value", "everything"],
)  # fmt: skip
def test_a_compiled_pass_that_differs_is_not_used(compile: Any) -> None:
    words: list[str] = []
    plain, _ = trained(Compiler(), KINDS[-1])
    state, steps = trained(Compiler(compile, words.append), KINDS[-1])
    assert len(words) == 1
    assert "a compiled step differs from an ordinary one by" in words[0]
    assert "training goes on in the ordinary way" in words[0]
    assert not steps.compiler.compiles
    assert same(state.model_tensors(), plain.model_tensors())


def test_a_buffer_that_a_compiled_pass_forgets_is_noticed() -> None:
    words: list[str] = []

    def compile(graph: torch.fx.GraphModule) -> Kernel:
        return lambda *tensors: graph(*[t.clone() for t in tensors])

    plain, _ = trained(Compiler(), KINDS[-1])  # batch norm
    state, _ = trained(Compiler(compile, words.append), KINDS[-1])
    assert "differs" in words[0]
    assert same(state.model_tensors(), plain.model_tensors())


def test_what_cannot_be_compiled_is_run_as_before() -> None:
    def compile(graph: torch.fx.GraphModule) -> Kernel:
        raise RuntimeError("no C++ compiler was found\nand much more")

    words: list[str] = []
    plain, _ = trained(Compiler(), KINDS[-1])
    state, _ = trained(Compiler(compile, words.append), KINDS[-1])
    assert words == ["steps cannot be compiled here (no C++ compiler was found); training goes on in the ordinary way"]
    assert same(state.model_tensors(), plain.model_tensors())


def test_networks_with_dropout_are_not_compiled() -> None:
    compiler = Traced()
    _, steps = trained(Compiler(compiler), {"critic.dropout": 0.5})
    assert compiler.graphs == []
    assert not steps.compilable(trained(Compiler(), {"critic.dropout": 0.5}, 0)[0])


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    compiler = Traced()
    monkeypatch.setattr(run_module, "inductor", compiler)
    yield compiler


TRAIN: dict[str, Any] = {
    "size": 16, "batch": 8, "images": 160,
    "overrides": {"generator.width": 4, "critic.width": 4, "data.glyphs.count": 60},
}  # fmt: skip


@pytest.mark.parametrize(("rates", "decided"), [((200.0, 100.0), True), ((101.0, 100.0), False)])
def test_the_faster_way_is_kept_and_written_down(
    rates: tuple[float, float], decided: bool, traced: Traced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:  # fmt: skip
    monkeypatch.setattr(
        "kantor.app.compiling.pictures_per_second", lambda state, feed, steps, s: rates[0 if steps.compiler.compiles else 1]
    )  # fmt: skip
    run = kantor.train(**TRAIN, compile=True, runs=tmp_path)
    assert run.reason == "done"
    said = (
        f"train.compile = {str(decided).lower()}: measured {rates[0]:.0f} pictures a second compiled and 100 otherwise"
    )
    assert said in "".join(capsys.readouterr())
    assert f"compile = {str(decided).lower()}" in (run.path / "config.toml").read_text()
    assert len(traced.graphs) == 4  # what was compiled to be measured serves the run


def test_a_compiled_run_is_resumed_compiled(traced: Traced, tmp_path: Path) -> None:
    on = {**TRAIN, "overrides": {**TRAIN["overrides"], "train.compile": True, "train.snapshot_images": 80}}
    whole = kantor.train(**on, runs=tmp_path / "whole")
    half = kantor.train(**{**on, "images": 80}, runs=tmp_path / "half")
    graphs = len(traced.graphs)
    again = kantor.train(resume=half, images=160, runs=tmp_path / "half")
    assert len(traced.graphs) > graphs
    assert (again.path / "generator.safetensors").read_bytes() == (whole.path / "generator.safetensors").read_bytes()


def test_compile_may_change_on_the_way_and_a_line_says_what_that_means(
    traced: Traced, tmp_path: Path, capsys: Any
) -> None:
    run = kantor.train(**{**TRAIN, "images": 80}, runs=tmp_path)
    assert traced.graphs == []
    kantor.train(resume=run, images=160, overrides={"train.compile": True}, runs=tmp_path)
    assert traced.graphs
    assert "train.compile: False -> True: numbers will differ by rounding" in "".join(capsys.readouterr())


def test_networks_of_ones_own_are_not_compiled() -> None:
    class Own:
        config, own = parts("wgan-gp", {"train.compile": "auto"})[1].config, True

    config, filled = compiled_where_faster(Own(), lambda line: None)  # type: ignore[arg-type]
    assert config.train.compile is False
    assert str(filled[0]) == "train.compile = false: networks and losses of your own are not compiled"


@pytest.mark.skipif(COMPILER is None, reason="compiling for a processor needs a C++ compiler")
@pytest.mark.parametrize(
    "fields", [{"cycle.critic_steps": 1, "critic.minibatch_stddev": "batch"}], ids=["layer norm, batch norm"]
)
def test_really_compiled_steps_are_the_steps_to_rounding(fields: dict[str, Any]) -> None:
    for part in ("critic", "generator"):  # Adam would make much of gradients that are nothing but rounding
        fields |= {f"optimizer.{part}.kind": "sgd", f"optimizer.{part}.lr": 0.01}
    words: list[str] = []
    plain, _ = trained(Compiler(), fields, 3)
    compiled, steps = trained(Compiler(inductor, words.append), fields, 3)
    assert words == [] and len(steps.compiler._known) == 3
    theirs = compiled.model_tensors()
    for name, value in plain.model_tensors().items():
        assert torch.allclose(theirs[name].double(), value.double(), rtol=1e-4, atol=1e-6), name
