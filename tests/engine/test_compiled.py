"""Compiled passes: traced with all derivatives, they equal eager passes and do the same work."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import kantor
from kantor.app.decisions import Decisions
from kantor.app.training import parts as parts_module
from kantor.app.training.measured_choices import choose_compiled
from kantor.app.training.options import TrainOptions
from kantor.app.training.trial import Trial
from kantor.engine.compiled import Compiler, Kernel, Kernels, inductor
from kantor.engine.cuda_graphs import Recorder
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.types import ImageSpec
from support import engine_fakes
from support.dispatch import HostWaits, MultiplyAdds
from support.engine_fakes import feed, large, parts, same
from support.tape import FIELDS, Tape

SMALLEST = ImageSpec(8, 8, 3)  # fewer layers to trace and to compile

R1 = {"objective.penalties": {"r1": {"at": {"kind": "real"}, "every": 2}}}
COMPILER = shutil.which("g++") or shutil.which("clang++")
KINDS: list[dict[str, Any]] = [
    *FIELDS,
    {"objective.kind": "relativistic", "critic.norm": "none", **R1},
    {"generator.kind": "resnet", "critic.kind": "resnet", "cycle.critic_steps": 2},
    {"generator.kind": "upsampling", "critic.kind": "upsampling", "critic.norm": "none", "generator.equalised": True},
    {"generator.kind": "channels", "critic.kind": "channels"},
    {"generator.norm": "batch", "critic.minibatch_stddev": "batch", "critic.equalised": True, "cycle.critic_steps": 2},
]


class Traced:
    """In the place of a compiler: runs the graph, operator by operator."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule) -> Kernel:
        self.graphs.append(graph)
        return graph


def trained(
    compiler: Compiler, fields: dict[str, Any], cycles: int = 5, spec: ImageSpec = SMALLEST
) -> tuple[State, Steps]:
    return engine_fakes.trained(fields, cycles, spec, compiler=compiler)


@pytest.mark.parametrize("fields", KINDS, ids=str)
def test_traced_steps_equal_eager_steps(fields: dict[str, Any]) -> None:
    """Bit for bit, buffers and sums too: the graph has the very operators that are run."""
    notes: list[str] = []
    plain, _ = trained(Compiler(), fields)
    compiler = Traced()
    compiled, _ = trained(Compiler(compiler, note=notes.append), fields)
    assert notes == []
    assert len(compiler.graphs) >= 2
    assert same(compiled.model_tensors(), plain.model_tensors())
    assert compiled.values() == plain.values()


def test_each_kind_of_pass_is_compiled_once_for_all_states() -> None:
    fields = {"objective.kind": "relativistic", "critic.norm": "none", "generator.norm": "pixel", **R1}
    compiler = Traced()
    kernels: Kernels = {}
    first, _ = trained(Compiler(compiler, kernels=kernels), fields)
    assert len(compiler.graphs) == len(kernels) == 4  # images, critic with and without the penalty, generator
    again, _ = trained(Compiler(compiler, kernels=kernels), fields)
    assert len(compiler.graphs) == 4
    assert same(first.model_tensors(), again.model_tensors())


def test_traced_graph_does_no_work_on_zeros() -> None:
    """10F, as in the eager step: what `nets.double_backward` leaves out is not traced either."""
    state, steps, real, random = large("wgan-gp")
    (fake,) = steps.fakes(state, [real], random, 0)

    def work() -> int:
        with MultiplyAdds() as seen:
            steps.critic_step(state, real, fake, random, 0)
        return seen.total

    eager = work()
    steps = replace(steps, compiler=Compiler(Traced()))
    work()
    assert work() == eager


def test_compiled_steps_never_wait_for_the_device() -> None:
    state, steps = trained(Compiler(Traced()), FIELDS[1], 2)
    stream = feed(SMALLEST)
    stream.take(4)
    with HostWaits() as waits:
        steps.cycle(state, stream)
    assert waits.found == []


def test_compiled_passes_can_be_recorded() -> None:
    tape = Tape()
    plain, _ = trained(Compiler(), FIELDS[0], 8)
    state, _ = engine_fakes.trained(FIELDS[0], 8, SMALLEST, compiler=Compiler(Traced()), recorder=Recorder(tape))
    assert tape.replayed > tape.recorded >= 3
    assert same(state.model_tensors(), plain.model_tensors())


def spoiling(spoil: Callable[[list[torch.Tensor]], None]) -> Callable[[torch.fx.GraphModule], Kernel]:
    """A compiler whose critic and generator passes go wrong; generating images (one tensor) goes well."""

    def compile(graph: torch.fx.GraphModule) -> Kernel:
        def run(*tensors: torch.Tensor) -> list[torch.Tensor]:
            results = [*graph(*tensors)]
            if len(results) > 1:
                spoil(results)
            return results

        return run

    return compile


def scale_gradients(results: list[torch.Tensor]) -> None:
    for gradient in results[:3]:
        gradient.mul_(1.1)


def turn_one_gradient(results: list[torch.Tensor]) -> None:
    results[0].neg_()


def shift_a_value(results: list[torch.Tensor]) -> None:
    results[-1].add_(100)


def lose_a_number(results: list[torch.Tensor]) -> None:
    results[1].select(0, 0).fill_(math.nan)


SPOILT = [turn_one_gradient, shift_a_value, lose_a_number]


@pytest.mark.parametrize(  # a tenth of the gradients is within what rounding does to bfloat16
    ("precision", "spoil"), [("float32", s) for s in (scale_gradients, *SPOILT)] + [("bfloat16", s) for s in SPOILT]
)
def test_a_compiled_pass_that_differs_is_rejected(spoil: Any, precision: str) -> None:
    notes: list[str] = []
    plain, _ = trained(Compiler(), KINDS[-1])
    kernels: Kernels = {}
    state, steps = trained(Compiler(spoiling(spoil), precision, notes.append, kernels), KINDS[-1])
    assert [kind[0] for kind in kernels] == ["fakes"]
    assert len(notes) == 1
    assert "a compiled step differs from an eager one by" in notes[0]
    assert "falling back to eager steps" in notes[0]
    assert not steps.compiler.compiles
    assert same(state.model_tensors(), plain.model_tensors())


@pytest.mark.parametrize("cycles", [0, 20])
def test_a_compiled_pass_that_skips_a_buffer_is_rejected(cycles: int) -> None:
    """Also late in a run, when running statistics hardly move."""
    notes: list[str] = []

    def compile(graph: torch.fx.GraphModule) -> Kernel:
        return lambda *tensors: graph(*[t.clone() for t in tensors])

    plain, steps = trained(Compiler(), KINDS[-1], cycles)  # batch norm
    state, late = trained(Compiler(), KINDS[-1], cycles)
    late = replace(late, compiler=Compiler(compile, "bfloat16", notes.append))
    for one_state, its_steps in ((plain, steps), (state, late)):
        its_steps.cycle(one_state, feed(SMALLEST))
    assert "differs" in notes[0]
    assert same(state.model_tensors(), plain.model_tensors())


def nearly(graph: torch.fx.GraphModule) -> Kernel:
    """A compiler that rounds in its own way."""

    def run(*tensors: torch.Tensor) -> list[torch.Tensor]:
        return [t * (1 + 1e-5) for t in graph(*tensors)]

    return run


def test_steps_stay_eager_if_compiling_fails() -> None:
    def compile(graph: torch.fx.GraphModule) -> Kernel:
        raise RuntimeError("no C++ compiler was found\nand much more")

    notes: list[str] = []
    plain, _ = trained(Compiler(), KINDS[-1])
    state, _ = trained(Compiler(compile, note=notes.append), KINDS[-1])
    assert notes == ["steps cannot be compiled here (no C++ compiler was found); falling back to eager steps"]
    assert same(state.model_tensors(), plain.model_tensors())


def test_networks_with_dropout_are_not_compiled() -> None:
    compiler = Traced()
    state, steps = trained(Compiler(compiler), {"critic.dropout": 0.5}, spec=ImageSpec(16, 16, 3))
    assert compiler.graphs == []
    assert not steps.compilable(state)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    compiler = Traced()
    monkeypatch.setattr(parts_module, "inductor", compiler)
    yield compiler


TRAIN: dict[str, Any] = {
    "size": 8, "channels": "rgb", "batch": 8, "images": 160,
    "overrides": {"generator.width": 4, "critic.width": 4, "data.glyphs.count": 60},
}  # fmt: skip


@pytest.mark.parametrize(("rates", "decided"), [((200.0, 100.0), True), ((104.0, 100.0), False)])
def test_the_faster_steps_are_used_and_written_to_the_configuration(
    rates: tuple[float, float], decided: bool, traced: Traced, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:  # fmt: skip
    def rate(trial: Trial, seconds: float) -> float:
        return rates[0 if trial.steps.compiler.compiles else 1]

    monkeypatch.setattr(Trial, "images_per_second", rate)
    run = kantor.train(**TRAIN, compile=True, runs=tmp_path)
    assert run.reason == "done"
    said = (
        rf"train\.compile +{str(decided).lower()} +measured {rates[0]:.0f} images a second compiled and 100 otherwise"
    )
    assert re.search(said, "".join(capsys.readouterr()))
    assert f"compile = {str(decided).lower()}" in (run.path / "config.toml").read_text()
    assert len(traced.graphs) == 5  # what was compiled to be measured serves the run


CONSTANT = {f"optimizer.{network}.schedule.kind": "constant" for network in ("critic", "generator")}
ON = {
    **TRAIN,
    "overrides": {**TRAIN["overrides"], **CONSTANT, "train.compile": True, "train.snapshot_images": 80},
}


@pytest.mark.parametrize(
    "own",
    [{}, {"generator.norm": "batch", "generator.kind": "dcgan", "cycle.shared_images": False}],
    ids=["", "batch norm"],
)
def test_a_resumed_run_repeats_the_bits_of_compiled_steps(
    own: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled steps round in other places: a single eager step in their place would change the weights."""
    monkeypatch.setattr(parts_module, "inductor", nearly)
    on = {**ON, "overrides": {**ON["overrides"], **own}}
    whole = kantor.train(**on, runs=tmp_path / "whole")
    half = kantor.train(**{**on, "images": 80}, runs=tmp_path / "half")
    again = kantor.train(resume=half, images=160, runs=tmp_path / "half")
    plain = kantor.train(**{**on, "overrides": {**on["overrides"], "train.compile": False}}, runs=tmp_path / "plain")
    weights = [(run.path / "generator.safetensors").read_bytes() for run in (again, whole, plain)]
    assert weights[0] == weights[1] != weights[2]


def test_compile_may_change_on_resume_and_a_line_says_what_that_means(
    traced: Traced, tmp_path: Path, capsys: Any
) -> None:
    run = kantor.train(**{**TRAIN, "images": 80}, runs=tmp_path)
    assert traced.graphs == []
    kantor.train(resume=run, images=160, overrides={"train.compile": True}, runs=tmp_path)
    assert traced.graphs
    assert "train.compile: false -> true: numbers will differ by rounding" in "".join(capsys.readouterr())


def test_a_compiler_that_fails_is_called_once_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    asked: list[torch.fx.GraphModule] = []

    def fails(graph: torch.fx.GraphModule) -> Kernel:
        asked.append(graph)
        raise RuntimeError("no C++ compiler was found")

    monkeypatch.setattr(parts_module, "inductor", fails)
    run = kantor.train(**ON, runs=tmp_path)
    said = "".join(capsys.readouterr())
    assert len(asked) == 1 and said.count("no C++ compiler was found") == 1
    assert re.search(r"train\.compile +false +not possible here", said)
    assert "compile = false" in (run.path / "config.toml").read_text()


def custom_critic(config: Any, spec: Any, classes: int) -> torch.nn.Module:
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(spec.height * spec.width * spec.channels, 1), torch.nn.Flatten(0)
    )
    network.traits = kantor.Traits(mixes_batch=False, normalisation="none")  # type: ignore[assignment]
    network.forward = lambda x, labels=None: torch.nn.Sequential.forward(network, x)  # type: ignore[method-assign, assignment]
    return network  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"critic.kind": "custom", "critic.name": "flat"}, "custom networks and losses are not compiled"),
        ({"critic.dropout": 0.3}, "networks with dropout are not compiled"),
    ],
)
def test_a_line_says_why_nothing_is_compiled(
    fields: dict[str, Any], reason: str, traced: Traced, tmp_path: Path, capsys: Any
) -> None:
    kantor.critic("flat")(custom_critic)
    for asked in (True, "auto"):
        options = {**TRAIN, "overrides": {**TRAIN["overrides"], **fields, "train.compile": asked}, "size": 16}
        kantor.train(**options, runs=tmp_path)  # of images of 8x8 the critic would have no layer with dropout
        assert re.search(rf"train\.compile +false +{reason}", "".join(capsys.readouterr()))
    assert traced.graphs == []


def test_nothing_is_compiled_if_little_time_is_left(traced: Traced) -> None:
    state, steps = parts("wgan-gp", {"train.compile": "auto"})
    few = SimpleNamespace(custom=False, feed=feed(), objective=steps.objective, state=lambda: state)
    few.with_config = lambda config: few
    few.steps = lambda note: Steps(steps.config, few.objective, "float32", 1, compiler=Compiler(traced))
    decisions = Decisions(steps.config)
    choose_compiled(decisions, few, TrainOptions(budget_s=60.0), lambda line: None)  # type: ignore[arg-type]
    assert decisions.config.train.compile is False
    assert "less than two minutes are left, too few to gain" in "".join(decisions.table())
    assert traced.graphs == []


def test_compiled_steps_with_classes(traced: Traced, tmp_path: Path) -> None:
    runs = [
        kantor.train(
            **{**TRAIN, "overrides": {**TRAIN["overrides"], "train.compile": compiled}},
            conditional=True,
            runs=tmp_path / str(compiled),
        )
        for compiled in (True, False)
    ]
    weights = [(run.path / "generator.safetensors").read_bytes() for run in runs]
    assert traced.graphs and weights[0] == weights[1]


@pytest.mark.skipif(COMPILER is None, reason="compiling for a processor needs a C++ compiler")
@pytest.mark.parametrize(
    "fields", [{"cycle.critic_steps": 1, "critic.minibatch_stddev": "batch"}], ids=["layer norm, batch norm"]
)
def test_inductor_gives_eager_steps_to_rounding(fields: dict[str, Any]) -> None:
    for part in ("critic", "generator"):  # Adam would make much of gradients that are nothing but rounding
        fields |= {f"optimizer.{part}.kind": "sgd", f"optimizer.{part}.lr": 0.01}
    notes: list[str] = []
    plain, _ = trained(Compiler(), fields, 3)
    compiled, steps = trained(Compiler(inductor, note=notes.append), fields, 3)
    assert notes == [] and len(steps.compiler._kernels) == 3
    theirs = compiled.model_tensors()
    for name, value in plain.model_tensors().items():
        assert torch.allclose(theirs[name].double(), value.double(), rtol=1e-4, atol=1e-6), name
