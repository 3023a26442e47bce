"""benchmarks/channels.py: equal parameters, rates that compare, what is not done twice, and the table."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import channels
import pytest


@pytest.mark.parametrize("arm", ["channels apart", "channels merged", "default without modulation"])
def test_networks_have_as_many_parameters_as_the_default(arm: str) -> None:
    for part, width in channels.widths(arm).items():
        goal = channels.parameters(part, {})
        gaps = [
            abs(channels.parameters(part, {**channels.ARMS[arm], f"{part}.width": width + more}) / goal - 1)
            for more in (-1, 0, 1)
        ]
        assert gaps[1] <= channels.TOLERANCE and gaps[1] == min(gaps)


def test_new_rates_are_in_the_defaults_known_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is half as fast as it was."""
    monkeypatch.setattr(channels, "rates", lambda arms: {arm: {"default": 50.0, "dcgan": 70.0}[arm] for arm in arms})
    assert channels.completed({"default": 100.0}, ["default", "dcgan"]) == {"default": 100.0, "dcgan": 140.0}
    assert channels.completed({}, ["dcgan"]) == {"dcgan": 70.0}


def test_rows_that_are_there_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    ran: list[tuple[Any, float]] = []

    def carried_out(case: Any, minutes: float, rate: float, runs: Path) -> dict[str, object]:
        ran.append((case.key, rate))
        if len(ran) == 2 and interrupted:
            raise KeyboardInterrupt
        row = dict.fromkeys(channels.FIELDS, 0.0)
        return row | {
            "data": case.data,
            "arm": case.arm,
            "seed": case.seed,
            "minutes": minutes,
            "images_per_second": rate,
        }

    monkeypatch.setattr(channels, "carried_out", carried_out)
    monkeypatch.setattr(channels, "rates", lambda arms: dict.fromkeys(arms, 9.5))
    out = tmp_path / "rows.csv"
    words = ["channels.py", "--seeds", "0,1", "--data", "letters", "--arms", "default,dcgan", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    interrupted = True
    with pytest.raises(KeyboardInterrupt):
        channels.main()
    interrupted = False
    channels.main()
    names = [
        ("letters", "default", "0"),
        ("letters", "dcgan", "0"),
        ("letters", "default", "1"),
        ("letters", "dcgan", "1"),
    ]
    assert ran == [(name, 9.5) for name in [*names[:2], *names[1:]]]
    with out.open(newline="") as file:
        assert [(row["data"], row["arm"], row["seed"]) for row in csv.DictReader(file)] == names
    channels.main()
    assert len(ran) == 5
    monkeypatch.setattr(sys, "argv", [*words, "--minutes", "3"])
    channels.main()
    assert len(ran) == 9, "runs of another length are others"


def test_the_table_has_means_and_ranges() -> None:
    common = {"data": "emoji", "minutes": "2", "images_seen": 1500, "recall": 0.5}
    rows = [
        {**common, "arm": "dcgan", "fd_small": 3.0, "fd_lite0": 7.0},
        {**common, "arm": "default", "fd_small": 1.0, "fd_lite0": 4.4},
        {**common, "arm": "default", "fd_small": 2.0, "fd_lite0": 8.0},
    ]
    assert channels.table(rows)[2:] == [
        "| emoji | 2 | default | 2 | 1.5 | 1.5 (1.0 to 2.0) | 6 (4 to 8) | 0.50 (0.50 to 0.50) |",
        "| emoji | 2 | dcgan | 1 | 1.5 | 3.0 | 7 | 0.50 |",
    ]
