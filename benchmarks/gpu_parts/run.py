"""A real run of `kantor train`."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpu_parts.check import Check

BUDGET_S, AROUND_S = 90, 35  # of training; start-up, packing and the end of the run


def train(check: Check) -> str:
    """`kantor train` on the built-in letters; its last grid and losses.png are copied next to the tables."""
    budget_s = min(BUDGET_S, int(check.left_s()) - AROUND_S) if not check.tiny else 0
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", "--runs", folder, "--name", "run", "--device", check.device.type]
        if check.tiny:
            words += ["--size", "16", "--images", "64", "--batch", "16", "--set", "data.limit=64"]
            words += ["--set", "train.score_images=0", "--set", "generator.width=4", "--set", "critic.width=4"]
        else:
            words += ["--size", "64", "--time-budget", f"{budget_s}s"]
        began_s = time.monotonic()
        code, output = _finished([sys.executable, "-m", "kantor", *words], check.left_s() - 10)
        wall_s = time.monotonic() - began_s
        print(output, flush=True)
        if code not in (0, 130):
            raise RuntimeError(f"kantor {' '.join(words)}: exit code {code}")
        (run,) = (path.parent for path in Path(folder).glob("*/metrics.csv"))
        return _results(check, run, wall_s, output.count("falling back to eager"))


def _finished(command: list[str], most_s: float) -> tuple[int, str]:
    """Exit code and output of a command. After `most_s` it is interrupted, as by Ctrl-C, and saves what it has."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=most_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=10)
    return process.returncode, output


def _results(check: Check, run: Path, wall_s: float, fell_back: int) -> str:
    grids = sorted((run / "samples" / "fixed").glob("*.png"))
    shutil.copyfile(grids[-1], check.out / "samples.png")
    shutil.copyfile(run / "losses.png", check.out / "losses.png")
    shutil.copyfile(run / "metrics.csv", check.out / "metrics.csv")
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = rows[-1]
    images, seconds = int(last["images_seen"]), float(last["seconds"])
    case = f"default, letters at {check.size}x{check.size}"
    check.row(case, "auto", "images seen", images)
    check.row(case, "auto", "training", seconds, "s")
    check.row(case, "auto", "the whole command", wall_s, "s")
    check.row(case, "auto", "fell back to eager steps", fell_back, "times", 0, equality=True)
    text = f"{images:,} images in {seconds:.0f} s of training, {wall_s:.0f} s in all"
    for name in (name for name in last if "@" in name):
        values = [float(row[name]) for row in rows if row[name]]
        if values:
            check.row(case, "auto", f"{name} at the end", values[-1])
            text += f", {name} {values[-1]:.4g}"
    return f"{text}; look at samples.png and losses.png"
