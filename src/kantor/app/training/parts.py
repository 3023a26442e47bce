"""The parts of a run: what is built from its configuration, dataset and device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from kantor.app.dataset.image_size import condition_channels, spec_of
from kantor.app.evaluation.during_training import ScorePlan
from kantor.app.training.validate_networks import mixing_part, try_custom_networks
from kantor.config.data import AugmentConfig
from kantor.config.schema import Config
from kantor.data.loading.feed import Feed
from kantor.data.loading.image_set import ImageSet
from kantor.data.sources.python_object import PREFIX
from kantor.engine.compiled import Compiler, Kernels, inductor
from kantor.engine.cuda_graphs import Recorder, recorder_for
from kantor.engine.schedule import check_schedules
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.errors import ConfigError
from kantor.nets import build_critic, traits_of
from kantor.objectives.objective import Objective, build_objective
from kantor.types import ImageSpec


@dataclass(frozen=True)
class Parts:
    """What a run is made of.

    Attributes:
        store: the training set.
        feed: shared by the run and the trials before it: on a GPU it may hold the whole dataset.
        score_plan: the scores to measure; None for none.
        kernels: compiled passes, shared like the feed.
    """

    config: Config
    store: ImageSet
    device: torch.device
    objective: Objective
    precision: str
    feed: Feed
    score_plan: ScorePlan | None
    kernels: Kernels = field(default_factory=dict)

    def with_config(self, config: Config) -> Parts:
        """The same parts with `config`, which may differ in lengths, intervals, batch, ways to compute and EMA only."""
        return replace(self, config=config, score_plan=self.score_plan if config.train.score_images else None)

    def state(self) -> State:
        """New networks and optimizers: equal for equal seeds."""
        return State(self.config, self.spec, self.classes, self.device, self.condition)

    def steps(self, note: Callable[[str], None] = lambda line: None) -> Steps:
        """The steps of a cycle. note: called with a line if they cannot be recorded or compiled."""
        config, total = self.config, self.config.train.images
        recorder, compiler = Recorder(), Compiler()
        if config.train.record and not self.custom:
            recorder = recorder_for(self.device, note)
        if config.train.compile is True and not self.custom:
            compiler = Compiler(inductor, self.precision, note, self.kernels)
        return Steps(config, self.objective, self.precision, total if isinstance(total, int) else 1, recorder, compiler)

    @property
    def custom(self) -> bool:
        """Whether a network or the loss is user-registered: recording and compiling cannot know what it reads."""
        return "custom" in (self.config.generator.kind, self.config.critic.kind, self.config.objective.kind)

    @property
    def spec(self) -> ImageSpec:
        """Of the images that the networks see."""
        return spec_of(self.config, self.store)

    @property
    def condition(self) -> int:
        """Channels of the condition of both networks; 0 for none."""
        return condition_channels(self.config)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes to train with; none unless conditional."""
        return tuple(self.store.class_names) if self.config.train.conditional else ()

    @property
    def classes(self) -> int:
        return len(self.class_names)


def build(
    config: Config, store: ImageSet, device: torch.device, precision: str, score_plan: ScorePlan | None = None
) -> Parts:
    """Builds the parts of a run.

    Raises:
        ConfigError: the configuration does not fit the dataset, or has choices that exclude each other.
    """
    check_schedules(config.optimizer.generator, config.optimizer.critic)
    train, data = config.train, config.data
    augmentation = None if data.augment == AugmentConfig() else data.augment
    spec = spec_of(config, store)
    feed = Feed(store, train.seed, device, train.conditional, data.mirror, spec, augmentation, data.dequantise)
    parts = Parts(config, store, device, build_objective(config.objective), precision, feed, score_plan)
    if train.conditional and not store.labelled:
        in_memory = "give (image, class) for each"
        in_folders = "put every image into a sub-folder, one for each class"
        do = in_memory if data.source.startswith(PREFIX) else in_folders
        raise ConfigError("--conditional", f"{data.source} has no classes", do)
    _refuse_objective(parts)
    _refuse_quirks(config, parts.objective)
    try_custom_networks(config, parts.spec, parts.classes, parts.condition, parts.objective)
    if train.micro_batch and (mixes := mixing(parts)):
        what = f"{mixes}, so a part of a batch is not a part of the step"
        raise ConfigError("train.micro_batch", what, "use a smaller --batch instead")
    return parts


def mixing(parts: Parts) -> str:
    """Which network or loss mixes the images of a batch; "" if none does."""
    return mixing_part(parts.config, parts.spec, parts.classes, parts.condition, parts.objective)


def _refuse_objective(parts: Parts) -> None:
    """Raises ConfigError if the critic cannot be trained with this objective."""
    config, objective = parts.config, parts.objective
    critic = build_critic(config.critic, parts.spec, parts.classes, condition=parts.condition)
    if refusal := objective.refuses(traits_of(critic)):
        raise refusal
    if objective.constraint is not None and config.critic.equalised:
        what = "scales the weights that clipping has just bounded, which leaves next to nothing of a score"
        raise ConfigError("critic.equalised", what, "leave it out, or replace clipping by a gradient penalty")
    if objective.wasserstein and not objective.penalties and config.objective.constraint.kind == "none":
        what = "a Wasserstein critic needs a penalty or weight clipping to bound it"
        do = "set a penalty's weight above 0, or objective.constraint.kind=weight-clipping"
        raise ConfigError("objective", what, do)


def _refuse_quirks(config: Config, objective: Objective) -> None:
    """Raises ConfigError if a quirk is combined with what it excludes."""
    if config.cycle.split_updates and (objective.penalties or objective.generator_needs_real or objective.drift):
        what = "splits a critic step into two halves, and penalties, drift and relativistic losses need both at once"
        raise ConfigError("cycle.split_updates", what, "leave it out, or use a loss with weight clipping")
    if config.cycle.reuse == "everything" and config.cycle.generator_batch not in (0, config.train.batch):
        what = '"everything" gives the generator the critic\'s latents, one for each image of a batch'
        raise ConfigError("cycle.reuse", what, "leave cycle.generator_batch out")
    if config.train.micro_batch and objective.drift is not None and objective.drift.of == "half-sum-real":
        what = '"half-sum-real" depends on the size of the batch, so its parts add up to something else'
        raise ConfigError("objective.drift.of", what, "leave train.micro_batch out")
    if objective.l1 and config.data.condition == "none":
        what = "needs the real image that the generated one should resemble"
        raise ConfigError("objective.l1", what, "train on pairs with --set data.condition=edges, or leave it out")
