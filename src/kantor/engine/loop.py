"""The loop: cycle, tick, sample, save. It emits events; listeners may ask for a checkpoint or a stop."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from kantor.data.loading.feed import Feed
from kantor.engine import events
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.errors import DivergedError, UserError, printable
from kantor.types import Images

FIRST_SAMPLE_IMAGES = 250
HOPELESS_TICKS = 3


@dataclass(frozen=True)
class Plan:
    """How long to train, and when to do what, in real images shown to the critic.

    Attributes:
        started_s: time.monotonic() when the invocation began.
        budget_s: seconds that the invocation may take from then on.
        score_images: 0 for no scores.
    """

    total_images: int
    tick_images: int
    sample_images: int
    snapshot_images: int
    started_s: float
    budget_s: float = math.inf
    score_images: int = 0

    def sample_due(self, before: int, after: int) -> bool:
        """Whether samples are due: at 250, 500, 1000, 2000 ... images at first, then at multiples of sample_images."""
        early = FIRST_SAMPLE_IMAGES
        while early < self.sample_images:
            if before < early <= after:
                return True
            early *= 2
        return crossed(before, after, self.sample_images)


@dataclass(frozen=True)
class Replan:
    """A second look at the length of a run, once.

    Attributes:
        every_images: how often to ask.
        total_images: (images seen, images a second) -> where the run, and its schedules, will end; None to be asked again. The
            throughput is measured from the first time on that it could be asked, samples, scores and saves not counted.
    """

    every_images: int
    total_images: Callable[[int, float], int | None]


def crossed(before: int, after: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return after // every > before // every


def _penalties_together(means: Mapping[str, float]) -> dict[str, float]:
    """Replaces "penalty/NAME" by the sum of all penalties, "gradient_norm/NAME" by the mean of all norms."""
    values = {name: value for name, value in means.items() if "/" not in name}
    # each is a mean over its own steps: lazy ones are measured less often
    penalties = [value for name, value in means.items() if name.startswith("penalty/")]
    norms = [value for name, value in means.items() if name.startswith("gradient_norm/")]
    if penalties:
        values |= {"penalty": sum(penalties), "gradient_norm": sum(norms) / len(norms)}
    return values


@dataclass
class Loop:
    """Runs cycles until the end.

    Attributes:
        sample: (EMA of the generator, images_seen) -> (fixed, random) sample grids.
        save: writes a checkpoint of state, feed position and listeners; returns its path.
        stop_asked: called after each cycle: why the user wants the run to end ("signal"), else "".
        score: (EMA of the generator, images_seen) -> its scores.
        replan: None to keep to the plan.
    """

    state: State
    feed: Feed
    steps: Steps
    plan: Plan
    bus: events.Bus
    sample: Callable[[torch.nn.Module, int], tuple[Images, Images]]
    save: Callable[[], Path]
    stop_asked: Callable[[], str]
    score: Callable[[torch.nn.Module, int], events.Scored] | None = None
    replan: Replan | None = None

    def run(self, started: events.Started) -> str:
        """Trains until the end, the budget or a request.

        Returns:
            Why training ended: "done", "time-budget", "signal" or the reason of a request.
        """
        counters = self.state.counters
        self._began_s, self._aside_s, self._told_aside_s = time.monotonic() - counters.elapsed_s, 0.0, 0.0
        self._measured_from: tuple[int, float] | None = None  # images seen, seconds of training
        requests = self.bus.emit(started)
        if counters.images_seen == 0 or not started.resumed:
            requests += self._sample()
        saved_at = counters.images_seen if started.resumed else -1
        reason, late = self._why_stop(requests), requests
        if reason == "time-budget":  # used up before training began: take one cycle anyway
            reason = ""
        while not reason:
            before = counters.images_seen
            self.steps.cycle(self.state, self.feed)
            after = counters.images_seen
            requests = late + self.bus.emit(events.Progressed(after))
            if self.replan is not None:
                requests += self._replan(self.replan, before, after)
            plan = self.plan
            if scored := self._score(before, after):
                requests += self.bus.emit(scored)
            if scored or crossed(before, after, plan.tick_images):
                requests += self._tick()  # after the scores, which are in the same row
            if plan.sample_due(before, after) or after >= plan.total_images:
                requests += self._sample()
            reason, late = self._why_stop(requests), []
            asked = any(isinstance(request, events.Save) for request in requests)
            if reason or asked or crossed(before, after, plan.snapshot_images):
                late = self._save(last=bool(reason))  # requests made now are met after the next cycle
                saved_at = after
        if saved_at != counters.images_seen:
            self._save(last=True)
        self.bus.emit(events.Finished(counters.images_seen, reason))
        return reason

    def _replan(self, replan: Replan, before: int, seen: int) -> list[events.Request]:
        if not crossed(before, seen, replan.every_images):
            return []
        seconds = self._training_s()
        if self._measured_from is None:
            self._measured_from = seen, seconds
            return []
        images_before, seconds_before = self._measured_from
        total = replan.total_images(seen, (seen - images_before) / max(seconds - seconds_before, 1e-9))
        if total is None:
            return []
        self.replan = None
        if total == self.plan.total_images:
            return []
        self.plan, self.steps.horizon_images = dataclasses.replace(self.plan, total_images=total), total
        return self.bus.emit(events.Replanned(seen, total))

    def _training_s(self) -> float:
        """Seconds since training began, without those set aside."""
        self.state.tally.read()  # waits for the device
        return time.monotonic() - self._began_s - self._aside_s

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Sets the time aside that is not spent on training."""
        if self.replan is not None:
            self.state.tally.read()
        began_s = time.monotonic()
        try:
            yield
        finally:
            self._aside_s += time.monotonic() - began_s

    def _why_stop(self, requests: Iterable[events.Request]) -> str:
        for request in requests:
            if isinstance(request, events.Stop):
                return request.reason or "stopped"
        if asked := self.stop_asked():
            return asked
        if self.state.counters.images_seen >= self.plan.total_images:
            return "done"
        if time.monotonic() - self.plan.started_s >= self.plan.budget_s:
            return "time-budget"
        return ""

    def _tick(self) -> list[events.Request]:
        """Reads the tally, the one copy from the device, and judges skipped steps."""
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
        images_per_second = (counters.images_seen - counters.tick_images) / span_s
        counters.tick_elapsed_s, counters.tick_images = counters.elapsed_s, counters.images_seen
        aside_s, self._told_aside_s = self._aside_s - self._told_aside_s, self._aside_s
        seen, epoch = counters.images_seen, self._epoch()
        tick = events.Tick(seen, counters.attempt, epoch, counters.elapsed_s, images_per_second, values, aside_s)
        with self._aside():
            requests = self.bus.emit(tick)
        return requests + self._judge(skipped)

    def _judge(self, skipped: Mapping[str, tuple[float, int]]) -> list[events.Request]:
        """Judges (steps skipped, steps) of each network since the last tick; ends the run if one takes no step at all."""
        counters = self.state.counters
        hopeless = any(0 < count == total for total, count in skipped.values())
        counters.skipped_ticks = counters.skipped_ticks + 1 if hopeless else 0
        if counters.skipped_ticks >= HOPELESS_TICKS:
            raise DivergedError(
                f"step {counters.critic_steps}",
                f"for {HOPELESS_TICKS} ticks a network had no finite gradients; such steps change no weight",
                "lower optimizer.critic.lr and optimizer.generator.lr, or train with --set train.precision=float32",
            )
        count, steps = (int(sum(pair[i] for pair in skipped.values())) for i in (0, 1))
        if not count:
            return []
        message = (
            f"{count} of {steps} steps since the last tick were skipped: their gradients were not finite; "
            "if this continues, lower the learning rates"
        )
        return self.bus.emit(events.Found(counters.images_seen, "non-finite-steps", message, {"skipped": float(count)}))

    def _sample(self) -> list[events.Request]:
        images_seen = self.state.counters.images_seen
        with self._aside():
            fixed, random = self.sample(self.state.average, images_seen)
            return self.bus.emit(events.Sampled(images_seen, self._epoch(), fixed, random))

    def _score(self, before: int, after: int) -> events.Scored | events.Found | None:
        """Scores if they are due. A failure, of custom features for example, costs nothing but the scores."""
        every, last = self.plan.score_images, after >= self.plan.total_images
        if self.score is None or not every or not (last or crossed(before, after, every)):
            return None
        try:
            with self._aside():
                return self.score(self.state.average, after)
        except Exception as error:
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            message = f"no score was measured: {kind}{printable(str(error))}; training continues"
            return events.Found(after, "score-failed", message)

    def _save(self, last: bool) -> list[events.Request]:
        """Saves a checkpoint. A failure, a full disk for example, ends the run only if this is the last one."""
        images_seen = self.state.counters.images_seen
        self.state.counters.elapsed_s = time.monotonic() - self._began_s
        try:
            with self._aside():
                path = self.save()
        except UserError as error:
            if last:
                raise
            message = f"no checkpoint was written: {error}; training continues"
            return self.bus.emit(events.Found(images_seen, "save-failed", message))
        with self._aside():
            return self.bus.emit(events.Saved(images_seen, path))

    def _epoch(self) -> float:
        return self.state.counters.images_seen / self.feed.dataset.count
