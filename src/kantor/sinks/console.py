"""What a user sees during training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, TextIO

from kantor.config.io import read_toml
from kantor.engine import events
from kantor.errors import UserError, printable
from kantor.runs.directory import CONFIG
from kantor.sinks.exploding_scores import EXPLODING_SCORES
from kantor.sinks.samples import grid_name
from kantor.sinks.timing import Pace, duration, throughput

if TYPE_CHECKING:  # rich takes a while to load and is needed on terminals only
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

LINE_EVERY_S = 10.0
_REDRAW_EVERY_S = 0.2
_REASONS = {
    "time-budget": "time budget used up", "signal": "stopped", "SIGINT": "stopped", "SIGTERM": "stopped by SIGTERM",
    "SIGHUP": "stopped, as its terminal was closed", "SIGUSR1": "stopped by SIGUSR1", EXPLODING_SCORES: "stopped",
}  # fmt: skip


class Console(events.Listener):
    """Shows progress, throughput, time left, scores, and where the images are.

    Training continues whatever happens to the stream: closed, no Unicode, 20 columns wide.

    Args:
        stream: where to write; standard output by default. A terminal gets a bar, anything else plain lines.
        folder: of the run, for the paths shown. Should come after SampleGrids among the listeners.
        clock: seconds from any origin.
        program: how Kantor was called, for the command that resumes.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        program: str = "kantor",
    ) -> None:
        self._out = _Out(stream or sys.stdout)
        self._folder = folder
        self._program = program
        self._clock = clock
        self._pace = Pace()
        self._trend = Trend()
        self._live: Live | None = None
        self._epoch_images = 1
        self._next_line_s = self._next_redraw_s = -math.inf
        self._showed_images = self._resumed = False
        self._scores_s = 0.0

    def on(self, event: events.Event) -> Iterable[events.Event | events.Request] | None:
        if self._out.dead:
            return None
        now = self._clock()
        if isinstance(event, events.Progressed | events.Tick | events.Sampled | events.Finished):
            self._pace.at(event.images_seen, now)
        match event:
            case events.Started():
                self._start(event, now)
            case events.Replanned():
                self._pace.total_images = event.total_images
                total = self._length(event.total_images)
                self._say(f"the run's total is now {total}, which fills the time budget at the rate so far")
            case events.Progressed():
                self._redraw(now)
            case events.Tick():
                self._trend.add(event.values.get("critic_gap", math.nan))
                if self._live is None and now >= self._next_line_s:
                    self._next_line_s = now + LINE_EVERY_S
                    self._out.line(self._plain(event.images_seen))
                self._redraw(now)
            case events.Sampled() if event.images_seen and not self._showed_images and self._folder:
                self._showed_images = True
                path = self._folder / "samples" / "fixed" / grid_name(event.images_seen)
                self._say(f"{'new' if self._resumed else 'first'} images: {path}")
            case events.Scored():
                first, self._scores_s = not self._scores_s, self._scores_s + event.elapsed_s
                scores = ", ".join(
                    _scored(name, value, event if first else None) for name, value in event.values.items()
                )
                self._say(f"scores at {event.images_seen / 1000:.1f} kimg: {scores}")
            case events.Found() if event.name != EXPLODING_SCORES:  # which is an error at the end
                self._say(f"note: {event.message}")
            case events.Retuned():
                rates = ", ".join(f"{rate:,.0f} images/s with {threads}" for threads, rate in event.rates.items())
                self._say(f"threads measured anew: {rates}; now {event.threads}")
            case events.Finished():
                self._finish(event)
        return None

    def close(self) -> None:
        """Takes the bar off the terminal and gives the cursor back."""
        if self._live is not None:
            with contextlib.suppress(OSError, ValueError):
                self._live.stop()
            self._live = None

    def _start(self, event: events.Started, now: float) -> None:
        self._pace = Pace(event.total_images, event.budget_s, event.images_seen, now)
        self._epoch_images, self._resumed = max(1, event.epoch_images), event.resumed
        total = self._length(event.total_images)
        if event.resumed:
            self._say(f"resuming at {event.images_seen / 1000:.1f} kimg; the run's total is {total}")
        else:
            self._say(f"training on {event.epoch_images:,} images, {total}")
        if self._out.isatty():
            from rich.console import Console as RichConsole
            from rich.live import Live

            self.close()
            terminal = RichConsole(file=self._out, force_terminal=True)  # type: ignore[arg-type]
            # without rich's refresh thread, which a broken stream would end with a traceback
            self._live = Live(
                console=terminal, get_renderable=self._bar, auto_refresh=False, transient=True,
                redirect_stdout=False, redirect_stderr=False, vertical_overflow="crop",
            )  # fmt: skip
            self._live.start()

    def _length(self, images: int) -> str:
        return f"{images / 1000:.1f} kimg ({images / self._epoch_images:.1f} epochs)"

    def _finish(self, event: events.Finished) -> None:
        self.close()
        elapsed_s, done = self._clock() - self._pace.started_s, event.reason == "done"
        of_total = "" if done else f" of {self._pace.total_images / 1000:.1f}"
        end = f"{event.images_seen / 1000:.1f}{of_total} kimg, {duration(elapsed_s)}"
        self._say(f"done: {end}" if done else f"{_REASONS.get(event.reason, event.reason)}: {end}; everything saved")
        if self._scores_s:
            share = 100 * self._scores_s / max(elapsed_s, self._scores_s)
            self._say(f"scores took {duration(self._scores_s)}, {share:.1f}% of the time")
        if self._folder is None:
            return
        run = printable(str(self._folder))
        self._say(f"results: {run}")
        if event.reason == EXPLODING_SCORES:
            return
        if not done:
            self._say(f"to resume: {self._program} train --resume {quote(run)}")
        elif (condition := _condition(self._folder)) != "none":
            if condition == "smaller":
                self._say(f"to enlarge: {self._program} upscale {quote(run)} PICTURES --out larger")
                return
            given = "LINES" if condition == "edges" else "IMAGES"
            self._say(f"to paint: {self._program} paint {given} {quote(run)} --out paintings")
        else:
            self._say(f"to generate: {self._program} generate {quote(run)}")

    def _say(self, text: str) -> None:
        text = printable(text)
        if self._live is None:
            self._out.line(text)
            return
        from rich.text import Text

        style = "yellow" if text.startswith("note: ") else ""
        self._live.console.print(Text(self._out.encodable(text), style), soft_wrap=True)

    def _plain(self, images_seen: int) -> str:
        pace, left = self._pace, self._pace.left_s()
        parts = [f"{pace.percent()}% {images_seen / 1000:.1f} kimg epoch {images_seen / self._epoch_images:.1f}"]
        parts += [throughput(pace.images_per_second)] if pace.images_per_second else []
        parts += [f"{duration(left)} left"] if left is not None else []
        parts += [f"critic_gap {self._trend.value:.3g}"] if self._trend.known else []
        return " ".join(parts)

    def _redraw(self, now: float) -> None:
        if self._live is not None and now >= self._next_redraw_s:
            self._next_redraw_s = now + _REDRAW_EVERY_S
            self._live.refresh()

    def _bar(self) -> Group | Text:
        from rich.console import Group
        from rich.text import Text

        width = (self._live.console.width if self._live else 80) - 1  # a full last column wraps on some terminals
        pace, left = self._pace, self._pace.left_s()
        tail = f" {pace.percent():3d}%" + (f"  {duration(left)} left" if left is not None else "")
        if width < 40:
            return Text(tail.strip()[:width], "bold", no_wrap=True)
        seen = pace.images_seen
        facts = [f"{seen / 1000:.1f} of {pace.total_images / 1000:.1f} kimg"]
        facts += [f"epoch {seen / self._epoch_images:.1f}"]
        facts += [throughput(pace.images_per_second)] if pace.images_per_second else []
        facts += [f"critic gap {self._trend.words()}"] if self._trend.known else []
        dot = self._out.choose(" · ", ", ")
        while len(dot.join(facts)) > width:
            facts.pop()
        room = min(width, 72) - max(len(tail), 20)
        full = int(room * pace.fraction())
        bar = Text(no_wrap=True).append(self._out.choose("━", "#") * full, "cyan")
        bar.append(self._out.choose("━", "-") * (room - full), "bright_black").append(tail, "bold")
        return Group(bar, Text(dot.join(facts), "dim", no_wrap=True))


class Trend:
    """A number and its direction."""

    def __init__(self) -> None:
        self.value = self._fast = self._slow = math.nan
        self._count = 0

    @property
    def known(self) -> bool:
        return math.isfinite(self.value)

    def add(self, value: float) -> None:
        self.value = value
        if math.isfinite(value):
            self._count += 1
            if self._count == 1:
                self._fast = self._slow = value
            self._fast += 0.4 * (value - self._fast)
            self._slow += 0.08 * (value - self._slow)

    def words(self) -> str:
        """ "3.21, falling"; no direction before four values."""
        change = (self._fast - self._slow) / (abs(self._slow) + 1e-9)
        direction = ", rising" if change > 0.05 else ", falling" if change < -0.05 else ", steady"
        return f"{self.value:.3g}{direction if self._count >= 4 else ''}"


def _scored(name: str, value: float, event: events.Scored | None) -> str:
    """ "fd 160.6 (real images 5.6)"; what real images score is said once."""
    reals = event.details.get(name, {}).get("reals") if event else None
    return f"{name.partition('@')[0]} {value:.4g}" + ("" if reals is None else f" (real images {reals:.3g})")


class _Out:
    """A stream that never fails: it escapes what it cannot encode, and ignores writes once it is closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self.dead = False

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(self.encodable(text)))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def line(self, text: str) -> None:
        self.write(printable(text) + "\n")
        self.flush()

    def isatty(self) -> bool:
        try:
            return self._stream.isatty()
        except (AttributeError, OSError, ValueError):
            return False

    def encodable(self, text: str) -> str:
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def choose(self, unicode: str, ascii_: str) -> str:
        return unicode if self.encodable(unicode) == unicode else ascii_

    def _try(self, action: Callable[[], object]) -> None:
        if self.dead:
            return
        try:
            action()
        except (OSError, ValueError):  # a closed pipe; a closed file raises ValueError
            self.dead = True


def _condition(run: Path) -> str:
    """data.condition of the run, "none" if it cannot be read."""
    try:
        return str(read_toml(run / CONFIG).get("data", {}).get("condition", "none"))
    except UserError:
        return "none"
