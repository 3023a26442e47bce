"""How many seconds of training until one contestant reaches the score that another has after S seconds?

    python benchmarks/time_to_quality.py train --data glyphs fashion clipart --seeds 0,1,2 --seconds 300 \\
        --contestants kantor kantor@5690a5f kantor:preset=wgan-gp-tuned plain plain:lr=2e-4,batch=32 torch-mimicry \\
        --peer torch-mimicry=FOLDER --peer keras=FOLDER:PYTHON [--isa avx2] [--pairs]
    python benchmarks/time_to_quality.py score --features kantor-small,random
    python benchmarks/time_to_quality.py report --of kantor
    python benchmarks/time_to_quality.py sheets

`train` lets contestants train in turn, on the same arrays, and keeps the images that they generate after some seconds of
training. `score` adds their Fréchet distances to a CSV. `report` makes tables and plots of it. All three can be interrupted and called
again: what is done stays done; a contestant that was interrupted trains from its beginning.

Contestants: `kantor` is `kantor train` of this checkout, `kantor@COMMIT` of an earlier one, `kantor:preset=NAME,SECTION.FIELD=VALUE`
with options, and `budget=100` for a run of 100 seconds that is compared with longer ones; `plain` the loop of Gulrajani et al. 2017; all others are peers, at their own settings or, behind a colon, others (lr,
beta1, beta2, batch, width, critic_steps). FOLDER holds a peer's source; keras needs a PYTHON that has TensorFlow. PEER_PATH
names folders of packages that peers import (einops for lightweight-gan).

Seconds are those of training cycles alone, on the contestant's own clock; start-up and calibration are a column of their own, as
are seconds of the process, images seen and peak memory. A Kantor run has the budget that a user would give it; it is over
when its schedule is, a little earlier, and keeps its last score.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from quality.plan import DATASETS, KANTOR, Contestant, Dataset, Machine, Trial
from quality.race import ROOT, Peer, race

from kantor.errors import UserError

MARKS = (5, 10, 15, 30, 60, 100, 150, 200, 300)


def seeds_of(text: str) -> list[int]:
    """ "0,1,2" or "0-29"."""
    ranges = (part.partition("-") for part in text.split(","))
    return [seed for low, _, high in ranges for seed in range(int(low), int(high or low) + 1)]


def peer_of(text: str) -> tuple[str, Peer]:
    name, _, rest = text.partition("=")
    folder, _, python = rest.partition(":")
    if not Path(folder or "?").is_dir():
        raise argparse.ArgumentTypeError(f"{text}: write NAME=FOLDER, an existing one")
    return name, Peer(Path(folder).resolve(), python or sys.executable)


def train(options: argparse.Namespace) -> int:
    marks = sorted({*(m for m in options.marks if m < options.seconds), options.seconds})
    threads = 1 if options.pairs else options.threads
    machine = Machine(options.isa, threads, options.pairs)
    missing = {c.name for c in options.contestants} - {KANTOR, "plain"} - dict(options.peer).keys()
    if missing:
        sys.exit(f"error: {', '.join(sorted(missing))}: no source; add --peer NAME=FOLDER")
    trials = [
        Trial(dataset, machine, contestant, seed, marks, options.count)
        for dataset in options.data
        for seed in options.seeds
        for contestant in options.contestants
    ]
    return 1 if race(trials, options.work, dict(options.peer)) else 0


def score(options: argparse.Namespace) -> int:
    from quality import modes, scores

    features = options.features.split(",")
    if modes.DIGITS in features:
        from quality.datasets import prepared

        channels, whole = modes.accuracy(prepared(Dataset.of("stacked"), options.work, ROOT), 10_000)
        print(f"digits of 10,000 real images recognised: {channels:.2%} of channels, {whole:.2%} of all three")
    scores.score(options.work, scores.Table(options.out), features, options.count, options.marks)
    return 0


def report(options: argparse.Namespace) -> int:
    from quality import report as reports
    from quality.scores import Table

    rows = Table(options.out).rows
    text = [reports.INTRODUCTION]
    for group, members in reports.grouped(rows).items():
        heading, curves = reports.title(group), reports.Curves(members, options.start_up)
        if any(row["modes"] for row in members):
            text += [f"### {heading}: modes", "", reports.modes_table(members), ""]
        if not curves.marks:
            continue
        racers = [name for name in curves.contestants if not options.of or name in options.of]
        blocks = [f"### {heading}: FD", reports.scores_table(curves), *reports.speed_up_table(curves, racers)]
        if len(curves.marks) > 1:
            plot = options.plots / f"{'-'.join((*group[:6], group[7]))}.png"
            reports.plot(curves, heading, plot)
            blocks.append(f"![{heading}]({os.path.relpath(plot, options.out.parent)})")
        text += [part for block in blocks for part in (block, "")]
    text += [f"- {line}" for line in reports.disagreements(rows, options.of)]
    print("\n".join(text))
    options.out.with_suffix(".md").write_text("\n".join(text) + "\n")
    return 0


def sheets(options: argparse.Namespace) -> int:
    """Writes a grid of the first images that each trial ended with."""
    import numpy as np
    from quality.scores import trials

    from kantor.sample.grid import grid, png_bytes

    folder = options.work / "sheets"
    folder.mkdir(parents=True, exist_ok=True)
    for path, spec, run in trials(options.work):
        ends = [moment for moment in run["moments"] if moment["which"] == "weights"]
        if not ends or spec["seed"] not in options.seeds:
            continue
        images = np.load(path / ends[-1]["file"], mmap_mode="r")[: options.columns * options.rows]
        name = "-".join(path.relative_to(options.work / "trials").parts)
        (folder / f"{name}.png").write_bytes(png_bytes(grid(np.asarray(images), options.columns)))
    print(f"Results: {folder}")
    return 0


def failures(options: argparse.Namespace) -> int:
    from quality.report import failures as lines
    from quality.scores import Table

    print(f"failed: diverged, or FD above {options.above:g}, or recall below {options.recall:g} at the end")
    print("\n".join(lines(Table(options.out).rows, options.above, options.recall)))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--work", type=Path, default=ROOT / "runs" / "time-to-quality", help="folder for trials and arrays"
    )
    common.add_argument("--out", type=Path, default=ROOT / "docs" / "time-to-quality.csv", help="table of scores")
    training = commands.add_parser("train", parents=[common], help="train what is missing")
    known = f"NAME=PATH[,size=32,channels=rgb,limit=200,...], or one of {', '.join(DATASETS)}"
    training.add_argument("--data", nargs="+", type=Dataset.of, default=[Dataset.of("glyphs")], help=known)
    training.add_argument("--contestants", nargs="+", type=Contestant.of, default=[Contestant.of(KANTOR)])
    training.add_argument("--peer", action="append", type=peer_of, default=[], metavar="NAME=FOLDER[:PYTHON]")
    training.add_argument("--seeds", type=seeds_of, default=[0, 1, 2], help="0,1,2 or 0-29")
    training.add_argument("--seconds", type=float, default=300.0, help="of training (default: 300)")
    training.add_argument("--marks", type=_numbers, default=MARKS, help=f"seconds at which images are kept {MARKS}")
    training.add_argument("--count", type=int, default=5000, help="images to keep at each mark")
    training.add_argument(
        "--isa", choices=["native", "avx2"], default="native", help="avx2: without AVX512, in float32"
    )
    training.add_argument("--threads", type=int, default=os.cpu_count(), help="of each contestant")
    training.add_argument("--pairs", action="store_true", help="two contestants at a time, each on one core")
    training.set_defaults(run=train)
    scoring = commands.add_parser("score", parents=[common], help="score what is not in the table")
    scoring.add_argument(
        "--features", default="kantor-small", help="extractors, or digits for the modes of stacked digits"
    )
    scoring.add_argument("--count", type=int, default=5000, help="images of each moment")
    scoring.add_argument("--marks", type=_numbers, help="only these")
    scoring.set_defaults(run=score)
    reporting = commands.add_parser("report", parents=[common], help="tables and plots")
    reporting.add_argument("--of", nargs="+", default=[], help="contestants whose times to compare (default: all)")
    reporting.add_argument("--start-up", action="store_true", help="count start-up and calibration as training")
    reporting.add_argument("--plots", type=Path, default=ROOT / "docs" / "images" / "time-to-quality")
    reporting.set_defaults(run=report)
    showing = commands.add_parser("sheets", parents=[common], help="a grid of what each trial ended with, as a PNG")
    showing.add_argument("--seeds", type=seeds_of, default=[0])
    showing.add_argument("--columns", type=int, default=16)
    showing.add_argument("--rows", type=int, default=6)
    showing.set_defaults(run=sheets)
    failing = commands.add_parser("failures", parents=[common], help="how many runs failed, with an interval")
    failing.add_argument("--above", type=float, required=True, help="an FD above this at the end is a failure")
    failing.add_argument("--recall", type=float, default=0.01, help="so is a recall below this (default: 0.01)")
    failing.set_defaults(run=failures)
    options = parser.parse_args()
    try:
        return int(options.run(options))
    except UserError as error:
        sys.exit(f"error: {error}")


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
