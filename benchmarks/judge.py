"""Do scores of 2,000 images order checkpoints as the Fréchet distance of many images does? docs/judge.csv

python benchmarks/judge.py [--parts train,small,large] [--lite-count 20000]

Trains four short runs on the built-in letters and keeps 20 generators of different quality (in the cache folder), then measures
each with 2,000 images and with many, real and generated. The generated images of both measurements differ. A row is written as soon as it is
known, and what is there is not done again, so the command can be interrupted. Prints Spearman's rank correlations.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from torch import Tensor

from kantor.app.dataset.cache import DatasetCache, cache_folder
from kantor.app.dataset.prepare import open_set
from kantor.config.io import resolve
from kantor.config.schema import Config
from kantor.data.loading.feed import Feed
from kantor.data.loading.store import Store
from kantor.engine.precision import choose_precision
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.metrics.extractors import extractor
from kantor.metrics.frechet import frechet
from kantor.metrics.mind import mind
from kantor.metrics.precision_recall import calibrated_coverage, neighbourhoods
from kantor.objectives.objective import build_objective
from kantor.sample.generate import generate_images
from kantor.sample.latents import latents

FILE = Path(__file__).parents[1] / "docs" / "judge.csv"
FIELDS = ("preset", "seed", "images", "features", "count", "score", "value", "seconds")
DEFAULT = (4_000, 8_000, 16_000, 32_000, 48_000)
RUNS = {
    ("default", 0): DEFAULT,
    ("default", 1): DEFAULT,
    ("wgan-gp", 0): (4_000, 8_000, 12_000, 16_000, 24_000),
    ("default", 2): (6_000, 12_000, 24_000, 40_000, 64_000),
}
SMALL, LARGE = 2_000, 20_000
FIRST_SEED = {True: 0, False: 1_000_000}
"""Of the generated images, when measuring many and few."""


def config_of(preset: str, seed: int) -> Config:
    overrides: dict[str, Any] = {"data.size": 32, "data.channels": "rgb", "train.seed": seed}
    if preset == "default":  # as it was when docs/judge.csv was made
        overrides |= {"train.batch": 32, "cycle.shared_images": False}
        for network in ("generator", "critic"):
            overrides[f"optimizer.{network}"] = {"kind": "adam", "lr": 1e-3, "betas": (0.0, 0.99)}
            overrides[f"optimizer.{network}.schedule.kind"] = "constant"
    else:  # narrower than in the papers, for the time it takes
        overrides |= {"generator.width": 32, "critic.width": 32}
    return resolve(preset, overrides=overrides)


def train(store: Store, folder: Path) -> None:
    device = torch.device("cpu")
    for (preset, seed), targets in RUNS.items():
        files = {target: folder / f"{preset}-{seed}-{target:06d}.safetensors" for target in targets}
        if all(file.exists() for file in files.values()):
            continue
        config = config_of(preset, seed)
        state, feed = State(config, store.spec, 0, device), Feed(store, seed, device)
        precision = choose_precision("auto", device)[0]
        steps = Steps(config, build_objective(config.objective), precision, targets[-1])
        for target, file in files.items():
            started_s = time.monotonic()
            while state.counters.images_seen < target:
                steps.cycle(state, feed)
            save_file({name: value.contiguous() for name, value in state.average.state_dict().items()}, file)
            print(f"{file.stem}: {time.monotonic() - started_s:.0f} s", flush=True)


def generated(preset: str, seed: int, target: int, store: Store, folder: Path, large: bool, count: int) -> np.ndarray:
    config = config_of(preset, seed)
    network = State(config, store.spec, 0, torch.device("cpu")).average
    network.load_state_dict(load_file(folder / f"{preset}-{seed}-{target:06d}.safetensors"))
    seeds, z = range(FIRST_SEED[large], FIRST_SEED[large] + count), config.generator
    parts = np.array_split(np.asarray(seeds), -(-count // 500))
    return np.concatenate(
        [generate_images(network.eval(), latents(part.tolist(), z.latent_dim, z.latent)) for part in parts]
    )


def measured(found: Tensor, real: Tensor, large: bool) -> Iterator[tuple[str, float]]:
    yield "fd", frechet(found, real, replicates=1)[0]
    if not large:
        yield "mind", mind(found, real, replicates=1)[0]
        near = neighbourhoods(found, real)
        yield "clipped_density", float(near.clipped_density.mean())
        share = float(near.coverage_share.mean())
        yield "clipped_coverage", float(calibrated_coverage(share, len(found), len(real)))


def score(store: Store, folder: Path, path: Path, large: bool, lite_count: int) -> None:
    done = {(row["preset"], row["seed"], row["images"], row["features"], row["count"]) for row in rows(path)}
    for features in ("kantor-small", "lite0@96"):
        network = extractor(features)
        count = SMALL if not large else LARGE if features == "kantor-small" else lite_count
        shown = np.random.default_rng(large).permutation(store.count)[:count]
        real: Tensor | None = None
        for (preset, seed), targets in RUNS.items():
            for target in targets:
                key = {"preset": preset, "seed": seed, "images": target, "features": features, "count": count}
                if tuple(map(str, key.values())) in done:
                    continue
                if real is None:
                    real = network(store.images(np.sort(shown))).features
                images = generated(preset, seed, target, store, folder, large, count)
                started_s = time.monotonic()
                results = list(measured(network(images).features, real, large))
                append(path, [{**key, "score": name, "value": f"{value:.6g}"} for name, value in results], started_s)
                print(*key.values(), *(f"{name} {value:.4g}" for name, value in results), flush=True)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(newline=""))) if path.exists() else []


def append(path: Path, new: list[dict[str, object]], started_s: float) -> None:
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if fresh:
            writer.writeheader()
        writer.writerows({**row, "seconds": f"{time.monotonic() - started_s:.1f}"} for row in new)


def table(path: Path) -> None:
    values: dict[tuple[str, str, int], dict[tuple[str, ...], float]] = {}
    for row in rows(path):
        generator = (row["preset"], row["seed"], row["images"])
        values.setdefault((row["score"], row["features"], int(row["count"])), {})[generator] = float(row["value"])
    truths = [key for key in values if key[2] > SMALL]
    print("| score | features | images | " + " | ".join(f"as fd@{f} of {n:,}" for _, f, n in truths) + " |")
    print("|---|---|---|" + "---|" * len(truths))
    for (name, features, count), found in values.items():
        sign = -1 if name.startswith("clipped") else 1
        cells = []
        for truth in truths:
            shared = [generator for generator in found if generator in values[truth]]
            a, b = (np.asarray([side[generator] for generator in shared]) for side in (found, values[truth]))
            cells.append(f"{spearmanr(sign * a, b).statistic:.3f} (n = {len(shared)})")
        print(f"| {name} | {features} | {count:,} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="train,small,large")
    parser.add_argument("--lite-count", type=int, default=LARGE, help="many images, for lite0@96")
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    parts, cache = options.parts.split(","), cache_folder(None)
    folder = cache / "benchmarks" / "judge"
    folder.mkdir(parents=True, exist_ok=True)
    store, _, _ = open_set(config_of("default", 0), 32, DatasetCache(cache, note=print))
    if "train" in parts:
        train(store, folder)
    for part in ("small", "large"):
        if part in parts:
            with torch.no_grad():
                score(store, folder, options.out, part == "large", options.lite_count)
    table(options.out)


if __name__ == "__main__":
    main()
