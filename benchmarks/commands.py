"""Whole commands of a commit, each as a process of its own: seconds, memory and what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

COMMAND = "import sys; from kantor.cli.main import main; sys.exit(main())"

WATCHED = """
import re, sys, threading, time
from pathlib import Path

def rss_mb(field):  # not ru_maxrss, which counts the process that started this one
    return int(re.search(field + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def watch():
    while True:
        print(f"memory {time.perf_counter() - began_s:.1f} {rss_mb('VmRSS'):.0f}", file=sys.stderr, flush=True)
        time.sleep(0.2)

began_s = time.perf_counter()
threading.Thread(target=watch, daemon=True).start()
from kantor.engine.steps import Steps
take_cycle = Steps.cycle

def cycle(*arguments):
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    take_cycle(*arguments)
    spent_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    print(f"cycle {spent_s:.3f} {cpu_s:.3f}", file=sys.stderr, flush=True)

Steps.cycle = cycle
from kantor.cli.main import main
try:
    main()
finally:
    print(f"peak {rss_mb('VmHWM'):.0f}", file=sys.stderr)
"""
"""Prints the memory of the process against time, the seconds of each cycle and of its processors, and the largest memory."""


@dataclass(frozen=True)
class Spent:
    """What a command took: seconds by the clock and of its processors, and what it printed (both streams)."""

    seconds: float
    cpu_s: float
    text: str

    def numbers(self, word: str) -> list[list[float]]:
        """The numbers on each line that begins with `word`."""
        lines = re.findall(rf"^{word} ([\d. ]+)$", self.text, re.MULTILINE)
        return [[float(number) for number in line.split()] for line in lines]


def run(src: Path, words: list[str], program: str = COMMAND, log: Path | None = None, **environment: str) -> Spent:
    """Runs `kantor WORDS` from the folder src/ of a commit.

    Args:
        program: `COMMAND`, or one that measures more.
        log: file to print to while it runs; None to keep it in memory.
        environment: variables to set.
    """
    before, began_s = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**os.environ, "PYTHONPATH": str(src.resolve()), **environment},
        stdout=subprocess.PIPE if log is None else log.open("w"),
        stderr=subprocess.STDOUT,
        text=True,
    )
    spent_s, after = time.perf_counter() - began_s, os.times()
    text = done.stdout if log is None else log.read_text()
    if done.returncode:
        raise SystemExit(text)
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return Spent(spent_s, cpu_s, text)
