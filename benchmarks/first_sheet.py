"""When `kantor train` shows the first images of a model in training, from the command on.

    python benchmarks/first_sheet.py [--older SRC] [--rounds 3] [--images 8000] [--side 256] [--size 32] [--budget 60s]
        [--data FOLDER] [--out FILE]

Makes PNGs with the spectrum of photographs in a temporary folder (or in --data, once), reads them, so that they lie in
the file cache, and trains on them with an empty cache of packed images, as a process of its own. --older names the folder src/ of another
commit, which trains in turn. Seconds since the command began:

packed    the packed images are complete
metrics   metrics.csv has its first row
sheet     samples/fixed/ has a sheet of a model in training: images_seen > 0 (`seen`)
end       the command has ended
cpu       processor seconds of the command and its worker processes until that sheet (Linux)
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from packing import photo
from PIL import Image

HERE = Path(__file__).resolve().parent
POLL_S = 0.02
Marks = dict[str, float]


def make_images(folder: Path, count: int, side: int) -> None:
    """Writes PNGs of side x side: parts of a few large images, each turned or mirrored."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    bases = [np.asarray(photo(rng, 4 * side, 4 * side)) for _ in range(4)]
    for number in range(count):
        top, left = rng.integers(0, 3 * side + 1, 2)
        part = np.rot90(bases[number % 4][top : top + side, left : left + side], number // 4 % 4)
        Image.fromarray(np.ascontiguousarray(part)).save(folder / f"{number:05d}.png", compress_level=1)


def read_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.read_bytes()


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process and of its children that have ended; NaN elsewhere than on Linux."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def trained(source: Path, images: Path, scratch: Path, size: int, budget: str) -> Marks:
    """Trains with the package in `source` on an empty cache; returns the seconds of each mark."""
    runs, cache = scratch / "runs", scratch / "cache"
    command = [sys.executable, "-m", "kantor", "train", str(images), "--size", str(size), "--time-budget", budget]
    command += ["--runs", str(runs), "--cache", str(cache)]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    waiting: dict[str, Callable[[], float]] = {
        "packed": lambda: float(any(cache.glob("packs/*/manifest.json"))),
        "metrics": lambda: float(any(path.read_bytes().count(b"\n") > 1 for path in runs.glob("*/metrics.csv"))),
        "sheet": lambda: float(
            min((int(p.stem) for p in runs.glob("*/samples/fixed/*.png") if int(p.stem)), default=0)
        ),
    }
    marks: Marks = {}
    began_s = time.monotonic()
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        while True:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            elapsed_s = time.monotonic() - began_s
            for name in list(waiting):
                if found := waiting[name]():
                    marks[name] = elapsed_s
                    del waiting[name]
                    if name == "sheet":
                        marks |= {"seen": found, "cpu": cpu_seconds(process.pid)}
            if pid:
                break
            time.sleep(POLL_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit((scratch / "log").read_text())
    return marks | {"end": elapsed_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--older", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--data", type=Path, help="keep the images in this folder, and take them from it")
    parser.add_argument("--out", type=Path, help="append the rows to this file, as CSV")
    asked = parser.parse_args()
    contestants = {"now": HERE.parent / "src"} | ({"older": asked.older.resolve()} if asked.older else {})
    columns = ("round", "contestant", "packed", "metrics", "sheet", "seen", "end", "cpu")
    rows = []
    with tempfile.TemporaryDirectory(prefix="kantor-first-sheet-") as folder:
        images = asked.data or Path(folder) / "images"
        if not images.exists():
            make_images(images, asked.images, asked.side)
        print(",".join(columns), flush=True)
        for number in range(asked.rounds):
            for name, source in contestants.items():
                read_all(images)
                with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=folder) as scratch:
                    marks = trained(source, images, Path(scratch), asked.size, asked.budget)
                cells = [f"{marks[column]:.1f}" if column in marks else "" for column in columns[2:]]
                rows.append([str(number), name, *cells])
                print(",".join(rows[-1]), flush=True)
    if asked.out:
        new = not asked.out.exists()
        with asked.out.open("a", newline="") as file:
            csv.writer(file).writerows([columns, *rows] if new else rows)


if __name__ == "__main__":
    main()
