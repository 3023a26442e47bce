"""The loop: draw, step, tick, sample, save. It announces events; others listen and may ask for a save or a stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from kantor.data.loading.feed import Feed
from kantor.engine.events import (
    Bus,
    Event,
    Finished,
    Found,
    Progressed,
    Request,
    Sampled,
    Save,
    Saved,
    Scored,
    Started,
    Stop,
    Tick,
)
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.errors import DivergedError, UserError, printable
from kantor.types import Images

FIRST_SAMPLE_IMAGES = 1000
HOPELESS_TICKS = 3


@dataclass(frozen=True)
class Plan:
    """How long, and when to look. All in real images shown to the critic, but for the budget.

    Attributes:
        budget_s: seconds that this invocation may take from `started_s` on; infinite for no limit.
        started_s: time.monotonic() when the invocation began.
        score_images: 0 for no scores.
    """

    total_images: int
    tick_images: int
    sample_images: int
    snapshot_images: int
    started_s: float
    budget_s: float = math.inf
    score_images: int = 0

    def score_due(self, before: int, after: int) -> bool:
        """At multiples of score_images, and at the end."""
        if not self.score_images:
            return False
        return crossed(before, after, self.score_images) or after >= self.total_images

    def sample_due(self, before: int, after: int) -> bool:
        """In the beginning at 1000, 2000, 4000 ... images, then at multiples of sample_images."""
        early = FIRST_SAMPLE_IMAGES
        while early < self.sample_images:
            if before < early <= after:
                return True
            early *= 2
        return crossed(before, after, self.sample_images)


def crossed(before: int, after: int, every: int) -> bool:
    """A multiple of `every` lies in (before, after]."""
    return after // every > before // every


def _penalties_together(means: Mapping[str, float]) -> dict[str, float]:
    """The sum of all penalties and the mean of their gradient norms in place of "penalty/NAME", "gradient_norm/NAME".

    Each is a mean of its own: lazy ones are measured less often.
    """
    values = {name: value for name, value in means.items() if "/" not in name}
    penalties = [value for name, value in means.items() if name.startswith("penalty/")]
    norms = [value for name, value in means.items() if name.startswith("gradient_norm/")]
    if penalties:
        values |= {"penalty": sum(penalties), "gradient_norm": sum(norms) / len(norms)}
    return values


@dataclass
class Loop:
    """Everything that a run needs to go on.

    Attributes:
        sample: the average generator and images_seen -> (fixed, random) sheets.
        save: writes a checkpoint of state, feed position and listeners; gives its path.
        stop_asked: looked at after each cycle: "signal" where the user wants it to end, else "".
        score: the average generator and images_seen -> its scores.
    """

    state: State
    feed: Feed
    steps: Steps
    plan: Plan
    bus: Bus
    sample: Callable[[torch.nn.Module, int], tuple[Images, Images]]
    save: Callable[[], Path]
    stop_asked: Callable[[], str]
    score: Callable[[torch.nn.Module, int], Scored] | None = None

    def run(self, started: Started) -> str:
        """Trains until the end, the budget or a request.

        Returns:
            Why it ended: "done", "time-budget", "signal" or the reason of a request.
        """
        counters, plan = self.state.counters, self.plan
        self._began_s = time.monotonic() - counters.elapsed_s
        requests = self._tell(started)
        if counters.images_seen == 0:
            requests += self._sample()
        saved_at = counters.images_seen if started.resumed else -1
        reason, late = self._why_stop(requests), requests
        if reason == "time-budget":  # whatever came before took it all: one cycle is done for it
            reason = ""
        while not reason:
            before = counters.images_seen
            self.steps.cycle(self.state, self.feed)
            after = counters.images_seen
            requests = late + self._tell(Progressed(after))
            if scored := self._score(before, after):
                requests += self._tell(scored)
            if scored or crossed(before, after, plan.tick_images):
                requests += self._tick()  # its row has the scores too
            if plan.sample_due(before, after) or after >= plan.total_images:
                requests += self._sample()
            reason, late = self._why_stop(requests), []
            if reason or crossed(before, after, plan.snapshot_images) or any(isinstance(r, Save) for r in requests):
                late = self._save(last=bool(reason))  # what is asked for now is done after the next cycle
                saved_at = after
        if saved_at != counters.images_seen:
            self._save(last=True)
        self._tell(Finished(counters.images_seen, reason))
        return reason

    def _why_stop(self, requests: Iterable[Request]) -> str:
        for request in requests:
            if isinstance(request, Stop):
                return request.reason or "stopped"
        if asked := self.stop_asked():
            return asked
        if self.state.counters.images_seen >= self.plan.total_images:
            return "done"
        if time.monotonic() - self.plan.started_s >= self.plan.budget_s:
            return "time-budget"
        return ""

    def _tell(self, event: Event) -> list[Request]:
        return self.bus.emit(event)

    def _tick(self) -> list[Request]:
        """Reads the tally: the one copy from the device, and the point where skipped steps are judged."""
        counters, sums = self.state.counters, self.state.tally.read()
        self.state.tally.clear()
        counters.elapsed_s = time.monotonic() - self._began_s  # after the read, which waits for the device
        skipped = {network: sums.pop(f"skipped_{network}", (0.0, 0)) for network in ("critic", "generator")}
        values = _penalties_together({name: total / count for name, (total, count) in sums.items()})
        values["skipped_steps"] = sum(total for total, _ in skipped.values())
        values["critic_gap"] = values["critic_real"] - values["critic_fake"]
        if self.steps.objective.wasserstein:
            values["wasserstein_estimate"] = values["critic_gap"]
        values |= self.steps.rates
        span_s = max(counters.elapsed_s - counters.tick_elapsed_s, 1e-9)
        rate = (counters.images_seen - counters.tick_images) / span_s
        counters.tick_elapsed_s, counters.tick_images = counters.elapsed_s, counters.images_seen
        requests = self._tell(
            Tick(counters.images_seen, counters.attempt, self._epoch(), counters.elapsed_s, rate, values)
        )
        return requests + self._judge(skipped)

    def _judge(self, skipped: Mapping[str, tuple[float, int]]) -> list[Request]:
        """Steps whose gradients were not finite changed nothing; if a network takes only such, the run is over.

        Args:
            skipped: (steps skipped, steps) of each network since the last tick.
        """
        counters = self.state.counters
        hopeless = any(0 < count == total for total, count in skipped.values())
        counters.skipped_ticks = counters.skipped_ticks + 1 if hopeless else 0
        if counters.skipped_ticks >= HOPELESS_TICKS:
            raise DivergedError(
                f"step {counters.critic_steps}",
                f"for {HOPELESS_TICKS} ticks every gradient of a network was infinite or no number; such steps change no weight",
                "lower optimizer.critic.lr and optimizer.generator.lr, or train with --set train.precision=float32",
            )
        number, steps = (int(sum(pair[i] for pair in skipped.values())) for i in (0, 1))
        if not number:
            return []
        message = f"{number} of {steps} steps since the last tick had gradients that were not finite and were skipped; if this goes on, lower the learning rates"
        return self._tell(Found(counters.images_seen, "non-finite-steps", message, {"skipped": float(number)}))

    def _sample(self) -> list[Request]:
        images_seen = self.state.counters.images_seen
        fixed, random = self.sample(self.state.average, images_seen)
        return self._tell(Sampled(images_seen, self._epoch(), fixed, random))

    def _score(self, before: int, after: int) -> Scored | Found | None:
        """Scores where they are due. What cannot be measured costs nothing else, whatever the user's own features raise."""
        if self.score is None or not self.plan.score_due(before, after):
            return None
        try:
            return self.score(self.state.average, after)
        except Exception as error:
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            message = f"no score was measured: {kind}{printable(str(error))}; training goes on"
            return Found(after, "score-failed", message)

    def _save(self, last: bool) -> list[Request]:
        """A save that fails, on a full disk for example, ends the run only where there is no later one to hope for."""
        images_seen = self.state.counters.images_seen
        self.state.counters.elapsed_s = time.monotonic() - self._began_s
        try:
            path = self.save()
        except UserError as error:
            if last:
                raise
            return self._tell(
                Found(images_seen, "save-failed", f"no checkpoint was written: {error}; training goes on")
            )
        return self._tell(Saved(images_seen, path))

    def _epoch(self) -> float:
        return self.state.counters.images_seen / self.feed.images.count
