"""Measures images per second against others, and against the time of the convolutions alone.

    python benchmarks/step.py --rounds 7 --out docs/speed-step.csv \\
        [--peer torch-mimicry=FOLDER --peer torchgan=FOLDER --peer EmilienDupont/wgan-gp=FOLDER --peer keras=FOLDER]

Same networks (DCGAN at 64x64, batch norm in the generator, none in the critic), same batch, five critic steps for one of
the generator; "compiled" is what --compile makes of ours. All contestants run in turn, a cycle each a round, after two to
warm up; the ratio is the median over rounds of (their time / ours). A FOLDER holds the peer's source, as it comes from its repository or package.

bfloat16 is left out where the processor would emulate it, which takes hours (--bfloat16 measures it all the same).

`limit` is the time that the convolutions of one of our cycles take when each is run by itself, in the faster of both memory
layouts, over the time of the cycle: the rest is everything else.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import peers
import torch
from timing import in_turn, seconds, spread, table, write
from torch.utils._python_dispatch import TorchDispatchMode

from kantor.config.io import resolve
from kantor.config.schema import Config
from kantor.data.loading.feed import Feed
from kantor.engine.compiled import Compiler, inductor
from kantor.engine.cuda_graphs import Recorder, recorder_for
from kantor.engine.device import choose_device, describe_device, keep_memory
from kantor.engine.precision import choose_precision
from kantor.engine.schedule import steps_in_cycle
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.objectives.objective import build_objective
from kantor.types import ImageSpec


class Images:
    """A packed dataset in memory."""

    def __init__(self, size: int, count: int = 2048) -> None:
        self.spec, self.count, self.condition_channels = ImageSpec(size, size, 3), count, 0
        self._pixels = np.random.default_rng(0).integers(0, 256, (count, *self.spec), np.uint8)

    def images(self, rows: np.ndarray) -> np.ndarray:
        return self._pixels[rows]

    def conditions(self, rows: np.ndarray) -> None:
        return None


class Ours:
    """A run of the engine without its loop, on a dataset of `images`."""

    def __init__(
        self,
        config: Config,
        size: int,
        precision: str,
        device: torch.device,
        compile: bool = False,
        record: bool = True,
        images: int = 2048,
    ) -> None:
        store = Images(size, images)
        self.state, self.feed = State(config, store.spec, 0, device), Feed(store, 0, device)  # type: ignore[arg-type]
        compiler = Compiler(inductor if compile else None, precision, print)
        objective, recorder = build_objective(config.objective), recorder_for(device, print) if record else Recorder()
        self.steps = Steps(config, objective, precision, 10**9, recorder, compiler)

    def cycle(self) -> None:
        self.steps.cycle(self.state, self.feed)


def wgan_gp(width: int, batch: int) -> Config:
    fields = {"generator.width": width, "critic.width": width, "critic.norm": "none", "train.batch": batch}
    return resolve("wgan-gp", overrides=fields)


class Convolutions(TorchDispatchMode):
    """Records which convolutions run, with which arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[Any] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._overloadpacket.__name__ in ("convolution", "convolution_backward"):
            described = (
                ("tensor", tuple(a.shape), a.dtype) if isinstance(a, torch.Tensor) else _frozen(a) for a in args
            )
            self.calls[(func, *described)] += 1
        return func(*args, **kwargs or {})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def convolution_seconds(calls: Counter[Any], device: torch.device, repeats: int = 5) -> float:
    """Time of these convolutions alone, each in the faster of two memory layouts."""
    total = 0.0
    for (func, *described), count in calls.items():
        best = float("inf")
        for order in (torch.channels_last, torch.contiguous_format):
            args = [made(d, order, device) for d in described]

            def call(func: Any = func, args: Any = args) -> None:
                func(*args)

            seconds(call, device)
            best = min(best, *(seconds(call, device) for _ in range(repeats)))
        total += count * best
    return total


def made(described: Any, order: torch.memory_format, device: torch.device) -> Any:
    if not (isinstance(described, tuple) and described[:1] == ("tensor",)):
        return list(described) if isinstance(described, tuple) else described
    tensor = torch.randn(described[1], device=device).to(described[2])
    return tensor.contiguous(memory_format=order) if tensor.ndim == 4 else tensor


def limit(ours: Ours, device: torch.device, cycle_s: float) -> float:
    """Share of a cycle that its convolutions would take by themselves."""
    no_products = mock.patch("kantor.nets.double_backward._better_as_product", lambda *_: False)
    with no_products, Convolutions() as seen:
        ours.steps.cycle(ours.state, ours.feed)
    return convolution_seconds(seen.calls, device) / cycle_s


def against_others(options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """The table against the plain loop and the peers."""
    config = wgan_gp(options.width, options.batch)
    real = torch.rand(options.batch, 3, 64, 64, device=device) * 2 - 1
    contestants: dict[tuple[str, str], Callable[[], object]] = {}
    engines = {}
    for precision in options.precisions:
        engines[precision] = Ours(config, 64, precision, device)
        contestants["kantor", precision] = engines[precision].cycle
        contestants["kantor compiled", precision] = Ours(config, 64, precision, device, compile=True).cycle
        loop = peers.plain(options.width, device, precision)
        contestants["plain loop", precision] = lambda loop=loop: loop(real)
    for text in options.peer:
        name, _, folder = text.partition("=")
        theirs = peers.PEERS[name](Path(folder), options.width, device)
        contestants[name, "float32"] = lambda theirs=theirs: theirs(real)
    times = in_turn(contestants, device, options.rounds)
    rows = []
    for (name, precision), spent in times.items():
        row = {"contestant": name, "precision": precision}
        row["images_per_second"] = round(5 * options.batch / statistics.median(spent), 1)
        for ours in [key for key in times if key[0].startswith("kantor")]:
            ratios = [a / b for a, b in zip(spent, times[ours], strict=True)]
            row[f"{' '.join(ours)} is faster by"] = spread(ratios)
        if name == "kantor":
            row["limit"] = f"{limit(engines[precision], device, statistics.median(spent)):.0%}"
        rows.append(row)
    return rows


def growth(device: torch.device, rounds: int, precisions: list[str]) -> list[dict[str, Any]]:
    """Cost against size and batch: both recipes at size 32, 64, 128, and batch 16 to 512 at 32. Some minutes a round."""
    rows, precision = [], precisions[-1]
    for preset in ("default", "wgan-gp"):
        for size, batch in [(32, 16), (32, 32), (32, 64), (32, 128), (32, 256), (32, 512), (64, 32), (128, 32)]:
            fields = {"train.batch": batch, "generator.width": 32, "critic.width": 32}
            ours = Ours(resolve(preset, overrides=fields), size, precision, device)
            every = ours.steps.objective.round_of_penalties

            def cycles(ours: Ours = ours, every: int = every) -> None:
                for _ in range(every):
                    ours.cycle()

            cycles()
            before = ours.state.counters.images_seen
            spent_s = statistics.median(seconds(cycles, device) for _ in range(rounds))
            shown = (ours.state.counters.images_seen - before) / rounds
            row = {"preset": preset, "size": size, "batch": batch, "precision": precision}
            rows.append({**row, "images_per_second": round(shown / spent_s)})
            print(rows[-1], flush=True)
    return rows


COMPILED = [
    ("default", 32, 32, "bfloat16"),
    ("default", 32, 32, "float32"),
    ("default", 64, 32, "bfloat16"),
    ("wgan-gp", 32, 64, "bfloat16"),
    ("wgan-gp", 64, 64, "bfloat16"),
]


def compiled(
    device: torch.device, rounds: int, precisions: list[str], cases: Sequence[tuple[str, int, int, str]] = COMPILED
) -> list[dict[str, Any]]:
    """What --compile gains, for recipes unchanged: seconds to the first cycle, and the ratio of throughputs."""
    rows = []
    for preset, size, batch, precision in cases:
        if precision not in precisions:
            continue
        config = resolve(preset, overrides={"train.batch": batch})
        both = {kind: Ours(config, size, precision, device, compile=kind) for kind in (False, True)}
        every = both[True].steps.objective.round_of_penalties

        def cycles(ours: Ours, count: int = every) -> None:
            for _ in range(count):
                ours.cycle()

        first_s = {
            kind: seconds(lambda ours=ours, count=every + 1: cycles(ours, count), device) for kind, ours in both.items()
        }  # type: ignore[misc]
        times: dict[bool, list[float]] = {kind: [] for kind in both}
        for _ in range(rounds):
            for kind, ours in both.items():
                times[kind].append(seconds(lambda ours=ours: cycles(ours), device))  # type: ignore[misc]
        ratios = [plain / ours for plain, ours in zip(times[False], times[True], strict=True)]
        shown = batch * steps_in_cycle(config.cycle, 0)[0] * every
        row = {"preset": preset, "size": size, "batch": batch, "precision": precision}
        row["compiling_s"] = round(first_s[True] - first_s[False], 1)
        row["images_per_second"] = round(shown / statistics.median(times[False]))
        row["compiled is faster by"] = spread(ratios)
        rows.append(row)
        print(row, flush=True)
    return rows


def precisions(device: torch.device, emulated: bool) -> list[str]:
    """What to measure: bfloat16 too if the device computes in it, or `emulated` is asked for."""
    precision, reason = choose_precision("auto", device)
    if precision == "bfloat16" or emulated:
        return ["float32", "bfloat16"]
    print(f"bfloat16 is left out: {reason}, and would be emulated; --bfloat16 measures it all the same")
    return ["float32"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="each contestant runs a cycle in each (default: 7)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--bfloat16", action="store_true", help="measure bfloat16 where it is emulated, too")
    parser.add_argument("--growth", action="store_true", help="cost against size and batch instead of the table")
    parser.add_argument("--compiled", action="store_true", help="what --compile gains instead of the table")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: at least one")
    for text in options.peer:
        if text.partition("=")[0] not in peers.PEERS or not Path(text.partition("=")[2] or "?").is_dir():
            parser.error(f"--peer {text}: write NAME=FOLDER, NAME one of {', '.join(peers.PEERS)}")
    device = choose_device(options.device)
    keep_memory()
    print(f"{describe_device(device)}, torch {torch.__version__}, n = {options.rounds} rounds")
    options.precisions = precisions(device, options.bfloat16)
    if options.growth or options.compiled:
        rows = (growth if options.growth else compiled)(device, options.rounds, options.precisions)
    else:
        rows = against_others(options, device)
    print(table(rows))
    if options.out:
        write(options.out, rows)


if __name__ == "__main__":
    main()
