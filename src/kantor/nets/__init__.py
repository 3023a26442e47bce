"""Networks by name. Each kind builds for any size and number of channels, and declares its traits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kantor.config.schema import CriticConfig, GeneratorConfig
from kantor.errors import ConfigError, UserError
from kantor.nets import dcgan, ops, resnet, stack, unet, upsampling
from kantor.nets.conditioned import Conditioned
from kantor.random import derive
from kantor.registry import Registry
from kantor.types import ImageSpec, Traits

GENERATORS: Registry[Callable[..., nn.Module]] = Registry("generator")
CRITICS: Registry[Callable[..., nn.Module]] = Registry("critic")
GENERATORS.register("dcgan")(dcgan.Generator)
GENERATORS.register("upsampling")(upsampling.Generator)
GENERATORS.register("resnet")(resnet.Generator)
GENERATORS.register("stack")(stack.Generator)
GENERATORS.register("unet")(unet.Generator)
CRITICS.register("dcgan")(dcgan.Critic)
CRITICS.register("upsampling")(upsampling.Critic)
CRITICS.register("resnet")(resnet.Critic)
CRITICS.register("stack")(stack.Critic)

_FOREIGN_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)

OWN_GENERATORS: dict[str, Callable[..., nn.Module]] = {}
OWN_CRITICS: dict[str, Callable[..., nn.Module]] = {}


def build_generator(
    config: GeneratorConfig, spec: ImageSpec, classes: int = 0, seed: int = 0, condition: int = 0
) -> nn.Module:
    """A generator with fresh weights, on the CPU.

    Args:
        classes: 0 where labels are not used.
        condition: channels of the image that it starts from; 0 for none.
    Raises:
        ConfigError: one that needs a condition has none, or the other way round.
    """
    _match(config, condition)
    build = _builder("generator", config, GENERATORS, OWN_GENERATORS)
    if config.kind == "unet":
        build = functools.partial(build, condition=condition)
    return _initialised("generator", build, config, spec, classes, seed)


def _match(config: GeneratorConfig, condition: int) -> None:
    if config.kind == "unet" and not condition:
        what = "starts from outlines, and data.condition is none"
        raise ConfigError("generator.kind = unet", what, "add --set data.condition=edges, or choose another kind")
    if condition and config.kind not in ("unet", "custom"):
        what = "does not look at outlines, and data.condition asks for that"
        raise ConfigError(f"generator.kind = {config.kind}", what, "use --set generator.kind=unet")


def build_critic(
    config: CriticConfig, spec: ImageSpec, classes: int = 0, seed: int = 0, condition: int = 0
) -> nn.Module:
    """A critic with fresh weights, on the CPU. Of any kind, it sees the condition as more channels of the image.

    Args:
        classes: 0 where labels are not used.
        condition: channels of the condition; 0 for none.
    """
    build = _builder("critic", config, CRITICS, OWN_CRITICS)
    seen = spec._replace(channels=spec.channels + condition)
    network = _initialised("critic", build, config, seen, classes, seed)
    return Conditioned(network, traits_of(network)) if condition else network


def _own(part: str, build: Callable[..., nn.Module], config: Any, spec: ImageSpec, classes: int) -> nn.Module:
    """Built by the user's own code, whose faults are named as such."""
    where = f"{part}.name = {config.name}"
    try:
        network = build(config, spec, classes)
    except UserError:
        raise
    except Exception as error:
        do = "it is called with (config, spec, classes), see docs/extend.md"
        raise ConfigError(where, f"building it fails with {type(error).__name__}: {error}", do) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(where, f"gives a {type(network).__name__}, no torch module", "return the network")
    if any(isinstance(p, nn.UninitializedParameter) for p in network.parameters()):
        raise ConfigError(where, "has lazy layers, whose sizes are not known yet", "name their sizes")
    network.train()  # a part that keeps to evaluation, a pretrained one for example, mixes nothing
    normed = any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in network.modules())
    if normed and traits_of(network).normalisation != "batch":
        do = 'give it traits = kantor.Traits(mixes_batch=True, normalisation="batch")'
        raise ConfigError(where, "has batch norm, and its traits do not say so", do)
    return network


def _builder(
    part: str, config: Any, built_in: Registry[Callable[..., nn.Module]], own: dict[str, Callable[..., nn.Module]]
) -> Callable[..., nn.Module]:
    """What makes the network: one of ours, or one that the user registered. A file only names it, and runs nothing."""
    if config.kind != "custom":
        return built_in[config.kind]
    if config.name not in own:
        do = f"import the Python module that calls kantor.{part}({config.name!r}) first, and go on from Python"
        raise ConfigError(f"{part}.name", f"{config.name} is not built in, and nobody has registered it", do)
    return own[config.name]


def fade(network: nn.Module, images_seen: int) -> None:
    """Tells a network that grew out of a smaller one how far its new layers are faded in by now."""
    fade_in = getattr(network, "fade_in", None)
    if fade_in is not None:
        fade_in(images_seen)


def traits_of(network: nn.Module) -> Traits:
    """What a network declares about itself."""
    traits = getattr(network, "traits", None)
    if not isinstance(traits, Traits):
        do = "give it an attribute traits = kantor.Traits(mixes_batch, normalisation)"
        raise ConfigError(type(network).__name__, "the network does not say what it is", do)
    return traits


def _initialised(
    part: str, build: Callable[..., nn.Module], config: Any, spec: ImageSpec, classes: int, seed: int
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # a network of the user's own may draw more than `initialise` knows
        torch.manual_seed(derive(seed, f"built/{part}"))
        network = build(config, spec, classes) if config.kind != "custom" else _own(part, build, config, spec, classes)
    drops = (m for m in network.modules() if isinstance(m, _FOREIGN_DROPOUT) and m.training and m.p > 0)
    foreign = next(drops, None)
    if foreign is not None:
        what = f"{type(foreign).__name__} draws from random numbers that a resumed run cannot have again"
        raise ConfigError(f"{part}.kind", what, "use kantor.Dropout(rate) in its place")
    if config.equalised:
        ops.initialise(network, derive(seed, f"weights/{part}"), "one")
        ops.equalise(network)
    elif config.init != "own":
        ops.initialise(network, derive(seed, f"weights/{part}"), config.init, config.init_std)
    return network
