"""What the loop announces, and what listeners may ask for.

Events and requests are values. A listener takes an event and returns events and requests; the loop knows no
listener by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kantor.errors import UserError


@dataclass(frozen=True)
class Event:
    """Something that happened after `images_seen` real images had been shown to the critic."""

    images_seen: int


@dataclass(frozen=True)
class Started(Event):
    """A run begins, or goes on.

    Attributes:
        total_images: where it will end.
        epoch_images: images in the set.
        reals: uint8 [N, H, W, C], some images of the set.
        resumed: it goes on from a checkpoint.
        budget_s: seconds that this invocation may take, 0 where it has no such limit.
    """

    total_images: int
    epoch_images: int
    reals: NDArray[np.uint8]
    resumed: bool = False
    budget_s: float = 0.0


@dataclass(frozen=True)
class Progressed(Event):
    """A cycle is done. Comes often: do little."""


@dataclass(frozen=True)
class Tick(Event):
    """Means over the steps since the last tick.

    Attributes:
        attempt: 0, and one more after each roll-back.
        epoch: images_seen / images in the set.
        elapsed_s: seconds of training in all invocations of this run.
        images_per_second: over this tick, whatever else went on included.
        values: critic_loss, critic_real, critic_fake, critic_gap, wasserstein_estimate (WGAN family only),
            generator_loss, penalty and gradient_norm (where there is a penalty), critic_lr, generator_lr,
            skipped_steps.
    """

    attempt: int
    epoch: float
    elapsed_s: float
    images_per_second: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Sampled(Event):
    """Images from the generator's running average.

    Attributes:
        epoch: images_seen / images in the set.
        fixed: uint8 [N, H, W, C] from the same latents every time.
        random: uint8 [N, H, W, C] from new latents.
    """

    epoch: float
    fixed: NDArray[np.uint8]
    random: NDArray[np.uint8]


@dataclass(frozen=True)
class Scored(Event):
    """Scores of the generator's running average.

    Attributes:
        values: by name, "fd@kantor-small": what metrics.csv keeps.
        details: by name: value, interval and what real images get, as JSON values.
        provenance: what the numbers depend on, as JSON values.
        elapsed_s: seconds that it took.
    """

    values: Mapping[str, float]
    details: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any]
    elapsed_s: float


@dataclass(frozen=True)
class Best(Event):
    """No earlier moment of the run had a better score. name: "fd@kantor-small"."""

    name: str
    value: float


@dataclass(frozen=True)
class Found(Event):
    """Something that a user should know.

    Attributes:
        name: short and stable: "non-finite-steps".
        message: in plain words, with what to do.
        evidence: numbers behind it.
    """

    name: str
    message: str
    evidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved(Event):
    """A checkpoint is on the disk, verified."""

    path: Path


@dataclass(frozen=True)
class Finished(Event):
    """The invocation ends. reason: "done", "time-budget", "signal"."""

    reason: str


@dataclass(frozen=True)
class Save:
    """Asks for a checkpoint at the end of the cycle."""


@dataclass(frozen=True)
class Stop:
    """Asks for a save and an end after the cycle. reason: as in Finished."""

    reason: str


Request = Save | Stop


class Listener(Protocol):
    """Listens to events. Its state travels in checkpoints."""

    def on(self, event: Event) -> Iterable[Event | Request] | None: ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep for this listener: JSON values only."""
        ...

    def load(self, state: dict[str, Any]) -> None: ...


class Bus:
    """Hands events to listeners in order, theirs after the one that caused them, and collects requests.

    A listener that raises OSError or UserError is reported once by a Found event and training goes on: a full disk
    under the sample sheets must not end a run.
    """

    def __init__(self, listeners: Mapping[str, Listener]) -> None:
        self.listeners = dict(listeners)
        self.failures: dict[str, int] = {}

    def emit(self, event: Event) -> list[Request]:
        requests: list[Request] = []
        queue = [event]
        while queue:
            current = queue.pop(0)
            for name, listener in self.listeners.items():
                for answer in self._ask(name, listener, current):
                    if isinstance(answer, Event):
                        queue.append(answer)
                    else:
                        requests.append(answer)
        return requests

    def _ask(self, name: str, listener: Listener, event: Event) -> Iterable[Event | Request]:
        try:
            return listener.on(event) or ()
        except (OSError, UserError) as error:
            self.failures[name] = self.failures.get(name, 0) + 1
            if self.failures[name] > 1:
                return ()
            return [
                Found(event.images_seen, "output-failed", f"{name} could not be written: {error}; training goes on")
            ]

    def state(self) -> dict[str, Any]:
        return {name: listener.state() for name, listener in self.listeners.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        for name, listener in self.listeners.items():
            if name in state:
                listener.load(state[name])
