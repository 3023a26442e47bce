"""Networks by name. Each kind builds for any size and number of channels, and declares its traits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from kantor.config.schema import CriticConfig, GeneratorConfig
from kantor.nets import dcgan, ops, upsampling
from kantor.random import derive
from kantor.registry import Registry
from kantor.types import ImageSpec

GENERATORS: Registry[Callable[..., nn.Module]] = Registry("generator")
CRITICS: Registry[Callable[..., nn.Module]] = Registry("critic")
GENERATORS.register("dcgan")(dcgan.Generator)
GENERATORS.register("upsampling")(upsampling.Generator)
CRITICS.register("dcgan")(dcgan.Critic)
CRITICS.register("upsampling")(upsampling.Critic)

INITIAL_STD: dict[str, float | None] = {"dcgan": dcgan.STD, "upsampling": None}


def build_generator(config: GeneratorConfig, spec: ImageSpec, classes: int = 0, seed: int = 0) -> nn.Module:
    """A generator with fresh weights, on the CPU. classes: 0 where labels are not used."""
    return _initialised(
        GENERATORS[config.kind](config, spec, classes), config, derive(seed, "weights/generator")
    )


def build_critic(config: CriticConfig, spec: ImageSpec, classes: int = 0, seed: int = 0) -> nn.Module:
    """A critic with fresh weights, on the CPU. classes: 0 where labels are not used."""
    return _initialised(CRITICS[config.kind](config, spec, classes), config, derive(seed, "weights/critic"))


def _initialised(network: nn.Module, config: Any, seed: int) -> nn.Module:
    ops.initialise(network, seed, INITIAL_STD[config.kind])
    return network
