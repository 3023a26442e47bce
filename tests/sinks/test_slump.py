"""A slump of the training rate is found once, and by nothing else than training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kantor.engine.events import Bus, Event, Found, Retuned, Saved, Started, Tick
from kantor.sinks.console import Console
from kantor.sinks.events_log import EventsLog
from kantor.sinks.slump import Slump, SlumpWatch

REALS = np.zeros((1, 8, 8, 3), np.uint8)


def found(rates: list[float], seconds: float = 2.0) -> list[tuple[int, tuple[float, float]]]:
    """(number of the tick, rates) of each slump."""
    slump = Slump()
    results = [(number, slump.add(rate * seconds, seconds)) for number, rate in enumerate(rates)]
    return [(number, (rates.before, rates.now)) for number, rates in results if rates]


def test_three_ticks_in_a_row_at_half_the_median_of_those_before() -> None:
    usual = [400.0, 410, 420, 410, 410, 405, 415]
    assert found([*usual, 190, 200, 180]) == [(9, (410.0, pytest.approx(190.0)))]
    assert not found([*usual, 190, 200])
    assert not found([*usual, 190, 200, 400, 190, 200, 400]), "three in a row"
    assert not found([*usual, 210, 210, 210, 210]), "more than half"
    assert not found([100.0, 100, 400, 400, 400, 400, 400, 400]), "a slow start is no slump"
    assert not found([410.0, 410, 190, 190, 190, 190]), "too few ticks before"


def test_a_slump_is_told_once_and_the_next_one_again() -> None:
    usual, slow = [400.0] * 8, [100.0] * 5
    assert [number for number, _ in found([*usual, *slow, 220, *slow, *slow])] == [10], "220 is not over yet"
    assert [number for number, _ in found([*usual, *slow, *usual, *slow])] == [10, 23]
    ((_, (before, _)),) = found([*usual, *slow, *slow, 250, *slow])
    assert before == 400, "the ticks of a slump are not the usual ones"


def test_hundredths_of_a_second_say_nothing() -> None:
    rates = [400.0] * 8 + [100.0] * 30
    assert found(rates, seconds=0.01) == []
    assert [number for number, _ in found(rates, seconds=0.125)] == [15], "eight ticks: a second"


def ticks(watch: SlumpWatch, rates: list[float], seen: int = 0, elapsed_s: float = 0.0, **aside: float) -> list[Event]:
    """Answers to ticks of 400 images, the last of which ends at the returned place."""
    answers: list[Event] = []
    for rate in rates:
        seen, elapsed_s = seen + 400, elapsed_s + 400 / rate + aside.get("aside_s", 0.0)
        answers += watch.on(Tick(seen, 0, 0.0, elapsed_s, rate, {}, **aside)) or ()  # type: ignore[arg-type]
    return answers


def started(watch: SlumpWatch, at: int = 0) -> SlumpWatch:
    watch.on(Started(at, 10**6, 100, REALS))
    return watch


def test_the_line_has_both_rates() -> None:
    (answer,) = ticks(started(SlumpWatch()), [410.0] * 9 + [190.0] * 3)
    assert isinstance(answer, Found) and answer.name == "slump" and answer.images_seen == 4800
    assert answer.message == "rate has fallen from 410 to 190 images/s for three ticks: is something else running?"
    assert answer.evidence == {"before": pytest.approx(410), "now": pytest.approx(190)}


def test_scores_samples_and_saves_growth_and_the_first_tick_are_no_slump() -> None:
    watch = started(SlumpWatch())
    assert not ticks(watch, [400.0] * 9)
    assert not ticks(watch, [400.0] * 9, 3600, 9.0, aside_s=5.0), "a second of training in six"
    growing = started(SlumpWatch(steady_from=400 * 10))
    assert not ticks(growing, [400.0] * 10 + [100.0] * 30), "the larger network is slower"
    compiling = started(SlumpWatch())
    assert not ticks(compiling, [1.0] + [400.0] * 20)


def test_a_resumed_run_begins_anew() -> None:
    watch = started(SlumpWatch())
    assert not ticks(watch, [400.0] * 9)
    assert not ticks(started(watch, 3600), [100.0] * 20, 3600, 9.0), "on another machine, say"


def test_threads_are_measured_anew_at_the_next_save_if_asked(tmp_path: Path) -> None:
    calls: list[int] = []

    def retune(images_seen: int) -> list[Event]:
        calls.append(images_seen)
        return [Retuned(images_seen, 1, {1: 300.0, 2: 200.0})]

    watch = started(SlumpWatch(retune=retune))
    assert not watch.on(Saved(0, Path("x"))), "no slump, no measurement"
    ticks(watch, [410.0] * 9 + [190.0] * 3)
    with (tmp_path / "log.txt").open("w") as log:
        bus = Bus({"slump": watch, "events": EventsLog(tmp_path / "events.jsonl"), "log": Console(log)})
        bus.emit(Saved(4800, tmp_path / "x"))
        bus.emit(Saved(5000, tmp_path / "x"))
    assert calls == [4800], "once in each slump"
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert {"event": "retuned", "images_seen": 4800, "threads": 1, "rates": {"1": 300.0, "2": 200.0}} in lines
    assert (
        "threads measured anew: 300 images/s with 1, 200 images/s with 2; now 1" in (tmp_path / "log.txt").read_text()
    )
    assert not SlumpWatch().on(Saved(5000, Path("x"))), "without train.retune, nothing is measured"


def test_at_the_end_nothing_is_measured() -> None:
    watch = SlumpWatch(retune=lambda seen: pytest.fail("the run is over"))
    watch.on(Started(0, 4800, 100, REALS))
    assert ticks(watch, [410.0] * 9 + [190.0] * 3)
    assert not watch.on(Saved(4800, Path("x")))
