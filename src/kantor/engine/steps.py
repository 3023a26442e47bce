"""One cycle: critic steps, then generator steps. Nothing in here waits for the device.

As few passes as the networks allow: real and generated pictures are scored in one, R1 and R2 are taken on those very
scores, and the generator draws the pictures of several critic steps at once, for it does not change between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from kantor.config.schema import Config
from kantor.data.feed import Feed
from kantor.engine import ema, optimizers
from kantor.engine.device import autocast
from kantor.engine.schedule import Moment, learning_rate, steps_in_cycle
from kantor.engine.state import State
from kantor.nets import traits_of
from kantor.nets.layers import reseed_dropout
from kantor.objectives.objective import Objective
from kantor.objectives.penalties import GradientPenalty, gradient_norm, input_gradient
from kantor.random import derive
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
        return max(1, MOST_AT_ONCE // self.config.train.batch)

    def fakes(self, state: State, reals: Sequence[Batch], draws: Draws, first: int) -> tuple[Tensor, ...]:
        """As many generated pictures as each batch has, float32 [N, C, H, W], for the critic steps from `first` on."""
        reseed_dropout(state.generator, draws.derived("fakes-dropout", first))
        config = self.config.generator
        latents = [draws.latents("critic-latents", first + i, len(r.images), config) for i, r in enumerate(reals)]
        labels = [r.labels for r in reals if r.labels is not None]
        with torch.no_grad(), autocast(state.device, self.precision):
            fake = state.generator(torch.cat(latents), torch.cat(labels) if labels else None).to(torch.float32)
        parts: tuple[Tensor, ...] = fake.split([len(r.images) for r in reals])
        return parts

    def critic_step(self, state: State, real: Batch, fake: Tensor, draws: Draws, step: int) -> None:
        """Lowers the critic's loss on `real` and as many generated pictures."""
        objective, critic, tally = self.objective, state.critic, state.tally
        reseed_dropout(critic, draws.derived("critic-dropout", step))
        with autocast(state.device, self.precision):
            due = {name: p for name, p in objective.penalties.items() if p.due(state.counters.critic_steps)}
            scores = _Scores(critic, real, fake, watched={p.at.batch for p in due.values() if p.at.batch})
            slopes = {name: self._gradient(p, scores, critic, real, fake, draws, step) for name, p in due.items()}
        loss = objective.critic(scores.real, scores.fake).mean()
        tally.add("critic_loss", loss)
        tally.add("critic_real", scores.real)
        tally.add("critic_fake", scores.fake)
        for name, penalty in due.items():
            value = penalty.weight * penalty.of(slopes[name]).mean()
            loss = loss + penalty.every * value
            tally.add(f"penalty/{name}", value)
            tally.add(f"gradient_norm/{name}", gradient_norm(slopes[name]))
        if objective.drift is not None:
            loss = loss + objective.drift(scores.real).mean()
        gradients = torch.autograd.grad(loss, optimizers.trained(critic))
        tally.add("skipped_critic", optimizers.apply(state.critic_optimizer, gradients))
        if objective.constraint is not None:
            objective.constraint(optimizers.trained(critic))
        state.counters.critic_steps += 1

    def generator_step(self, state: State, real: Batch, draws: Draws, step: int, images: float) -> None:
        """Lowers the generator's loss on as many pictures as a batch has, and moves the running average.

        Args:
            images: pictures seen for each generator step: what the average's half-life counts.
        """
        count = len(real.images)
        reseed_dropout(state.critic, draws.derived("generator-dropout", step))
        reseed_dropout(state.generator, draws.derived("pictures-dropout", step))
        with autocast(state.device, self.precision):
            z = draws.latents("generator-latents", step, count, self.config.generator)
            fake = state.generator(z, real.labels)
            fake_scores = state.critic(fake, real.labels).to(torch.float32)
            real_scores = fake_scores.detach()  # most objectives do not look at it
            if self.objective.generator_needs_real:
                with torch.no_grad():  # nothing of the generator's depends on them
                    real_scores = state.critic(real.images, real.labels).to(torch.float32)
        loss = self.objective.generator(real_scores, fake_scores).mean()
        gradients = torch.autograd.grad(loss, optimizers.trained(state.generator))
        state.tally.add("generator_loss", loss)
        state.tally.add("skipped_generator", optimizers.apply(state.generator_optimizer, gradients))
        state.counters.generator_steps += 1
        remains = ema.decay(self.config.ema, images, state.counters.images_seen)
        ema.update(state.average, state.generator, remains)

    def _gradient(
        self,
        penalty: GradientPenalty,
        scores: _Scores,
        critic: nn.Module,
        real: Batch,
        fake: Tensor,
        draws: Draws,
        step: int,
    ) -> Tensor:
        """The gradient of the scores at the penalty's points, float32 [N, C, H, W], with its own graph."""
        if penalty.at.batch is not None:
            return scores.input_gradient(penalty.at.batch)
        uniform = draws.uniform("interpolation", step, (len(fake),))
        noise = draws.uniform("noise", step, fake.shape) if penalty.at.needs_noise else None
        points = penalty.at.points(real.images, fake, uniform, noise).detach().requires_grad_()
        return input_gradient(critic(points, real.labels).to(torch.float32), points)

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


class _Scores:
    """Scores of a real and a generated batch, float32 [N] each.

    Both share one pass, unless the critic mixes the batch, or the gradient of just one of them will be asked for.

    Args:
        watched: of "real" and "fake", those whose input gradients will be asked for: they need no pass of their own.
    """

    def __init__(self, critic: nn.Module, real: Batch, fake: Tensor, watched: set[str]) -> None:
        count = len(fake)
        self._gradients: dict[str, Tensor] = {}
        if traits_of(critic).mixes_batch or len(watched) == 1:
            self._inputs = {"real": real.images, "fake": fake}
            for part in watched:
                self._inputs[part].requires_grad_()
            self.real = critic(real.images, real.labels).to(torch.float32)
            self.fake = critic(fake, real.labels).to(torch.float32)
            return
        images = torch.cat([real.images, fake])
        labels = None if real.labels is None else torch.cat([real.labels, real.labels])
        self._inputs = {"both": images.requires_grad_() if watched else images}
        self._all = critic(images, labels).to(torch.float32)
        self.real, self.fake = self._all[:count], self._all[count:]

    def input_gradient(self, part: str) -> Tensor:
        """Gradient of the scores of "real" or "fake" with respect to its pictures, float32 [N, C, H, W], with a graph."""
        if "both" not in self._inputs:
            return input_gradient(self.real if part == "real" else self.fake, self._inputs[part])
        if not self._gradients:
            both = input_gradient(self._all, self._inputs["both"])
            self._gradients = {"real": both[: len(self.real)], "fake": both[len(self.real) :]}
        return self._gradients[part]


@dataclass(frozen=True)
class Draws:
    """The random numbers of a cycle: each a function of (seed, purpose, cycle, attempt, step)."""

    seed: int
    cycle: int
    attempt: int
    device: torch.device

    def derived(self, purpose: str, step: int) -> int:
        """The seed of this cycle, attempt and step for `purpose`."""
        return derive(self.seed, purpose, self.cycle, self.attempt, step)

    def _rng(self, purpose: str, step: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(self.derived(purpose, step))

    def latents(self, purpose: str, step: int, count: int, config: object) -> Tensor:
        """float32 [count, latent_dim], standard normal or uniform in [-1, 1]."""
        rng, shape = self._rng(purpose, step), (count, config.latent_dim)  # type: ignore[attr-defined]
        if config.latent == "normal":  # type: ignore[attr-defined]
            return torch.randn(shape, generator=rng, device=self.device)
        return torch.rand(shape, generator=rng, device=self.device) * 2 - 1

    def uniform(self, purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """float32 in [0, 1)."""
        return torch.rand(shape, generator=self._rng(purpose, step), device=self.device)
