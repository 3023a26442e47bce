"""What only a GPU can show, in under nine minutes; gpu_check.sh runs this with the right Python and paths.

    bash benchmarks/gpu_check.sh [--peer NAME=FOLDER ...] [--only PART,PART] [--seconds 530] [--cpu]

Each part is a process of its own, so that none can stop the others, and begins only if enough time is left. It prints one
line of what it measured and adds rows to $OUT/results.csv: part, case, precision, measure, value, unit, limit, equal ("yes"
or "no" where two things have to be equal up to the limit). Of a short run of `kantor train` there are samples.png,
losses.png and metrics.csv.

Exit code: 0; 1 if an equality failed; 2 if none failed, but a part has not come to its end.

Without a GPU each part says what it would measure. --cpu runs all parts in a tiny form, with stand-ins for CUDA graphs and
kernels: a test of this script, whose times mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """needs_s: seconds that have to be left for it to begin; most_s: after which it is stopped."""

    needs_s: int
    most_s: int
    what: str


PARTS = {  # by value for their time
    "recorded": Part(
        20, 100, "each kind of step as a CUDA graph against the eager step, and weights after many cycles"
    ),
    "memory": Part(10, 30, "peak memory of a WGAN-GP cycle at batch 64 against the plain loop's"),
    "bfloat16": Part(10, 40, "images a second and gradients in bfloat16 against float32"),
    "points": Part(10, 30, "what penalty points cost that are computed before the recorded step"),
    "throughput": Part(
        50, 180, "images a second at 64x64 beside the plain loop and other peers, and of a matrix product"
    ),
    "train": Part(75, 150, "90 s of `kantor train` on built-in letters at 64x64: grid and losses"),
    "compiled": Part(45, 120, "passes of --compile against eager ones, and their speed"),
}


def measure(name: str, options: argparse.Namespace, seconds: float) -> int:
    """Runs a part in this process; returns 0, 1 if an equality failed, or 70 if the part did."""
    try:
        return _measure(name, options, seconds)
    except Exception:
        traceback.print_exc()
        return 70


def _measure(name: str, options: argparse.Namespace, seconds: float) -> int:
    import torch
    from gpu_parts import equality, memory, rates, run
    from gpu_parts.check import Check

    parts = {
        "recorded": equality.recorded,
        "memory": memory.memory,
        "bfloat16": rates.bfloat16,
        "points": rates.interpolation,
        "throughput": rates.throughput,
        "train": run.train,
        "compiled": equality.compiled,
    }
    device = torch.device("cpu" if options.cpu else "cuda")
    check = Check(name, device, options.cpu, options.out, time.perf_counter() + seconds, options.peer)
    say(options.out, f"{name}: {parts[name](check)}")
    for line in check.different:
        say(options.out, f"{name}: NOT EQUAL: {line}")
    return int(bool(check.different))


def say(out: Path, line: str) -> None:
    """Prints a line of the summary, which is repeated at the end."""
    print(line, flush=True)
    with (out / "summary.txt").open("a") as file:
        file.write(line + "\n")


def in_own_process(command: list[str], most_s: float) -> int:
    """Exit code of a command; 124 if it was stopped after `most_s`, with all of its processes."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait(most_s)
    except subprocess.TimeoutExpired:
        return 124
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_part(name: str, options: argparse.Namespace, left_s: float) -> int:
    most_s = min(PARTS[name].most_s, left_s)
    if options.cpu:
        code = measure(name, options, most_s)
    else:
        words = [sys.executable, __file__, "--part", name, "--out", str(options.out), "--seconds", f"{most_s - 5:.0f}"]
        code = in_own_process([*words, *(word for peer in options.peer for word in ("--peer", peer))], most_s)
    if code > 1 or code < 0:
        reason = f"stopped after {most_s:.0f} s" if code == 124 else f"failed (exit code {code}; above is why)"
        say(options.out, f"{name}: {reason}")
    return code


def describe(options: argparse.Namespace) -> None:
    """Writes environment.json and prints the machine."""
    import torch

    from kantor.app.environment import versions

    cuda = torch.cuda.is_available()
    machine = {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "versions": versions(),
        "tiny": options.cpu,
    }
    (options.out / "environment.json").write_text(json.dumps(machine, indent=1) + "\n")
    print(f"{machine['device']}, torch {torch.__version__}, {machine['cores']} cores", flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out = Path(os.environ.get("OUT") or "gpu-check")
    parser.add_argument("--out", type=Path, default=out, help="folder for results (default: $OUT, else gpu-check)")
    parser.add_argument("--seconds", type=float, default=530, help="in all (default: 530)")
    parser.add_argument("--started", type=float, default=time.time(), help="when they began, in seconds since 1970")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,PART")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--cpu", action="store_true", help="a tiny form of each part on the CPU: a test of this script")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    if unknown := [name for name in options.only if name not in PARTS]:
        parser.error(f"--only {unknown[0]}: no such part; choose some of {', '.join(PARTS)}")
    for text in options.peer:
        if "=" not in text or not Path(text.partition("=")[2] or "?").is_dir():
            parser.error(f"--peer {text}: write NAME=FOLDER with a folder that exists")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.part:
        return measure(options.part, options, options.seconds)
    import torch

    if not options.cpu and not torch.cuda.is_available():
        for name in options.only:
            print(f"{name}: no NVIDIA GPU here; would measure {PARTS[name].what}")
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    for name in ("results.csv", "summary.txt"):
        (options.out / name).unlink(missing_ok=True)
    describe(options)
    codes = []
    for name in options.only:
        left_s = options.started + options.seconds - time.time()
        if left_s < PARTS[name].needs_s:
            say(options.out, f"{name}: skipped, {left_s:.0f} s are left and it needs {PARTS[name].needs_s}")
            continue
        codes.append(run_part(name, options, left_s))
    spent_s = time.time() - options.started
    print(
        f"\n--- {spent_s:.0f} s; tables and pictures in {options.out} ---\n{(options.out / 'summary.txt').read_text()}"
    )
    return 1 if 1 in codes else 2 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
