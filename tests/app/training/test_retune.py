"""Threads: the rate measured with them sets the length, and after a slump they are measured anew if the user wants that."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import kantor
from kantor.app.decisions import Decisions
from kantor.app.training import length, measured_choices
from kantor.app.training.measured_choices import steady_from
from kantor.app.training.options import TrainOptions
from kantor.config.io import resolve
from kantor.sinks.slump import Rates, Slump

TINY = {"generator.width": 4, "critic.width": 4, "data.glyphs.count": 60, "train.precision": "float32"}


def test_what_was_measured_for_the_threads_sets_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(length, "_measured_rate", lambda _: pytest.fail("three seconds too many"))
    decisions = Decisions(resolve())
    parts: Any = SimpleNamespace(store=SimpleNamespace(count=100))
    assert length.choose_length(decisions, parts, TrainOptions(data="glyphs", budget_s=100.0), rate=40.0) == 40.0
    assert 3500 < decisions.config.train.images <= 3800  # type: ignore[operator]


def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retune: bool) -> tuple[Path, list[dict[str, Any]], int]:
    """A run with a slump at its second tick, on a processor where two threads are the fastest: its path, events, threads at the end."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(measured_choices, "rates_of_threads", lambda _, choices: {n: 100.0 * n for n in choices})
    monkeypatch.setattr(Slump, "add", lambda *_: Rates(410.0, 190.0))
    threads: list[int] = []
    run = kantor.train(
        "glyphs", size=16, batch=8, images=64, device="cpu", quiet=True, runs=tmp_path, metrics="none",
        overrides={**TINY, "train.retune": retune, "train.tick_images": 8, "train.snapshot_images": 24},
        on_event=lambda event: threads.append(torch.get_num_threads()),
    )  # fmt: skip
    return run.path, [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()], threads[-1]


def test_a_slump_retunes_threads_at_the_next_save_and_it_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    path, events, threads = trained(tmp_path, monkeypatch, retune=True)
    (first, *_) = [i for i, event in enumerate(events) if event["event"] == "retuned"]
    assert events[first] | {"images_seen": 0} == {
        "event": "retuned", "images_seen": 0, "threads": 2, "rates": {"1": 100.0, "2": 200.0},
    }  # fmt: skip
    assert events[first - 1]["event"] == "saved" and events[first]["images_seen"] == 24
    assert json.loads((path / "environment.json").read_text())["threads"] == threads == 2
    found = next(event for event in events if event["event"] == "found")
    assert found["name"] == "slump" and found["evidence"] == {"before": 410.0, "now": 190.0}
    assert "rate has fallen from 410 to 190 images/s" in (path / "log.txt").read_text()
    assert "threads measured anew: 100 images/s with 1, 200 images/s with 2; now 2" in (path / "log.txt").read_text()
    assert torch.get_num_threads() == before, "the caller's number comes back"


def test_by_default_a_slump_is_only_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, events, _ = trained(tmp_path, monkeypatch, retune=False)
    assert [event["event"] for event in events].count("found") > 0
    assert "retuned" not in {event["event"] for event in events}


def test_networks_that_grow_and_overdoses_are_steady_later() -> None:
    assert steady_from(resolve("default")) == 0
    assert steady_from(resolve("fish64")) == resolve("fish64").generator.fade_images  # type: ignore[union-attr]
    overdose = resolve(
        overrides={"cycle.kind": "overdose", "cycle.overdose_steps": 100, "cycle.first_cycles": 25, "train.batch": 32}
    )
    assert steady_from(overdose) == 80_000
