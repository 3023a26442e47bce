"""A run beyond hope ends; a healthy one never does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import kantor
from kantor.engine.events import Event, Found, Sampled, Started, Stop, Tick
from kantor.errors import DivergedError
from kantor.sinks.exploding_scores import EXPLODING_SCORES, SHEETS, TICKS, ExplodingScores
from support.commands import TINY, exit_of

PHOTOS = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
INK = np.where(PHOTOS < 128, 0, 255).astype(np.uint8)


def started(reals: np.ndarray = PHOTOS) -> Started:
    return Started(0, 1000, 100, reals)


def tick(real: float, fake: float = 0.0, **values: float) -> Tick:
    return Tick(1, 0, 0.0, 1.0, 1.0, {"critic_real": real, "critic_fake": fake, **values})


def sheet(images: np.ndarray) -> Sampled:
    return Sampled(1, 0.0, images, images)


def fires(events: list[Event], any_size: bool = False) -> bool:
    """Whether the last of these events ends the run; none before may."""
    listener = ExplodingScores(any_size)
    *before, last = events
    assert all(listener.on(event) is None for event in before)
    answers = list(listener.on(last) or ())
    if not answers:
        return False
    found, stop = answers
    assert isinstance(found, Found) and found.name == EXPLODING_SCORES and found.evidence
    assert stop == Stop(EXPLODING_SCORES)
    return True


@pytest.mark.parametrize(
    "event",
    [tick(-2e6), tick(0, 1.1e6), tick(3e12, 2e12), tick(4e5, 3e5, gradient_norm=5e3)],
)
def test_scores_or_gradients_that_stay_too_large(event: Tick) -> None:
    assert fires([started(), *[event] * TICKS])
    assert not fires([started(), *[event] * (TICKS - 1)])
    assert not fires([started(), *[event] * (TICKS - 1), tick(3.0), *[event] * (TICKS - 1)]), "not in a row"
    assert not fires([started(), *[event] * 20], any_size=True)


@pytest.mark.parametrize(
    "event",
    [tick(0.01), tick(9e3, -9e3, gradient_norm=1.2), tick(-80, 80), tick(1.0, gradient_norm=60), tick(float("nan")), Tick(1, 0, 0, 1, 1, {})],
)  # fmt: skip
def test_scores_of_healthy_runs(event: Tick) -> None:
    assert not fires([started(), *[event] * 50])


def test_sheets_of_nothing_but_the_extremes() -> None:
    assert fires([started(), sheet(PHOTOS), *[sheet(INK)] * SHEETS], any_size=True)
    assert not fires([started(), *[sheet(INK)] * (SHEETS - 1)])
    assert not fires([started(), *[sheet(INK)] * (SHEETS - 1), sheet(PHOTOS), sheet(INK)])
    assert not fires([started(INK), *[sheet(INK)] * 9]), "as the real images are"
    assert not fires([sheet(INK)] * 9), "the real images are not known"
    white = np.full_like(INK, 255)
    assert not fires([started(), *[sheet(white)] * (2 * SHEETS - 1)]), "a collapse that may pass"
    assert fires([started(), *[sheet(white)] * (2 * SHEETS)])


def test_it_is_found_once_though_a_sheet_follows_the_last_tick() -> None:
    listener = ExplodingScores(False)
    assert sum(bool(listener.on(event)) for event in [*[tick(1e7)] * TICKS, sheet(PHOTOS), tick(1e7)]) == 1


def test_signs_survive_a_resume() -> None:
    first, second = ExplodingScores(False), ExplodingScores(False)
    for _ in range(TICKS - 1):
        first.on(tick(1e7))
    second.load(json.loads(json.dumps(first.state())))
    assert second.on(tick(1e7))


def test_a_run_with_learning_rates_of_90_ends(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = ["--set", "optimizer.generator.lr=90", "--set", "optimizer.critic.lr=90", "--set", "data.glyphs.count=60"]
    words = [*TINY, *rates, "--set", "train.tick_images=8", "--images", 4000, "--runs", tmp_path, "--cache", cache]
    assert exit_of("train", *words, "--name", "hot") == 6
    run, streams = tmp_path / "00000-hot", capsys.readouterr()
    assert (
        streams.err.startswith("error: after ") and "(exploding-scores)" in streams.err and streams.err.count("\n") == 1
    )
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [e["name"] for e in events if e["event"] == "found" and e["name"] == EXPLODING_SCORES]
    assert events[-1] == {"event": "finished", "images_seen": events[-1]["images_seen"], "reason": EXPLODING_SCORES}
    assert events[-1]["images_seen"] < 1000
    assert (run / "checkpoints" / f"{events[-1]['images_seen']:09d}").is_dir(), "its state is saved"
    assert "to resume" not in streams.out
    with pytest.raises(DivergedError, match=EXPLODING_SCORES):
        kantor.train(resume=run, cache=cache, quiet=True)
