"""Enlarging: tiles leave no seams, and grey, colours and transparency work with any network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kantor.config.networks import UpscaleGenerator
from kantor.nets import build_generator
from kantor.sample.upscale import enlarge
from kantor.types import Images, ImageSpec


def upscaler(channels: int, **more: Any) -> Any:
    config = UpscaleGenerator(**{"width": 4, "blocks": 2, **more})
    network = build_generator(config, ImageSpec(16, 16, channels), condition=channels)
    nn.init.normal_(network.picture.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    return network.eval().requires_grad_(False)


def image(*shape: int) -> Images:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(("times", "passes"), [(2, 1), (2, 2), (4, 1)])
def test_tiles_leave_no_seams(times: int, passes: int) -> None:
    """Convolutions of other shapes may round differently: by one level, in few places."""
    network, picture = upscaler(3, times=times), image(41, 67, 3)
    whole = enlarge(network, 3, picture, passes, tile=100)
    tiled = enlarge(network, 3, picture, passes, tile=16)
    factor = times**passes
    assert whole.shape == (41 * factor, 67 * factor, 3) and whole.dtype == np.uint8
    differences = np.abs(whole.astype(int) - tiled)
    assert differences.max() <= 1 and (differences > 0).mean() < 1e-3


def test_tiles_without_overlap_would_have_seams() -> None:
    network, picture = upscaler(3), image(41, 67, 3)
    whole = enlarge(network, 3, picture, tile=100)
    network.reach = 0
    assert np.abs(whole.astype(int) - enlarge(network, 3, picture, tile=16)).max() > 8


@pytest.mark.parametrize("known", [1, 3, 4])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_picture_with_any_network(known: int, channels: int) -> None:
    network = upscaler(known)
    for side in (1, 9):
        larger = enlarge(network, known, image(side, 5, channels))
        assert larger.shape == (2 * side, 10, channels)
    flat = np.full((6, 6, channels), 90, np.uint8)
    nn.init.zeros_(network.picture.weight)
    assert np.abs(enlarge(network, known, flat).astype(int) - 90).max() <= 1


def test_a_grey_network_takes_colours_one_by_one() -> None:
    network, picture = upscaler(1), image(9, 12, 3)
    planes = [enlarge(network, 1, np.ascontiguousarray(picture[:, :, [i]])) for i in range(3)]
    assert np.abs(enlarge(network, 1, picture).astype(int) - np.concatenate(planes, axis=2)).max() <= 1


@pytest.mark.parametrize("known", [1, 3, 4])
def test_colours_behind_transparency_do_not_show(known: int) -> None:
    """A green disc whose surroundings are transparent red keeps its edge green."""
    y, x = np.mgrid[:16, :16] - 7.5
    inside = x**2 + y**2 < 25
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[inside], picture[~inside] = (0, 255, 0, 255), (255, 0, 0, 0)
    network = upscaler(known)
    nn.init.zeros_(network.picture.weight)
    larger = enlarge(network, known, picture)
    seen = larger[larger[:, :, 3] > 20]
    assert len(seen) > math.pi * 81 and seen[:, 0].max() < 20 and seen[:, 1].min() > 235
