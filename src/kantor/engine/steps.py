"""One cycle: critic steps, then generator steps. Nothing in here waits for the device.

The generator draws the pictures of several critic steps at once, for it does not change between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat

import torch
from torch import Tensor

from kantor.config.schema import Config
from kantor.data.feed import Feed
from kantor.engine import ema, optimizers
from kantor.engine.device import autocast
from kantor.engine.draws import Draws
from kantor.engine.passes import Outcome, critic_pass, generator_pass, in_parts, rows_of
from kantor.engine.schedule import Moment, learning_rate, steps_in_cycle
from kantor.engine.state import State
from kantor.nets import traits_of
from kantor.nets.layers import reseed_dropout
from kantor.objectives.objective import Objective
from kantor.objectives.penalties import GradientPenalty
from kantor.types import Batch

MOST_AT_ONCE = 512  # pictures drawn in one pass: more is no faster, and takes memory


@dataclass
class Steps:
    """What a cycle needs beside the state and the feed.

    Attributes:
        rates: critic_lr and generator_lr of the last cycle.
    """

    config: Config
    objective: Objective
    precision: str
    total_images: int
    rates: dict[str, float] = field(default_factory=dict)

    def cycle(self, state: State, feed: Feed) -> None:
        """One cycle. Counts it, and every real picture shown to the critic."""
        counters, train = state.counters, self.config.train
        draws = Draws(train.seed, counters.cycle, counters.attempt, state.device)
        critic_steps, generator_steps = steps_in_cycle(self.config.cycle, counters.cycle)
        self._set_rates(state, feed)
        together = self._critic_steps_at_once(state)
        for first in range(0, critic_steps, together):
            reals = [feed.take(train.batch) for _ in range(min(together, critic_steps - first))]
            for step, (batch, fake) in enumerate(
                zip(reals, self.fakes(state, reals, draws, first), strict=True), first
            ):
                self.critic_step(state, batch, fake, draws, step)
                counters.images_seen += train.batch
        for step in range(generator_steps):
            self.generator_step(state, batch, draws, step, critic_steps * train.batch / generator_steps)
        counters.cycle += 1

    def _critic_steps_at_once(self, state: State) -> int:
        """For how many critic steps the generator draws at once: one where it mixes the pictures of a batch."""
        if traits_of(state.generator).mixes_batch:
            return 1
        train = self.config.train
        return max(1, (train.micro_batch or MOST_AT_ONCE) // train.batch)

    def fakes(self, state: State, reals: Sequence[Batch], draws: Draws, first: int) -> tuple[Tensor, ...]:
        """As many generated pictures as each batch has, float32 [N, C, H, W], for the critic steps from `first` on."""
        reseed_dropout(state.generator, draws.derived("fakes-dropout", first))
        config = self.config.generator
        latents = [draws.latents("critic-latents", first + i, len(r.images), config) for i, r in enumerate(reals)]
        z, labels = torch.cat(latents), [r.labels for r in reals if r.labels is not None]
        most = self.config.train.micro_batch or len(z)
        passes = zip(
            torch.split(z, most), torch.split(torch.cat(labels), most) if labels else repeat(None), strict=False
        )
        with torch.no_grad(), autocast(state.device, self.precision):
            fake = torch.cat([state.generator(*part).to(torch.float32) for part in passes])
        return torch.split(fake, [len(r.images) for r in reals])

    def critic_step(self, state: State, real: Batch, fake: Tensor, draws: Draws, step: int) -> None:
        """Lowers the critic's loss on `real` and as many generated pictures."""
        objective, critic = self.objective, state.critic
        reseed_dropout(critic, draws.derived("critic-dropout", step))
        due = {name: p for name, p in objective.penalties.items() if p.due(state.counters.critic_steps)}
        points = {name: self._points(p, real, fake, draws, step) for name, p in due.items() if p.at.batch is None}

        def run(rows: slice) -> Outcome:
            part = {name: value[rows] for name, value in points.items()}
            return critic_pass(critic, objective, due, rows_of(real, rows), fake[rows], part, self.precision)

        outcome = in_parts(len(fake), self.config.train.micro_batch, run)
        self._apply(state, "critic", state.critic_optimizer, outcome)
        if objective.constraint is not None:
            objective.constraint(optimizers.trained(critic))
        state.counters.critic_steps += 1

    def generator_step(self, state: State, real: Batch, draws: Draws, step: int, images: float) -> None:
        """Lowers the generator's loss on as many pictures as a batch has, and moves the running average.

        Args:
            images: pictures seen for each generator step: what the average's half-life counts.
        """
        generator, critic = state.generator, state.critic
        reseed_dropout(critic, draws.derived("generator-dropout", step))
        reseed_dropout(generator, draws.derived("pictures-dropout", step))
        z = draws.latents("generator-latents", step, len(real.images), self.config.generator)

        def run(rows: slice) -> Outcome:
            return generator_pass(generator, critic, self.objective, z[rows], rows_of(real, rows), self.precision)

        outcome = in_parts(len(z), self.config.train.micro_batch, run)
        self._apply(state, "generator", state.generator_optimizer, outcome)
        state.counters.generator_steps += 1
        remains = ema.decay(self.config.ema, images, state.counters.images_seen)
        ema.update(state.average, generator, remains)

    def _apply(self, state: State, network: str, optimizer: torch.optim.Optimizer, outcome: Outcome) -> None:
        for name, value in outcome.values.items():
            state.tally.add(name, value)
        state.tally.add(f"skipped_{network}", optimizers.apply(optimizer, outcome.gradients))

    @staticmethod
    def _points(penalty: GradientPenalty, real: Batch, fake: Tensor, draws: Draws, step: int) -> Tensor:
        """Where a penalty with points of its own is taken, [N, C, H, W]."""
        uniform = draws.uniform("interpolation", step, (len(fake),))
        noise = draws.uniform("noise", step, fake.shape) if penalty.at.needs_noise else None
        return penalty.at.points(real.images, fake, uniform, noise)

    def _set_rates(self, state: State, feed: Feed) -> None:
        counters, optimizer = state.counters, self.config.optimizer
        moment = Moment(
            counters.cycle,
            counters.attempt,
            counters.images_seen / feed.store.count,
            min(1.0, counters.images_seen / self.total_images),
            self.config.train.seed,
        )
        self.rates = {
            "critic_lr": learning_rate(optimizer.critic, moment, "critic"),
            "generator_lr": learning_rate(optimizer.generator, moment, "generator"),
        }
        optimizers.set_rate(state.critic_optimizer, self.rates["critic_lr"])
        optimizers.set_rate(state.generator_optimizer, self.rates["generator_lr"])
