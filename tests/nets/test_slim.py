"""Slim networks: every hidden width divided, everything else as it is."""

from __future__ import annotations

import pytest
import torch

from kantor.config.base import parse_size
from kantor.config.io import overridden, preset_names, resolve
from kantor.config.networks import ChannelsGenerator, DcganCritic, DcganGenerator, StackGenerator, UpLayer
from kantor.nets import build_critic, build_generator
from kantor.nets.slim import slimmed
from kantor.types import ImageSpec


def test_widths_are_divided_and_nothing_else() -> None:
    full = DcganGenerator(slim=4, latent_dim=100)
    assert slimmed(full) == DcganGenerator(width=16, max_width=128, latent_dim=100)
    apart = ChannelsGenerator(slim=4, width=32, expand=6)
    assert slimmed(apart) == ChannelsGenerator(width=8, max_width=128, expand=6)
    stack = StackGenerator(
        slim=4, base=(4, 5, 64), layers=[UpLayer(width=130, kernel=3, upsample=True), UpLayer(width=6)]
    )
    assert slimmed(stack).base == (4, 5, 16)
    assert slimmed(stack).layers == [UpLayer(width=32, kernel=3, upsample=True), UpLayer(width=4)]
    narrow = StackGenerator(slim=64, base=(4, 4, 2), layers=[UpLayer(width=3)])
    assert (slimmed(narrow).base, slimmed(narrow).layers[0].width) == ((4, 4, 2), 3)  # never wider than before


def test_a_network_without_slim_is_as_it_was() -> None:
    for config in (DcganCritic(), DcganCritic(slim="auto")):
        assert slimmed(config) is config


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_slim(name: str) -> None:
    """It generates and scores images of the same size, with about a sixteenth of the parameters of its wide layers."""
    config = resolve(name)
    slim = overridden(config, {"generator.slim": 4, "critic.slim": 4})
    height, width = (32, 32) if config.data.size == "auto" else parse_size(config.data.size)
    spec = ImageSpec(height, width, {"auto": 3, "rgb": 3, "gray": 1}[config.data.channels])
    condition = {"none": 0, "edges": 1, "smaller": spec.channels}[config.data.condition]
    generator = build_generator(slim.generator, spec, condition=condition)
    critic = build_critic(slim.critic, spec, condition=condition)
    with torch.device("meta"):
        full = [
            build_generator(config.generator, spec, condition=condition),
            build_critic(config.critic, spec, condition=condition),
        ]
    assert parameters(generator) < parameters(full[0]) / 3.5 and parameters(critic) < parameters(full[1]) / 6
    below = torch.zeros(2, condition, height, width) if condition else None
    image = generator(torch.zeros(2, slim.generator.latent_dim), None, below)
    assert image.shape == (2, spec.channels, height, width) and critic(image, None, below).shape == (2,)


def parameters(network: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())
