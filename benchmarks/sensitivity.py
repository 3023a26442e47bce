"""Measures how far each score moves when letters are damaged in known ways: docs/scores-sensitivity.csv.

python benchmarks/sensitivity.py [--features kantor-small] [--count 2000] [--seeds 5]

Real images are letters of seed 0; generated ones are letters of seeds 1, 2 ..., damaged or selected. One row per set, seed and
score. Rows that the file already has are not measured again, so the command can be interrupted; `--table` prints means and spreads.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from kantor.data.sources.glyphs import HUES, LETTERS, TYPEFACES, GlyphParameters, Glyphs, render
from kantor.metrics.evaluate import evaluate
from kantor.metrics.extractors import extractor
from kantor.metrics.features import ImageFeatures, extract
from kantor.metrics.inputs import MetricInputs
from kantor.metrics.modes import modes_by_classifiers

Images = NDArray[np.uint8]
METRICS = ("fd", "kid", "pr", "dc", "swd", "msssim", "nn", "modes")
SHOWN = ("fd", "kid", "precision", "recall", "coverage", "swd", "msssim", "copied", "modes")
FILE = Path(__file__).parents[1] / "docs" / "scores-sensitivity.csv"


def letters(seed: int, count: int, wanted: Callable[[GlyphParameters], bool] = lambda _: True) -> Images:
    source = Glyphs(10**7, seed)
    shown = filter(wanted, map(source.parameters, itertools.count()))
    return np.stack([render(one, 32, 32) for one in itertools.islice(shown, count)])


def blurred(images: Images, radius: float) -> Images:
    return np.stack([np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(radius))) for p in images])


def noisy(images: Images, sigma: float, seed: int) -> Images:
    noise = np.random.default_rng(seed).normal(0, sigma, images.shape)
    return (images + noise).round().clip(0, 255).astype(np.uint8)


def grey(images: Images) -> Images:
    levels = (images @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
    return np.repeat(levels[..., None], 3, 3)


def sets(seed: int, n: int) -> dict[str, Callable[[], Images]]:
    plain = lambda: letters(seed, n)  # noqa: E731
    some = sorted(TYPEFACES)[:3]
    return {
        "other letters": plain,
        **{f"blur {radius:g}": (lambda r=radius: blurred(plain(), r)) for radius in (0.5, 1, 2)},
        **{f"noise {sigma}": (lambda s=sigma: noisy(plain(), s, seed)) for sigma in (5, 10, 20, 40)},
        "mirrored": lambda: np.ascontiguousarray(plain()[:, :, ::-1]),
        "grey": lambda: grey(plain()),
        "no M": lambda: letters(seed, n, lambda p: p.letter != "M"),
        "only A to R": lambda: letters(seed, n, lambda p: p.letter in LETTERS[:18]),
        "no blue": lambda: letters(seed, n, lambda p: p.hue != "blue"),
        "half of the hues": lambda: letters(seed, n, lambda p: p.hue in list(HUES)[::2]),
        "three typefaces missing": lambda: letters(seed, n, lambda p: p.typeface not in some),
        "a tenth, ten times": lambda: np.tile(letters(seed, n // 10), (10, 1, 1, 1)),
        "one image": lambda: np.repeat(letters(seed, 1), n, 0),
        "copies, noise 2": lambda: noisy(letters(0, n), 2, seed),
    }


def measured(
    features: str, images: Images, real_features: ImageFeatures, real_images: Images, seed: int
) -> dict[str, float]:
    network = extractor(features)
    modes = modes_by_classifiers(network, ("letter", "hue"), "") if "letter" in network.classes else None
    generated = extract([images], network)
    inputs = MetricInputs(
        network, generated, real_features, lambda i: images[i], lambda i: real_images[i], training=real_features, modes=modes, seed=seed, replicates=1
    )  # fmt: skip
    scores = evaluate(inputs, METRICS, note=lambda _: None)
    return {name: score.value for name, score in scores.items()}


def rows(path: Path) -> Iterator[tuple[str, str, int, str, float]]:
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                yield row["features"], row["set"], int(row["seed"]), row["score"], float(row["value"])


def table(path: Path, features: str) -> None:
    scores: dict[tuple[str, str], list[float]] = {}
    for its, name, _, score, value in rows(path):
        if its == features:
            kind, _, space = score.partition("@")
            if kind in SHOWN and not (kind == "copied" and space != "pixels"):
                scores.setdefault((name, kind), []).append(value)
    names = list(dict.fromkeys(name for name, _ in scores))
    shown = [kind for kind in SHOWN if any((name, kind) in scores for name in names)]
    print("| set | " + " | ".join(shown) + " |\n|---|" + "---|" * len(shown))
    for name in names:
        cells = []
        for kind in shown:
            values = scores[name, kind]
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3g}{spread}")
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", default="kantor-small")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        table(options.out, options.features)
        return
    torch.set_grad_enabled(False)
    done = {(features, name, seed) for features, name, seed, _, _ in rows(options.out)}
    real_images = letters(0, options.count)
    real_features = extract([real_images], extractor(options.features))
    new = not options.out.exists()
    with options.out.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(("features", "set", "seed", "score", "value"))
        for seed in range(1, options.seeds + 1):
            for name, make in sets(seed, options.count).items():
                if (options.features, name, seed) in done:
                    continue
                scores = measured(options.features, make(), real_features, real_images, seed)
                writer.writerows(
                    (options.features, name, seed, score, f"{value:.6g}") for score, value in scores.items()
                )
                file.flush()
                print(f"{name}, seed {seed}: fd {next(iter(scores.values())):.4g}", flush=True)


if __name__ == "__main__":
    main()
