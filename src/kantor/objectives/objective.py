"""Objectives: the losses of critic and generator, with penalties and constraints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from kantor.config import objective as options
from kantor.custom_names import require_custom_name
from kantor.errors import ConfigError
from kantor.objectives import losses, penalties
from kantor.objectives.losses import Loss
from kantor.objectives.penalties import GradientPenalty
from kantor.types import Traits


@dataclass(frozen=True)
class Losses:
    """The losses of critic and generator.

    Attributes:
        critic: (real scores [N], fake scores [N]) -> [N].
        generator: (real scores [N], fake scores [N]) -> [N]; ignores the first unless `generator_needs_real`.
        wasserstein: whether mean(real scores) - mean(fake scores) estimates a distance.
        generator_needs_real: whether the generator's step scores real images too.
    """

    critic: Loss
    generator: Loss
    wasserstein: bool = False
    generator_needs_real: bool = False


@dataclass(frozen=True, kw_only=True)
class Objective(Losses):
    """What critic and generator minimise.

    Attributes:
        penalties: gradient penalties by name, without those of weight 0.
        drift, constraint, gradient_clipping: of the critic, see `objectives.constraints`; None if absent.
        l1: weight of the mean absolute difference to the real image in the generator's loss, for paired images.
        features: weight of `feature_distance`, likewise.
        feature_distance: (generated, real images [N, C, H, W] as networks see them) -> [N]; None without one.
        guide: weight of the mean squared difference between controls asked for and measured in the generator's loss.
    """

    penalties: Mapping[str, GradientPenalty]
    drift: options.SquaredDrift | None
    constraint: options.WeightClipping | None
    gradient_clipping: options.GradientClipping | None
    l1: float
    features: float = 0.0
    feature_distance: Callable[[Tensor, Tensor], Tensor] | None = None
    guide: float = 0.0

    @property
    def round_of_penalties(self) -> int:
        """Number of critic steps in which every penalty is due at least once, and the laziest exactly once."""
        return max((penalty.every for penalty in self.penalties.values()), default=1)

    def refuses(self, critic_traits: Traits) -> ConfigError | None:
        """The error if a critic like this one cannot be trained with this objective, else None.

        Minibatch stddev mixes the batch too, but is allowed: Karras et al. 2018 train with it under this penalty, and the
        gradient through its one channel is small (docs/networks.md).
        """
        if not self.penalties or critic_traits.normalisation != "batch":
            return None
        what = (
            "a gradient penalty excludes batch norm in the critic: each image's gradient would depend on the other "
            "images of its batch, so the penalty would not be the one of the paper (Gulrajani et al. 2017, section 4)"
        )
        return ConfigError("critic.norm", what, "use --set critic.norm=layer or --set critic.norm=none")


_NON_SATURATING = Losses(losses.non_saturating_critic, losses.non_saturating_generator)
_WASSERSTEIN = Losses(losses.wasserstein_critic, losses.wasserstein_generator, wasserstein=True)
_LOSSES: dict[str, Losses] = {
    "dcgan": _NON_SATURATING,
    "wgan": _WASSERSTEIN,
    "wgan-gp": _WASSERSTEIN,
    "wgan-lp": _WASSERSTEIN,
    "dragan": _NON_SATURATING,
    "lsgan": Losses(losses.least_squares_critic, losses.least_squares_generator),
    "hinge": Losses(losses.hinge_critic, losses.wasserstein_generator),
    "relativistic": Losses(losses.relativistic_critic, losses.relativistic_generator, generator_needs_real=True),
}

_FORMULAS = {
    "two-sided": penalties.two_sided,
    "one-sided": penalties.one_sided,
    "zero-centred": penalties.zero_centred,
}


def build_objective(config: options.ObjectiveConfig, guide: float = 0.0) -> Objective:
    """The objective that `config` describes, without terms of weight 0, which would cost time and restrict the critic.

    Args:
        guide: weight of the controls in the generator's loss.
    """
    drift, constraint = config.drift, config.constraint
    return Objective(
        **vars(_losses_of(config)),
        penalties={name: _penalty(p) for name, p in config.penalties.items() if p.weight > 0},
        drift=drift if isinstance(drift, options.SquaredDrift) and drift.weight > 0 else None,
        constraint=constraint if isinstance(constraint, options.WeightClipping) else None,
        gradient_clipping=constraint if isinstance(constraint, options.GradientClipping) else None,
        l1=config.l1,
        features=config.features,
        guide=guide,
    )


def name_of(config: options.ObjectiveConfig) -> str:
    """The name of an objective: its kind, or the name under which a custom one is registered."""
    return config.name if isinstance(config, options.CustomObjective) else config.kind


REGISTERED: dict[str, Losses] = {}


def register(
    name: str, critic: Loss, generator: Loss, wasserstein: bool = False, generator_needs_real: bool = False
) -> None:
    """Registers custom losses, used with `objective.kind = "custom"`, `objective.name = name`.

    Args:
        critic: (real scores [N], fake scores [N]) -> [N], to be minimised.
        generator: likewise; ignores the real scores unless `generator_needs_real`.
        wasserstein: whether mean(real scores) - mean(fake scores) estimates a distance, to be plotted as one.
    Raises:
        ConfigError: a loss cannot be computed, is not one number per sample, or has the wrong sign.
    """
    require_custom_name(name, "objective")
    slopes = _slopes(name, "critic", critic)
    falls_with_real, rises_with_fake = min(real for real, _ in slopes) < 0, max(fake for _, fake in slopes) > 0
    if not (falls_with_real and rises_with_fake):
        when = "scores of generated images fall" if falls_with_real else "real scores rise"
        do = "change its sign: losses are minimised, and real scores should be higher"
        raise ConfigError(name, f"the critic's loss does not fall when {when}", do)
    slopes = _slopes(name, "generator", generator)
    if min(fake for _, fake in slopes) >= 0:
        what = "the generator's loss does not fall when scores of generated images rise"
        raise ConfigError(name, what, "change its sign: losses are minimised")
    if any(real for real, _ in slopes) and not generator_needs_real:
        do = "register it with generator_needs_real=True"
        raise ConfigError(name, "the generator's loss depends on real scores", do)
    REGISTERED[name] = Losses(critic, generator, wasserstein, generator_needs_real)


_TRIAL_SCORES = ((0.4, 0.2), (-0.3, -0.6), (1.5, -2.0))  # (real, fake): the targets of a loss may lie anywhere near


def _slopes(name: str, part: str, loss: Loss) -> list[tuple[float, float]]:
    """(slope with real scores, slope with fake scores) of a loss, at a few scores."""
    slopes = []
    for real_score, fake_score in _TRIAL_SCORES:
        spread = torch.linspace(-0.05, 0.05, 4)
        real, fake = (real_score + spread).requires_grad_(), (fake_score + spread).requires_grad_()
        values = _evaluated(name, part, loss, real, fake)
        gradients = torch.autograd.grad(values.sum(), (real, fake), allow_unused=True, materialize_grads=True)
        slopes.append((float(gradients[0].sum()), float(gradients[1].sum())))
    return slopes


def _evaluated(name: str, part: str, loss: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """The loss of four pairs of scores. Raises ConfigError if it is not a valid loss."""
    try:
        values = loss(real, fake)
    except Exception as error:
        do = "it is called with (real scores [N], fake scores [N]) and returns [N], computed by torch"
        raise ConfigError(name, f"the {part}'s loss fails with {type(error).__name__}: {error}", do) from error
    if not isinstance(values, Tensor) or values.shape != (4,):
        returned = f"a tensor {list(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        what = f"a loss must be one number per sample, [N]; the {part}'s is {returned}"
        raise ConfigError(name, what, "leave the mean to the trainer")
    if not values.requires_grad:
        do = "compute it from the scores, without detach"
        raise ConfigError(name, f"the {part}'s loss cannot be differentiated", do)
    if not bool(values.isfinite().all()):
        raise ConfigError(name, f"the {part}'s loss is not finite at scores between -2 and 2", "fix the formula")
    return values


def _losses_of(config: options.ObjectiveConfig) -> Losses:
    if not isinstance(config, options.CustomObjective):
        return _LOSSES[config.kind]
    if config.name not in REGISTERED:
        do = f"import the Python module that calls kantor.objective({config.name!r}, ...) first, and run from Python"
        raise ConfigError("objective.name", f"{config.name} is neither built in nor registered", do)
    return REGISTERED[config.name]


def _penalty(config: options.PenaltyConfig) -> GradientPenalty:
    of: Callable[..., Tensor] = _FORMULAS[config.of]
    if config.target != 1.0:
        if config.of == "zero-centred":
            do = "leave it out, or choose two-sided or one-sided"
            raise ConfigError("penalty.target", "a zero-centred penalty always pulls the norm to 0", do)
        of = partial(of, target=config.target)
    if config.over == "columns":
        of = partial(penalties.by_columns, of=of)
    return GradientPenalty(config.at, of, config.weight, config.every, config.share)
