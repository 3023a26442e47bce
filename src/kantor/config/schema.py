"""The configuration of a run: typed, frozen, complete.

Help texts, the tables in the docs and validation all come from the declarations in this package. Variants are types
distinguished by `kind`; an absent part has `kind = "none"`. Fields that say "auto" are filled before a run starts,
printed with the reason and written to its config.toml.
"""

from typing import Annotated

from pydantic import Field

from kantor.config.base import Absent, Section
from kantor.config.data import DataConfig
from kantor.config.guide import GuideConfig
from kantor.config.networks import CriticConfig, DcganCritic, DcganGenerator, GeneratorConfig
from kantor.config.objective import ObjectiveConfig, WganGp
from kantor.config.optimizer import ConstantCycle, CycleConfig, OptimizersConfig
from kantor.config.training import EmaConfig, ScoreConfig, StepEmaConfig, TrainConfig


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
    guide: GuideConfig = GuideConfig()
    """Controls of the subject that the generator can be asked for."""
    score: ScoreConfig = ScoreConfig()
    """Metrics computed during training."""
