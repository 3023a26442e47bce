"""Builds the parts of a run, and refuses a configuration that cannot be trained."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from kantor.app.dataset.image_size import spec_of
from kantor.app.evaluation.during_training import ScorePlan
from kantor.app.training.parts import Parts
from kantor.app.training.try_custom_networks import try_custom_networks
from kantor.config.data import AugmentConfig
from kantor.config.schema import Config
from kantor.controls import ROWS, controls_of
from kantor.data.loading.feed import Feed
from kantor.data.loading.image_set import ImageSet
from kantor.data.sources.python_object import PREFIX
from kantor.engine.schedule import check_schedules
from kantor.errors import ConfigError
from kantor.metrics.layer_distance import layer_distance, on_grey
from kantor.metrics.small_network import small_network
from kantor.nets import premultiplies
from kantor.objectives.objective import Objective, build_objective
from kantor.types import ImageSpec, traits_of

_AT_ONCE = 32  # images


def build(config: Config, store: ImageSet, device: torch.device, score_plan: ScorePlan | None = None) -> Parts:
    """Raises ConfigError if the configuration does not fit the dataset, or has choices that exclude each other."""
    check_schedules(config.optimizer.generator, config.optimizer.critic)
    train, data = config.train, config.data
    augmentation = None if data.augment == AugmentConfig() else data.augment
    spec = spec_of(config, store)
    feed = Feed(
        store, train.seed, device, train.conditional, data.mirror, spec, augmentation, data.dequantise,
        premultiplies(config.generator, spec),
    )  # fmt: skip
    plain = build_objective(config.objective, config.guide.weight if config.guide.controls else 0.0)
    objective = with_feature_distance(plain, device, not premultiplies(config.generator, spec))
    table = _controls_of_training(config, spec, feed)
    parts = Parts(config, store, device, objective, feed, score_plan, table=table)
    if train.conditional and not store.labelled:
        in_memory = "give (image, class) for each"
        in_folders = "put every image into a sub-folder, one for each class"
        do = in_memory if data.source.startswith(PREFIX) else in_folders
        raise ConfigError("--conditional", f"{data.source} has no classes", do)
    check_objective(parts)
    try_custom_networks(parts)
    if train.micro_batch and (mixes := mixing(parts)):
        what = f"{mixes}, so a part of a batch is not a part of the step"
        raise ConfigError("train.micro_batch", what, "use a smaller --batch instead")
    return parts


def with_feature_distance(objective: Objective, device: torch.device, straight: bool) -> Objective:
    """The objective with the network that measures its `features`, if they have a weight.

    straight: RGBA images that networks see have straight colours.
    """
    if not objective.features:
        return objective
    network = small_network(device)

    def distance(fake: Tensor, real: Tensor) -> Tensor:
        seen = (network.layers(on_grey(images, premultiply=straight)) for images in (fake, real))
        return layer_distance(*seen)

    return replace(objective, feature_distance=distance)


def _controls_of_training(config: Config, spec: ImageSpec, feed: Feed) -> torch.Tensor | None:
    """Controls of the first images that training sees, [ROWS, K]; None without a guide. Raises ConfigError for pairs."""
    controls = config.guide.controls
    if not controls:
        return None
    if config.data.condition != "none":
        what = "needs a generator that starts from a latent alone, and data.condition is set"
        raise ConfigError("--guide", what, "leave one of the two out")
    alpha, parts = premultiplies(config.generator, spec), []
    for _ in range(ROWS // _AT_ONCE):
        parts.append(controls_of(feed.take(_AT_ONCE).images, controls, alpha))
    feed.position = 0
    return torch.cat(parts).cpu()


def mixing(parts: Parts) -> str:
    """As `mixing_layer`, of networks and losses: a custom loss may be relative to the mean of a batch."""
    real, fake = torch.linspace(-1, 1, 4), torch.linspace(0.5, -2, 4)
    for name, loss in (("critic", parts.objective.critic), ("generator", parts.objective.generator)):
        if not torch.allclose(loss(real, fake)[:2], loss(real[:2], fake[:2])):
            return f"the {name}'s loss mixes the images of a batch"
    return mixing_layer(parts)


def mixing_layer(parts: Parts) -> str:
    """Which network mixes the images of a batch, "the critic ... (batch norm)"; "" if none does."""
    for name, network in (("generator", parts.generator()), ("critic", parts.critic())):
        traits = traits_of(network)
        if traits.mixes_batch:
            layer = "batch norm" if traits.normalisation == "batch" else "minibatch stddev"
            return f"the {name} mixes the images of a batch ({layer})"
    return ""


def check_objective(parts: Parts) -> None:
    """Raises ConfigError if the objective excludes the critic, a quirk or the data."""
    config, cycle, objective = parts.config, parts.config.cycle, parts.objective
    if refusal := objective.refuses(traits_of(parts.critic())):
        raise refusal
    if objective.constraint is not None and config.critic.equalised:
        what = "scales the weights that clipping has just bounded, which leaves next to nothing of a score"
        raise ConfigError("critic.equalised", what, "leave it out, or replace clipping by a gradient penalty")
    if objective.wasserstein and not objective.penalties and config.objective.constraint.kind == "none":
        what = "a Wasserstein critic needs a penalty or weight clipping to bound it"
        do = "set a penalty's weight above 0, or objective.constraint.kind=weight-clipping"
        raise ConfigError("objective", what, do)
    if cycle.split_updates and (objective.penalties or objective.generator_needs_real or objective.drift):
        what = "splits a critic step into two halves, and penalties, drift and relativistic losses need both at once"
        raise ConfigError("cycle.split_updates", what, "leave it out, or use a loss with weight clipping")
    if cycle.shared_images and (cycle.generator_steps > 1 or cycle.generator_batch not in (0, config.train.batch)):
        what = "shares the images of one critic step, but the generator takes more steps or other batches"
        raise ConfigError("cycle.shared_images", what, "add --set cycle.shared_images=false")
    if cycle.shared_images and cycle.split_updates:
        raise ConfigError(
            "cycle.shared_images", "cannot be combined with cycle.split_updates", "set one of them to false"
        )
    if cycle.reuse == "everything" and cycle.generator_batch not in (0, config.train.batch):
        what = '"everything" gives the generator the critic\'s latents, one for each image of a batch'
        raise ConfigError("cycle.reuse", what, "leave cycle.generator_batch out")
    if config.train.micro_batch and objective.drift is not None and objective.drift.of == "half-sum-real":
        what = '"half-sum-real" depends on the size of the batch, so its parts add up to something else'
        raise ConfigError("objective.drift.of", what, "leave train.micro_batch out")
    if config.train.micro_batch and (shares := [n for n, p in objective.penalties.items() if p.share < 1]):
        what = "is a share of a whole batch, which train.micro_batch splits"
        raise ConfigError(f"objective.penalties.{shares[0]}.share", what, "leave one of the two out")
    for field, weight in (("l1", objective.l1), ("features", objective.features)):
        if weight and config.data.condition == "none":
            what = "needs the real image that the generated one should resemble"
            do = "train on pairs with --set data.condition=edges, or leave it out"
            raise ConfigError(f"objective.{field}", what, do)
