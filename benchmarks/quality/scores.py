"""Scores of the images that trials have left: Fréchet distance and recall against the dataset, in any extractor."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kantor.metrics.extractors import extractor
from kantor.metrics.features import BATCH, ImageFeatures, extract
from kantor.metrics.frechet import frechet
from kantor.metrics.precision_recall import neighbourhoods
from quality.modes import DIGITS, mode_scores

FIELDS = ("dataset", "processor", "threads", "paired", "budget_s", "contestant", "seed", "which", "mark_s", "feature", "weights",
          "generated", "real", "seconds", "start_up_s", "wall_s", "images", "peak_mb", "fd", "fd_low", "fd_high", "precision",
          "recall", "modes", "modes_kl", "error")  # fmt: skip
KEY = FIELDS[:12]
NEIGHBOURS = 3000
"""Images of each side for precision and recall."""
REAL = 20_000


class Table:
    """The CSV of all scores: rows are appended as they come, and those that are there are not measured again."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, list[dict[str, str]]()
        if path.exists():
            with path.open(newline="") as file:
                self.rows = list(csv.DictReader(file))
        self._keys = {self._key(row) for row in self.rows}

    def __contains__(self, row: dict[str, Any]) -> bool:
        return self._key(row) in self._keys

    def add(self, row: dict[str, Any]) -> None:
        new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, restval="")
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.rows.append({name: str(row.get(name, "")) for name in FIELDS})
        self._keys.add(self._key(row))

    @staticmethod
    def _key(row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(str(row.get(name, "")) for name in KEY)


class Judge:
    """One extractor, and the features of each dataset's real images, which are kept in `work`."""

    def __init__(self, name: str, work: Path) -> None:
        self.name, self.work, self.network = name, work, extractor(name)

    @property
    def weights(self) -> str:
        return self.network.digest[:8]

    def features(self, images: np.ndarray) -> ImageFeatures:
        return extract((images[start : start + BATCH] for start in range(0, len(images), BATCH)), self.network)

    def real(self, data: Path) -> torch.Tensor:
        """Of at most `REAL` images, in random order."""
        path = (
            self.work / "features" / f"{data.stem}-{self.name.replace(':', '-').replace('/', '-')}-{self.weights}.npy"
        )
        if not path.exists():
            images = np.load(data, mmap_mode="r")
            rows = np.sort(np.random.default_rng(0).permutation(len(images))[:REAL])
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, self.features(np.asarray(images[rows])).features.numpy())
        return torch.from_numpy(np.load(path))

    def scores(self, images: np.ndarray, data: Path) -> dict[str, Any]:
        generated, real = self.features(images).features, self.real(data)
        value, (low, high) = frechet(generated, real)
        inside = neighbourhoods(generated[:NEIGHBOURS], real[:NEIGHBOURS])
        return {"real": len(real), "fd": round(value, 4), "fd_low": round(low, 4), "fd_high": round(high, 4),
                "precision": round(float(inside.precision.mean()), 4), "recall": round(float(inside.recall.mean()), 4)}  # fmt: skip


def score(work: Path, table: Table, features: Sequence[str], count: int, marks: Sequence[float] | None = None) -> None:
    """Scores all trials in `work`, of each moment the first `count` images.

    Args:
        marks: of these only.
    """
    for name in features:
        judge = None if name == DIGITS else Judge(name, work)
        weights = judge.weights if judge else ""
        for folder, spec, run in trials(work):
            place = {**_place(folder, work, spec), "feature": name, "weights": weights, "generated": count}
            if run.get("error"):
                row = {**place, "which": "weights", "mark_s": f"{spec['marks'][-1]:g}", "error": run["error"]}
                if row not in table:
                    table.add(row)
            known: dict[str, dict[str, Any]] = {}
            for moment in run["moments"]:
                row = {**place, "which": moment["which"], "mark_s": f"{moment['mark_s']:g}"}
                if row in table or (marks is not None and moment["mark_s"] not in marks):
                    continue
                if (file := moment["file"]) not in known:
                    images = np.load(folder / file, mmap_mode="r")[:count]
                    if len(images) < count:
                        print(f"{folder}: {len(images)} images were kept, fewer than {count}")
                        break
                    data = Path(spec["data"])
                    known[file] = judge.scores(images, data) if judge else mode_scores(np.asarray(images), data)
                times = {key: round(moment[key], 2) for key in ("seconds", "wall_s")} | {"images": moment["images"]}
                facts = {key: round(run[key], 1) for key in ("start_up_s", "peak_mb")}
                table.add({**row, **times, **facts, **known[file]})
                shown = ", ".join(f"{key} {value}" for key, value in known[file].items())
                print(
                    f"{name}: {folder.relative_to(work)} at {moment['seconds']:.0f} s, {moment['which']}: {shown}",
                    flush=True,
                )


def trials(work: Path) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """(folder, spec, run) of each trial that is done."""
    for path in sorted(work.glob("trials/*/*/*/*/seed-*/run.json")):
        yield path.parent, json.loads((path.parent / "spec.json").read_text()), json.loads(path.read_text())


def _place(folder: Path, work: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """What identifies a trial, of its folder: dataset/machine/budget/contestant/seed."""
    dataset, machine, budget, _, seed = folder.relative_to(work / "trials").parts
    processor, threads, *paired = machine.rsplit("-", 2) if machine.endswith("-paired") else machine.rsplit("-", 1)
    return {"dataset": dataset, "processor": processor, "threads": threads.removesuffix("t"), "paired": int(bool(paired)),
            "budget_s": budget.removesuffix("s"), "contestant": spec["contestant"], "seed": seed.removeprefix("seed-")}  # fmt: skip
