"""Trains contestants in turn, each in its own process. A trial that has its `run.json` is not run again."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from quality.datasets import channels, prepared
from quality.plan import KANTOR, Trial

BENCHMARKS = Path(__file__).parents[1]
ROOT = BENCHMARKS.parent
DIVERGED = 6  # exit code of Kantor


@dataclass(frozen=True)
class Peer:
    """Where a peer's source is, and which Python runs it."""

    folder: Path
    python: str = sys.executable


def race(trials: Sequence[Trial], work: Path, peers: Mapping[str, Peer]) -> int:
    """Runs what is missing, in this order; two at a time if they are paired. Returns how many failed."""
    missing = [trial for trial in trials if not (trial.path(work) / "run.json").exists()]
    print(f"{len(trials) - len(missing)} of {len(trials)} trials are done")
    data = {trial.dataset.name: prepared(trial.dataset, work, ROOT) for trial in missing}
    paired = any(trial.machine.paired for trial in missing)
    cores: queue.Queue[int | None] = queue.Queue()
    for core in sorted(os.sched_getaffinity(0))[:2] if paired else [None]:
        cores.put(core)
    with _checkouts({t.contestant.commit for t in missing if t.contestant.commit}) as checkouts:
        for commit, name in sorted(
            {(t.contestant.commit, t.dataset.name) for t in missing if t.contestant.name == KANTOR}
        ):
            _pack(checkouts.get(commit, ROOT), data[name], work)

        def run(trial: Trial) -> bool:
            core = cores.get()
            try:
                checkout = checkouts.get(trial.contestant.commit, ROOT)
                return run_trial(
                    trial, work, data[trial.dataset.name], peers.get(trial.contestant.name), checkout, core
                )
            finally:
                cores.put(core)

        with ThreadPoolExecutor(cores.qsize()) as pool:
            return sum(not done for done in pool.map(run, missing))


def run_trial(trial: Trial, work: Path, data: Path, peer: Peer | None, checkout: Path, core: int | None) -> bool:
    """Runs one trial; returns whether it left a `run.json`. What it prints is in log.txt.

    Args:
        data: the array of its dataset.
        core: to pin it to.
    """
    contestant, folder = trial.contestant, trial.path(work)
    shutil.rmtree(folder, ignore_errors=True)  # of an interrupted run
    folder.mkdir(parents=True)
    options = dict(contestant.options)
    if contestant.commit and trial.machine.isa == "avx2":  # earlier commits look at the processor, not at its limits
        options.setdefault("train.precision", "float32")
    spec = {"contestant": contestant.text, "name": contestant.name, "options": options, "seed": trial.seed, "marks": list(trial.marks),
            "count": trial.count, "folder": str(folder), "data": str(data),
            "source": str(peer.folder) if peer else None, "started_s": time.time()}  # fmt: skip
    (folder / "spec.json").write_text(json.dumps(spec, indent=1))
    module = "quality.run_kantor" if contestant.name == KANTOR else "quality.run_peer"
    command = [peer.python if peer else sys.executable, "-m", module, str(folder / "spec.json")]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    environment = _environment(checkout, work) | trial.machine.environment(work)
    label = f"{trial.dataset.name}, {trial.machine.folder}, {contestant.text}, seed {trial.seed}"
    began_s = time.monotonic()
    with (folder / "log.txt").open("w") as log:
        code = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder).returncode
    shutil.rmtree(folder / "runs", ignore_errors=True)  # checkpoints and samples of Kantor
    if code == DIVERGED and contestant.name == KANTOR:
        (folder / "run.json").write_text(json.dumps({"error": "diverged", "moments": []}))
    if code:
        lines = (folder / "log.txt").read_text().strip().splitlines()
        print(f"{label}: failed with {code}: {lines[-1] if lines else ''}", flush=True)
    else:
        last = json.loads((folder / "run.json").read_text())["moments"][-1]
        trained = f"{last['images']:,} images in {last['seconds']:.1f} s"
        print(f"{label}: {trained} ({time.monotonic() - began_s:.0f} s in all)", flush=True)
    return not code


def _pack(checkout: Path, data: Path, work: Path) -> None:
    """Lets Kantor pack the array into its cache, so that no trial is the first to do so: trains a moment."""
    with tempfile.TemporaryDirectory() as runs:
        words = ["train", str(data), "--images", "64", "--batch", "32", "--runs", runs, *channels(data)]
        command = [sys.executable, "-m", "kantor", *words]
        done = subprocess.run(command, env=_environment(checkout, work), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {checkout}: {done.stderr.strip()}")


def _environment(checkout: Path, work: Path) -> dict[str, str]:
    path = [str(checkout / "src"), str(BENCHMARKS), *os.environ.get("PEER_PATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), "KANTOR_CACHE": str(work / "cache")}


@contextlib.contextmanager
def _checkouts(commits: set[str]) -> Iterator[dict[str, Path]]:
    """A git worktree of each commit in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {commit: Path(folder) / commit for commit in commits}
        try:
            for commit, path in paths.items():
                subprocess.run(["git", "-C", ROOT, "worktree", "add", "--quiet", "--detach", path, commit], check=True)
            yield paths
        finally:
            for path in paths.values():
                subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", path], check=False)
