"""[cycle] and [optimizer]: steps, rates and optimisers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kantor.config.base import Count, Positive, Rate, Section


class _Cycle(Section):
    critic_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Critic steps in an ordinary cycle."""
    generator_steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Generator steps in a cycle."""
    generator_batch: Annotated[int, Field(ge=0, le=65536)] = 0
    """Images in a generator step; 0: as many as in a critic step."""
    reuse: Literal["none", "images", "everything"] = "none"
    """Each critic step of a cycle has new images; or, quirks of published code, all have the same real ones, or the same real ones
    and latents, which the generator's step has too (docs/quirks.md)."""
    split_updates: bool = False
    """Two critic steps in the place of one, on real and on generated images apart: a quirk of published code (docs/quirks.md)."""


class ConstantCycle(_Cycle):
    """The same number of steps in every cycle."""

    kind: Literal["constant"] = "constant"


class OverdoseCycle(_Cycle):
    """Many critic steps at the start and now and then, as in the code of the WGAN paper."""

    kind: Literal["overdose"] = "overdose"
    critic_steps: Annotated[int, Field(ge=1, le=1000)] = 5
    """Critic steps in an ordinary cycle."""
    overdose_steps: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Critic steps in an overdose."""
    first_cycles: Count = 25
    """The first cycles are overdoses."""
    every_cycles: Positive = 500
    """Each such cycle is an overdose."""
    counted: Literal["run", "epoch"] = "run"
    """Cycles are counted from the start of the run; or, a quirk of published code, from 1 in each epoch, and the first of them are
    overdoses in the first epoch alone (docs/quirks.md)."""


CycleConfig = Annotated[ConstantCycle | OverdoseCycle, Field(discriminator="kind")]


class ConstantRate(Section):
    """The rate as it stands."""

    kind: Literal["constant"] = "constant"


class PiecewiseRate(Section):
    """Rates by epoch: rates[0] until epoch until[0], rates[1] until until[1] ..., the last one for ever."""

    kind: Literal["pieces"] = "pieces"
    until: list[Annotated[float, Field(gt=0)]] = []
    """Epochs at which the rate changes, ascending."""
    rates: list[Rate | tuple[Rate, Rate]] = []
    """Learning rates, one more than `until`. A pair [high, low] draws anew each cycle, as "inverse-random" does."""


class LinearRate(Section):
    """The rate, held, then falling on a straight line to a share of it at the end of the run."""

    kind: Literal["linear"] = "linear"
    hold: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the run during which the rate is held."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the rate at the end."""


class InverseRandomRate(Section):
    """1 / (1/lr + U(0, 1/low)), drawn anew each cycle: uniform in the inverse rate."""

    kind: Literal["inverse-random"] = "inverse-random"
    low: Rate = 1e-4
    """Scale of the low end: rates lie between 1/(1/lr + 1/low) and lr."""


class JumpRate(Section):
    """The rate, and rarely a much larger one."""

    kind: Literal["jumps"] = "jumps"
    probability: Annotated[float, Field(ge=0, le=1)] = 0.003
    """Probability of a jump in a cycle."""
    rate: Rate = 0.005
    """Learning rate of a jump."""
    low: Annotated[float, Field(ge=0, lt=100)] = 0.0
    """Between jumps the rate is drawn as "inverse-random" does with this `low`; 0 leaves it as it stands."""


Schedule = Annotated[
    ConstantRate | PiecewiseRate | LinearRate | InverseRandomRate | JumpRate, Field(discriminator="kind")
]


class _OptimizerConfig(Section):
    lr: Rate = 1e-4
    """Learning rate."""
    schedule: Schedule = ConstantRate()
    """How the rate changes."""


Beta = Annotated[float, Field(ge=0, lt=1)]


class AdamConfig(_OptimizerConfig):
    """Adam (Kingma and Ba 2015)."""

    kind: Literal["adam"] = "adam"
    betas: tuple[Beta, Beta] = (0.0, 0.9)
    """Decay of the first and second moment."""
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-8
    """Keeps the division finite."""


class RmspropConfig(_OptimizerConfig):
    """RMSProp (Tieleman and Hinton 2012)."""

    kind: Literal["rmsprop"] = "rmsprop"
    alpha: Beta = 0.99
    """Decay of the mean of squares."""
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-8
    """Keeps the division finite."""


class SgdConfig(_OptimizerConfig):
    """Stochastic gradient descent."""

    kind: Literal["sgd"] = "sgd"
    momentum: Beta = 0.0
    """Momentum."""


OptimizerConfig = Annotated[AdamConfig | RmspropConfig | SgdConfig, Field(discriminator="kind")]


class OptimizersConfig(Section):
    """An optimiser for each network."""

    generator: OptimizerConfig = AdamConfig()
    """The generator's."""
    critic: OptimizerConfig = AdamConfig()
    """The critic's."""
