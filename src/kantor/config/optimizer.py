"""[cycle] and [optimizer]: steps, learning rates and optimisers."""

from typing import Annotated, Literal

from pydantic import Field

from kantor.config.base import Count, Positive, Rate, Section

CriticSteps = Annotated[int, Field(ge=1, le=1000, description="Critic steps in an ordinary cycle.")]


class _Cycle(Section):
    critic_steps: CriticSteps = 1
    generator_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Generator steps in a cycle."""
    generator_batch: Annotated[int, Field(ge=0, le=65536)] = 0
    """Images in a generator step; 0 takes as many as in a critic step."""
    reuse: Literal["none", "images", "everything"] = "none"
    """What the critic steps of a cycle share: nothing. Quirks of published code: the real images, or everything, real images and
    latents, which the generator step has too (docs/quirks.md)."""
    shared_images: bool = False
    """Train the generator on the generated images of the last critic step, with its scores of real images: one pass of the
    generator and one of the critic less."""
    split_updates: bool = False
    """Split each critic step in two, on real and on generated images: a quirk of published code (docs/quirks.md)."""


class ConstantCycle(_Cycle):
    """The same number of steps in every cycle."""

    kind: Literal["constant"] = "constant"


class OverdoseCycle(_Cycle):
    """Many critic steps at the start and now and then, as in the code of the WGAN paper."""

    kind: Literal["overdose"] = "overdose"
    critic_steps: CriticSteps = 5
    overdose_steps: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Critic steps in an overdose."""
    first_cycles: Count = 25
    """Number of cycles at the start that are overdoses."""
    every_cycles: Positive = 500
    """Cycles from one later overdose to the next."""
    counted: Literal["run", "epoch"] = "run"
    """Count cycles from the start of the run, or from 1 in each epoch, a quirk of published code: the first cycles are overdoses
    only in the first epoch (docs/quirks.md)."""


CycleConfig = Annotated[ConstantCycle | OverdoseCycle, Field(discriminator="kind")]


class ConstantRate(Section):
    """A constant learning rate."""

    kind: Literal["constant"] = "constant"


class PiecewiseRate(Section):
    """Learning rates by epoch: rates[0] until epoch until[0], rates[1] until until[1], and so on; the last one to the end."""

    kind: Literal["pieces"] = "pieces"
    until: list[Annotated[float, Field(gt=0)]] = []
    """Epochs at which the learning rate changes, ascending."""
    rates: list[Rate | tuple[Rate, Rate]] = []
    """Learning rates, one more than `until`. A pair [high, low] is sampled each cycle, as by "inverse-random"."""


class LinearRate(Section):
    """A learning rate that is held, then falls linearly until the end of the run."""

    kind: Literal["linear"] = "linear"
    hold: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of the run during which the learning rate is held."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate at the end, as a fraction of `lr`."""


class InverseRandomRate(Section):
    """1 / (1/lr + U(0, 1/low)), sampled each cycle: uniform in the inverse learning rate."""

    kind: Literal["inverse-random"] = "inverse-random"
    low: Rate = 1e-4
    """Scale of the low end: learning rates lie between 1/(1/lr + 1/low) and lr."""


class JumpRate(Section):
    """A learning rate that rarely jumps to a much larger one."""

    kind: Literal["jumps"] = "jumps"
    probability: Annotated[float, Field(ge=0, le=1)] = 0.003
    """Probability of a jump in a cycle."""
    rate: Rate = 0.005
    """Learning rate of a jump."""
    low: Annotated[float, Field(ge=0, lt=100)] = 0.0
    """Between jumps, sample the learning rate as "inverse-random" does with this `low`; 0 keeps it constant."""


Schedule = Annotated[
    ConstantRate | PiecewiseRate | LinearRate | InverseRandomRate | JumpRate, Field(discriminator="kind")
]


class _OptimizerConfig(Section):
    lr: Rate = 1e-4
    """Learning rate."""
    schedule: Schedule = ConstantRate()
    """Schedule of the learning rate."""


Beta = Annotated[float, Field(ge=0, lt=1)]
Eps = Annotated[float, Field(gt=0, le=1, description="Added to the denominator, for stability.")]


class AdamConfig(_OptimizerConfig):
    """Adam (Kingma and Ba 2015)."""

    kind: Literal["adam"] = "adam"
    betas: tuple[Beta, Beta] = (0.0, 0.9)
    """Decay rates of the first and second moment."""
    eps: Eps = 1e-8


class RmspropConfig(_OptimizerConfig):
    """RMSProp (Tieleman and Hinton 2012)."""

    kind: Literal["rmsprop"] = "rmsprop"
    alpha: Beta = 0.99
    """Decay of the mean of squares."""
    eps: Eps = 1e-8


class ShampooConfig(_OptimizerConfig):
    """One-sided Shampoo (Gupta et al. 2018, An et al. 2025): divides by the root of a covariance of a layer's rows or columns, whichever
    are fewer. Biases, embeddings and weights with fewer than 8 of either take Adam's steps."""

    kind: Literal["shampoo"] = "shampoo"
    betas: tuple[Beta, Beta] = (0.0, 0.9)
    """Decay rates of the means of gradients and of their covariance. [0, 0] is Muon (Jordan et al. 2024) without momentum; a first
    rate above the second can make steps many times larger than `lr`."""
    eps: Eps = 1e-8


class SgdConfig(_OptimizerConfig):
    """Stochastic gradient descent."""

    kind: Literal["sgd"] = "sgd"
    momentum: Beta = 0.0
    """Momentum factor."""


OptimizerConfig = Annotated[AdamConfig | RmspropConfig | ShampooConfig | SgdConfig, Field(discriminator="kind")]


class OptimizersConfig(Section):
    """An optimiser for each network."""

    generator: OptimizerConfig = AdamConfig()
    """Optimiser of the generator."""
    critic: OptimizerConfig = AdamConfig()
    """Optimiser of the critic."""
