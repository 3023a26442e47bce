"""How near the default's training cycle comes to the processor's rate, and at which rate each of its convolutions runs.

    python benchmarks/layers.py [--size 32] [--threads 2] [--set FIELD=VALUE ...]

Floating-point operations are those of the cycle without fusions, by torch's formulas: what the recipe asks for, not what is spent on it.
The matrix product is 2048 x 2048 x 2048 in the same precision on the same threads, in turn with the cycles, the best of each round's
five; `share` is the cycle's rate over the product's, median and range over rounds. Convolutions run by themselves, channels last, each
in the order of their time. Limit ATen, oneDNN and MKL to AVX2 by their variables to measure that:

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 python benchmarks/layers.py
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any
from unittest import mock

import torch
from gpu_parts.rates import Flops
from step import Convolutions, Ours, made, precisions
from timing import seconds, spread, table
from torch.utils.flop_counter import flop_registry

from kantor.config.io import parse_override, resolve
from kantor.config.schema import Config
from kantor.engine.device import choose_device, describe_device, keep_memory

SIDE, ROUNDS, PRODUCTS = 2048, 7, 5


def unfused_flops(config: Config, size: int, device: torch.device) -> float:
    """Of a cycle, the mean over a round of lazy penalties."""
    ours = Ours(config, size, "float32", device, record=False, images=2 * config.train.batch)
    cycles = ours.steps.objective.round_of_penalties
    with mock.patch("kantor.nets.ops.keeps_size", lambda _: False), Flops() as counted:
        for _ in range(cycles):
            ours.cycle()
    return float(counted.total) / cycles


def share(config: Config, size: int, precision: str, device: torch.device) -> dict[str, Any]:
    ours, flops = Ours(config, size, precision, device), unfused_flops(config, size, device)
    cycles = ours.steps.objective.round_of_penalties
    a, b = (torch.randn(SIDE, SIDE, device=device).to(getattr(torch, precision)) for _ in range(2))

    def round_of_cycles() -> None:
        for _ in range(cycles):
            ours.cycle()

    round_of_cycles()
    a @ b
    rates, products = [], []
    for _ in range(ROUNDS):
        products.append(2 * SIDE**3 / min(seconds(lambda: a @ b, device) for _ in range(PRODUCTS)))
        rates.append(flops * cycles / seconds(round_of_cycles, device))
    return {
        "precision": precision, "GFLOP a cycle": f"{flops / 1e9:.2f}", "cycle, GFLOP/s": f"{statistics.median(rates) / 1e9:.0f}",
        "product, GFLOP/s": f"{statistics.median(products) / 1e9:.0f}",
        "share": spread([rate / product for rate, product in zip(rates, products, strict=True)]),
        "images/s": f"{config.train.batch * statistics.median(rates) / flops:.0f}",
    }  # fmt: skip


def layers(config: Config, size: int, precision: str, device: torch.device) -> list[dict[str, Any]]:
    """Each kind of convolution of a round of cycles by itself."""
    ours = Ours(config, size, precision, device)
    with mock.patch("kantor.nets.double_backward._better_as_product", lambda *_: False), Convolutions() as seen:
        for _ in range(ours.steps.objective.round_of_penalties):
            ours.cycle()
    rows = []
    for (func, *described), count in seen.calls.items():
        args = [made(each, torch.channels_last, device) for each in described]
        result = func(*args)
        best_s = min(seconds(lambda func=func, args=args: func(*args), device) for _ in range(7))  # type: ignore[misc]
        flops = flop_registry[func._overloadpacket](*args, out_val=result)
        shapes = [
            "x".join(map(str, each[1])) for each in described if isinstance(each, tuple) and each[:1] == ("tensor",)
        ]
        rows.append((count * best_s, {
            "operator": _named(func._overloadpacket.__name__, described), "tensors": ", ".join(shapes),
            "a round": count, "ms": f"{1000 * best_s:.2f}", "GFLOP/s": f"{flops / best_s / 1e9:.0f}",
        }))  # fmt: skip
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])]


def _named(operator: str, described: list[Any]) -> str:
    """The operator, with the gradients that convolution_backward computes: the flags that it is given last."""
    if operator != "convolution_backward":
        return operator
    return ", ".join(
        [operator, *(name for name, asked in zip(("inputs", "weights", "bias"), described[-1], strict=True) if asked)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--top", type=int, default=12, help="convolutions to list (default: 12)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device("cpu")
    keep_memory()
    config = resolve(overrides=dict(parse_override(text) for text in options.set))
    print(f"{describe_device(device)}, torch {torch.__version__}, {options.size}x{options.size}, n = {ROUNDS} rounds")
    asked = precisions(device, emulated=False)
    print(table([share(config, options.size, precision, device) for precision in asked]))
    for precision in asked:
        print(f"\n{precision}\n{table(layers(config, options.size, precision, device)[: options.top])}")


if __name__ == "__main__":
    main()
