"""One cycle: critic steps, then generator steps. Nothing in here waits for the device.

The generator draws the images of several critic steps at once, for it does not change between them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kantor.config.schema import Config
from kantor.data.loading.feed import Feed
from kantor.engine import ema, optimizers
from kantor.engine.compiled import Compiler
from kantor.engine.compiled import Compute as Pass
from kantor.engine.cuda_graphs import Compute, Inputs, Recorder
from kantor.engine.passes import (
    Outcome,
    critic_pass,
    generated_images,
    generator_pass,
    half_pass,
    in_parts,
    rows_of,
    slices,
)
from kantor.engine.schedule import Moment, learning_rate, steps_in_cycle
from kantor.engine.state import State
from kantor.engine.step_random import Draws
from kantor.nets import fade, traits_of
from kantor.nets.layers import draws_within, reseed_dropout
from kantor.objectives.objective import Objective
from kantor.types import Batch

MOST_AT_ONCE = 512  # images drawn in one pass: more is no faster, and takes memory


@dataclass
class Steps:
    """What a cycle needs beside the state and the feed.

    Attributes:
        recorder: replays steps where the device can.
        compiler: of the passes in them, where that is asked for.
        rates: critic_lr and generator_lr of the last cycle.
    """

    config: Config
    objective: Objective
    precision: str
    total_images: int
    recorder: Recorder = field(default_factory=Recorder)
    compiler: Compiler = field(default_factory=Compiler)
    rates: dict[str, float] = field(default_factory=dict)
    _recorded: tuple[State | None, int] = (None, 0)

    def cycle(self, state: State, feed: Feed) -> None:
        """One cycle. Counts it, and every real image shown to the critic; one that is reused counts once."""
        counters, train, how = state.counters, self.config.train, self.config.cycle
        draws = Draws(train.seed, counters.cycle, counters.attempt, state.device)
        critic_steps, generator_steps = self._steps_to_do(state, feed)
        self._set_rates(state, feed)
        for network in (state.generator, state.critic):
            fade(network, counters.images_seen)
        reused = feed.take(train.batch) if how.reuse != "none" else None
        together = self._critic_steps_at_once(state)
        seen = counters.images_seen
        for first in range(0, critic_steps, together):
            reals = [reused or feed.take(train.batch) for _ in range(min(together, critic_steps - first))]
            fakes = self.fakes(state, reals, draws, first)
            for step, (batch, fake) in enumerate(zip(reals, fakes, strict=True), first):
                self.critic_step(state, batch, fake, draws, step)
                counters.images_seen = seen + train.batch * (1 if reused else step + 1)
        like = _repeated(batch, how.generator_batch)
        for step in range(generator_steps):
            self.generator_step(state, like, draws, step, (counters.images_seen - seen) / generator_steps)
        counters.cycle += 1

    def _steps_to_do(self, state: State, feed: Feed) -> tuple[int, int]:
        """(critic steps, generator steps) of the cycle that begins; counts it in its epoch."""
        counters, epoch = state.counters, state.counters.images_seen // feed.images.count
        if epoch != counters.epoch:
            counters.epoch, counters.epoch_cycle = epoch, 0
        counters.epoch_cycle += 1
        return steps_in_cycle(self.config.cycle, counters.cycle, epoch, counters.epoch_cycle - 1)

    def _critic_steps_at_once(self, state: State) -> int:
        """For how many critic steps the generator draws at once: one where it mixes the images of a batch."""
        if traits_of(state.generator).mixes_batch or self.config.cycle.reuse == "everything":
            return 1
        train = self.config.train
        return max(1, (train.micro_batch or MOST_AT_ONCE) // train.batch)

    def fakes(self, state: State, reals: Sequence[Batch], draws: Draws, first: int) -> tuple[Tensor, ...]:
        """As many generated images as each batch has, float32 [N, C, H, W], for the critic steps from `first` on."""
        if self.config.cycle.reuse == "everything":
            first = 0
        reseed_dropout(state.generator, draws.derived("fakes-dropout", first))
        generator, config = state.generator, self.config.generator
        counts = [len(real.images) for real in reals]
        latents = [draws.latents("critic-latents", first + i, n, config) for i, n in enumerate(counts)]

        def draw(z: Tensor, labels: Tensor | None, condition: Tensor | None) -> Tensor:
            return generated_images(generator, z, labels, condition, self.precision)

        def compute(z: Tensor, *given: Tensor | None) -> Tensor:
            parts = [
                self._pass(state, "fakes", [generator], draw, [z[rows], *(g if g is None else g[rows] for g in given)])
                for rows in slices(len(z), self.config.train.micro_batch)
            ]
            return torch.cat(parts)

        inputs = [torch.cat(latents), *(_together(reals, part) for part in ("labels", "condition"))]
        return torch.split(self._run(state, "fakes", compute, inputs), counts)

    def critic_step(self, state: State, real: Batch, fake: Tensor, draws: Draws, step: int) -> None:
        """Lowers the critic's loss on `real` and as many generated images."""
        objective, critic = self.objective, state.critic
        reseed_dropout(critic, draws.derived("critic-dropout", step))
        due = {name: p for name, p in objective.penalties.items() if p.due(state.counters.critic_steps)}
        own = {name: p for name, p in due.items() if p.at.batch is None}  # those that need points of their own
        uniform = draws.uniform("interpolation", step, (len(fake),)) if own else None
        noise = draws.uniform("noise", step, fake.shape) if any(p.at.needs_noise for p in own.values()) else None

        def score(fake: Tensor, *more: Any) -> Outcome:
            points, batch = dict(zip(own, more, strict=False)), Batch(*more[len(own) :])
            return critic_pass(critic, objective, due, batch, fake, points, self.precision)

        def compute(fake: Tensor, uniform: Tensor | None, noise: Tensor | None, *real: Tensor | None) -> Sequence[str]:
            self._bound(state, "before")
            batch = Batch(*real)  # type: ignore[arg-type]
            points = {name: p.at.points(batch.images, fake, uniform, noise) for name, p in own.items()}  # type: ignore[arg-type]

            def run(rows: slice) -> Outcome:
                part, at = rows_of(batch, rows), [value[rows] for value in points.values()]
                return self._pass(state, ("critic", *due), [critic], score, [fake[rows], *at, *part])  # type: ignore[no-any-return]

            return self._update_critic(state, in_parts(len(fake), self.config.train.micro_batch, run))

        if self.config.cycle.split_updates:
            names = self._run(
                state, "critic", lambda fake, *real: self._halves(state, fake, Batch(*real)), [fake, *real]
            )
        else:
            names = self._run(state, ("critic", *due), compute, [fake, uniform, noise, *real])
        state.tally.count(names)
        state.counters.critic_steps += 1

    def _halves(self, state: State, fake: Tensor, real: Batch) -> Sequence[str]:
        """Two critic steps: on real images, and on generated ones."""
        most = self.config.train.micro_batch
        names: list[str] = []
        real_scores: Tensor | None = None
        for kind, images in (("critic-real", real.images), ("critic-fake", fake)):

            def score(images: Tensor, real_scores: Tensor | None, *like: Any) -> Outcome:
                return half_pass(
                    state.critic, self.objective, images, Batch(images, *like), real_scores, self.precision
                )

            def run(
                rows: slice, kind: str = kind, images: Tensor = images, known: Tensor | None = real_scores
            ) -> Outcome:
                part = [None if value is None else value[rows] for value in (known, *real[1:])]
                return self._pass(state, kind, [state.critic], score, [images[rows], *part])  # type: ignore[no-any-return]

            self._bound(state, "before")
            outcome = in_parts(len(images), most, run)
            real_scores = outcome.values.get("critic_real")
            names += self._update_critic(state, outcome)
        return names

    def _update_critic(self, state: State, outcome: Outcome) -> tuple[str, ...]:
        """One step of the critic's optimiser, with what keeps the critic in bounds."""
        if self.objective.gradient_clipping is not None:
            self.objective.gradient_clipping(outcome.gradients)
        names = _apply(state, "critic", state.critic_optimizer, outcome)
        self._bound(state, "after")
        return names

    def _bound(self, state: State, moment: str) -> None:
        constraint = self.objective.constraint
        if constraint is not None and constraint.when == moment:
            constraint(optimizers.trained(state.critic))

    def generator_step(self, state: State, real: Batch, draws: Draws, step: int, images: float) -> None:
        """Lowers the generator's loss on as many images as `real` has, and moves the running average.

        Args:
            images: images seen for each generator step: what the average's half-life counts.
        """
        generator, critic = state.generator, state.critic
        reseed_dropout(critic, draws.derived("generator-dropout", step))
        reseed_dropout(generator, draws.derived("pictures-dropout", step))
        purpose = ("critic-latents", 0) if self.config.cycle.reuse == "everything" else ("generator-latents", step)
        z = draws.latents(*purpose, len(real.images), self.config.generator)

        def score(z: Tensor, *real: Tensor | None) -> Outcome:
            return generator_pass(generator, critic, self.objective, z, Batch(*real), self.precision)  # type: ignore[arg-type]

        def compute(z: Tensor, *real: Tensor | None) -> Sequence[str]:
            batch = Batch(*real)  # type: ignore[arg-type]

            def run(rows: slice) -> Outcome:
                part = rows_of(batch, rows)
                return self._pass(state, "generator", [generator, critic], score, [z[rows], *part])  # type: ignore[no-any-return]

            outcome = in_parts(len(z), self.config.train.micro_batch, run)
            return _apply(state, "generator", state.generator_optimizer, outcome)

        state.tally.count(self._run(state, "generator", compute, [z, *real]))
        state.counters.generator_steps += 1
        remains = ema.decay(self.config.ema, images, state.counters.images_seen)
        ema.update(state.average, generator, remains)

    def compilable(self, state: State) -> bool:
        """Whether passes are compiled, or will be."""
        return self.compiler.compiles and not _draws(state)

    def _pass(self, state: State, kind: Hashable, networks: list[nn.Module], compute: Pass, inputs: Inputs) -> Any:
        """`compute(*inputs)`, which reads these networks, compiled where that is asked for."""
        if not self.compilable(state):
            return compute(*inputs)
        return self.compiler.run(kind, networks, compute, inputs)

    def _run(self, state: State, kind: Hashable, compute: Compute, inputs: Inputs) -> Any:
        """`compute(*inputs)`, replayed where it is recorded. Recordings are of the tensors of one state."""
        if not self.recorder.records or _draws(state):
            return compute(*inputs)
        if self._recorded[0] is not state or self._recorded[1] != state.loaded:
            self.recorder.forget()
            self._recorded = state, state.loaded
        return self.recorder.run(kind, compute, inputs, state.tensors)

    def _set_rates(self, state: State, feed: Feed) -> None:
        counters, optimizer = state.counters, self.config.optimizer
        moment = Moment(
            counters.cycle,
            counters.attempt,
            counters.images_seen / feed.images.count,
            min(1.0, counters.images_seen / self.total_images),
            self.config.train.seed,
        )
        self.rates = {
            "critic_lr": learning_rate(optimizer.critic, moment, "critic"),
            "generator_lr": learning_rate(optimizer.generator, moment, "generator"),
        }
        optimizers.set_rate(state.critic_optimizer, self.rates["critic_lr"])
        optimizers.set_rate(state.generator_optimizer, self.rates["generator_lr"])


def _together(batches: Sequence[Batch], part: str) -> Tensor | None:
    """Labels or conditions of several batches as one; None where they have none."""
    found = [value for batch in batches if (value := getattr(batch, part)) is not None]
    return torch.cat(found) if found else None


def _repeated(batch: Batch, count: int) -> Batch:
    """As many rows as `count` says, from the first on and over again; 0 for those that there are."""
    if count in (0, len(batch.images)):
        return batch
    return rows_of(batch, torch.arange(count, device=batch.images.device) % len(batch.images))


def _draws(state: State) -> bool:
    """Whether a network draws random numbers of its own (dropout): no two steps are alike then."""
    return draws_within(state.generator) or draws_within(state.critic)


def _apply(state: State, network: str, optimizer: torch.optim.Optimizer, outcome: Outcome) -> tuple[str, ...]:
    """Takes the step and adds its values to the tally's sums; gives their names, which are still to be counted."""
    skipped = f"skipped_{network}"
    for name, value in outcome.values.items():
        state.tally.sum(name, value)
    state.tally.sum(skipped, optimizers.apply(optimizer, outcome.gradients))
    return (*outcome.values, skipped)
