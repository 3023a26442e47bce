"""The generator that enlarges: bicubic before training, of any size, and of nothing but the small image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from kantor.alpha import premultiplied
from kantor.config.networks import UpscaleGenerator
from kantor.errors import ConfigError
from kantor.nets import build_generator
from kantor.nets.upscale import bicubic
from kantor.types import ImageSpec

SPECS = [ImageSpec(16, 24, 3), ImageSpec(8, 8, 1), ImageSpec(36, 12, 4)]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def upscaler(spec: ImageSpec, trained: bool = False, **more: Any) -> nn.Module:
    """trained: with a last layer that is not zero."""
    network = build_generator(UpscaleGenerator(**{"width": 4, "blocks": 2, **more}), spec, condition=spec.channels)
    if trained:
        nn.init.normal_(network.picture.weight, std=0.1, generator=torch.Generator().manual_seed(1))
    return network.eval().requires_grad_(False)


def squares(small: Tensor, times: int) -> Tensor:
    return small.repeat_interleave(times, 2).repeat_interleave(times, 3)


@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_untrained_it_is_bicubic(spec: ImageSpec, times: int) -> None:
    small = numbers(2, spec.channels, spec.height // times, spec.width // times).clamp(-1, 1)
    for more in ({}, {"equalised": True}, {"init": "tflib"}, {"init": "own"}, {"norm": "batch"}):
        network = upscaler(spec, times=times, **more)
        x = network(numbers(2, 1), None, squares(small, times))
        assert x.shape == (2, *spec[2:], *spec[:2])
        seen = premultiplied(small) if spec.channels == 4 else small
        torch.testing.assert_close(x, bicubic(seen, times), rtol=0, atol=1e-6)


@pytest.mark.parametrize("times", [2, 4])
def test_bicubic_is_that_of_pillow(times: int) -> None:
    small = numbers(1, 1, 7, 10)
    size = (10 * times, 7 * times)
    theirs = Image.fromarray(small[0, 0].numpy(), "F").resize(size, Image.Resampling.BICUBIC)
    torch.testing.assert_close(bicubic(small, times)[0, 0], torch.from_numpy(np.array(theirs)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "pixel", "batch"])
@pytest.mark.parametrize("times", [2, 4])
def test_what_it_depends_on(times: int, norm: str) -> None:
    """All of the small image within its reach, nothing beyond, and neither latent nor the other images."""
    spec = ImageSpec(64, 64, 3)
    network = upscaler(spec, trained=True, times=times, norm=norm, blocks=1)
    small = numbers(2, 3, 24, 24).requires_grad_()
    larger = network.enlarged(small)
    assert larger.shape == (2, 3, 24 * times, 24 * times)
    centre = 12 * times
    (slope,) = torch.autograd.grad(larger[0, :, centre, centre].square().sum(), small)
    assert slope[1].abs().max() == 0
    rows = torch.nonzero(slope[0].abs().sum((0, 2)))[:, 0]
    far = max(12 - int(rows[0]), int(rows[-1]) - 12)
    assert 3 < far <= network.reach
    condition = squares(small.detach(), times)
    assert torch.equal(network(numbers(2, 1), None, condition), network(numbers(2, 1, seed=3), None, condition))
    assert torch.equal(network(None, None, condition), larger)


def test_all_weights_are_trained() -> None:
    network = upscaler(SPECS[0], trained=True).requires_grad_(True)
    network(None, None, squares(numbers(2, 3, 8, 12), 2)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_it_starts_from_images_of_its_own_channels() -> None:
    with pytest.raises(ConfigError, match=r"data\.condition is none; add --set data\.condition=smaller"):
        build_generator(UpscaleGenerator(), SPECS[0])
    with pytest.raises(ConfigError, match=r"3 channels .* not of 1; use --set data\.condition=smaller"):
        build_generator(UpscaleGenerator(), SPECS[0], condition=1)
