"""Steps in a cycle and learning rates, as pure functions of a run's progress."""

from __future__ import annotations

from dataclasses import dataclass

from kantor.config.optimizer import CycleConfig, OptimizerConfig, OverdoseCycle
from kantor.errors import ConfigError
from kantor.random import derive, uniforms


@dataclass(frozen=True)
class TrainingProgress:
    """A run's progress.

    Attributes:
        cycle: cycles done.
        attempt: roll-backs so far.
        epoch: images seen / images in the training set.
        share: images seen / images at which schedules end, in [0, 1].
        seed: the run's.
    """

    cycle: int
    attempt: int
    epoch: float
    share: float
    seed: int


def steps_in_cycle(config: CycleConfig, cycle: int, epoch: int = 0, epoch_cycle: int = 0) -> tuple[int, int]:
    """(critic steps, generator steps) of a cycle, counted from 0 over the run and in each epoch."""
    if isinstance(config, OverdoseCycle):
        if config.counted == "run":  # as Arjovsky et al. 2017 in their code
            overdose = cycle < config.first_cycles or cycle % config.every_cycles == 0
        else:
            first = epoch == 0 and epoch_cycle < config.first_cycles
            overdose = first or (epoch_cycle + 1) % config.every_cycles == 0
        if overdose:
            return config.overdose_steps, config.generator_steps
    return config.critic_steps, config.generator_steps


def learning_rate(config: OptimizerConfig, progress: TrainingProgress, name: str) -> float:
    """The learning rate for the next cycle. name: of the network; random schedules of both are independent."""
    schedule, lr = config.schedule, config.lr
    match schedule.kind:
        case "constant":
            return lr
        case "pieces":
            pieces = zip(schedule.until, schedule.rates, strict=False)
            rate = next((r for until, r in pieces if progress.epoch < until), schedule.rates[-1])
            return _between(*rate, progress, name) if isinstance(rate, tuple) else rate
        case "linear":
            fall = max(0.0, progress.share - schedule.hold) / (1 - schedule.hold)
            return lr * (1 - min(1.0, fall) * (1 - schedule.final))
        case "inverse-random":
            return _between(lr, schedule.low, progress, name)
        case "jumps":
            if _uniform(progress, f"{name}/jump" if schedule.low else name) < schedule.probability:
                return schedule.rate
            return _between(lr, schedule.low, progress, name) if schedule.low else lr


def rate_after(config: OptimizerConfig) -> float | None:
    """The learning rate held after the horizon; None if it does not depend on the horizon."""
    return config.lr * config.schedule.final if config.schedule.kind == "linear" else None


def check_schedules(*configs: OptimizerConfig) -> None:
    """Raises ConfigError if a piecewise schedule has not one rate more than epochs, or epochs that do not ascend."""
    for config in configs:
        if config.schedule.kind == "pieces":
            until, rates = config.schedule.until, config.schedule.rates
            if len(rates) != len(until) + 1 or sorted(set(until)) != until:
                what = f"{len(rates)} rates and {len(until)} epochs do not make a schedule"
                do = "give ascending epochs in `until` and one rate more in `rates`"
                raise ConfigError("optimizer schedule", what, do)


def _between(high: float, low: float, progress: TrainingProgress, name: str) -> float:
    """Uniform in the inverse learning rate: 1 / (1/high + U(0, 1/low)), between 1 / (1/high + 1/low) and high."""
    return 1 / (1 / high + _uniform(progress, name) / low)


def _uniform(progress: TrainingProgress, name: str) -> float:
    return float(uniforms(derive(progress.seed, f"rate/{name}", progress.cycle, progress.attempt), 2, 1)[0])
