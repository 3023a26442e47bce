"""The engine against hand numbers, torch's own optimizers, and steps written out in plain torch."""

from __future__ import annotations

import copy
import itertools
import json
import math
import platform
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kantor.app.decisions import Decision, Decisions
from kantor.app.training.intervals import length_in_images, round_figure, round_up
from kantor.app.training.measured_choices import choose_threads
from kantor.app.training.trial import Trial
from kantor.config.base import Absent
from kantor.config.optimizer import (
    AdamConfig,
    ConstantCycle,
    InverseRandomRate,
    JumpRate,
    LinearRate,
    OverdoseCycle,
    PiecewiseRate,
    RmspropConfig,
    SgdConfig,
)
from kantor.config.schema import Config
from kantor.config.training import EmaConfig
from kantor.data.loading.order import Order
from kantor.engine import ema, optimizers
from kantor.engine.elementwise import SGD, Adam, Optimizer
from kantor.engine.loop import Plan, crossed
from kantor.engine.schedule import TrainingProgress, check_schedules, learning_rate, steps_in_cycle
from kantor.engine.tally import Tally
from kantor.errors import ConfigError
from support.engine_fakes import CPU, InMemory, copies, count_page_faults, feed, parts, same
from support.processes import Forked

OPTIMIZERS = [AdamConfig(), AdamConfig(betas=(0.5, 0.999)), SgdConfig(), SgdConfig(momentum=0.9)]
OPTIMIZERS += [RmspropConfig(alpha=alpha) for alpha in (0.99, 0.9, 0.7, 1 / 3, 0.0)]


# --- schedules ------------------------------------------------------------------------------------------------------


def test_steps_in_cycle() -> None:
    assert {steps_in_cycle(ConstantCycle(critic_steps=5, generator_steps=3), n) for n in range(99)} == {(5, 3)}
    overdoses = [n for n in range(1600) if steps_in_cycle(OverdoseCycle(generator_steps=2), n) == (100, 2)]
    assert overdoses == [*range(25), 500, 1000, 1500]
    assert {steps_in_cycle(OverdoseCycle(), n) for n in range(1600) if n not in overdoses} == {(5, 1)}


def test_learning_rates_by_hand() -> None:
    def rate(schedule: Any, epoch: float = 0, share: float = 0) -> float:
        return learning_rate(AdamConfig(lr=0.01, schedule=schedule), TrainingProgress(3, 0, epoch, share, 0), "critic")

    pieces = PiecewiseRate(until=[2, 5], rates=[1e-3, 1e-4, 1e-5])
    assert [rate(pieces, epoch=e) for e in (0, 1.99, 2, 4.99, 5, 99)] == [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
    linear = LinearRate(hold=0.5, final=0.1)
    got = [rate(linear, share=s) for s in (0, 0.5, 0.75, 1)]
    assert got == pytest.approx([0.01, 0.01, 0.0055, 0.001], rel=1e-12)
    assert rate(AdamConfig().schedule, 50, 0.5) == 0.01
    for wrong in (PiecewiseRate(until=[2], rates=[1e-3]), PiecewiseRate(until=[5, 2], rates=[1e-3] * 3)):
        with pytest.raises(ConfigError, match="do not make a schedule"):
            check_schedules(AdamConfig(), AdamConfig(schedule=wrong))
    check_schedules(AdamConfig(schedule=pieces))


def test_random_learning_rates() -> None:
    def rates(schedule: Any, attempt: int = 0, name: str = "critic") -> np.ndarray:
        config = AdamConfig(lr=1e-3, schedule=schedule)
        return np.array([learning_rate(config, TrainingProgress(n, attempt, 0, 0, 5), name) for n in range(3000)])

    inverse = 1 / rates(InverseRandomRate(low=1e-4))
    assert 1000 <= inverse.min() < 1050
    assert 10950 < inverse.max() <= 11000
    assert abs(inverse.mean() - 6000) < 5 * 10000 / math.sqrt(12 * 3000)
    assert (rates(InverseRandomRate()) == 1 / inverse).all()
    for other in (rates(InverseRandomRate(), 1), rates(InverseRandomRate(), name="generator")):
        assert abs(np.corrcoef(1 / other, inverse)[0, 1]) < 0.1
    jumps = rates(JumpRate(probability=0.1, rate=0.5))
    assert set(jumps) == {1e-3, 0.5}
    assert abs((jumps == 0.5).mean() - 0.1) < 5 * math.sqrt(0.09 / 3000)


# --- EMA, tally, plan, feed -----------------------------------------------------------------------------------------


def test_ema() -> None:
    config = EmaConfig(half_life_images=1000, warmup=0)
    assert ema.decay(config, 64, 0) ** (1000 / 64) == pytest.approx(0.5, rel=1e-9)
    assert ema.decay(EmaConfig(half_life_images=1000, warmup=0.05), 64, 2000) == pytest.approx(0.5 ** (64 / 100))
    assert ema.decay(EmaConfig(half_life_images=1000, warmup=0.05), 64, 20_000) == ema.decay(config, 64, 0)
    assert ema.decay(Absent(), 64, 9) == ema.decay(EmaConfig(), 64, 0) == 0
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average, oracle = copy.deepcopy(network), AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    oracle.update_parameters(network)
    for _ in range(10):
        with torch.no_grad():
            for tensor in network.state_dict().values():
                tensor.add_(1 if tensor.dtype == torch.int64 else torch.randn_like(tensor))
        ema.update(average, network, 0.9)
        oracle.update_parameters(network)
    for mine, theirs in zip(average.parameters(), oracle.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert all(torch.equal(a, b) for a, b in zip(average.buffers(), network.buffers(), strict=True))


def test_tally(monkeypatch: pytest.MonkeyPatch) -> None:
    tally, reads = Tally(CPU), []
    tally.sum("a", torch.tensor([1.0, 3.0]))
    tally.count(["a"])
    tally.sum("a", torch.tensor(4.0))
    tally.count(["a"])
    tally.sum("b", torch.tensor([0.1]))
    tally.count(["b"])
    tolist = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda tensor: reads.append(1) or tolist(tensor))
    monkeypatch.setattr(Tensor, "item", None)
    assert tally.read() == {"a": (6.0, 2), "b": (pytest.approx(0.1), 1)}
    assert reads == [1]
    other = Tally(CPU)
    other.load(tally.read())
    for one in (tally, other):
        one.sum("a", torch.tensor(1e-9))
        one.count(["a"])
    assert other.read() == tally.read() == {"a": (6.000000001, 3), "b": (pytest.approx(0.1), 1)}
    tally.clear()
    assert tally.read() == {}


def test_plan() -> None:
    assert [n for n in range(0, 40, 4) if crossed(n, n + 4, 10)] == [8, 16, 28, 36]
    plan = Plan(10**6, 1, 5000, 1, 0.0)
    assert [n for n in range(0, 16_000, 64) if plan.sample_due(n, n + 64)] == [
        n // 64 * 64 if n % 64 else n - 64 for n in (250, 500, 1000, 2000, 4000, 5000, 10_000, 15_000)
    ]
    for exponent, (value, figure) in itertools.product(
        range(15), [(1, 1), (1.99, 1), (2, 2), (4.9, 2), (5, 5), (9, 5)]
    ):
        assert round_figure(value * 10**exponent) == figure * 10**exponent
        assert round_figure(value * 10**exponent) <= round_up(value * 10**exponent)
    assert round_figure(0.3) == 1
    assert [round_up(value) for value in (0.3, 1, 1.01, 2, 2.5, 5, 6, 20, 201, 100_000.5)] == [
        1, 1, 2, 2, 5, 5, 10, 20, 500, 200_000,
    ]  # fmt: skip
    assert [length_in_images(*a) for a in ((100, 300, 64), (12_345.6, 300, 64), (1, 1, 64))] == [28_500, 3_510_000, 640]


def test_feed() -> None:
    one, rows = feed(labels=True), Order(10, 7).rows(0, 24)
    batches = [one.take(n) for n in (4, 12, 8)]  # over two ends of an epoch
    assert one.position == 24
    got = torch.cat([b.images for b in batches])
    torch.testing.assert_close(got, torch.from_numpy(InMemory().pixels[rows] / 127.5 - 1).float().permute(0, 3, 1, 2))
    assert torch.cat([b.labels for b in batches]).tolist() == (rows % 3).tolist()
    assert feed().take(2).labels is None
    turned = torch.cat([b.images for b in map(feed(mirror=True).take, [8] * 3)])
    kept = [torch.equal(a, b) for a, b in zip(turned, got, strict=True)]
    assert 4 < sum(kept) < 20
    for is_kept, a, b in zip(kept, turned, got, strict=True):
        assert is_kept or torch.equal(a, b.flip(2))
    late = feed(mirror=True)
    late.position = 16
    assert torch.equal(late.take(8).images, turned[16:])


# --- optimisers and state -------------------------------------------------------------------------------------------


def tensors_of(optimizer: Optimizer, network: nn.Module) -> dict[str, Tensor]:
    return copies(network.state_dict() | dict(optimizers.state_tensors(optimizer, network)))


def channels_last() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, (4, 3)), nn.Conv2d(4, 2, 3)).to(memory_format=torch.channels_last)


def gradients_like(network: nn.Module, step: int, factor: float = 1) -> list[Tensor]:
    """Contiguous, as double backward makes them, where parameters are channels-last."""
    rng = torch.Generator().manual_seed(step)
    return [factor * torch.randn(p.shape, generator=rng) for p in network.parameters()]


@pytest.mark.parametrize("config", OPTIMIZERS, ids=lambda c: getattr(c, "kind", str(c)))
def test_optimizers_equal_those_of_torch(config: Any) -> None:
    """Also where gradients lie otherwise in memory than parameters, and after a journey through a file."""
    network = channels_last()
    oracle = copy.deepcopy(network)
    parameters, lr = list(oracle.parameters()), 0.01
    theirs: torch.optim.Optimizer = torch.optim.SGD(parameters, lr, getattr(config, "momentum", 0), foreach=False)
    if config.kind == "adam":
        theirs = torch.optim.Adam(parameters, lr, config.betas, config.eps, foreach=False)
    elif config.kind == "rmsprop":
        theirs = torch.optim.RMSprop(parameters, lr, config.alpha, config.eps, foreach=False)
    mine = optimizers.build_optimizer(config, network)
    optimizers.set_rate(mine, lr)
    for step in range(20):
        if step == 10:
            stored = {
                n: v.clone(memory_format=torch.contiguous_format) for n, v in optimizers.state_tensors(mine, network)
            }
            mine = optimizers.build_optimizer(config, network)
            optimizers.set_rate(mine, lr)
            optimizers.load_state_tensors(mine, network, stored)
        gradients = gradients_like(network, step)
        assert optimizers.apply(mine, gradients) == 0
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        theirs.step()
    for a, b in zip(network.parameters(), parameters, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtypes", [(torch.float32,), (torch.float32, torch.float64)])
@pytest.mark.parametrize("momentum", [None, 0.0, 0.9])
def test_fused_steps_equal_those_of_torch_to_the_bit(momentum: float | None, dtypes: tuple[torch.dtype, ...]) -> None:
    """momentum: of SGD; None for Adam."""
    rng, lr = torch.Generator().manual_seed(3), torch.tensor(0.01)
    starts = [torch.randn(5, 7, generator=rng).to(dtype) for dtype in dtypes for _ in range(3)]
    ours, theirs = ([nn.Parameter(start.clone()) for start in starts] for _ in range(2))
    oracle: torch.optim.Optimizer = torch.optim.Adam(theirs, lr, (0.5, 0.9), 1e-7, fused=True)
    mine: Optimizer = Adam(ours, lr, (0.5, 0.9), 1e-7)
    if momentum is not None:
        oracle, mine = torch.optim.SGD(theirs, lr, momentum, fused=True), SGD(ours, lr, momentum)
    for skipped in (0.0, 0.0, 1.0, 0.0):
        mine.found_inf = torch.tensor(skipped)
        oracle.found_inf = mine.found_inf  # type: ignore[attr-defined]
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(5, 7, generator=rng).to(a.dtype)
            b.grad = a.grad.clone()
        mine.step()
        oracle.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert all(
        torch.equal(mine.state[a][k], v)
        for a, b in zip(ours, theirs, strict=True)
        for k, v in oracle.state[b].items()
        if v is not None
    )


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("config", OPTIMIZERS, ids=lambda c: getattr(c, "kind", str(c)))
def test_a_step_that_is_not_finite_changes_nothing(config: Any, before: int) -> None:
    network, twin = channels_last(), channels_last()
    mine, other = (optimizers.build_optimizer(config, n) for n in (network, twin))
    for step in range(before):
        optimizers.apply(mine, gradients_like(network, step))
        optimizers.apply(other, gradients_like(twin, step))
    kept = tensors_of(mine, network)
    for spoiled, value in itertools.product((0, 3), (math.nan, math.inf, -math.inf)):
        gradients = gradients_like(network, 50)
        gradients[spoiled].view(-1)[1] = value
        assert optimizers.apply(mine, gradients) == 1
    now = tensors_of(mine, network)
    assert same({name: now[name] for name in kept}, kept)
    for step in (60, 61):
        assert optimizers.apply(mine, gradients_like(network, step)) == 0
        optimizers.apply(other, gradients_like(twin, step))
    assert same(tensors_of(mine, network), tensors_of(other, twin))
    assert not any(torch.equal(kept[f"0.{part}"], network.state_dict()[f"0.{part}"]) for part in ("weight", "bias"))


@pytest.mark.parametrize("preset", ["default", "dcgan", "wgan", "wgan-gp"])
def test_a_state_survives_saving_and_loading(preset: str) -> None:
    state, steps = parts(preset)
    stream = feed()
    for _ in range(2):
        steps.cycle(state, stream)
    other, _ = parts(preset, {"train.seed": 5})
    assert not same(other.model_tensors(), state.model_tensors())
    values = json.loads(json.dumps(state.values()))
    stored = {n: v.contiguous() for n, v in copies(state.optimizer_tensors()).items()}
    other.load(copies(state.model_tensors()), stored, values)
    again = feed()
    again.position = stream.position
    for one, images in ((state, stream), (other, again)):
        steps.cycle(one, images)
    assert other.values() == state.values()
    assert same(other.model_tensors(), state.model_tensors())
    assert same(other.optimizer_tensors(), state.optimizer_tensors())


def test_the_faster_number_of_threads_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """All cores or one, whichever trains faster now; a number in the environment is left alone."""
    rates = {3: 100.0, 1: 250.0}
    count = [3]
    monkeypatch.setattr(torch, "get_num_threads", lambda: count[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda n: count.__setitem__(0, n))
    monkeypatch.setattr(Trial, "images_per_second", lambda *_: rates[count[0]])
    run: Any = SimpleNamespace(device=CPU, config=Config(), feed=feed(), steps=lambda note: parts("wgan-gp")[1])
    run.with_config = lambda config: run

    measured: list[float | None] = []

    def chosen() -> list[Decision]:
        decisions = Decisions(Config())
        measured.append(choose_threads(decisions, run, None))
        return decisions.entries

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert chosen() == [] and count[0] == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert chosen()[0].value == count[0] == 1
    rates[1], count[0] = 50.0, 3
    assert chosen()[0].value == count[0] == 3
    assert measured == [None, 250.0, 100.0], "the rate of those chosen"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_reused_for_the_next_tensor() -> None:
    process = Forked(count_page_faults)
    without, kept = map(int, process.communicate()[0].split())
    assert without > 10_000
    assert kept < without / 10
