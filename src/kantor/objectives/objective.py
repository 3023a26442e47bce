"""An objective: what critic and generator minimise, and what keeps the critic in bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from kantor.config import schema
from kantor.errors import ConfigError
from kantor.objectives.constraints import Drift, GradientClipping, WeightClipping
from kantor.objectives.losses import (
    Loss,
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
    by_columns,
    one_sided,
    two_sided,
    zero_centred,
)
from kantor.registry import own_name
from kantor.types import Traits


@dataclass(frozen=True)
class Objective:
    """What a run minimises.

    Attributes:
        name: as in the configuration: "wgan-gp".
        critic: (real scores [N], fake scores [N]) -> [N].
        generator: (real scores [N], fake scores [N]) -> [N]; ignores the first unless `generator_needs_real`.
        penalties: gradient penalties by name, none of weight 0.
        drift: (real scores [N], fake scores [N]) -> [N], weight included, or None.
        constraint: called with the critic's parameters at each critic step, or None.
        gradient_clipping: called with the critic's gradients at each critic step, or None.
        l1: weight of the mean distance to the real image in the generator's loss; of paired images alone.
        wasserstein: mean(real scores) - mean(fake scores) estimates a distance, so the curve means something.
        generator_needs_real: the generator's step has to score real images too.
    """

    name: str
    critic: Loss
    generator: Loss
    penalties: Mapping[str, GradientPenalty]
    drift: Drift | None
    constraint: WeightClipping | None
    wasserstein: bool
    generator_needs_real: bool = False
    gradient_clipping: GradientClipping | None = None
    l1: float = 0.0

    @property
    def round_of_penalties(self) -> int:
        """Critic steps in which every penalty is due at least once, and the laziest one once."""
        return max((penalty.every for penalty in self.penalties.values()), default=1)

    def refuses(self, critic_traits: Traits) -> str | None:
        """Why a critic like this one cannot be trained so, with what to use instead; None where it can.

        Minibatch stddev mixes the batch too and is allowed: Karras et al. 2018 train with it under this very penalty,
        and the gradient that comes in by way of the one channel is small beside the rest (docs/networks.md).
        """
        if not self.penalties or critic_traits.normalisation != "batch":
            return None
        return (
            "a gradient penalty does not go with batch norm in the critic: each image's gradient would depend on "
            "the other images of its batch, so the penalty would not be the one of the paper "
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
        name=name_of(config),
        critic=losses.critic,
        generator=losses.generator,
        penalties={name: _penalty(p) for name, p in config.penalties.items() if p.weight > 0},
        drift=Drift(drift.weight, drift.of) if isinstance(drift, schema.SquaredDrift) and drift.weight > 0 else None,
        constraint=WeightClipping(clipping.bound, clipping.scope, clipping.when)
        if isinstance(clipping, schema.WeightClipping)
        else None,
        gradient_clipping=GradientClipping(clipping.bound) if isinstance(clipping, schema.GradientClipping) else None,
        l1=config.l1,
        wasserstein=losses.wasserstein,
        generator_needs_real=losses.generator_needs_real,
    )


def name_of(config: schema.ObjectiveConfig) -> str:
    """What it is called: its kind, or the name of the user's own."""
    return config.name if isinstance(config, schema.CustomObjective) else config.kind


OWN: dict[str, _Losses] = {}


def register(
    name: str, critic: Loss, generator: Loss, wasserstein: bool = False, generator_needs_real: bool = False
) -> None:
    """Losses of your own, for `objective.kind = "custom"`, `objective.name = name`.

    Args:
        critic: (real scores [N], fake scores [N]) -> [N], to be minimised.
        generator: the same; it does not look at the real scores unless `generator_needs_real`.
        wasserstein: mean(real scores) - mean(fake scores) estimates a distance and is drawn as one.
    Raises:
        ConfigError: a loss cannot be computed, is not one number a sample, or has its sign the wrong way round.
    """
    own_name(name, "objective")
    pulls = _pulls(name, "critic", critic)
    for which, right in (("real scores rise", min(real for real, _ in pulls) < 0),
                         ("scores of generated images fall", max(fake for _, fake in pulls) > 0)):  # fmt: skip
        if not right:
            what = f"the critic's loss does not fall when {which}"
            raise ConfigError(name, what, "turn its sign round: losses are minimised, and real scores are to be higher")
    pulls = _pulls(name, "generator", generator)
    if min(fake for _, fake in pulls) >= 0:
        what = "the generator's loss does not fall when scores of its images rise"
        raise ConfigError(name, what, "turn its sign round: losses are minimised")
    if any(real for real, _ in pulls) and not generator_needs_real:
        do = "register it with generator_needs_real=True"
        raise ConfigError(name, "the generator's loss looks at real scores", do)
    OWN[name] = _Losses(critic, generator, wasserstein, generator_needs_real)


_PROBES = ((0.4, 0.2), (-0.3, -0.6), (1.5, -2.0))  # (real, fake) scores: a loss may have its targets anywhere near


def _pulls(name: str, part: str, loss: Loss) -> list[tuple[float, float]]:
    """How a loss changes with real scores and with fake ones, at each of a few scores."""
    pulls = []
    for real_score, fake_score in _PROBES:
        spread = torch.linspace(-0.05, 0.05, 4)
        real, fake = (real_score + spread).requires_grad_(), (fake_score + spread).requires_grad_()
        value = _tried(name, part, loss, real, fake)
        slopes = torch.autograd.grad(value.sum(), (real, fake), allow_unused=True)
        pull_real, pull_fake = (0.0 if slope is None else float(slope.sum()) for slope in slopes)
        pulls.append((pull_real, pull_fake))
    return pulls


def _tried(name: str, part: str, loss: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """What the loss makes of four scores each. Raises ConfigError where that is no loss."""
    do = "it is called with (real scores [N], fake scores [N]) and gives [N], made by torch"
    try:
        value = loss(real, fake)
    except Exception as error:
        raise ConfigError(name, f"the {part}'s loss fails with {type(error).__name__}: {error}", do) from error
    if not isinstance(value, Tensor) or value.shape != (4,):
        found = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        what = f"a loss must be one number a sample: [N]; the {part}'s is {found}"
        raise ConfigError(name, what, "leave the mean to the trainer")
    if not value.requires_grad:
        raise ConfigError(name, f"the {part}'s loss cannot be differentiated", "make it of the scores, without detach")
    if not bool(value.isfinite().all()):
        raise ConfigError(name, f"the {part}'s loss is not finite at scores between -2 and 2", "mend the formula")
    return value


def _losses_of(config: schema.ObjectiveConfig) -> _Losses:
    if not isinstance(config, schema.CustomObjective):
        return _LOSSES[config.kind]
    if config.name not in OWN:
        do = f"import the Python module that calls kantor.objective({config.name!r}, ...) first, and go on from Python"
        raise ConfigError("objective.name", f"{config.name} is not built in, and nobody has registered it", do)
    return OWN[config.name]


def _penalty(config: schema.PenaltyConfig) -> GradientPenalty:
    of: Callable[..., Tensor] = _FORMULAS[config.of]
    if config.target != 1.0:
        if config.of == "zero-centred":
            do = "leave it out, or choose two-sided or one-sided"
            raise ConfigError("penalty.target", "a zero-centred penalty pulls the norm to 0, and to no other", do)
        of = partial(of, target=config.target)
    if config.over == "columns":
        of = partial(by_columns, of=of)
    return GradientPenalty(_probe(config), of, config.weight, config.every)


def _probe(config: schema.PenaltyConfig) -> Probe:
    match config.at:
        case schema.RealProbe():
            return Real()
        case schema.FakeProbe():
            return Fake()
        case schema.PerturbedProbe(std=std):
            return Perturbed(std)
        case schema.InterpolatesProbe(alpha=alpha, sign=sign):
            return Interpolates(alpha, sign == "minus")
