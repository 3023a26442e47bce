"""The grids of training show what `kantor generate` makes of the same seeds."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from kantor.app.training.sample_grids import Sampler
from kantor.config.io import resolve
from kantor.nets import build_generator
from kantor.random import derive
from kantor.sample.generate import generate_images
from kantor.sample.latents import latents
from kantor.types import ImageSpec
from support.engine_fakes import InMemory

CLASSES, SPEC = 7, ImageSpec(16, 16, 3)


def test_both_grids_give_a_seed_its_class() -> None:
    """The fixed one from seed 0, the random one from any; an image among others is the image alone."""
    config = resolve("default", overrides={"generator.width": 4, "generator.latent_dim": 6})
    network = build_generator(config.generator, SPEC, CLASSES, 3).eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.normal_(layer.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    sampler = Sampler(config, SPEC, CLASSES, InMemory(SPEC))  # type: ignore[arg-type]
    fixed, other = sampler(network, 12_345)
    first = derive(config.train.seed, "sheet", 12_345) % 2**31
    assert first % CLASSES
    for grid, start, place in ((fixed, 0, 40), (other, first, 0), (other, first, 63)):
        seed = start + place
        alone = generate_images(network, latents(seed, 6), [seed % CLASSES])
        np.testing.assert_array_equal(grid[place], alone[0])
    assert (generate_images(network, latents(40, 6), [0]) != fixed[40]).any()
