"""The configuration of a run: typed, frozen, complete.

Help texts, the tables in the docs and validation all come from the declarations in this package. Variants are types
distinguished by `kind`; an absent part has `kind = "none"`. Fields that say "auto" are filled before a run starts,
printed with the reason and written to its config.toml.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kantor.config.base import Absent, Section, parse_size
from kantor.config.data import AugmentConfig, DataConfig, GlyphsConfig
from kantor.config.networks import (
    BatchNormConfig,
    CriticConfig,
    CustomCritic,
    CustomGenerator,
    DcganCritic,
    DcganGenerator,
    DownLayer,
    GeneratorConfig,
    ResnetCritic,
    ResnetGenerator,
    StackCritic,
    StackGenerator,
    UnetGenerator,
    UpLayer,
    UpsamplingCritic,
    UpsamplingGenerator,
)
from kantor.config.objective import (
    CustomObjective,
    Dcgan,
    Dragan,
    FakeProbe,
    GradientClipping,
    Hinge,
    InterpolatesProbe,
    Lsgan,
    ObjectiveConfig,
    PenaltyConfig,
    PerturbedProbe,
    RealProbe,
    Relativistic,
    SquaredDrift,
    WeightClipping,
    Wgan,
    WganGp,
    WganLp,
)
from kantor.config.optimizer import (
    AdamConfig,
    ConstantCycle,
    ConstantRate,
    CycleConfig,
    InverseRandomRate,
    JumpRate,
    LinearRate,
    OptimizerConfig,
    OptimizersConfig,
    OverdoseCycle,
    PiecewiseRate,
    RmspropConfig,
    Schedule,
    SgdConfig,
)
from kantor.config.training import EmaConfig, ScoreConfig, StepEmaConfig, TrainConfig

__all__ = [
    "Absent",
    "AdamConfig",
    "AugmentConfig",
    "BatchNormConfig",
    "Config",
    "ConstantCycle",
    "ConstantRate",
    "CriticConfig",
    "CustomCritic",
    "CustomGenerator",
    "CustomObjective",
    "CycleConfig",
    "DataConfig",
    "Dcgan",
    "DcganCritic",
    "DcganGenerator",
    "DownLayer",
    "Dragan",
    "EmaConfig",
    "FakeProbe",
    "GeneratorConfig",
    "GlyphsConfig",
    "GradientClipping",
    "Hinge",
    "InterpolatesProbe",
    "InverseRandomRate",
    "JumpRate",
    "LinearRate",
    "Lsgan",
    "ObjectiveConfig",
    "OptimizerConfig",
    "OptimizersConfig",
    "OverdoseCycle",
    "PenaltyConfig",
    "PerturbedProbe",
    "PiecewiseRate",
    "RealProbe",
    "Relativistic",
    "ResnetCritic",
    "ResnetGenerator",
    "RmspropConfig",
    "Schedule",
    "ScoreConfig",
    "Section",
    "SgdConfig",
    "SquaredDrift",
    "StackCritic",
    "StackGenerator",
    "StepEmaConfig",
    "TrainConfig",
    "UnetGenerator",
    "UpLayer",
    "UpsamplingCritic",
    "UpsamplingGenerator",
    "WeightClipping",
    "Wgan",
    "WganGp",
    "WganLp",
    "parse_size",
]


class Config(Section):
    """Everything that determines a run."""

    data: DataConfig = DataConfig()
    """The images, and how they are brought to one size."""
    generator: GeneratorConfig = DcganGenerator()
    """The network that generates images."""
    critic: CriticConfig = DcganCritic()
    """The network that scores images."""
    objective: ObjectiveConfig = WganGp()
    """The losses of critic and generator, with their penalties."""
    cycle: CycleConfig = ConstantCycle()
    """Critic and generator steps of a cycle."""
    optimizer: OptimizersConfig = OptimizersConfig()
    """An optimiser for each network."""
    ema: Annotated[Absent | EmaConfig | StepEmaConfig, Field(discriminator="kind")] = EmaConfig()
    """Exponential moving average (EMA) of the generator's weights."""
    train: TrainConfig = TrainConfig()
    """Length, batch, precision, and the intervals of rows, samples and checkpoints."""
    score: ScoreConfig = ScoreConfig()
    """Metrics computed during training."""
