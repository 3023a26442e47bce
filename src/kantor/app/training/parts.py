"""The parts of a run: what is built from its configuration, dataset and device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from kantor.app.dataset.image_size import spec_of
from kantor.app.evaluation.during_training import ScorePlan
from kantor.config.schema import Config
from kantor.data.loading.feed import Feed
from kantor.data.loading.image_set import ImageSet
from kantor.engine.compiled import Compiler, Kernels, inductor
from kantor.engine.cuda_graphs import Recorder, recorder_for
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.nets import build_critic, build_generator
from kantor.objectives.objective import Objective
from kantor.types import ImageSpec


@dataclass(frozen=True)
class Parts:
    """What a run is made of.

    Attributes:
        store: the training set.
        feed: shared by the run and the trials before it: on a GPU it may hold the whole dataset.
        score_plan: None for no scores.
        kernels: compiled passes, shared like the feed.
        table: controls of training images, for guided latents; else None.
    """

    config: Config
    store: ImageSet
    device: torch.device
    objective: Objective
    feed: Feed
    score_plan: ScorePlan | None
    kernels: Kernels = field(default_factory=dict)
    table: Tensor | None = None

    def with_config(self, config: Config) -> Parts:
        """The same parts with `config`, which may differ in lengths, intervals, batch, widths, ways to compute and EMA only."""
        return replace(self, config=config, score_plan=self.score_plan if config.train.score_images else None)

    def state(self) -> State:
        """New networks and optimizers: equal for equal seeds."""
        return State(self.config, self.spec, self.classes, self.device, self.condition, self.table)

    def generator(self) -> nn.Module:
        """A new generator, on the CPU."""
        config = self.config
        return build_generator(
            config.generator, self.spec, self.classes, condition=self.condition, guide=config.guide.controls
        )

    def critic(self) -> nn.Module:
        """A new critic, on the CPU."""
        config = self.config
        return build_critic(
            config.critic, self.spec, self.classes, condition=self.condition, guide=config.guide.controls
        )

    def steps(self, note: Callable[[str], None] = lambda line: None) -> Steps:
        """The steps of a cycle. note: called with a line if they cannot be recorded or compiled."""
        config, horizon, precision = self.config, self.config.train.horizon_images, self.config.train.precision
        recorder, compiler = Recorder(), Compiler()
        if config.train.record and not self.custom:
            recorder = recorder_for(self.device, note)
        if config.train.compile is True and not self.custom:
            compiler = Compiler(inductor, precision, note, self.kernels)
        if not isinstance(horizon, int):  # in a trial before the length is chosen, or without schedules
            horizon = 1
        return Steps(config, self.objective, precision, horizon, recorder, compiler)

    @property
    def custom(self) -> bool:
        """Whether a network or the loss is user-registered: recording and compiling cannot know what it reads."""
        return "custom" in (self.config.generator.kind, self.config.critic.kind, self.config.objective.kind)

    @property
    def any_scores(self) -> bool:
        """Whether critic scores of any size are in order: of custom networks, or of a Wasserstein critic without a penalty."""
        return self.custom or (self.objective.wasserstein and not self.objective.penalties)

    @property
    def spec(self) -> ImageSpec:
        """Of the images that the networks see."""
        return spec_of(self.config, self.store)

    @property
    def condition(self) -> int:
        """Channels of the condition of both networks; 0 for none."""
        return self.store.condition_channels

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes to train with; none unless conditional."""
        return tuple(self.store.class_names) if self.config.train.conditional else ()

    @property
    def classes(self) -> int:
        return len(self.class_names)
