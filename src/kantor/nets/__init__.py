"""Builds networks by name, for any size and number of channels. Each network declares its traits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kantor.config.networks import CriticConfig, GeneratorConfig
from kantor.errors import ConfigError, UserError
from kantor.nets import dcgan, ops, resnet, stack, unet, upsampling
from kantor.random import derive
from kantor.types import ImageSpec, Traits

Build = Callable[..., nn.Module]
GENERATORS: dict[str, Build] = {
    "dcgan": dcgan.Generator,
    "upsampling": upsampling.Generator,
    "resnet": resnet.Generator,
    "stack": stack.Generator,
    "unet": unet.Generator,
}
CRITICS: dict[str, Build] = {
    "dcgan": dcgan.Critic,
    "upsampling": upsampling.Critic,
    "resnet": resnet.Critic,
    "stack": stack.Critic,
}
OWN_GENERATORS: dict[str, Build] = {}
OWN_CRITICS: dict[str, Build] = {}


def build_generator(
    config: GeneratorConfig, spec: ImageSpec, classes: int = 0, seed: int = 0, condition: int = 0
) -> nn.Module:
    """A newly initialized generator, on the CPU.

    Args:
        classes: number of classes; 0 if labels are not used.
        condition: channels of the condition; 0 for none.
    Raises:
        ConfigError: the generator needs a condition and there is none, or ignores the one that there is.
    """
    if config.kind == "unet" and not condition:
        what = "needs outlines, but data.condition is none"
        raise ConfigError("generator.kind = unet", what, "add --set data.condition=edges, or choose another kind")
    if condition and config.kind not in ("unet", "custom"):
        what = "ignores outlines, but data.condition is set"
        raise ConfigError(f"generator.kind = {config.kind}", what, "use --set generator.kind=unet")
    build = _builder("generator", config, GENERATORS, OWN_GENERATORS)
    if config.kind == "unet":
        build = functools.partial(build, condition=condition)
    return _initialised("generator", build, config, spec, classes, seed)


def build_critic(
    config: CriticConfig, spec: ImageSpec, classes: int = 0, seed: int = 0, condition: int = 0
) -> nn.Module:
    """A newly initialized critic, on the CPU; arguments as for `build_generator`.

    A critic of any kind sees the condition as further channels of the image.
    """
    build = _builder("critic", config, CRITICS, OWN_CRITICS)
    joined = spec._replace(channels=spec.channels + condition)
    network = _initialised("critic", build, config, joined, classes, seed)
    return Conditioned(network) if condition else network


class Conditioned(nn.Module):
    """Scores pairs of image and condition with a critic built for the channels of both.

    (x [N, C, H, W], labels [N] or None, condition [N, K, H, W]) -> [N].

    A gradient penalty is taken with respect to x alone: the critic must be smooth in the image, but may be arbitrarily
    steep in the condition, which is the same for real and generated images.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.traits = network, traits_of(network)

    def fade_in(self, images_seen: int) -> None:
        fade(self.network, images_seen)

    def forward(self, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        if condition is None:
            raise ValueError("this critic needs a condition")
        score: Tensor = self.network(torch.cat([x, condition.to(x.dtype)], dim=1), labels)
        return score


def _build_custom(part: str, build: Build, config: Any, spec: ImageSpec, classes: int) -> nn.Module:
    """Builds a user-registered network; errors in its code become ConfigErrors."""
    where = f"{part}.name = {config.name}"
    try:
        network = build(config, spec, classes)
    except UserError:
        raise
    except Exception as error:
        do = "it is called with (config, spec, classes), see docs/extend.md"
        raise ConfigError(where, f"its constructor fails with {type(error).__name__}: {error}", do) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(where, f"returns {type(network).__name__}, not a torch module", "return the network")
    if any(isinstance(p, nn.UninitializedParameter) for p in network.parameters()):
        raise ConfigError(where, "has lazy layers, whose sizes are unknown", "give their sizes")
    network.train()  # a pretrained part may stay in evaluation mode, and mixes nothing
    normed = any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in network.modules())
    if normed and traits_of(network).normalisation != "batch":
        do = 'give it traits = kantor.Traits(mixes_batch=True, normalisation="batch")'
        raise ConfigError(where, "has batch norm, but its traits do not say so", do)
    return network


def _builder(part: str, config: Any, built_in: dict[str, Build], own: dict[str, Build]) -> Build:
    """The function that builds the network: built in, or user-registered. A configuration only names it, and runs no code."""
    if config.kind != "custom":
        return built_in[config.kind]
    if config.name not in own:
        do = f"import the Python module that calls kantor.{part}({config.name!r}) first, and run from Python"
        raise ConfigError(f"{part}.name", f"{config.name} is neither built in nor registered", do)
    return functools.partial(_build_custom, part, own[config.name])


def fade(network: nn.Module, images_seen: int) -> None:
    """Fades in the grown layers of a network, as far as `images_seen` real images allow."""
    fade_in = getattr(network, "fade_in", None)
    if fade_in is not None:
        fade_in(images_seen)


def traits_of(network: nn.Module) -> Traits:
    """The traits that a network declares."""
    traits = getattr(network, "traits", None)
    if not isinstance(traits, Traits):
        do = "give it an attribute traits = kantor.Traits(mixes_batch, normalisation)"
        raise ConfigError(type(network).__name__, "the network declares no traits", do)
    return traits


def _initialised(part: str, build: Build, config: Any, spec: ImageSpec, classes: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # a custom network may use random numbers that `initialise` does not set
        torch.manual_seed(derive(seed, f"built/{part}"))
        network = build(config, spec, classes)
    for layer in network.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training and layer.p > 0:
            what = f"{type(layer).__name__} uses random numbers that a resumed run cannot reproduce"
            raise ConfigError(f"{part}.kind", what, "use kantor.Dropout(rate) instead")
    if config.equalised:
        ops.initialise(network, derive(seed, f"weights/{part}"), "one")
        ops.equalise(network)
    elif config.init != "own":
        ops.initialise(network, derive(seed, f"weights/{part}"), config.init, config.init_std)
    return network
