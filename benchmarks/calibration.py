"""Shows what clipped density and clipped coverage mean: docs/scores-calibration.csv.

python benchmarks/calibration.py [--features kantor-small,lite0@96] [--count 2000]

Real images are letters of seed 0; generated ones are letters of seed 1, of which a known fraction is replaced by noise, by blurred
letters, or by one letter repeated. A calibrated score falls by that fraction. Prints a table; takes two minutes on one core.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from sensitivity import blurred, letters

from kantor.metrics.evaluate import evaluate
from kantor.metrics.extractors import extractor
from kantor.metrics.features import ImageFeatures, extract
from kantor.metrics.inputs import MetricInputs

FRACTIONS = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)
SCORES = ("clipped_density", "clipped_coverage", "density", "coverage", "precision", "recall")
FILE = Path(__file__).parents[1] / "docs" / "scores-calibration.csv"


def bad_images(count: int) -> dict[str, np.ndarray]:
    rng, good = np.random.default_rng(0), letters(2, count)
    return {
        "noise": rng.integers(0, 256, good.shape, dtype=np.uint8),
        "blur 3": blurred(good, 3),
        "one letter": np.repeat(good[:1], count, 0),
    }


def measured(features: str, real: ImageFeatures, generated: ImageFeatures) -> dict[str, float]:
    unread = lambda _: np.zeros((0, 32, 32, 3), np.uint8)  # noqa: E731 - none of these scores reads images
    inputs = MetricInputs(extractor(features), generated, real, unread, unread, replicates=2)
    return {name.partition("@")[0]: score.value for name, score in evaluate(inputs, ("cdc", "dc", "pr")).items()}


def mixed(good: ImageFeatures, bad: ImageFeatures, fraction: float) -> ImageFeatures:
    kept = len(good) - round(fraction * len(good))
    features = torch.cat([good.features[:kept], bad.features[kept:]])
    return ImageFeatures(features, good.thumbs, good.order)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", default="kantor-small,lite0@96")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    pools = bad_images(options.count)
    with options.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("features", "replaced by", "fraction", *SCORES))
        for features in options.features.split(","):
            network = extractor(features)
            real, good = (extract([letters(seed, options.count)], network) for seed in (0, 1))
            for name, images in pools.items():
                bad = extract([images], network)
                print(f"\n{features}, a fraction of {options.count:,} letters replaced by: {name}")
                print("| replaced | " + " | ".join(SCORES) + " |\n|---|" + "---|" * len(SCORES))
                for fraction in FRACTIONS:
                    scores = measured(features, real, mixed(good, bad, fraction))
                    writer.writerow((features, name, fraction, *(f"{scores[score]:.4f}" for score in SCORES)))
                    print(f"| {fraction:.0%} | " + " | ".join(f"{scores[score]:.2f}" for score in SCORES) + " |")


if __name__ == "__main__":
    main()
