"""PSNR, SSIM and distances of layers, against closed forms and another implementation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kantor.alpha import premultiplied
from kantor.metrics.efficientnet_lite import available, lite_network
from kantor.metrics.fidelity import HIGHEST_PSNR, psnr, ssim
from kantor.metrics.layer_distance import layer_distance, on_grey
from kantor.metrics.small_network import small_network


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_psnr_and_ssim_equal_those_of_torchmetrics() -> None:
    oracle = pytest.importorskip("torchmetrics.functional.image")
    a = 255 * numbers(4, 3, 24, 31)
    b = (a + 40 * numbers(4, 3, 24, 31, seed=1)).clamp(0, 255)
    for i in range(4):
        theirs = oracle.peak_signal_noise_ratio(b[i : i + 1], a[i : i + 1], data_range=255.0)
        torch.testing.assert_close(psnr(a, b)[i], theirs)
    theirs = oracle.structural_similarity_index_measure(
        a.double(), b.double(), data_range=255.0, reduction="none", sigma=1.5, gaussian_kernel=True
    )
    assert (ssim(a, b) - theirs).abs().max() < 0.02, "theirs pads, ours stays inside"


def test_closed_forms() -> None:
    a = torch.full((2, 3, 16, 16), 100.0)
    torch.testing.assert_close(psnr(a, a + 10), torch.full((2,), 20 * math.log10(25.5)))
    c1 = (0.01 * 255) ** 2
    torch.testing.assert_close(
        ssim(a, a + 10), torch.full((2,), (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)).double()
    )
    x = 255 * numbers(2, 1, 5, 3)
    assert torch.equal(psnr(x, x), torch.full((2,), HIGHEST_PSNR))
    torch.testing.assert_close(ssim(x, x), torch.ones(2, dtype=torch.float64))


def test_layer_distance() -> None:
    """Of one position: 2 - 2 cos of the angle; lengths do not count, nor how many positions a layer has."""
    one = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)
    other = torch.tensor([5.0, 5.0]).view(1, 2, 1, 1)
    wanted = torch.tensor([2 - math.sqrt(2)])
    torch.testing.assert_close(layer_distance([one], [other]), wanted)
    torch.testing.assert_close(layer_distance([one], [-one]), torch.tensor([4.0]))
    many = [one.expand(-1, -1, 4, 6), one]
    torch.testing.assert_close(layer_distance(many, [other.expand(-1, -1, 4, 6), one]), wanted / 2)
    nothing = torch.zeros(1, 2, 1, 1).requires_grad_()
    (slope,) = torch.autograd.grad(layer_distance([nothing], [one]).sum(), nothing)
    assert slope.isfinite().all()


def test_layers_of_kantor_small_end_in_its_features() -> None:
    network, x = small_network(), 255 * numbers(2, 3, 32, 32)
    layers = network.layers(x)
    assert [y.shape[1:] for y in layers] == [(16, 32, 32), (32, 16, 16), (64, 8, 8), (128, 4, 4)]
    torch.testing.assert_close(layers[-1].mean((2, 3)), network.pooled(x))
    blurred = torch.nn.functional.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    flatter = torch.nn.functional.avg_pool2d(x, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    near, far = (layer_distance(layers, network.layers(y)) for y in (blurred, flatter))
    assert (near > 0).all() and (near < far).all()


@pytest.mark.skipif(not available("lite0"), reason="the extra `imagenet` is not installed")
def test_layers_of_lite_end_in_its_features() -> None:
    network, x = lite_network("lite0"), 255 * numbers(1, 3, 64, 48)
    with torch.inference_mode():
        layers = network.layers(x)
        torch.testing.assert_close(network.head(layers[-1]).mean((2, 3)), network(x))
    assert [y.shape[1:] for y in layers] == [(16, 32, 24), (24, 16, 12), (40, 8, 6), (112, 4, 3), (320, 2, 2)]


def test_colours_are_laid_on_grey() -> None:
    images = numbers(2, 4, 3, 3) * 2 - 1
    torch.testing.assert_close(on_grey(images, True), (premultiplied(images)[:, :3] + 1) * 127.5)
    torch.testing.assert_close(on_grey(images, False), (images[:, :3] + 1) * 127.5)
    assert on_grey(images[:, :1], False).shape == (2, 3, 3, 3)
