"""How long `kantor generate` of 64 images and other short commands take as whole commands, beside an older commit.

    python benchmarks/startup.py --work data/startup --older SRC --out docs/speed-startup.csv [--rounds 5]

--older names the folder src/ of another commit. Each trains a small model of 32x32 of its own first. Then the commands run in
turn, each as a process of its own: seconds by the clock and of the processors. Printed: the medians, and how many times as long the
older commit takes within a round.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import commands
import timing

TRAIN = ["train", "glyphs", "--size", "32", "--images", "2000", "--set", "data.limit=2000"]


def model_of(src: Path, work: Path) -> Path:
    if not list(work.glob("*/generator.safetensors")):
        commands.run(src, [*TRAIN, "--runs", str(work), "--cache", str(work.parent / "cache")])
    return next(work.glob("*/generator.safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--older", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    sources = {"kantor": Path(__file__).parent.parent / "src", **({"older": args.older} if args.older else {})}
    models = {who: str(model_of(src, args.work / who)) for who, src in sources.items()}
    rows: list[dict[str, object]] = []
    found: dict[tuple[str, str], list[commands.Spent]] = {}
    for n in range(args.rounds):
        for who, src in sources.items():
            out = str(args.work / f"{who}-images")
            for name, words in {
                "help": ["--help"],
                "generate": ["generate", models[who], "--out", out, "--overwrite"],
                "walk": ["walk", models[who], "--seeds", "1,2", "--out", f"{out}.gif", "--overwrite"],
            }.items():
                spent = commands.run(src, words)
                found.setdefault((name, who), []).append(spent)
                seconds = {"seconds": round(spent.seconds, 2), "cpu_s": round(spent.cpu_s, 2)}
                rows.append({"command": name, "who": who, "round": n, **seconds})
                timing.write(args.out, rows)
    for (name, who), times in found.items():
        ratios = [spent.seconds / own.seconds for spent, own in zip(times, found[name, "kantor"], strict=True)]
        wall_s, cpu_s = (statistics.median(getattr(spent, key) for spent in times) for key in ("seconds", "cpu_s"))
        print(
            f"{name}: {who} takes {wall_s:.2f} s ({cpu_s:.2f} s of the processors), {timing.spread(ratios)} times as long"
        )


if __name__ == "__main__":
    main()
