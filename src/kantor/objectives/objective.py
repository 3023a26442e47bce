"""An objective: what critic and generator minimise, and what keeps the critic in bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from kantor.config import schema
from kantor.errors import ConfigError
from kantor.objectives.losses import (
    Loss,
    at_least_float32,
    hinge_critic,
    least_squares_critic,
    least_squares_generator,
    non_saturating_critic,
    non_saturating_generator,
    relativistic_critic,
    relativistic_generator,
    wasserstein_critic,
    wasserstein_generator,
)
from kantor.objectives.penalties import (
    Fake,
    GradientPenalty,
    Interpolates,
    Perturbed,
    Probe,
    Real,
    one_sided,
    two_sided,
    zero_centred,
)
from kantor.types import Traits

Constraint = Callable[[Sequence[Tensor]], None]


@dataclass(frozen=True)
class Drift:
    """weight x real^2: real scores [N] -> [N], part of the critic's loss (Karras et al. 2018, app. A.1)."""

    weight: float

    def __call__(self, real_scores: Tensor) -> Tensor:
        return self.weight * at_least_float32(real_scores).square()


@dataclass(frozen=True)
class WeightClipping:
    """Clamps tensors to [-bound, bound] in place.

    To be called with all of the critic's parameters after each of its steps, as in algorithm 1 of Arjovsky et al.
    2017. Their code clamps before the step, so that its generator meets weights one step out of bounds.
    """

    bound: float

    @torch.no_grad()
    def __call__(self, parameters: Sequence[Tensor]) -> None:
        tensors = list(parameters)
        torch._foreach_clamp_min_(tensors, -self.bound)
        torch._foreach_clamp_max_(tensors, self.bound)


@dataclass(frozen=True)
class Objective:
    """What a run minimises.

    Attributes:
        name: as in the configuration: "wgan-gp".
        critic: (real scores [N], fake scores [N]) -> [N].
        generator: (real scores [N], fake scores [N]) -> [N]; ignores the first unless `generator_needs_real`.
        penalties: gradient penalties by name, none of weight 0.
        drift: real scores [N] -> [N], weight included, or None.
        constraint: called with the critic's parameters after each critic step, or None.
        wasserstein: mean(real scores) - mean(fake scores) estimates a distance, so the curve means something.
        generator_needs_real: the generator's step has to score real pictures too.
    """

    name: str
    critic: Loss
    generator: Loss
    penalties: Mapping[str, GradientPenalty]
    drift: Drift | None
    constraint: Constraint | None
    wasserstein: bool
    generator_needs_real: bool = False

    def refuses(self, critic_traits: Traits) -> str | None:
        """Why a critic like this one cannot be trained so, with what to use instead; None where it can.

        Minibatch stddev mixes the batch too and is allowed: Karras et al. 2018 train with it under this very penalty,
        and the gradient that comes in by way of the one channel is small beside the rest (docs/networks.md).
        """
        if not self.penalties or critic_traits.normalisation != "batch":
            return None
        return (
            "a gradient penalty does not go with batch norm in the critic: each picture's gradient would depend on "
            "the other pictures of its batch, so the penalty would not be the one of the paper "
            "(Gulrajani et al. 2017, section 4); use --set critic.norm=layer or --set critic.norm=none"
        )


class _Losses(NamedTuple):
    critic: Loss
    generator: Loss
    wasserstein: bool = False
    generator_needs_real: bool = False


_LOSSES: dict[str, _Losses] = {
    "dcgan": _Losses(non_saturating_critic, non_saturating_generator),
    "wgan": _Losses(wasserstein_critic, wasserstein_generator, wasserstein=True),
    "wgan-gp": _Losses(wasserstein_critic, wasserstein_generator, wasserstein=True),
    "wgan-lp": _Losses(wasserstein_critic, wasserstein_generator, wasserstein=True),
    "dragan": _Losses(non_saturating_critic, non_saturating_generator),
    "lsgan": _Losses(least_squares_critic, least_squares_generator),
    "hinge": _Losses(hinge_critic, wasserstein_generator),
    "relativistic": _Losses(relativistic_critic, relativistic_generator, generator_needs_real=True),
}

_FORMULAS = {"two-sided": two_sided, "one-sided": one_sided, "zero-centred": zero_centred}


def build_objective(config: schema.ObjectiveConfig) -> Objective:
    """The objective that `config` describes. Terms of weight 0 are left out: they cost and refuse nothing."""
    losses = _losses_of(config)
    drift, clipping = config.drift, config.constraint
    return Objective(
        name=config.name if isinstance(config, schema.CustomObjective) else config.kind,
        critic=losses.critic,
        generator=losses.generator,
        penalties={name: _penalty(p) for name, p in config.penalties.items() if p.weight > 0},
        drift=Drift(drift.weight) if isinstance(drift, schema.SquaredDrift) and drift.weight > 0 else None,
        constraint=WeightClipping(clipping.bound) if isinstance(clipping, schema.WeightClipping) else None,
        wasserstein=losses.wasserstein,
        generator_needs_real=losses.generator_needs_real,
    )


OWN: dict[str, _Losses] = {}


def register(
    name: str, critic: Loss, generator: Loss, wasserstein: bool = False, generator_needs_real: bool = False
) -> None:
    """Losses of the user's own, under `name`. For what they are see `Objective`.

    Raises:
        ConfigError: the critic's loss rises when real scores rise, or is not one number a sample.
    """
    low, high, fake = torch.full((4,), 0.1), torch.full((4,), 0.2), torch.full((4,), -0.3)
    worse, better = critic(low, fake), critic(high, fake)
    if worse.shape != (4,) or generator(low, fake).shape != (4,):
        raise ConfigError(name, "a loss must be one number a sample: [N]", "leave the mean to the trainer")
    if not bool((better <= worse).all()):
        what = "the critic's loss rises when real scores rise"
        raise ConfigError(name, what, "turn its sign round: losses are minimised, and real scores are to be high")
    OWN[name] = _Losses(critic, generator, wasserstein, generator_needs_real)


def _losses_of(config: schema.ObjectiveConfig) -> _Losses:
    if not isinstance(config, schema.CustomObjective):
        return _LOSSES[config.kind]
    if config.name not in OWN:
        do = f"import the Python module that calls kantor.objective({config.name!r}, ...) first, and go on from Python"
        raise ConfigError("objective.name", f"{config.name} is not built in, and nobody has registered it", do)
    return OWN[config.name]


def _penalty(config: schema.PenaltyConfig) -> GradientPenalty:
    return GradientPenalty(_probe(config), _FORMULAS[config.of], config.weight, config.every)


def _probe(config: schema.PenaltyConfig) -> Probe:
    match config.at:
        case schema.RealProbe():
            return Real()
        case schema.FakeProbe():
            return Fake()
        case schema.PerturbedProbe(std=std):
            return Perturbed(std)
        case schema.InterpolatesProbe():
            return Interpolates()
