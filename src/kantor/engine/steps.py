"""One cycle: critic steps, then generator steps. Nothing in here waits for the device.

A step prepares its inputs, random numbers included, computes gradients from them (`engine.passes`), and applies those.
The last two are functions of tensors alone, so a recorder may replay both together; inside them, passes may run in
micro-batches and compiled (`engine.execution`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from kantor.config.schema import Config
from kantor.controls import guide_of, guided
from kantor.data.loading.feed import Feed
from kantor.engine import ema, optimizers, passes
from kantor.engine.augment import as_seen, changed, sample_changes
from kantor.engine.compiled import Compiler
from kantor.engine.cuda_graphs import Recorder
from kantor.engine.device import return_memory
from kantor.engine.elementwise import Optimizer
from kantor.engine.execution import Compute, Work, micro_batched, rows_of
from kantor.engine.passes import CriticInputs, GenerationInputs, GeneratorInputs, Outcome, Penalties
from kantor.engine.penalty_points import PointNumbers, numbers_for_points, penalty_points
from kantor.engine.schedule import TrainingProgress, learning_rate, steps_in_cycle
from kantor.engine.state import State
from kantor.engine.step_random import StepRandom
from kantor.nets import fade
from kantor.nets.layers import reseed_dropout
from kantor.objectives.constraints import clip_gradients, clip_weights
from kantor.objectives.objective import Objective
from kantor.types import Batch, traits_of

MANY_PIXELS = 1 << 20  # of a batch
MAX_GENERATED_AT_ONCE = 512  # in one pass: more is not faster and takes memory

Names = tuple[str, ...]  # of the values that a step has added to the tally


class SharedInputs(NamedTuple):
    """What a critic step and a generator step on the same images need."""

    generator: GeneratorInputs
    numbers: PointNumbers


@dataclass
class Steps:
    """What a cycle needs besides the state and the feed.

    Attributes:
        horizon_images: images seen at which schedules end.
        recorder: replays steps where the device can.
        compiler: compiles their passes where that is asked for.
        rates: critic_lr and generator_lr of the last cycle.
    """

    config: Config
    objective: Objective
    precision: str
    horizon_images: int
    recorder: Recorder = field(default_factory=Recorder)
    compiler: Compiler = field(default_factory=Compiler)
    rates: dict[str, float] = field(default_factory=dict)
    _compute: Compute = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._compute = micro_batched(self.compiler, self.config.train.micro_batch)

    def cycle(self, state: State, feed: Feed) -> None:
        """Takes one cycle of steps.

        Counts it and all real images shown to the critic; one that is reused counts once.
        """
        counters, train, how = state.counters, self.config.train, self.config.cycle
        random = StepRandom(train.seed, counters.cycle, counters.attempt, state.device)
        critic_steps, generator_steps = self._steps_to_do(state, feed)
        self._set_rates(state, feed)
        for network in (state.generator, state.critic):
            fade(network, counters.images_seen)
        reused = self._take(state, feed) if how.reuse != "none" else None
        at_once = self._critic_steps_at_once(state)
        seen = counters.images_seen
        own_images = critic_steps - how.shared_images  # critic steps on images of their own
        for first in range(0, own_images, at_once):
            reals = [reused or self._take(state, feed) for _ in range(min(at_once, own_images - first))]
            fakes = self.fakes(state, reals, random, first)
            for step, (real, fake) in enumerate(zip(reals, fakes, strict=True), first):
                self.critic_step(state, real, fake, random, step)
                counters.images_seen = seen + train.batch * (1 if reused else step + 1)
        if how.shared_images:
            real = reused or self._take(state, feed)
            counters.images_seen = seen + train.batch * (1 if reused else critic_steps)
            self.shared_step(state, real, random, own_images, counters.images_seen - seen)
        else:
            real = _repeated(real, how.generator_batch)
            for step in range(generator_steps):
                self.generator_step(state, real, random, step, (counters.images_seen - seen) / generator_steps)
        counters.cycle += 1

    def fakes(self, state: State, reals: Sequence[Batch], random: StepRandom, first: int) -> tuple[Tensor, ...]:
        """As many generated images as each batch has, float32 [N, C, H, W], for the critic steps from `first` on."""
        if self.config.cycle.reuse == "everything":
            first = 0
        reseed_dropout(state.generator, random.derived("fakes-dropout", first))
        counts = [len(real.images) for real in reals]
        latents = [self._latents(state, real, random, "critic-latents", first + i) for i, real in enumerate(reals)]
        labels, condition = (
            passes.joined([real.labels for real in reals]),
            passes.joined([real.condition for real in reals]),
        )
        inputs = GenerationInputs(torch.cat(latents), labels, condition)
        images = self.recorder(Work("fakes", partial(self._generate, state), state), inputs)
        return torch.split(images, counts)

    def critic_step(self, state: State, real: Batch, fake: Tensor, random: StepRandom, step: int) -> None:
        """Lowers the critic's loss on `real` and as many generated images."""
        due = self._due(state)
        reseed_dropout(state.critic, random.derived("critic-dropout", step))
        changes = sample_changes(self.config.train, random, "augment", step, fake)
        real, fake = as_seen(real, changes), changed(fake, changes)
        numbers = numbers_for_points(due, random, step, real.images)
        inputs = CriticInputs(real, fake, penalty_points(due, numbers, real, fake))
        take = self._take_split_critic_step if self.config.cycle.split_updates else self._take_critic_step
        names = self.recorder(Work(("critic", *due), partial(take, state, due), state), inputs)
        state.tally.count(names)
        state.counters.critic_steps += 1

    def generator_step(self, state: State, real: Batch, random: StepRandom, step: int, images: float) -> None:
        """Lowers the generator's loss on as many images as `real` has, and updates the EMA.

        Args:
            images: images seen for each generator step, in which the half-life of the EMA counts.
        """
        pixels = real.images[:, 0].numel()
        if len(real.images) > self.config.train.batch and pixels >= MANY_PIXELS and state.device.type == "cpu":
            return_memory()  # of the critic steps, whose smaller tensors leave gaps that no tensor of this step fits in
        purpose = ("critic-latents", 0) if self.config.cycle.reuse == "everything" else ("generator-latents", step)
        latents = self._latents(state, real, random, *purpose)
        changes = sample_changes(self.config.train, random, "augment-generator", step, real.images)
        self._generator_step(state, GeneratorInputs(latents, real, changes=changes), random, step, images)

    def shared_step(self, state: State, real: Batch, random: StepRandom, step: int, images: int) -> None:
        """A critic step, then a generator step on its generated images and its scores of real ones.

        Args:
            images: images seen since the last generator step.
        """
        reused = self.config.cycle.reuse == "everything"
        latents = self._latents(state, real, random, "critic-latents", 0 if reused else step)
        changes = sample_changes(self.config.train, random, "augment", step, real.images)
        if self._separate_passes(state):
            (fake,) = self.fakes(state, [real], random, step)
            self._constrain(state, "before")
            seen = as_seen(real, changes)
            scores = self._scores(state, seen, random, step) if self.objective.generator_needs_real else None
            self.critic_step(state, real, fake, random, step)
            self._generator_step(state, GeneratorInputs(latents, real, scores, changes), random, 0, images)
            return
        due = self._due(state)
        numbers = numbers_for_points(due, random, step, real.images)
        inputs = SharedInputs(GeneratorInputs(latents, real, changes=changes), numbers)
        names = self.recorder(Work(("shared", *due), partial(self._take_shared_step, state, due), state), inputs)
        state.tally.count(names)
        state.counters.critic_steps += 1
        self._count_generator_step(state, images)

    def _take(self, state: State, feed: Feed) -> Batch:
        """The next batch, with the controls of its images if the generator is guided."""
        return guided(feed.take(self.config.train.batch), guide_of(state.generator))

    def _latents(self, state: State, real: Batch, random: StepRandom, purpose: str, step: int) -> Tensor:
        """What the generator makes an image of for each real one, [N, D]: a guided one is asked for the same controls."""
        latents = random.latents(purpose, step, len(real.images), self.config.generator)
        guide = guide_of(state.generator)
        if guide is None or real.controls is None:
            return latents
        return torch.cat([latents, guide.scaled(real.controls)], dim=1)

    def _separate_passes(self, state: State) -> bool:
        """Whether a step on shared images runs passes that can be compiled, split or reseeded one by one.

        Batch norm counts each pass in its statistics: then there is one of each network, eager.
        """
        mixes = any(traits_of(network).mixes_batch for network in (state.generator, state.critic))
        return state.has_dropout or bool(not mixes and (self.compilable(state) or self.config.train.micro_batch))

    def _scores(self, state: State, real: Batch, random: StepRandom, step: int) -> Tensor:
        reseed_dropout(state.critic, random.derived("critic-dropout", step))
        score = partial(passes.score_pass, state.critic, self.precision)
        return self._compute(Work("scores", score, state, (state.critic,)), real).values["scores"]

    def _generator_step(
        self, state: State, inputs: GeneratorInputs, random: StepRandom, step: int, images: float
    ) -> None:
        reseed_dropout(state.critic, random.derived("generator-dropout", step))
        reseed_dropout(state.generator, random.derived("pictures-dropout", step))
        names = self.recorder(Work("generator", partial(self._take_generator_step, state), state), inputs)
        state.tally.count(names)
        self._count_generator_step(state, images)

    def _count_generator_step(self, state: State, images: float) -> None:
        state.counters.generator_steps += 1
        ema.update(state.average, state.generator, ema.decay(self.config.ema, images, state.counters.images_seen))

    def compilable(self, state: State) -> bool:
        """Whether passes are compiled, or will be."""
        return self.compiler.compiles and not state.has_dropout

    # --- compute and apply: functions of tensors alone --------------------------------------------------------------

    def _generate(self, state: State, inputs: GenerationInputs) -> Tensor:
        generate = partial(passes.generation_pass, state.generator, self.precision)
        return self._compute(Work("fakes", generate, state, (state.generator,)), inputs).values["images"]

    def _take_critic_step(self, state: State, due: Penalties, inputs: CriticInputs) -> Names:
        self._constrain(state, "before")
        lower = partial(passes.critic_pass, state.critic, self.objective, due, self.precision)
        work = Work(("critic", *due), lower, state, (state.critic,))
        return self._apply_to_critic(state, self._compute(work, inputs))

    def _take_split_critic_step(self, state: State, due: Penalties, inputs: CriticInputs) -> Names:
        """Two updates: on real images, and on generated ones."""
        lower = partial(passes.half_pass, state.critic, self.objective, self.precision)
        self._constrain(state, "before")
        work = Work("critic-real", lower, state, (state.critic,))
        outcome = self._compute(work, (inputs.real, None))
        real_scores = outcome.values["critic_real"]
        names = self._apply_to_critic(state, outcome)
        self._constrain(state, "before")
        work = Work("critic-fake", lower, state, (state.critic,))
        outcome = self._compute(work, (inputs.real._replace(images=inputs.fake), real_scores))
        return names + self._apply_to_critic(state, outcome)

    def _take_generator_step(self, state: State, inputs: GeneratorInputs) -> Names:
        lower = partial(passes.generator_pass, state.generator, state.critic, self.objective, self.precision)
        work = Work("generator", lower, state, (state.generator, state.critic))
        return _apply(state, "generator", state.generator_optimizer, self._compute(work, inputs))

    def _take_shared_step(self, state: State, due: Penalties, inputs: SharedInputs) -> Names:
        changes = inputs.generator.changes
        images = passes.generated(state.generator, self.precision, inputs.generator)
        real = as_seen(inputs.generator.real, changes)
        fake = changed(images.detach().to(torch.float32), changes)
        self._constrain(state, "before")
        points = penalty_points(due, inputs.numbers, real, fake)
        outcome = passes.critic_pass(
            state.critic, self.objective, due, self.precision, CriticInputs(real, fake, points)
        )
        names = self._apply_to_critic(state, outcome)
        shared = inputs.generator._replace(real_scores=outcome.values["critic_real"])
        outcome = passes.generator_pass_on(
            images, state.generator, state.critic, self.objective, self.precision, shared
        )
        return names + _apply(state, "generator", state.generator_optimizer, outcome)

    def _apply_to_critic(self, state: State, outcome: Outcome) -> Names:
        if self.objective.gradient_clipping is not None:
            clip_gradients(self.objective.gradient_clipping, outcome.gradients)
        names = _apply(state, "critic", state.critic_optimizer, outcome)
        self._constrain(state, "after")
        return names

    def _constrain(self, state: State, when: str) -> None:
        constraint = self.objective.constraint
        if constraint is not None and constraint.when == when:
            clip_weights(constraint, optimizers.trained(state.critic))

    # --- what a cycle consists of -----------------------------------------------------------------------------------

    def _due(self, state: State) -> Penalties:
        return {name: p for name, p in self.objective.penalties.items() if p.due(state.counters.critic_steps)}

    def _steps_to_do(self, state: State, feed: Feed) -> tuple[int, int]:
        """(critic steps, generator steps) of the cycle that begins, which is counted in its epoch."""
        counters, epoch = state.counters, state.counters.images_seen // feed.dataset.count
        if epoch != counters.epoch:
            counters.epoch, counters.epoch_cycle = epoch, 0
        counters.epoch_cycle += 1
        return steps_in_cycle(self.config.cycle, counters.cycle, epoch, counters.epoch_cycle - 1)

    def _critic_steps_at_once(self, state: State) -> int:
        """Critic steps whose images are generated in one pass: the generator does not change between them."""
        if traits_of(state.generator).mixes_batch or self.config.cycle.reuse == "everything":
            return 1
        train = self.config.train
        return max(1, (train.micro_batch or MAX_GENERATED_AT_ONCE) // train.batch)

    def _set_rates(self, state: State, feed: Feed) -> None:
        counters, optimizer = state.counters, self.config.optimizer
        epoch, share = counters.images_seen / feed.dataset.count, min(1.0, counters.images_seen / self.horizon_images)
        progress = TrainingProgress(counters.cycle, counters.attempt, epoch, share, self.config.train.seed)
        self.rates = {
            "critic_lr": learning_rate(optimizer.critic, progress, "critic"),
            "generator_lr": learning_rate(optimizer.generator, progress, "generator"),
        }
        optimizers.set_rate(state.critic_optimizer, self.rates["critic_lr"])
        optimizers.set_rate(state.generator_optimizer, self.rates["generator_lr"])


def _apply(state: State, network: str, optimizer: Optimizer, outcome: Outcome) -> Names:
    """Updates the network and adds the values to the tally's sums; returns their names, which are still to be counted."""
    skipped = f"skipped_{network}"
    for name, value in outcome.values.items():
        state.tally.sum(name, value)
    state.tally.sum(skipped, optimizers.apply(optimizer, outcome.gradients))
    return (*outcome.values, skipped)


def _repeated(batch: Batch, count: int) -> Batch:
    """`count` rows of a batch, from the first on and over again; 0 for all rows once."""
    if count in (0, len(batch.images)):
        return batch
    return rows_of(batch, torch.arange(count, device=batch.images.device) % len(batch.images))
