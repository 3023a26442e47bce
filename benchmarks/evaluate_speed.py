"""How fast `kantor evaluate` is as a whole command, beside an older commit, and whether both give the same scores.

    python benchmarks/evaluate_speed.py RUN --older SRC --out docs/evaluate-speed.csv [--rounds 5] [--count 1000]

Both commands run in turn, as processes of their own on one thread, with caches of their own; the first round fills these and
is listed as round 0, and is not among the ratios. --older names the folder src/ of another commit. Seconds are those of the
clock and those of the processor (user and system), which other programs on the machine change less.

A row is written as soon as it is known.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import statistics
import tempfile
from pathlib import Path

import commands

METRICS = "fd,kid,pr,dc,swd,msssim,nn,modes,critic"  # the default ones of commit 5690a5f
HERE = Path(__file__).parent


def evaluate(src: Path, run: Path, count: int, home: Path, who: str) -> tuple[commands.Spent, dict[str, float]]:
    """What the command took, and the scores by name."""
    out = home / f"out-{who}"
    shutil.rmtree(out, ignore_errors=True)
    words = ["evaluate", str(run), "--count", str(count), "--features", "kantor-small", "--metrics", METRICS]
    words += ["--out", str(out), "--cache", str(home / f"cache-{who}")]
    spent = commands.run(src, words, OMP_NUM_THREADS="1")
    scores = json.loads((out / "scores.json").read_text())["metrics"]
    return spent, {name: score["value"] for name, score in scores.items()}


def difference(a: dict[str, float], b: dict[str, float]) -> tuple[float, str]:
    """The largest relative difference of a score that both have, and its name."""
    apart = {name: abs(a[name] - b[name]) / max(abs(b[name]), 1e-12) for name in a.keys() & b.keys()}
    name = max(apart, key=apart.__getitem__)
    return apart[name], name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--older", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    ratios: dict[str, list[float]] = {"clock": [], "processor": []}
    with tempfile.TemporaryDirectory() as folder, args.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["round", "who", "seconds", "cpu_s", "largest_difference", "score"])
        for number in range(args.rounds + 1):
            (older, theirs), (ours, mine) = (
                evaluate(src, args.run.resolve(), args.count, Path(folder), who)
                for who, src in (("older", args.older), ("kantor", HERE.parent / "src"))
            )
            apart, name = difference(mine, theirs)
            writer.writerow([number, "older", f"{older.seconds:.2f}", f"{older.cpu_s:.2f}", "", ""])
            writer.writerow([number, "kantor", f"{ours.seconds:.2f}", f"{ours.cpu_s:.2f}", f"{apart:.1e}", name])
            file.flush()
            times = (
                f"older {older.seconds:.1f} s ({older.cpu_s:.1f} s CPU), ours {ours.seconds:.1f} s ({ours.cpu_s:.1f})"
            )
            print(f"round {number}: {times}, {name} {apart:.1e} apart")
            if number:
                ratios["clock"].append(older.seconds / ours.seconds)
                ratios["processor"].append(older.cpu_s / ours.cpu_s)
    for kind, values in ratios.items():
        print(f"{kind}: {statistics.median(values):.2f} times as fast, median ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
