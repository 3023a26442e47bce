"""Images a second: precisions, what is outside of recorded steps, and against other trainers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import peers
import step
import torch
from timing import in_turn, seconds, spread, wait
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gpu_parts.check import Check
from kantor.config.schema import Config
from kantor.engine import passes
from kantor.engine.cuda_graphs import relative_error
from kantor.engine.schedule import steps_in_cycle
from kantor.engine.step_random import StepRandom
from kantor.objectives.penalties import points

ROUNDS = 5


def repeated(call: Callable[[], object], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            call()

    return run


# --- bfloat16 -----------------------------------------------------------------------------------------------------


def bfloat16(check: Check) -> str:
    """bfloat16 against float32: images a second of recorded cycles, and the relative difference of gradients."""
    if "bfloat16" not in check.precisions:
        return "this device does not compute in it"
    texts = []
    for preset in ("default", "wgan-gp"):
        config, errors = check.config(preset), dict[tuple[str, str], float]()
        for network, gradients in gradients_of(check, config).items():
            for name in ("float32", "bfloat16"):
                error = relative_error(gradients[name], gradients["float32 without TF32"])
                check.row(f"{preset}: {network}", name, "gradients against float32 without TF32", error, "relative")
                errors[network, name] = error
        contestants = {precision: check.ours(config, precision) for precision in check.precisions}
        every = contestants["float32"].steps.objective.round_of_penalties
        times = 1 if check.tiny else max(1, 16 // every)
        cycles = {name: repeated(ours.cycle, every * times) for name, ours in contestants.items()}
        spent = in_turn(cycles, check.device, 1 if check.tiny else ROUNDS, until_s=check.until_s)
        images = config.train.batch * steps_in_cycle(config.cycle, 0)[0] * every * times
        for precision, each in spent.items():
            check.row(preset, precision, "images a second, recorded", images / statistics.median(each))
        ratios = [a / b for a, b in zip(spent["float32"], spent["bfloat16"], strict=True)]
        check.row(preset, "bfloat16", "faster than float32 by", statistics.median(ratios))
        texts.append(f"{preset} {spread(ratios)}, critic's gradients differ by {errors['critic', 'bfloat16']:.1%}")
    return f"bfloat16 is faster than float32 by: {'; '.join(texts)}"


def gradients_of(check: Check, config: Config) -> dict[str, dict[str, list[Tensor]]]:
    """Gradients of the generator and of the critic with all its penalties, on the same weights and inputs."""
    ours = check.ours(config, "float32", record=False)
    state, objective, count = ours.state, ours.steps.objective, config.train.batch
    random, real = StepRandom(0, 0, 0, check.device), ours.feed.take(count)
    (fake,) = ours.steps.fakes(state, [real], random, 0)
    uniform = random.uniform("interpolation", 0, (count,))
    at = {n: points(p.at, real.images, fake, uniform) for n, p in objective.penalties.items() if p.batch is None}
    latents = random.latents("generator-latents", 0, count, config.generator)
    found: dict[str, dict[str, list[Tensor]]] = {"generator": {}, "critic": {}}
    for name in ("float32 without TF32", "float32", "bfloat16"):
        precision, tf32 = name.split()[0], name == "float32"
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
            inputs = passes.GeneratorInputs(latents, real)
            outcome = passes.generator_pass(state.generator, state.critic, objective, precision, inputs)
            found["generator"][name] = outcome.gradients
            critic_inputs = passes.CriticInputs(real, fake, at)
            outcome = passes.critic_pass(state.critic, objective, objective.penalties, precision, critic_inputs)
            found["critic"][name] = outcome.gradients
    return found


# --- points -------------------------------------------------------------------------------------------------------


def interpolation(check: Check) -> str:
    """What it costs to compute a penalty's points before the recorded step, and what else the host does in a cycle."""
    precision = check.precisions[-1]
    ours = check.ours(check.wgan_gp(64), precision)
    count, critic_steps = 2 if check.tiny else 20, peers.CRITIC_STEPS
    random, batch = StepRandom(0, 0, 0, check.device), ours.feed.take(ours.steps.config.train.batch).images
    at, fixed = ours.steps.objective.penalties["gradient"].at, random.uniform("interpolation", 0, (len(batch),))

    def without() -> None:
        unchanged = mock.patch("kantor.engine.penalty_points.points", lambda at, real, fake, *_: fake)
        with unchanged, mock.patch.object(StepRandom, "uniform", lambda *_: fixed):
            ours.cycle()

    contestants = {"with": repeated(ours.cycle, count), "without": repeated(without, count)}
    spent = in_turn(contestants, check.device, 1 if check.tiny else ROUNDS, until_s=check.until_s)
    ms = {name: 1000 * statistics.median(each) / count for name, each in spent.items()}
    ratios = [a / b - 1 for a, b in zip(spent["with"], spent["without"], strict=True)]

    def alone() -> None:
        points(at, batch, batch, random.uniform("interpolation", 0, (len(batch),)))

    seconds(alone, check.device)
    alone_ms = 1000 * seconds(repeated(alone, 100), check.device) / 100
    wait(check.device)
    began_s = time.perf_counter()
    repeated(ours.cycle, count)()
    host_ms = 1000 * (time.perf_counter() - began_s) / count
    wait(check.device)
    for measure, value in [
        ("a recorded cycle", ms["with"]),
        ("a recorded cycle with points that are there already", ms["without"]),
        ("points of one critic step by themselves", alone_ms),
        ("the host's part of a cycle", host_ms),
    ]:
        check.row("wgan-gp, no norm in the critic", precision, measure, value, "ms")
    return (
        f"points outside of the recording cost {statistics.median(ratios):.1%} of a cycle of {ms['with']:.2f} ms "
        f"({critic_steps} times {alone_ms:.3f} ms by themselves); the host launches a cycle in {host_ms:.2f} ms"
    )


# --- throughput ---------------------------------------------------------------------------------------------------


def product_flops(check: Check, precision: str) -> float:
    """Floating-point operations a second of a matrix product, the best of five; on a GPU float32 is TF32, as in convolutions."""
    size = 256 if check.tiny else 8192 if check.device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=check.device).to(getattr(torch, precision)) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        times = [seconds(lambda: a @ b, check.device) for _ in range(7)][2:]
    finally:
        torch.set_float32_matmul_precision(before)
    return float(2 * size**3 / min(times))


def throughput(check: Check) -> str:
    """Images a second at 64x64 beside the plain loop and other peers: eager, recorded and compiled, in turn."""
    products = {precision: product_flops(check, precision) for precision in check.precisions}
    for precision, rate in products.items():
        check.row("matrix product", precision, "rate", rate / 1e12, "TFLOP/s")
    texts, batches = [], (4,) if check.tiny else (64, 256)
    for batch in batches:  # compiling takes long, so that it comes last
        texts.append(race(check, batch, contestants(check, batch), products))
    if not check.tiny:
        for batch in batches:
            if check.left_s() > 50:
                race(check, batch, contestants(check, batch, compile=True), products)
            else:
                print(f"no time is left for compiled steps at batch {batch}")
    return "; ".join(texts)


Contestants = dict[tuple[str, str], Callable[[], object]]


def contestants(check: Check, batch: int, compile: bool = False) -> Contestants:
    """Cycles by (name, precision). compile: compiled steps against recorded ones and the plain loop, in one precision."""
    config, device, images = check.wgan_gp(batch), check.device, 2048 if not check.tiny else 8
    real = torch.rand(config.train.batch, 3, 64, 64, device=device) * 2 - 1
    cycles: Contestants = {}

    def ours(precision: str, **how: bool) -> Callable[[], None]:
        return step.Ours(config, 64, precision, device, images=images, **how).cycle

    for precision in check.precisions[-1:] if compile else check.precisions:
        loop = peers.plain(check.width, device, precision)
        cycles["plain loop", precision] = lambda loop=loop: loop(real)
        cycles["kantor recorded", precision] = ours(precision)
        if compile:
            cycles["kantor compiled", precision] = ours(precision, compile=True)
            continue
        cycles["kantor eager", precision] = ours(precision, record=False)
        if device.type == "cuda":
            cycles["kantor recorded, kernels measured", precision] = kernels_measured(ours(precision))
    for text in [] if compile else check.peers:
        name, _, folder = text.partition("=")
        theirs = peers.PEERS[name](Path(folder), check.width, device)
        cycles[name, "float32"] = lambda theirs=theirs: theirs(real)
    return cycles


def kernels_measured(cycle: Callable[[], None]) -> Callable[[], None]:
    """With cuDNN's choice of kernels by measurement: of those that are recorded."""

    def run() -> None:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
            cycle()

    return run


def race(check: Check, batch: int, cycles: Contestants, products: dict[str, float]) -> str:
    """Lets them run in turn and writes rows; returns a line about recorded steps against the plain loop."""
    batch = 4 if check.tiny else batch
    count = 1 if check.tiny else max(2, 640 // batch)
    flops = flops_of_a_cycle(check, batch)
    runs = {key: repeated(call, count) for key, call in cycles.items()}
    spent = in_turn(
        runs, check.device, 1 if check.tiny else ROUNDS, warm_up=1 if count >= 10 else 3, until_s=check.until_s
    )
    row: dict[tuple[str, str], Any] = {}
    for (name, precision), times in spent.items():
        cycle_s = statistics.median(times) / count
        share = flops / cycle_s / products[precision]
        case = f"{name}, batch {batch}"
        check.row(case, precision, "images a second", peers.CRITIC_STEPS * batch / cycle_s)
        if name.startswith("kantor"):
            check.row(case, precision, "share of the matrix product's rate", share)
            ratios = [a / b for a, b in zip(spent["plain loop", precision], times, strict=True)]
            check.row(case, precision, "faster than the plain loop by", statistics.median(ratios))
            row[name, precision] = f"{spread(ratios)} times the plain loop's rate, {share:.0%} of the matrix product's"
            print(f"{case}, {precision}: {row[name, precision]}", flush=True)
        if name in peers.PEERS:
            ratios = [a / b for a, b in zip(times, spent["kantor recorded", precision], strict=True)]
            check.row(case, precision, "kantor recorded is faster by", statistics.median(ratios))
    precision = check.precisions[-1]
    return f"batch {batch}, {precision}, recorded: {row['kantor recorded', precision]}"


def flops_of_a_cycle(check: Check, batch: int) -> float:
    """Floating-point operations of an eager cycle by torch's formulas."""
    ours = step.Ours(check.wgan_gp(batch), 64, "float32", check.device, record=False, images=2 * batch)
    with Flops() as counted:
        ours.cycle()
    return float(counted.total)


class Flops(TorchDispatchMode):
    """Adds up floating-point operations. (FlopCounterMode hooks modules, which fails where inputs get a gradient.)"""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outcome = func(*args, **kwargs or {})
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **kwargs or {}, out_val=outcome)
        return outcome
