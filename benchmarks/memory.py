"""Memory of `kantor train --preset colour-wgan128 --batch 16` beside an older commit, its time, and whether losses agree.

    python benchmarks/memory.py --work data/memory --older SRC --out docs/memory.csv [--cycles 10] [--set train.precision=float32]

--older names the folder src/ of another commit. Both train on letters of 128x128 for some cycles and save once, in turn,
each as a process of its own with two threads. Written: the resident memory of each against time. Printed: the largest, the seconds
of a cycle, by the clock and of the processors, and the largest difference between the losses of the two.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from pathlib import Path

import commands
import timing

PRESET = ["--preset", "colour-wgan128", "--batch", "16"]
IMAGES_IN_CYCLE = 80  # five critic steps of 16
LOSSES = ("critic_loss", "critic_real", "critic_fake", "generator_loss")


def losses(folder: Path) -> list[list[float]]:
    (path,) = folder.glob("*/metrics.csv")
    with path.open() as file:
        return [[float(row[name]) for name in LOSSES] for row in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--older", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    sources = {"older": args.older} if args.older else {}
    rows, found = [], {}
    for who, src in {**sources, "kantor": Path(__file__).parent.parent / "src"}.items():
        runs = args.work / f"{who}-runs-{len(list(args.work.glob('*')))}"
        words = ["train", "glyphs", *PRESET, "--images", str(args.cycles * IMAGES_IN_CYCLE), "--runs", str(runs)]
        words += ["--cache", str(args.work / "cache"), *(word for field in args.set for word in ("--set", field))]
        spent = commands.run(src, words, commands.WATCHED, args.work / f"{who}.txt", OMP_NUM_THREADS="2")
        rows += [{"who": who, "seconds": t, "mb": round(mb)} for t, mb in spent.numbers("memory")]
        timing.write(args.out, rows)
        cycles = spent.numbers("cycle")
        wall_s, cpu_s = (statistics.median(cycle[i] for cycle in cycles) for i in (0, 1))
        found[who] = losses(runs)
        peak_mb = spent.numbers("peak")[0][0]
        print(f"{who}: at most {peak_mb:.0f} MB, {wall_s:.1f} s a cycle, {cpu_s:.1f} s of the processors", flush=True)
    if args.older:
        for name, old, new in zip(
            LOSSES, zip(*found["older"], strict=True), zip(*found["kantor"], strict=True), strict=True
        ):
            size = max(map(abs, old))
            print(
                f"{name}: differs by at most {max(abs(a - b) for a, b in zip(old, new, strict=True)) / size:.1e} of {size:.4g}"
            )


if __name__ == "__main__":
    main()
