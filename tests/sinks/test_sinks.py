"""What listeners write: metrics.csv, events.jsonl, sample grids, animations and the terminal."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import shlex
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from kantor.engine.events import Bus, Finished, Found, Progressed, Replanned, Sampled, Saved, Started, Tick
from kantor.errors import DataError
from kantor.sinks.console import Console, Trend
from kantor.sinks.events_log import EventsLog
from kantor.sinks.metrics_csv import COLUMNS, MetricsCsv, read_metrics
from kantor.sinks.samples import SampleGrids
from kantor.sinks.timing import Pace, Throttle, duration
from support.run_results import TIME_COLUMNS

VALUES = {"critic_loss": -1.5, "critic_gap": 0.1, "critic_lr": 2e-4, "skipped_steps": 0.0}


def started(resumed=False, at=0, total=10_000, **more):
    return Started(at, total, 2000, np.zeros((4, 8, 8, 3), np.uint8), resumed, **more)


def tick(seen, attempt=0, **values):
    return Tick(seen, attempt, seen / 2000, seen / 500, 512.25, {**VALUES, **values})


def sampled(seen, n=4, size=8):
    p = np.random.default_rng(seen).integers(0, 256, (2, n, size, size, 3), np.uint8)
    return Sampled(seen, seen / 2000, p[0], p[1])


class TestMetricsCsv:
    def test_header_and_rows(self, tmp_path):
        path = tmp_path / "metrics.csv"
        sink = MetricsCsv(path)
        sink.on(started())
        sink.on(tick(100, critic_loss=float("nan"), critic_gap=1 / 3))
        header, row = path.read_text().splitlines()
        assert header.split(",") == list(COLUMNS)
        assert row == "0,0.05,100,0.2,nan,,,0.333333333,,,,,0.0002,,0,512.25"
        assert set(TIME_COLUMNS) < set(COLUMNS)

    def test_read_back(self, tmp_path):
        sink = MetricsCsv(tmp_path / "m.csv")
        sink.on(started())
        for i in (1, 2, 3):
            sink.on(tick(i * 100, critic_gap=i / 7))
        metrics = read_metrics(tmp_path / "m.csv")
        np.testing.assert_array_equal(metrics["images_seen"], [100, 200, 300])
        np.testing.assert_allclose(metrics["critic_gap"], np.arange(1, 4) / 7, rtol=1e-8)
        assert np.isnan(metrics["penalty"]).all() and list(metrics) == list(COLUMNS)

    def test_a_resumed_run_has_each_row_once(self, tmp_path):
        straight, broken = tmp_path / "a.csv", tmp_path / "b.csv"
        sink = MetricsCsv(straight)
        sink.on(started())
        for i in range(1, 6):
            sink.on(tick(i * 100))
        first = MetricsCsv(broken)
        first.on(started())
        for i in range(1, 4):
            first.on(tick(i * 100))
        state = json.loads(json.dumps(first.state()))
        first.on(Saved(300, tmp_path))
        first.on(tick(400, critic_loss=99.0))  # and here it is killed, in the middle of a row
        first.close()
        with broken.open("ab") as file:
            file.write(b"0,0.25,5")
        second = MetricsCsv(broken)
        second.load(state)
        second.on(started(resumed=True, at=300))
        for i in (4, 5):
            second.on(tick(i * 100))
        assert broken.read_bytes() == straight.read_bytes()

    def test_a_run_killed_before_its_first_checkpoint_starts_anew(self, tmp_path):
        for _ in range(2):
            sink = MetricsCsv(tmp_path / "m.csv")
            sink.on(started())
            sink.on(tick(100))
        assert len((tmp_path / "m.csv").read_text().splitlines()) == 2

    def test_a_checkpoint_without_an_offset_keeps_all_rows(self, tmp_path):
        sink = MetricsCsv(tmp_path / "m.csv")
        sink.on(started())
        sink.on(tick(100))
        again = MetricsCsv(tmp_path / "m.csv")
        again.on(started(resumed=True, at=100))
        again.on(tick(200))
        np.testing.assert_array_equal(read_metrics(tmp_path / "m.csv")["images_seen"], [100, 200])

    def test_a_file_shorter_than_its_offset(self, tmp_path):
        sink = MetricsCsv(tmp_path / "m.csv")
        sink.load({"offset": 10_000})
        sink.on(started(resumed=True, at=100))
        sink.on(tick(200))
        np.testing.assert_array_equal(read_metrics(tmp_path / "m.csv")["images_seen"], [200])

    def test_rows_after_closing_are_appended(self, tmp_path):
        sink = MetricsCsv(tmp_path / "m.csv")
        sink.on(started())
        sink.on(tick(100))
        sink.close()
        sink.on(tick(200))
        np.testing.assert_array_equal(read_metrics(tmp_path / "m.csv")["images_seen"], [100, 200])

    def test_a_full_disk_does_not_cost_a_checkpoint(self, tmp_path, monkeypatch):
        sink = MetricsCsv(tmp_path / "m.csv")
        sink.on(started())
        sink.on(tick(100))

        def full(_descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        assert sink.state()["offset"] == (tmp_path / "m.csv").stat().st_size

    def test_read_torn_missing_or_damaged_files(self, tmp_path):
        path = tmp_path / "m.csv"
        assert read_metrics(path) == {}
        path.write_text("images_seen,x")
        assert read_metrics(path) == {}
        path.write_text("images_seen,x\n1,2\n3,")
        np.testing.assert_array_equal(read_metrics(path)["x"], [2])
        path.write_text("images_seen,x\n1,2\n3\n5,6\n")
        with pytest.raises(DataError, match="line 3"):
            read_metrics(path)


class TestEventsLog:
    def read(self, path):
        return [json.loads(line) for line in path.read_text().splitlines()]

    def test_lines(self, tmp_path):
        log = EventsLog(tmp_path / "events.jsonl")
        log.on(started())
        log.on(tick(100))
        log.on(Found(100, "bad", f"{tmp_path}/samples/a.png: disk full", {"x": float("nan"), "n": np.float32(2)}))
        log.on(Saved(100, tmp_path / "checkpoints" / "000000100"))
        log.on(Finished(100, "done"))
        lines = self.read(tmp_path / "events.jsonl")
        assert [x["event"] for x in lines] == ["started", "found", "saved", "finished"]
        assert lines[0] == {
            "event": "started", "images_seen": 0, "resumed": False,
            "total_images": 10_000, "epoch_images": 2000, "budget_s": 0.0,
        }  # fmt: skip
        assert lines[1]["message"] == "samples/a.png: disk full" and lines[1]["evidence"] == {"x": "nan", "n": 2.0}
        assert lines[2]["path"] == "checkpoints/000000100" and lines[3]["reason"] == "done"
        assert str(tmp_path) not in (tmp_path / "events.jsonl").read_text()

    def test_an_infinite_budget_is_valid_json(self, tmp_path):
        log = EventsLog(tmp_path / "events.jsonl")
        log.on(started(budget_s=float("inf")))
        assert self.read(tmp_path / "events.jsonl")[0]["budget_s"] == "inf"

    def test_resume_cuts_lines_after_the_checkpoint(self, tmp_path):
        path = tmp_path / "events.jsonl"
        log = EventsLog(path)
        log.on(started())
        log.on(Found(50, "early", "kept"))
        state = log.state()
        log.on(Saved(100, tmp_path / "checkpoints" / "000000100"))
        log.on(Found(150, "late", "to be cut"))
        log.close()
        again = EventsLog(path)
        again.load(state)
        again.on(started(resumed=True, at=100))
        lines = self.read(path)
        assert [(x["event"], x["images_seen"]) for x in lines] == [
            ("started", 0),
            ("found", 50),
            ("saved", 100),
            ("started", 100),
        ]
        assert lines[-1]["resumed"] is True


class TestSampleGrids:
    def test_writes_grids_and_animations(self, tmp_path):
        sink = SampleGrids(tmp_path)
        sink.on(started())
        for seen in (0, 12_800, 25_600):
            sink.on(sampled(seen))
        sink.on(Saved(25_600, tmp_path))
        names = ["000000000.png", "000012800.png", "000025600.png"]
        for kind in ("fixed", "random"):
            assert sorted(p.name for p in (tmp_path / "samples" / kind).iterdir()) == names
            with Image.open(tmp_path / f"animation-{kind}.gif") as animation:
                assert animation.n_frames == 3
        assert Image.open(tmp_path / "samples" / "reals.png").mode == "RGB"

    def test_a_resumed_run_keeps_the_grid_of_real_images(self, tmp_path):
        SampleGrids(tmp_path).on(started(resumed=True, at=5))
        assert not (tmp_path / "samples" / "reals.png").exists()

    def test_later_grids_are_neither_shown_nor_deleted(self, tmp_path):
        sink = SampleGrids(tmp_path)
        for seen in (100, 200, 300):
            sink.on(sampled(seen))
        again = SampleGrids(tmp_path)
        (tmp_path / "samples" / "fixed" / "notes.png").write_bytes(b"mine")
        again.on(Saved(200, tmp_path))
        with Image.open(tmp_path / "animation-fixed.gif") as animation:
            assert animation.n_frames == 2
        assert (tmp_path / "samples" / "fixed" / "000000300.png").exists()

    def test_a_rewritten_grid_is_shown_again(self, tmp_path):
        sink = SampleGrids(tmp_path, Throttle(math.inf))
        sink.on(sampled(100))
        sink.on(Saved(100, tmp_path))
        before = (tmp_path / "animation-fixed.gif").read_bytes()
        other = sampled(7)
        sink.on(Sampled(100, 0.05, other.fixed, other.random))
        sink.on(Saved(100, tmp_path))
        assert (tmp_path / "animation-fixed.gif").read_bytes() != before

    def test_a_damaged_grid_is_skipped(self, tmp_path):
        sink = SampleGrids(tmp_path, Throttle(math.inf))
        for seen in (100, 200):
            sink.on(sampled(seen))
        (tmp_path / "samples" / "fixed" / "000000100.png").write_bytes(b"no image")
        SampleGrids(tmp_path, Throttle(math.inf)).on(Saved(200, tmp_path))
        with Image.open(tmp_path / "animation-fixed.gif") as animation:
            assert animation.n_frames == 1

    def test_no_animations_without_samples(self, tmp_path):
        SampleGrids(tmp_path, Throttle(math.inf)).on(Finished(0, "signal"))
        assert list(tmp_path.iterdir()) == []

    def test_a_growing_animation_is_cheap(self, tmp_path):
        sink = SampleGrids(tmp_path, Throttle(math.inf))
        for i in range(8):
            sink.on(sampled(i * 100, n=64, size=32))
        sink.on(Saved(700, tmp_path))
        sink.on(sampled(800, n=64, size=32))
        began = time.perf_counter()
        sink.on(Saved(800, tmp_path))
        assert time.perf_counter() - began < 2

    def test_a_folder_that_cannot_be_written_does_not_end_a_run(self, tmp_path):
        (tmp_path / "samples").write_text("in the way")
        bus = Bus({"samples": SampleGrids(tmp_path)})
        bus.emit(started())
        bus.emit(sampled(100))
        assert bus.failures["samples"] == 2


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def play(stream, reason="done", folder=None, steps=20, found="careful", **more):
    """A run of 10,000 images at 125 a second."""
    clock = Clock()
    console = Console(stream, folder, clock)
    console.on(started(**more))
    for i in range(1, steps + 1):
        clock.now += 4
        seen = i * 500
        console.on(Progressed(seen))
        console.on(tick(seen, critic_gap=10 / i))
        if i in (2, 3):
            console.on(sampled(seen))
        if i == 5:
            console.on(Found(seen, "x", found))
    console.on(Finished(steps * 500, reason))
    stream.flush()


def shown(stream):
    return stream.buffer.getvalue().decode(stream.encoding)


class TestConsole:
    @pytest.fixture(autouse=True)
    def plain_terminal(self, monkeypatch):
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", "xterm-256color")

    def test_plain_lines(self, tmp_path):
        stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
        play(stream, folder=tmp_path, found="bad\x1b[31m\nname")
        text = shown(stream)
        lines = text.splitlines()
        assert "\x1b" not in text
        assert lines[0] == "training on 2,000 images, 10.0 kimg (5.0 epochs)"
        assert lines[1] == "5% 0.5 kimg epoch 0.2 125 images/s 1 min left critic_gap 10"
        assert "50% 5.0 kimg epoch 2.5 125 images/s 40 s left critic_gap 1" in lines
        assert lines.count(f"first images: {tmp_path}/samples/fixed/000001000.png") == 1
        assert r"note: bad\x1b[31m\nname" in lines
        assert sum("% " in line for line in lines) == 7  # every 12 s of 80
        last = ["done: 10.0 kimg, 1 min", f"results: {tmp_path}", f"to generate: kantor generate {tmp_path}"]
        assert lines[-3:] == last

    def test_another_length_is_said_and_counts(self):
        stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
        console = Console(stream, None, Clock())
        console.on(started())
        console.on(Replanned(1000, 20_000))
        console.on(tick(5000, critic_gap=1))
        stream.flush()
        lines = shown(stream).splitlines()
        assert (
            lines[1] == "the run's total is now 20.0 kimg (10.0 epochs), which fills the time budget at the rate so far"
        )
        assert lines[2].startswith("25% 5.0 kimg")

    def test_stopped_runs_say_how_to_resume(self, tmp_path):
        stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
        play(stream, "signal", tmp_path, steps=4)
        assert shown(stream).splitlines()[-1] == f"to resume: kantor train --resume {tmp_path}"

    def test_the_program_is_named_as_it_was_called(self, tmp_path):
        stream = io.StringIO()
        console = Console(stream, tmp_path, program=".venv/bin/kantor")
        console.on(Finished(64, "signal"))
        assert stream.getvalue().splitlines()[-1] == f"to resume: .venv/bin/kantor train --resume {tmp_path}"

    def test_the_command_to_resume_is_quoted(self, tmp_path):
        stream = io.StringIO()
        Console(stream, tmp_path / "my runs").on(Finished(64, "signal"))
        words = shlex.split(stream.getvalue().splitlines()[-1].removeprefix("to resume: "))
        assert words == ["kantor", "train", "--resume", str(tmp_path / "my runs")]

    def test_a_budget_that_ends_first(self):
        stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
        play(stream, "time-budget", steps=5, budget_s=40)
        assert "40% 2.0 kimg epoch 1.0 125 images/s 24 s left" in shown(stream)

    @pytest.mark.parametrize("columns", [20, 40, 80, 200])
    @pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
    def test_a_terminal(self, monkeypatch, tmp_path, columns, encoding):
        monkeypatch.setenv("COLUMNS", str(columns))
        stream = Terminal(io.BytesIO(), encoding)
        play(stream, folder=tmp_path, found="ünwell")
        text = shown(stream)
        assert "\x1b[?25l" in text and text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is back
        assert ("ünwell" if encoding == "utf-8" else r"\xfcnwell") in text
        assert "50%" in text and "40 s left" in text
        if columns >= 80:
            assert "5.0 of 10.0 kimg" in text and "critic gap 1, falling" in text
            assert ("━" if encoding == "utf-8" else "#") in text

    def test_a_closed_pipe_is_not_an_error(self):
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "w") as stream:
            console = Console(stream)
            console.on(started())
            console.on(tick(500))
            console.on(Finished(500, "done"))
            with pytest.raises(BrokenPipeError):
                stream.flush()  # what was buffered; the command line has to drop it
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        closed = io.StringIO()
        closed.close()
        console = Console(closed)
        console.on(started())
        console.on(Finished(500, "done"))

    def test_rich_is_not_loaded_without_a_terminal(self):
        code = "import io, sys; from kantor.sinks.console import Console; Console(io.StringIO()); "
        code += "print('rich' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


class TestPace:
    def test_smooths_and_follows(self):
        pace = Pace(1000, 0, 0, 0.0)
        assert pace.images_per_second == 0 and pace.left_s() is None
        for i in range(1, 11):
            pace.at(i * 10, i * 1.0)
        assert pace.images_per_second == pytest.approx(10) and pace.left_s() == pytest.approx(90)
        for i in range(1, 61):
            pace.at(100 + i * 5, 10 + i * 1.0)
        assert pace.images_per_second == pytest.approx(5, rel=0.05)

    def test_a_roll_back_does_not_count(self):
        pace = Pace(1000, 0, 0, 0.0)
        pace.at(100, 10.0)
        pace.at(50, 11.0)
        pace.at(60, 12.0)
        assert pace.images_per_second == pytest.approx(10, rel=0.01) and pace.left_s() == pytest.approx(94, rel=0.01)

    def test_a_resumed_run_does_not_count_what_was_done_before(self):
        pace = Pace(1000, 0, 900, 0.0)
        pace.at(910, 10.0)
        assert pace.images_per_second == pytest.approx(1) and pace.percent() == 91


def test_durations():
    assert [duration(s) for s in (0.2, 35, 59.7, 250, 4320, 90_000)] == [
        "0 s", "35 s", "1 min", "4 min", "1 h 12 min", "1 d 1 h",
    ]  # fmt: skip


def test_trend():
    for series, word in (([1.0, 2, 3, 4, 5], "rising"), ([5.0, 4, 3, 2, 1], "falling"), ([2.0] * 5, "steady")):
        trend = Trend()
        for value in series:
            trend.add(value)
        assert trend.words() == f"{series[-1]:.3g}, {word}"
    trend.add(float("nan"))
    assert not trend.known


def test_an_animation_skips_unreadable_grids(tmp_path):
    """Also one whose header claims more pixels than Pillow opens, and one whose name is no number."""
    sink = SampleGrids(tmp_path)
    for seen in (0, 100):
        sink.on(sampled(seen))
    head = bytearray((tmp_path / "samples/fixed/000000100.png").read_bytes())
    head[16:24] = (30_000).to_bytes(4, "big") * 2
    head[29:33] = zlib.crc32(head[12:29]).to_bytes(4, "big")
    for name in ("000000050", "²²²"):
        (tmp_path / f"samples/fixed/{name}.png").write_bytes(head)
    (tmp_path / "samples/fixed/000000060.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\x05IHDRxxxxxyyyy")
    sink.on(Finished(100, "done"))
    with Image.open(tmp_path / "animation-fixed.gif") as animation:
        assert animation.n_frames == 2


def test_throttle_limits_work_to_a_fraction_of_the_time() -> None:
    now_s = [0.0]
    throttle = Throttle(0.01, lambda: now_s[0])
    assert throttle.due()
    with throttle.doing():
        now_s[0] = 0.5
    done_at = []
    for second in range(1, 201):
        now_s[0] = second
        if throttle.due():
            done_at.append(second)
            with throttle.doing():
                now_s[0] += 0.25
    assert done_at == [51, 77, 103, 129, 155, 181]


def test_animations_are_throttled_at_saves_but_not_at_the_end(tmp_path):
    now_s = [0.0]
    sink = SampleGrids(tmp_path, Throttle(0.1, lambda: now_s[0]))
    path = tmp_path / "animation-fixed.gif"

    def frames() -> int:
        with Image.open(path) as image:
            return image.n_frames

    def sampled(images_seen: int) -> None:
        image = np.full((4, 8, 8, 3), images_seen % 251, np.uint8)
        sink.on(Sampled(images_seen, 0.0, image, image))

    sampled(100)
    sink._animate = lambda kind, seen, animate=sink._animate: (animate(kind, seen), now_s.__setitem__(0, now_s[0] + 1))  # type: ignore[method-assign]
    sink.on(Saved(100, tmp_path))  # takes two seconds
    assert frames() == 1
    sampled(200)
    sink.on(Saved(200, tmp_path))
    assert frames() == 1
    now_s[0] = 30.0
    sink.on(Saved(200, tmp_path))
    assert frames() == 2
    sampled(300)
    sink.on(Finished(300, "done"))
    assert frames() == 3
