"""Compares scores with torchmetrics' on the same features: seconds and numbers, in turn, the median of some rounds.

python benchmarks/scores.py [--count 10000] [--features 128]

Kantor's measure the Fréchet distance with and without its interval, and KID over all pairs with its interval; torchmetrics'
FID and KID (100 subsets of 1,000 images) come without. KID's spread is that of the number over rounds of new subsets:
Kantor's has none, since it takes all pairs.
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


class Identity(nn.Module):
    """Returns what it gets: features in place of images."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.num_features = features

    def forward(self, x: Tensor) -> Tensor:
        return x


def torchmetrics_score(metric: nn.Module, generated: Tensor, real_features: Tensor) -> float:
    for features, real in ((real_features, True), (generated, False)):
        for batch in features.split(1000):
            metric.update(batch, real=real)
    result = metric.compute()
    return float(result[0] if isinstance(result, tuple) else result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    real_features = torch.randn(options.count, options.features, generator=generator)
    generated = 1.05 * torch.randn(options.count, options.features, generator=generator) + 0.05
    identity = Identity(options.features)
    ways: dict[str, Callable[[], float]] = {
        "fd, kantor": lambda: frechet(generated, real_features, replicates=1)[0],
        "fd, kantor with interval": lambda: frechet(generated, real_features)[0],
        "fd, torchmetrics": lambda: torchmetrics_score(
            FrechetInceptionDistance(identity, input_img_size=(options.features,)), generated, real_features
        ),
        "kid, kantor with interval": lambda: kid(generated, real_features)[0],
        "kid, torchmetrics": lambda: torchmetrics_score(KernelInceptionDistance(identity), generated, real_features),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    values: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds + 1):
        for name, way in ways.items():
            began_s = time.perf_counter()
            values[name].append(way())
            seconds[name].append(time.perf_counter() - began_s)
    print(f"{options.count:,} images of each set, {options.features} features, {torch.get_num_threads()} threads")
    for name in ways:
        of = "fd, torchmetrics" if name.startswith("fd") else "kid, torchmetrics"
        ratios = [b / a for a, b in zip(seconds[name][1:], seconds[of][1:], strict=True)]
        spread = statistics.pstdev(values[name])
        timings = f"{statistics.median(seconds[name][1:]):8.2f} s  {statistics.median(ratios):6.2f}x"
        print(f"{name:26}{timings}   value {statistics.mean(values[name]):.6f}, spread {spread:.1g}")


if __name__ == "__main__":
    main()
