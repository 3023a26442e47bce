"""Compare this checkout with an earlier commit: are runs bit-identical, do its checkpoints resume, are steps as fast?

    python scripts/compare_with.py 5690a5f            # bits: ten kinds of run, and a checkpoint of REV resumed here
    python scripts/compare_with.py 5690a5f --speed    # speed: both in turn, five rounds, ratios

A git worktree of REV is made in a temporary folder. REV trains a preset once, for its complete config.toml; then REV and
this checkout both train from that file (`kantor train --config`), never from a preset's name. Compared are the tensors
of generator.safetensors, bit by bit, and every column of metrics.csv that both have, except columns of time. Runs are on
the CPU, one thread, float32. The exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.numpy import load_file

ROOT = Path(__file__).parents[1]
TIME_COLUMNS = {"seconds", "images_per_second"}
EXACT = ["train.precision=float32", "train.tick_images=16", "train.sample_images=64", "train.snapshot_images=64"]
TINY = [*EXACT, "data.glyphs.count=200", "train.batch=8"]
SMALL = ["generator.width=8", "critic.width=8"]
CASES: dict[str, list[str]] = {
    "default": ["--preset", "default", *SMALL],
    "wgan-gp": ["--preset", "wgan-gp", "data.size=32", *SMALL],
    "wgan": ["--preset", "wgan", "data.size=32", *SMALL],
    "dcgan": ["--preset", "dcgan", "data.size=32", *SMALL],
    "fish32": ["--preset", "fish32"],
    "mnist64-dcgan": ["--preset", "mnist64-dcgan"],
    "conditional": ["--conditional", *SMALL],
    "split updates": ["--preset", "dcgan", "data.size=32", "cycle.split_updates=true", *SMALL],
    "micro-batch": ["train.micro_batch=3", *SMALL],
    "scores": ['score.metrics=["fd", "kid", "pr"]', "train.score_images=64", "score.count=100", *SMALL],
}


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """A checkout of `revision` in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "worktree"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--quiet", "--detach", path, revision], check=True)
        try:
            yield path
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", path], check=True)


def kantor(checkout: Path, *arguments: str | Path, threads: str = "1") -> None:
    """Runs `kantor` as `checkout` has it; its output is shown only if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-m", "kantor", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} in {checkout} failed with {done.returncode}:\n{done.stdout}{done.stderr}")


def flags(words: list[str]) -> list[str]:
    """`section.field=value` becomes `--set section.field=value`; everything else stays."""
    return [part for word in words for part in (["--set", word] if "=" in word else [word])]


def only_run(runs: Path) -> Path:
    (run,) = runs.glob("0*")
    return run


def complete_config(old: Path, words: list[str], folder: Path, images: int) -> Path:
    """The config.toml that REV writes for these flags."""
    kantor(old, "train", "--runs", folder, "--device", "cpu", "--images", str(images), *flags(words))
    return only_run(folder) / "config.toml"


def differences(old: Path, new: Path) -> list[str]:
    """What differs between two runs; empty if their bits are equal."""
    before, after = load_file(old / "generator.safetensors"), load_file(new / "generator.safetensors")
    found = [f"tensor {name} is in one only" for name in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        if before[name].dtype != after[name].dtype or before[name].tobytes() != after[name].tobytes():
            found.append(f"tensor {name} differs")
    rows = [list(csv.DictReader((run / "metrics.csv").open(newline=""))) for run in (old, new)]
    if len(rows[0]) != len(rows[1]) or not rows[0]:
        return [*found, f"metrics.csv has {len(rows[0])} and {len(rows[1])} rows"]
    for name in [name for name in rows[0][0] if name in rows[1][0] and name not in TIME_COLUMNS]:
        if [row[name] for row in rows[0]] != [row[name] for row in rows[1]]:
            found.append(f"column {name} differs")
    return found


def compare_bits(old: Path, chosen: list[str], images: int) -> int:
    """Prints a line per case; returns how many differ."""
    failed = 0
    with tempfile.TemporaryDirectory() as text:
        for name in chosen:
            folder = Path(text) / name.replace(" ", "-")
            config = complete_config(old, [*TINY, *CASES[name]], folder / "config", images)
            for checkout, runs in ((old, folder / "old"), (ROOT, folder / "new")):
                kantor(checkout, "train", "--config", config, "--runs", runs, "--device", "cpu")
            found = differences(only_run(folder / "old"), only_run(folder / "new"))
            failed += bool(found)
            print(f"{name}: {'; '.join(found) or 'bit-identical'}", flush=True)
        folder = Path(text) / "resumed"
        config = complete_config(old, [*TINY, *CASES["default"]], folder / "config", images)
        kantor(old, "train", "--config", config, "--runs", folder / "old", "--device", "cpu")
        shutil.copytree(folder / "old", folder / "new")
        for checkout, runs in ((old, folder / "old"), (ROOT, folder / "new")):
            kantor(checkout, "train", "--resume", only_run(runs), "--images", str(2 * images), "--device", "cpu")
        found = differences(only_run(folder / "old"), only_run(folder / "new"))
        print(f"a checkpoint resumed: {'; '.join(found) or 'bit-identical'}")
    return failed + bool(found)


def steps_per_second(run: Path) -> float:
    """Images a second between the first and the last row of metrics.csv: start-up and warm-up do not count."""
    rows = list(csv.DictReader((run / "metrics.csv").open(newline="")))
    images, seconds = ([float(rows[n][name]) for n in (0, -1)] for name in ("images_seen", "seconds"))
    return (images[1] - images[0]) / (seconds[1] - seconds[0])


def compare_speed(old: Path, rounds: int, images: int) -> None:
    """Prints the ratio of throughputs, this checkout to REV, for two presets."""
    print(f"processor: {processor()}")
    for preset in ("default", "wgan-gp"):
        ratios = []
        with tempfile.TemporaryDirectory() as text:
            intervals = [
                f"train.{name}_images={images // 8 if name == 'tick' else images}"
                for name in ("tick", "sample", "snapshot")
            ]
            words = ["--preset", preset, "data.size=32", "train.precision=float32", "train.score_images=0", *intervals]
            config = complete_config(old, words, Path(text) / "config", images)
            for n in range(rounds):
                rates = {}
                order = ((old, "old"), (ROOT, "new"))
                for checkout, name in order if n % 2 else order[::-1]:
                    runs = Path(text) / f"{name}-{n}"
                    kantor(
                        checkout,
                        "train",
                        "--config",
                        config,
                        "--runs",
                        runs,
                        "--device",
                        "cpu",
                        threads=str(os.cpu_count()),
                    )
                    rates[name] = steps_per_second(only_run(runs))
                ratios.append(rates["new"] / rates["old"])
                print(
                    f"{preset}, round {n + 1}: {rates['new']:.1f} against {rates['old']:.1f} images a second, {ratios[-1]:.3f}",
                    flush=True,
                )
        print(f"{preset}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), n = {rounds}")


def processor() -> str:
    """The processor's name, and whether it computes in bfloat16."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    name = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")
    kinds = [kind for kind in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {kind} " in text]
    return f"{name or platform.processor()}, {os.cpu_count()} cores, {' '.join(kinds)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", metavar="REV")
    parser.add_argument("--cases", default=",".join(CASES), help="comma-separated: %(default)s")
    parser.add_argument("--images", type=int, help="length of a run: 128 for bits, 6000 for speed")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with worktree(options.revision) as old:
        if options.speed:
            compare_speed(old, options.rounds, options.images or 6000)
        else:
            sys.exit(1 if compare_bits(old, options.cases.split(","), options.images or 128) else 0)


if __name__ == "__main__":
    main()
