"""Networks by name. Each kind builds for any size and number of channels, and declares its traits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from kantor.config.schema import CriticConfig, GeneratorConfig
from kantor.nets import dcgan, ops, resnet, upsampling
from kantor.random import derive
from kantor.registry import Registry
from kantor.types import ImageSpec, Traits

GENERATORS: Registry[Callable[..., nn.Module]] = Registry("generator")
CRITICS: Registry[Callable[..., nn.Module]] = Registry("critic")
GENERATORS.register("dcgan")(dcgan.Generator)
GENERATORS.register("upsampling")(upsampling.Generator)
GENERATORS.register("resnet")(resnet.Generator)
CRITICS.register("dcgan")(dcgan.Critic)
CRITICS.register("upsampling")(upsampling.Critic)
CRITICS.register("resnet")(resnet.Critic)


def build_generator(config: GeneratorConfig, spec: ImageSpec, classes: int = 0, seed: int = 0) -> nn.Module:
    """A generator with fresh weights, on the CPU. classes: 0 where labels are not used."""
    return _initialised(GENERATORS[config.kind](config, spec, classes), config, derive(seed, "weights/generator"))


def build_critic(config: CriticConfig, spec: ImageSpec, classes: int = 0, seed: int = 0) -> nn.Module:
    """A critic with fresh weights, on the CPU. classes: 0 where labels are not used."""
    return _initialised(CRITICS[config.kind](config, spec, classes), config, derive(seed, "weights/critic"))


def traits_of(network: nn.Module) -> Traits:
    """What a network declares about itself."""
    traits = network.traits
    assert isinstance(traits, Traits)
    return traits


def _initialised(network: nn.Module, config: Any, seed: int) -> nn.Module:
    ops.initialise(network, seed, "one" if config.equalised else config.init, config.init_std)
    if config.equalised:
        ops.equalise(network)
    return network
