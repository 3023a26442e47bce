"""A length from a time budget is reconsidered once, before any learning rate has depended on it."""

from __future__ import annotations

import csv
import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

import kantor
from kantor.app.training import length
from kantor.app.training.length import Lengths, held_share
from kantor.app.training.options import TrainOptions
from kantor.app.training.run import Run
from kantor.config.io import read_toml, resolve
from kantor.errors import ConfigError, ResourceError

TINY: dict[str, Any] = {
    "overrides": {"generator.width": 4, "critic.width": 4, "data.glyphs.count": 60, "train.precision": "float32"},
    "batch": 8, "quiet": True, "device": "cpu", "size": 16, "channels": "rgb",
}  # fmt: skip


@pytest.mark.slow
def test_a_run_fills_its_budget_and_is_the_one_that_its_configuration_describes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned for a rate of 40 images a second, far too few, and repeated from its config.toml."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(length, "_measured_rate", lambda _: 40.0)
    began_s = time.monotonic()
    run = kantor.train("glyphs", time_budget="20s", runs=tmp_path / "first", **TINY)
    took_s = time.monotonic() - began_s
    config = read_toml(run.path / "config.toml")["train"]
    assert run.reason in ("done", "time-budget") and took_s > 10
    assert config["images"] == config["horizon_images"] > 2 * 40 * 20
    events = [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()]
    (replanned,) = [event for event in events if event["event"] == "replanned"]
    assert replanned["total_images"] == config["images"]
    rows = list(csv.DictReader((run.path / "metrics.csv").open()))
    rates = {int(row["images_seen"]): float(row["generator_lr"]) for row in rows}
    assert all(rate == 2.4e-3 for seen, rate in rates.items() if seen <= 0.3 * config["images"])
    if run.reason == "done":
        assert rates[max(rates)] == pytest.approx(2.4e-3 / 20, rel=0.3)
        again = kantor.train(config=run.path / "config.toml", runs=tmp_path / "again", quiet=True, device="cpu")
        first, second = ((r.path / "generator.safetensors").read_bytes() for r in (run, again))
        assert first == second


@pytest.mark.parametrize(("from_budget", "seen", "resumes"), [(True, 40, True), (False, 40, False), (True, 160, False)])
def test_a_run_killed_between_the_new_length_and_the_next_checkpoint_resumes(
    from_budget: bool, seen: int, resumes: bool, tmp_path: Path
) -> None:
    """Also if it is killed again after it was resumed with a length of its own; but no schedule that has begun to fall is changed."""
    overrides = TINY["overrides"] | {"train.snapshot_images": 40}
    run = kantor.train("glyphs", images=160, runs=tmp_path, **TINY | {"overrides": overrides}).path
    for checkpoint in (run / "checkpoints").iterdir():
        if int(checkpoint.name) > seen:
            shutil.rmtree(checkpoint)
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps(environment | {"length_from_budget": from_budget}))
    text = (run / "config.toml").read_text()
    assert text.count("images = 160") == 2
    (run / "config.toml").write_text(text.replace("images = 160", "images = 240"))
    resume: dict[str, Any] = {"resume": run, "runs": tmp_path, "quiet": True, "device": "cpu"}
    if not resumes:
        with pytest.raises(ConfigError, match=r"train.horizon_images: 160 -> 240"):
            kantor.train(**resume)
        return
    shutil.copytree(run, tmp_path / "killed")
    resumed = kantor.train(**resume, images=320)
    train = read_toml(run / "config.toml")["train"]
    assert train["images"] == 320 and train["horizon_images"] == 240
    rows = list(csv.DictReader((resumed.path / "metrics.csv").open()))
    assert int(rows[-1]["images_seen"]) == 320
    shutil.copy(run / "config.toml", tmp_path / "killed")  # killed again before the next checkpoint
    again = kantor.train(**resume | {"resume": tmp_path / "killed"})
    assert (again.path / "generator.safetensors").read_bytes() == (run / "generator.safetensors").read_bytes()


def test_when() -> None:
    length_of = {"train.images": 10_000, "train.horizon_images": 10_000}
    assert held_share(resolve(overrides=length_of)) == 0.3
    assert Lengths.of(resolve(overrides=length_of | {"train.batch": 8})) == Lengths(10_000, 0.3, 60)
    assert Lengths.of(resolve(overrides=length_of)) == Lengths(10_000, 0.3, 64)
    assert Lengths.of(resolve(overrides={"train.images": 1000, "train.horizon_images": 1000})) is None, "4 cycles"
    assert held_share(resolve(overrides=length_of | {"train.images": 20_000})) == 0, "a resumed run keeps its horizon"
    early = {"optimizer.critic.schedule": {"kind": "linear", "hold": 0.0, "final": 0.1}}
    assert held_share(resolve(overrides=length_of | early)) == 0, "rates fall from the start"
    assert held_share(resolve("wgan-gp", overrides={"train.images": 10_000})) == 0, "no schedule depends on it"


@pytest.mark.parametrize(
    ("seen", "rate", "left_s", "expected"),
    [
        (600, 100.0, 100.0, None),
        (2_850, 100.0, 100.0, None),
        (2_900, 75.0, 100.0, 10_000),  # 2,900 + 7,120: within a twentieth
        (2_900, 100.0, 100.0, 12_400),
        (2_900, 1000.0, 100.0, 97_900),
        (1_500, 50.0, 100.0, None),  # 6,250 images, of which 1,875 at the first rate
        (1_800, 45.0, 100.0, 6_070),  # 1,800 + 4,270
        (900, 1.0, 100.0, 3_000),  # 995 images fill the time, but 900 were trained at the first rate: 30% of 3,000
        (3_001, 1000.0, 100.0, 10_000),  # too late
    ],
)
def test_the_new_length(seen: int, rate: float, left_s: float, expected: int | None) -> None:
    """It is chosen when 30% of the planned run are seen, or of the one that fills the time."""
    assert Lengths(10_000, 0.3, 60).anew(seen, rate, left_s, 8) == expected


def test_the_choice_is_made_in_time() -> None:
    """At whatever constant rate, 30% of the chosen run are not yet over, and a slow run is shortened by its rate."""
    lengths, batch = Lengths(10_000, 0.3, 60), 8
    for rate in (5.0, 20.0, 33.0, 80.0, 99.0, 101.0, 300.0, 4000.0):  # of a budget of 100 s
        seen, anew = 60, None
        while anew is None:
            seen += 60
            anew = lengths.anew(seen, rate, 100.0 - seen / rate, batch)
        assert seen <= 0.3 * anew and seen <= 3_000
        if rate > 20:
            assert anew == pytest.approx(95 * rate, rel=0.07)


@pytest.mark.parametrize("full", [False, True])
def test_a_length_that_cannot_be_written_down_is_not_taken(
    full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_text(path: Path, text: str) -> None:
        if full:
            raise ResourceError(path, "no space is left", "free some")
        path.write_text(text)

    monkeypatch.setattr("kantor.app.training.run.atomic.write_text", write_text)
    config = resolve(overrides={"train.images": 10_000, "train.horizon_images": 10_000})
    parts = SimpleNamespace(config=config)
    parts.with_config = lambda config: SimpleNamespace(config=config)
    run = SimpleNamespace(parts=parts, path=tmp_path, options=TrainOptions(budget_s=100.0, started_s=time.monotonic()))
    total = Run._length_anew(run, Lengths(10_000, 0.3, 60), 2_900, 300.0)  # type: ignore[arg-type]
    assert run.parts.config.train.images == run.parts.config.train.horizon_images == total
    assert (total == 10_000) == full == (not (tmp_path / "config.toml").exists())


def test_a_length_that_was_asked_for_stays(tmp_path: Path) -> None:
    with mock.patch("kantor.app.training.run.Lengths.anew") as asked:
        kantor.train("glyphs", images=160, runs=tmp_path, **TINY)
    assert not asked.called
