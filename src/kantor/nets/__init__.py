"""Builds networks by name, for any size and number of channels; custom.py holds those that users register."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kantor.config.networks import CriticConfig, GeneratorConfig
from kantor.controls import Guide, components
from kantor.errors import ConfigError
from kantor.nets import channels, dcgan, ops, resnet, stack, unet, upsampling, upscale
from kantor.nets.custom import Build, custom_builder
from kantor.nets.freeze import freeze
from kantor.nets.slim import slimmed
from kantor.random import derive
from kantor.types import ImageSpec, traits_of

GENERATORS: dict[str, Build] = {
    "dcgan": dcgan.Generator,
    "upsampling": upsampling.Generator,
    "resnet": resnet.Generator,
    "stack": stack.Generator,
    "unet": unet.Generator,
    "channels": channels.Generator,
    "upscale": upscale.Generator,
}
CRITICS: dict[str, Build] = {
    "dcgan": dcgan.Critic,
    "upsampling": upsampling.Critic,
    "resnet": resnet.Critic,
    "stack": stack.Critic,
    "channels": channels.Critic,
}


def build_generator(
    config: GeneratorConfig,
    spec: ImageSpec,
    classes: int = 0,
    seed: int = 0,
    condition: int = 0,
    guide: Sequence[str] = (),
) -> nn.Module:
    """A newly initialized generator, on the CPU.

    Args:
        classes: number of classes; 0 if labels are not used.
        condition: channels of the condition; 0 for none.
        guide: controls that follow the latent: see `kantor.controls`.
    Raises:
        ConfigError: the generator needs a condition and there is none, or ignores the one that there is.
    """
    check_condition(config, bool(condition))
    config = slimmed(config)
    build = custom_builder("generator", config.name) if config.kind == "custom" else GENERATORS[config.kind]
    if config.kind in ("unet", "upscale"):
        build = functools.partial(build, condition=condition)
    more = len(components(guide, spec.channels))
    wider = config.model_copy(update={"latent_dim": config.latent_dim + more}) if more else config
    network = _initialised("generator", build, wider, spec, classes, seed)
    network.premultiplied = premultiplies(config, spec)  # type: ignore[assignment]
    if more:
        network.guide = Guide(guide, spec.channels, premultiplies(config, spec))
    return network


def check_condition(config: GeneratorConfig, conditioned: bool) -> None:
    """Raises ConfigError if the generator needs a condition and there is none, or ignores the one that there is."""
    if config.kind == "unet" and not conditioned:
        what = "needs a condition, but data.condition is none"
        raise ConfigError("generator.kind = unet", what, "add --set data.condition=edges, or choose another kind")
    if config.kind == "upscale" and not conditioned:
        what = "needs smaller images to enlarge, but data.condition is none"
        raise ConfigError("generator.kind = upscale", what, "add --set data.condition=smaller, or use --preset upscale")
    if conditioned and config.kind not in ("unet", "upscale", "custom"):
        what = "ignores the condition, but data.condition is set"
        do = "use --set generator.kind=unet, or --preset painter-colours"
        raise ConfigError(f"generator.kind = {config.kind}", what, do)


def premultiplies(config: GeneratorConfig, spec: ImageSpec) -> bool:
    """Whether networks see and generate premultiplied colours."""
    return spec.channels == 4 and config.alpha == "premultiplied"


def build_critic(
    config: CriticConfig,
    spec: ImageSpec,
    classes: int = 0,
    seed: int = 0,
    condition: int = 0,
    guide: Sequence[str] = (),
) -> nn.Module:
    """A newly initialized critic, as `build_generator`; one of any kind sees the condition as channels of the image.

    With controls in `guide` it sees them as further channels: see `controls.beside_planes`.

    Its first `config.freeze` layers are frozen.
    """
    config = slimmed(config)
    build = custom_builder("critic", config.name) if config.kind == "custom" else CRITICS[config.kind]
    joined = spec._replace(channels=spec.channels + condition + len(components(guide, spec.channels)))
    network = _initialised("critic", build, config, joined, classes, seed)
    if guide:
        network.controls = tuple(guide)  # type: ignore[assignment]
        network.channels_without_guide = (spec.channels, joined.channels)  # type: ignore[assignment]
    freeze(network, config.freeze)
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


def fade(network: nn.Module, images_seen: int) -> None:
    """Fades in the grown layers of a network, as far as `images_seen` real images allow."""
    fade_in = getattr(network, "fade_in", None)
    if fade_in is not None:
        fade_in(images_seen)


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
