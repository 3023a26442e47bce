"""Does bfloat16 learn as well as float32? Trains both on several seeds and datasets, and scores the generated images: an hour or two.

    python benchmarks/precision.py --images 60000 --seeds 0,1,2,3,4 --sets glyphs,fashion --out docs/precision.csv

`fd` is the Fréchet distance and `kid` the kernel distance between 10,000 generated and real images in the features of
kantor-small, of the running average at the end of the run: lower is better. The table at the end has the mean over seeds
with its standard deviation, and the ratio of bfloat16 to float32 with the 95% interval of Welch's t on logarithms. A
row is written as soon as it is known; rows that are there are not run again.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import kantor

SETS = {"glyphs": "glyphs", "fashion": "data/fashion-mnist/train-images-idx3-ubyte.gz"}
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "wgan-gp": {"generator.width": 32, "critic.width": 32, "cycle.critic_steps": 2},
}
FIELDS = ("recipe", "set", "precision", "seed", "images", "seconds", "fd", "kid")


def measured(recipe: str, name: str, precision: str, seed: int, images: int) -> dict[str, Any]:
    """One run and its scores."""
    with tempfile.TemporaryDirectory() as folder:
        fields = {**RECIPES[recipe], "train.precision": precision, "train.score_images": 0}
        began_s = time.monotonic()
        run = kantor.train(
            SETS[name],
            preset=recipe,
            overrides=fields,
            size=32,
            images=images,
            seed=seed,
            runs=folder,
            device="cpu",
            quiet=True,
        )
        seconds = time.monotonic() - began_s
        scores = kantor.evaluate(run, metrics="fd,kid")
    values = {m: round(float(scores[m].value), 5) for m in ("fd", "kid")}
    row = {"recipe": recipe, "set": name, "precision": precision, "seed": seed, "images": images}
    return row | {"seconds": round(seconds, 1)} | values


def table(rows: list[dict[str, Any]]) -> str:
    """Means over seeds, and how the two precisions compare."""
    lines = ["| recipe, set | images | n | float32 | bfloat16 | ratio | 95% |", "|---|---|---|---|---|---|---|"]
    cases = dict.fromkeys((r["recipe"], r["set"], str(r["images"])) for r in rows)
    for case in cases:
        of = {
            p: np.array(
                [
                    float(r["fd"])
                    for r in rows
                    if (r["recipe"], r["set"], str(r["images"]), r["precision"]) == (*case, p)
                ]
            )
            for p in ("float32", "bfloat16")
        }
        if min(map(len, of.values())) < 2:
            continue
        logs = [np.log(values) for values in of.values()]
        interval = stats.ttest_ind(logs[1], logs[0], equal_var=False).confidence_interval()
        low, high = math.exp(interval.low), math.exp(interval.high)
        cells = [f"{v.mean():.3g} ± {v.std(ddof=1):.2g}" for v in of.values()]
        ratio = of["bfloat16"].mean() / of["float32"].mean()
        n = min(map(len, of.values()))
        lines.append(
            f"| {case[0]}, {case[1]} | {int(case[2]):,} | {n} | {cells[0]} | {cells[1]} | {ratio:.3f} | {low:.2f} to {high:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--recipes", default="default")
    parser.add_argument("--out", type=Path, default=Path("docs/precision.csv"))
    options = parser.parse_args()
    for given, known in ((options.sets, SETS), (options.recipes, RECIPES)):
        if unknown := set(given.split(",")) - known.keys():
            parser.error(f"there is no {', '.join(sorted(unknown))}; choose from {', '.join(known)}")
    for seed in map(int, options.seeds.split(",")):
        for recipe in options.recipes.split(","):
            for name in options.sets.split(","):
                for precision in ("float32", "bfloat16"):
                    key = (recipe, name, precision, str(seed), str(options.images))
                    if any(tuple(row[f] for f in FIELDS[:5]) == key for row in read(options.out)):
                        continue
                    row = measured(recipe, name, precision, seed, options.images)
                    print(row, flush=True)
                    write(options.out, row)
    print(table(read(options.out)))


def read(path: Path) -> list[dict[str, Any]]:
    return list(csv.DictReader(path.open(newline=""))) if path.exists() else []


def write(path: Path, row: dict[str, Any]) -> None:
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
