"""Seconds, in turn, and the tables made of them."""

from __future__ import annotations

import csv
import math
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

Key = TypeVar("Key", bound=Hashable)


def seconds(call: Callable[[], object], device: torch.device) -> float:
    wait(device)
    began_s = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - began_s


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def in_turn(
    contestants: Mapping[Key, Callable[[], object]],
    device: torch.device,
    rounds: int,
    warm_up: int = 0,
    until_s: float = math.inf,
) -> dict[Key, list[float]]:
    """Seconds that each contestant takes in each round.

    Args:
        warm_up: rounds before these; 0 for two, or on a GPU six, in which steps are recorded.
        until_s: of `time.perf_counter()`; no round but the first begins after it.
    """
    times: dict[Key, list[float]] = {key: [] for key in contestants}
    for n in range(-(warm_up or (2 if device.type == "cpu" else 6)), rounds):
        if n > 0 and time.perf_counter() > until_s:
            break
        for key, call in contestants.items():
            spent_s = seconds(call, device)
            if n >= 0:
                times[key].append(spent_s)
    return times


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def table(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
