"""Compares scores with torchmetrics' on the same features: seconds and numbers, in turn, the median of some rounds.

python benchmarks/scores.py [--count 10000] [--features 128]

Ours measure the Fréchet distance with and without its interval, and KID over all pairs with its interval; torchmetrics'
FID and KID (100 subsets of 1,000 images) come without. KID's spread is that of the number over rounds of new subsets:
ours has none, since it takes all pairs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from kantor.metrics.frechet import frechet
from kantor.metrics.kernel import kid


class AsTheyAre(nn.Module):
    """Features handed over as "pictures"."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.num_features = features

    def forward(self, x: Tensor) -> Tensor:
        return x


def theirs(metric: nn.Module, fakes: Tensor, reals: Tensor) -> float:
    for side, real in ((reals, True), (fakes, False)):
        for batch in side.split(1000):
            metric.update(batch, real=real)
    found = metric.compute()
    return float(found[0] if isinstance(found, tuple) else found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    dice = torch.Generator().manual_seed(0)
    reals = torch.randn(options.count, options.features, generator=dice)
    fakes = 1.05 * torch.randn(options.count, options.features, generator=dice) + 0.05
    identity = AsTheyAre(options.features)
    ways: dict[str, Callable[[], float]] = {
        "fd, ours": lambda: frechet(fakes, reals, replicates=1)[0],
        "fd, ours with interval": lambda: frechet(fakes, reals)[0],
        "fd, torchmetrics": lambda: theirs(
            FrechetInceptionDistance(identity, input_img_size=(options.features,)), fakes, reals
        ),
        "kid, ours with interval": lambda: kid(fakes, reals)[0],
        "kid, torchmetrics": lambda: theirs(KernelInceptionDistance(identity), fakes, reals),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    values: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds + 1):
        for name, way in ways.items():
            began_s = time.perf_counter()
            values[name].append(way())
            seconds[name].append(time.perf_counter() - began_s)
    print(f"{options.count:,} images a side, {options.features} features, {torch.get_num_threads()} threads")
    for name in ways:
        of = "fd, torchmetrics" if name.startswith("fd") else "kid, torchmetrics"
        ratios = [b / a for a, b in zip(seconds[name][1:], seconds[of][1:], strict=True)]
        spread = statistics.pstdev(values[name])
        timings = f"{statistics.median(seconds[name][1:]):8.2f} s  {statistics.median(ratios):6.2f}x"
        print(f"{name:26}{timings}   value {statistics.mean(values[name]):.6f}, spread {spread:.1g}")


if __name__ == "__main__":
    main()
