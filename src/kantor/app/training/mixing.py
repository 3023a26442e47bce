"""What computes something else on a part of a batch than on the whole."""

from __future__ import annotations

import torch

from kantor.config.schema import Config
from kantor.nets import build_critic, build_generator, traits_of
from kantor.objectives.objective import Objective
from kantor.types import ImageSpec


def mixing_layer(config: Config, spec: ImageSpec, classes: int, condition: int) -> str:
    """ "the critic mixes the images of a batch (batch norm)", or "" where no network does."""
    networks = {
        "generator": build_generator(config.generator, spec, classes, condition=condition),
        "critic": build_critic(config.critic, spec, classes, condition=condition),
    }
    for name, network in networks.items():
        traits = traits_of(network)
        if traits.mixes_batch:
            layer = "batch norm" if traits.normalisation == "batch" else "minibatch stddev"
            return f"the {name} mixes the images of a batch ({layer})"
    return ""


def mixing_part(config: Config, spec: ImageSpec, classes: int, condition: int, objective: Objective) -> str:
    """The same of networks and losses. Ours mix nothing; one of the user's own may be relative to a mean."""
    real, fake = torch.linspace(-1, 1, 4), torch.linspace(0.5, -2, 4)
    for name, loss in (("critic", objective.critic), ("generator", objective.generator)):
        if not torch.allclose(loss(real, fake)[:2], loss(real[:2], fake[:2])):
            return f"the {name}'s loss mixes the images of a batch"
    return mixing_layer(config, spec, classes, condition)
