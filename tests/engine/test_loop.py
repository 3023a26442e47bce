"""What the loop announces, when it saves, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kantor.engine.events import (
    Bus,
    Event,
    Finished,
    Found,
    Progressed,
    Replanned,
    Sampled,
    Save,
    Saved,
    Started,
    Stop,
    Tick,
)  # fmt: skip
from kantor.engine.loop import Loop, Plan, Replan, _penalties_together
from kantor.errors import DivergedError, ResourceError
from kantor.types import Batch
from support.engine_fakes import copies, feed, parts, same

SHEETS = np.zeros((1, 8, 8, 3), np.uint8)


class FakeListener:
    """Keeps all events; answers with `answer`."""

    loop: Loop

    def __init__(self, answer: Callable[[Event], Iterable[Any] | None] = lambda event: None) -> None:
        self.events: list[Event] = []
        self.answer = answer

    def on(self, event: Event) -> Iterable[Any] | None:
        self.events.append(event)
        return self.answer(event)

    def names(self) -> list[str]:
        return [f"{type(e).__name__} {e.images_seen}" for e in self.events]


def run(listener: FakeListener, save: Callable[[], Path] = Path, stop: Callable[[], str] = str, **more: Any) -> str:
    state, steps = parts("default")
    stream = more.pop("stream", feed())
    lengths = {"total_images": 24, "tick_images": 8, "sample_images": 12, "snapshot_images": 16, **more}
    plan = Plan(started_s=time.monotonic(), **lengths)
    listener.loop = Loop(
        state, stream, steps, plan, Bus({"listener": listener}), lambda *_: (SHEETS, SHEETS), save, stop
    )  # type: ignore[dict-item]
    return listener.loop.run(Started(0, 24, 10, SHEETS))


def test_the_length_is_reconsidered_once_at_the_rate_of_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cycles of 4 images take 0.1 s, the first ones 1 s; samples, ticks, saves and scores 5 s each. It can wait once."""
    now_s, asked = 0.0, list[tuple[int, float]]()
    monkeypatch.setattr("kantor.engine.loop.time", SimpleNamespace(monotonic=lambda: now_s))

    def total_images(seen: int, images_per_second: float) -> int | None:
        asked.append((seen, images_per_second))
        return 40 if seen == 24 else None

    def answer(event: Event) -> None:
        nonlocal now_s
        if isinstance(event, Progressed):
            now_s += 0.1 if event.images_seen > 8 else 1.0
        elif isinstance(event, Tick | Sampled | Saved):
            now_s += 5.0

    state, steps = parts("default", {"train.augment": 0.0})
    listener = FakeListener(answer)
    plan = Plan(total_images=28, tick_images=4, sample_images=8, snapshot_images=8, started_s=0.0)
    grids, replan = (lambda *_: (SHEETS, SHEETS)), Replan(8, total_images)
    loop = Loop(state, feed(), steps, plan, Bus({"x": listener}), grids, Path, str, None, replan)  # type: ignore[dict-item]
    assert loop.run(Started(0, 28, 10, SHEETS)) == "done"
    assert asked == [(16, pytest.approx(40.0)), (24, pytest.approx(40.0))]
    assert state.counters.images_seen == steps.horizon_images == 40
    assert [e for e in listener.events if isinstance(e, Replanned)] == [Replanned(24, 40)]


def test_lazy_penalties_are_summed_as_the_loss_weighs_them() -> None:
    """R1 of 166 in the mean, at every step or at every eighth, next to another penalty at every step."""
    means = {"critic_loss": 0.1, "penalty/r1": 166.0, "penalty/gradient": 1.3}
    means |= {"gradient_norm/r1": 0.5, "gradient_norm/gradient": 0.9}
    expected = {"critic_loss": 0.1, "penalty": pytest.approx(167.3), "gradient_norm": pytest.approx(0.7)}
    assert _penalties_together(means) == expected
    assert _penalties_together({"critic_loss": 0.1}) == {"critic_loss": 0.1}


def test_events_in_order() -> None:
    listener = FakeListener()
    assert run(listener) == "done"
    assert [n for n in listener.names() if "Prog" not in n] == [
        "Started 0", "Sampled 0", "Tick 8", "Sampled 12", "Tick 16", "Saved 16", "Tick 24", "Sampled 24", "Saved 24",
        "Finished 24",
    ]  # fmt: skip
    assert [e.images_seen for e in listener.events if isinstance(e, Progressed)] == [4, 8, 12, 16, 20, 24]
    ticks = [e for e in listener.events if isinstance(e, Tick)]
    assert [t.epoch for t in ticks] == [0.8, 1.6, 2.4]
    for tick in ticks:
        values = tick.values
        assert values["critic_gap"] == values["critic_real"] - values["critic_fake"] != 0
        assert values["critic_lr"] == values["generator_lr"] == pytest.approx(2.4e-3)
        assert "wasserstein_estimate" not in values
        assert values["skipped_steps"] == 0


@pytest.mark.parametrize(("kind", "end"), [(Started, 0), (Tick, 8), (Progressed, 4), (Sampled, 0), (Saved, 20)])
def test_stop_requests(kind: type[Event], end: int) -> None:
    """Saved and ended at the end of a cycle, whatever event it answers."""
    listener = FakeListener(lambda event: [Stop("enough")] if isinstance(event, kind) else None)
    assert run(listener) == "enough"
    assert listener.names()[-2:] == [f"Saved {end}", f"Finished {end}"]
    assert listener.events[-1] == Finished(end, "enough")


def test_save_requests_and_signals() -> None:
    listener = FakeListener(lambda event: [Save()] if event == Progressed(4) else None)
    stops = iter(["", "", "", "signal"])
    assert run(listener, stop=lambda: next(stops)) == "signal"
    assert [n for n in listener.names() if "Saved" in n or "Fin" in n] == ["Saved 4", "Saved 12", "Finished 12"]


def full_disk(times: int) -> Callable[[], Path]:
    left = iter(range(times))

    def save() -> Path:
        if next(left, None) is not None:
            raise ResourceError("runs", "the disk is full", "free some space")
        return Path("x")

    return save


def test_a_checkpoint_that_cannot_be_written() -> None:
    listener = FakeListener()
    assert run(listener, full_disk(1)) == "done"
    found = [e for e in listener.events if isinstance(e, Found)]
    assert [(f.name, f.images_seen) for f in found] == [("save-failed", 16)]
    assert "the disk is full" in found[0].message
    assert listener.names()[-2:] == ["Saved 24", "Finished 24"]
    with pytest.raises(ResourceError, match="disk is full"):
        run(FakeListener(), full_disk(2))


def test_a_listener_that_fails_is_reported_once() -> None:
    def fail(event: Event) -> None:
        if isinstance(event, Tick):
            raise OSError("no space")

    listener = FakeListener(fail)
    assert run(listener) == "done"
    assert [(e.name, e.images_seen) for e in listener.events if isinstance(e, Found)] == [("output-failed", 8)]


def test_three_ticks_of_skipped_steps_end_the_run() -> None:
    """Nothing but skipped steps for three ticks: an error, and not a weight has moved."""
    stream, listener = feed(), FakeListener()
    take = stream.take
    stream.take = lambda n: Batch(take(n).images * float("nan"))  # type: ignore[method-assign]
    fresh, _ = parts("default")
    with pytest.raises(DivergedError, match="such steps change no weight") as error:
        run(listener, stream=stream, snapshot_images=1000, total_images=99)
    assert error.value.exit_code == 6
    assert [e.images_seen for e in listener.events if isinstance(e, Tick)] == [8, 16, 24]
    assert [e.name for e in listener.events if isinstance(e, Found)] == ["non-finite-steps"] * 2
    assert not any(isinstance(e, Saved) for e in listener.events)
    assert same(copies(listener.loop.state.model_tensors()), fresh.model_tensors())
    assert not any(moment.any() for moment in listener.loop.state.optimizer_tensors().values())


def test_a_tick_knows_what_went_into_samples_scores_and_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cycles of 4 images take a second, samples and saves seven each."""
    now_s = 0.0
    monkeypatch.setattr("kantor.engine.loop.time", SimpleNamespace(monotonic=lambda: now_s))

    def answer(event: Event) -> None:
        nonlocal now_s
        now_s += {Progressed: 1.0, Sampled: 7.0, Saved: 7.0}.get(type(event), 0.0)

    listener = FakeListener(answer)
    run(listener)
    ticks = [event for event in listener.events if isinstance(event, Tick)]
    assert [(tick.images_seen, tick.aside_s) for tick in ticks] == [(8, 7.0), (16, 7.0), (24, 7.0)]
    spans = np.diff([0.0, *(tick.elapsed_s for tick in ticks)])
    assert (spans - [tick.aside_s for tick in ticks] == 2.0).all(), "two cycles"
