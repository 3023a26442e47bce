"""Evidence for docs/seeds.md and docs/quirks.md: every preset of a seed on real images, quirks one by one, the painter's ratios.

python benchmarks/seeds.py presets     each preset for five minutes on one thread: images, time, score, a grid
python benchmarks/seeds.py quirks      each quirk compared with README and paper, on small networks, three seeds
python benchmarks/seeds.py painter     the painter's three observations, three seeds
python benchmarks/seeds.py evidence    each system as long as it takes, slim: hours, in slices (seeds_evidence.py)

Images come from `bash scripts/data.sh data emoji`. Results are written to docs/seeds-*.csv and docs/images/seeds; finished
runs are not repeated, so calling it again continues.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rows import kantor, read_rows, write_rows
from seeds_evidence import evidence

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DIGITS, EMOJI, FASHION = (ROOT / "data" / name for name in ("digits", "emoji", "fashion-mnist"))
WIDEST = 400
FIELDS = ["name", "data", "seed", "images_seen", "elapsed_s", "fd", "fd_low", "fd_high", "recall", "estimate",
          "gradient_norm"]  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """A run. length: options that set its length."""

    name: str
    preset: str
    data: Path
    length: Sequence[str]
    fields: Sequence[str] = ()
    seed: int = 0
    image: Path | None = None


def presets(minutes: float) -> list[Trial]:
    """The nearest real dataset for each preset: digits for digits, emoji for everything in colour."""
    length = ("--time-budget", f"{minutes:g}m")
    small = {"colour-wgan128": ["data.pad=0"]}  # emoji have 64 pixels
    small["celeba64-wgan"] = ["data.crop=0", "cycle.overdose_steps=5"]  # the first 25 overdoses would take hours
    small |= {f"celeba64-{kind}": ["data.crop=0"] for kind in ("dcgan", "wgan-gp")}
    names = [
        *("fish32", "fish64", "celeba64-dcgan", "celeba64-wgan", "celeba64-wgan-gp", "colour-wgan128"),
        *("mnist64-dcgan", "mnist64-wgan", "mnist64-wgan-gp", "ohmygan-celeba64-dcgan", "ohmygan-celeba64-wgan"),
        *("paper-mnist28-wgan-gp", "paper-cifar32-resnet-wgan-gp", "paper-64-resnet-wgan-gp"),
        *("painter-wgan-gp", "painter-lines", "painter-colours"),
    ]
    return [
        Trial(name, name, DIGITS if "mnist" in name else EMOJI, length, small.get(name, ()),
              image=DOCS / "images" / "seeds" / f"{name}.png")
        for name in names
    ]  # fmt: skip


NARROW = ("generator.width=16", "critic.width=16", "data.size=32", "data.channels=gray")
GP = "objective.penalties.gradient"
QUIRKS = {  # name: (preset, fields)
    "wgan-gp: as in the paper": ("wgan-gp", []),
    "wgan-gp: normal alpha": ("wgan-gp", [f"{GP}.at.alpha=normal"]),
    "wgan-gp: one alpha a batch": ("wgan-gp", [f"{GP}.at.alpha=batch"]),
    "wgan-gp: minus sign": ("wgan-gp", [f"{GP}.at.sign=minus"]),
    "wgan-gp: norms of columns": ("wgan-gp", [f"{GP}.over=columns"]),
    "wgan-gp: half-sum drift": (
        "wgan-gp", ["objective.drift.kind=squared", "objective.drift.of=half-sum-real", "objective.drift.weight=0.001"]),
    "wgan-gp: mean drift": ("wgan-gp", ["objective.drift.kind=squared", "objective.drift.weight=0.001"]),
    "wgan-gp: one batch for all critic steps": ("wgan-gp", ["cycle.reuse=images"]),
    "wgan-gp: bare first layer, activated score": (
        "wgan-gp", ["critic.norm=none", "critic.bare_first=true", "critic.activated_score=true"]),
    "wgan-gp: critic without norm": ("wgan-gp", ["critic.norm=none"]),
    "wgan: as in the paper": ("wgan", []),
    "wgan: gradients clipped, not weights": (
        "wgan", ["objective.constraint.kind=gradient-clipping", "objective.constraint.bound=0.05"]),
    "wgan: kernels alone clipped": ("wgan", ["objective.constraint.scope=kernels"]),
    "wgan: clipped before the step": ("wgan", ["objective.constraint.when=before"]),
    "wgan: two updates for one": ("wgan", ["cycle.split_updates=true"]),
    "wgan: one batch and latents for all steps": ("wgan", ["cycle.reuse=everything"]),
    "dcgan: as in the paper": ("dcgan", []),
    "dcgan: same latents for both networks": ("dcgan", ["cycle.reuse=everything"]),
    "dcgan: bare first layer, activated score": ("dcgan", ["critic.bare_first=true", "critic.activated_score=true"]),
}  # fmt: skip
"""Reused images count once: those runs are as long in generator steps as the others."""


def quirks(generator_steps: int, seeds: int) -> list[Trial]:
    trials = []
    for name, (preset, fields) in QUIRKS.items():
        fresh = 1 if preset == "dcgan" or any("reuse" in field for field in fields) else 5
        images = generator_steps * fresh * 64
        length = ("--images", str(images), "--batch", "64")
        trials += [Trial(name, preset, FASHION, length, [*NARROW, *fields], seed) for seed in range(seeds)]
    return trials


def painter(minutes: float, seeds: int) -> list[Trial]:
    ratios = {f"wgan-gp {c}:{g}": ("painter-wgan-gp", [f"cycle.critic_steps={c}", f"cycle.generator_steps={g}"])
              for c, g in ((5, 1), (5, 3), (1, 1))}  # fmt: skip
    ratios["clipping 5:1"] = ("wgan", ["cycle.critic_steps=5", "critic.norm=layer"])
    narrow = ("generator.width=16", "critic.width=16", "data.size=32", "data.channels=rgb", "train.batch=64")
    return [
        Trial(name, preset, EMOJI, ("--time-budget", f"{minutes:g}m"), [*narrow, *fields], seed)
        for name, (preset, fields) in ratios.items()
        for seed in range(seeds)
    ]


def carried_out(trial: Trial, runs: Path) -> dict[str, object]:
    """Trains, measures and generates; returns a row of the table."""
    folder = f"{trial.name}-{trial.seed}".replace(" ", "-").replace(":", "").replace(",", "")
    before = time.monotonic()
    sets = [word for field in trial.fields for word in ("--set", field)]
    kantor("train", str(trial.data), "--preset", trial.preset, *trial.length, "--seed", str(trial.seed),
           "--runs", str(runs / folder), "--name", "run", "--metrics", "none", *sets)  # fmt: skip
    run = runs / folder / "00000-run"
    rows = read_rows(run / "metrics.csv")
    last = rows[-max(1, len(rows) // 20) :]  # the last twentieth

    def mean(column: str) -> float | str:
        scores = [float(row[column]) for row in last if row.get(column)]
        return round(sum(scores) / len(scores), 4) if scores else ""

    row: dict[str, object] = {
        "name": trial.name, "data": trial.data.name, "seed": trial.seed, "images_seen": int(rows[-1]["images_seen"]),
        "elapsed_s": round(time.monotonic() - before), "estimate": mean("wasserstein_estimate"),
        "gradient_norm": mean("gradient_norm"),
    }  # fmt: skip
    if trial.preset != "painter-colours":  # it needs outlines to start from
        source = ["--set", "data.edges=canny"] if trial.preset == "painter-lines" else []
        against = ["--against", str(trial.data), "--count", "1000", "--metrics", "fd,pr", "--json"]
        if not source:
            scores = json.loads(kantor("evaluate", str(run), *against))["metrics"]
            fd, recall = scores["fd@kantor-small"], scores["recall@kantor-small"]
            row |= {"fd": round(fd["value"], 3), "fd_low": round(fd["interval"][0], 3)}
            row |= {"fd_high": round(fd["interval"][1], 3), "recall": round(recall["value"], 3)}
        kantor("generate", str(run), "--grid", "8x4", "--gutter", "2")
    if trial.image is not None:
        keep(run, trial)
    return row


def keep(run: Path, trial: Trial) -> None:
    """The upper half of the grid, at a size for a page."""
    assert trial.image is not None
    trial.image.parent.mkdir(parents=True, exist_ok=True)
    sheets = sorted((run / "generated").glob("*/sheet.png")) or sorted((run / "samples" / "fixed").glob("*.png"))
    sheet = sheets[-1]
    with Image.open(sheet) as image:
        small = image.convert("RGB").crop((0, 0, image.width, image.height // 2 + 1))
        if small.width > WIDEST:
            small = small.resize((WIDEST, round(small.height * WIDEST / small.width)), Image.Resampling.LANCZOS)
        elif small.width * 2 <= WIDEST:
            small = small.resize((small.width * 2, small.height * 2), Image.Resampling.NEAREST)
        small.quantize(64).save(trial.image, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["presets", "quirks", "painter", "evidence"])
    parser.add_argument("--minutes", type=float, help="of each run [presets 5, painter 2]")
    parser.add_argument("--steps", type=int, default=1500, help="generator steps of each run of the quirks")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each quirk or ratio")
    parser.add_argument("--at-once", type=int, default=2, help="runs at a time, a thread each")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "seeds", help="folder for the runs")
    parser.add_argument("--only", default="", help="only runs whose name contains this")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder that scripts/data.sh filled")
    parser.add_argument("--slice", type=float, default=10, help="minutes after which evidence is saved and told")
    parser.add_argument("--threads", type=int, default=1, help="threads of each run of evidence")
    given = parser.parse_args()
    if given.what == "evidence":
        evidence(given.runs / given.what, given.data, given.only, given.slice, given.threads)
        return
    trials = {
        "presets": lambda: presets(given.minutes or 5),
        "quirks": lambda: quirks(given.steps, given.seeds),
        "painter": lambda: painter(given.minutes or 2, given.seeds),
    }[given.what]()
    table = DOCS / f"seeds-{given.what}.csv"
    rows = read_rows(table)
    known = {(row["name"], str(row["seed"])) for row in rows}
    left = [t for t in trials if (t.name, str(t.seed)) not in known and given.only in t.name]
    with ThreadPoolExecutor(given.at_once) as pool:
        for row in pool.map(lambda trial: carried_out(trial, given.runs / given.what), left):
            rows.append(row)
            write_rows(table, rows, FIELDS)
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    print(f"Results: {table}")


if __name__ == "__main__":
    main()
