"""Statements of the WGAN papers, tried at a size that fits a laptop, each with a verdict: docs/papers.md.

python benchmarks/papers.py values          critics alone: how much of the exact distance clipping and penalty see
python benchmarks/papers.py surfaces        films of the critic's value while a generator learns, exact W1 beside it
python benchmarks/papers.py overfitting     the critic's loss on 1,000 digits and on others it has not seen
python benchmarks/papers.py architectures   random networks, each trained with every objective

A row of docs/papers-*.csv is written as soon as it is known; rows that are there are not computed again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from paper_parts import architectures, drawing, overfitting, surfaces
from paper_parts.points import DATASETS
from rows import read_rows, write_rows

DOCS = Path(__file__).parents[1] / "docs"
IMAGES = DOCS / "images" / "papers"
TITLES = {"8gaussians": "8 Gaussians", "25gaussians": "25 Gaussians", "swissroll": "Swiss roll"}


class Table:
    """Rows of a CSV file, by what identifies them."""

    def __init__(self, name: str, keys: Sequence[str]) -> None:
        self.path, self._keys = DOCS / f"papers-{name}.csv", keys
        self.rows = read_rows(self.path)

    def __contains__(self, row: dict[str, Any]) -> bool:
        return any(all(str(known[key]) == str(row[key]) for key in self._keys) for known in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        fields = list(dict.fromkeys(name for one in self.rows for name in one))
        write_rows(self.path, self.rows, fields)
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def values(steps: int, seeds: int) -> Iterator[str]:
    table, shown = Table("values", ("dataset", "objective", "seed")), []
    for seed in range(seeds):
        for objective in surfaces.OBJECTIVES:
            for dataset in DATASETS:
                if {"dataset": dataset, "objective": objective, "seed": seed} in table:
                    continue
                result = surfaces.value(dataset, objective, seed, steps)
                shown.append(result)
                table.add({name: value for name, value in result.items() if name not in ("values", "real")})
    if len(shown) >= len(DATASETS):
        drawing.surfaces([result for result in shown if result["seed"] == 0], IMAGES / "values.png")
    seen, alike = (
        {name: [float(row[column]) for row in table.rows if row["objective"] == name] for name in surfaces.OBJECTIVES}
        for column in ("seen", "like_exact")
    )
    for name, shares in seen.items():
        yield (f"{name}: sees {min(shares):.0%} to {max(shares):.0%} of the exact distance; correlation with an exact critic "
               f"{min(alike[name]):.2f} to {max(alike[name]):.2f} (n = {len(shares)})")  # fmt: skip
    for name in ("penalty", "penalty 0.1"):
        holds = all(min(measure[name]) > max(measure["clipping"]) for measure in (seen, alike))
        yield (f"Gulrajani et al. 2017, 3.1, clipped critics underuse their capacity, critics with a {name} do not: "
               f"{'holds' if holds else 'not seen by both measures on all points'}")  # fmt: skip


def films(steps: int, seeds: int) -> Iterator[str]:
    table = Table("surfaces", ("dataset", "objective", "seed"))
    for seed in range(seeds):
        for dataset in DATASETS:
            for objective in ("clipping", "penalty 0.1"):
                if {"dataset": dataset, "objective": objective, "seed": seed} in table:
                    continue
                frames = list(surfaces.film(dataset, objective, seed, steps, 40, lambda line: print(line, flush=True)))
                if seed == 0:
                    name = f"{dataset}-{objective.replace(' ', '-')}.gif"
                    drawing.film(frames, f"{TITLES[dataset]}, {objective}", IMAGES / name)
                table.add(surfaces.judged(dataset, objective, seed, frames[-1]))
    left = []
    for dataset in DATASETS:
        means = {
            objective: [
                float(row["exact_w1"])
                for row in table.rows
                if (row["dataset"], row["objective"]) == (dataset, objective)
            ]
            for objective in ("clipping", "penalty 0.1")
        }
        told = "; ".join(f"{name} {min(w1):.3f} to {max(w1):.3f} (n = {len(w1)})" for name, w1 in means.items() if w1)
        yield f"{dataset}: exact W1 left after {steps:,} generator steps: {told}"
        left.append(means)
    holds = all(max(means["penalty 0.1"]) < min(means["clipping"]) for means in left)
    yield (f"Gulrajani et al. 2017, 3.1, a generator learns more from a critic with a penalty than from a clipped one: "
           f"{'holds on all points, each seed' if holds else 'not seen on all points'}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["values", "surfaces", "overfitting", "architectures"])
    parser.add_argument("--steps", type=int, help="values: of the critic; surfaces, overfitting: of the generator")
    parser.add_argument("--seeds", type=int, default=1, help="repetitions of values and surfaces")
    parser.add_argument("--count", type=int, default=40, help="random architectures")
    parser.add_argument("--data", type=Path, default=DOCS.parent / "data", help="folder that scripts/data.sh filled")
    given = parser.parse_args()
    torch.set_num_threads(1)
    IMAGES.mkdir(parents=True, exist_ok=True)
    verdict = {
        "values": lambda: values(given.steps or 4000, given.seeds),
        "surfaces": lambda: films(given.steps or 3000, given.seeds),
        "overfitting": lambda: overfitting.study(Table("overfitting", ("objective", "step")), given.data, given.steps or 1500, IMAGES),
        "architectures": lambda: architectures.study(Table("architectures", ("number", "objective")), given.data, given.count),
    }[given.what]()  # fmt: skip
    for line in verdict:
        print(line)


if __name__ == "__main__":
    main()
