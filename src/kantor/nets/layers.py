"""Normalisations and the ladder of sizes that networks climb."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kantor.types import Traits


class PixelNorm(nn.Module):
    """x / sqrt(mean over channels of x^2 + 1e-8), for each pixel (Karras et al. 2018, section 4.2)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class LayerNorm(nn.Module):
    """Mean 0 and variance 1 over [C, H, W] of each sample, then a gain and a bias for each channel (Ba et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, x.shape[1:]) * self.gain + self.bias


def normalisation(name: str, channels: int) -> nn.Module:
    """The layer of this name: "none", "batch", "layer" or "pixel"."""
    match name:
        case "none":
            return nn.Identity()
        case "batch":
            return nn.BatchNorm2d(channels)
        case "layer":
            return LayerNorm(channels)
        case "pixel":
            return PixelNorm()
    raise ValueError(f"no normalisation {name!r}")


def traits(name: str) -> Traits:
    """Of a network of convolutions and (leaky) ReLU whose normalisation has this name."""
    return Traits(mixes_batch=name == "batch", piecewise_linear=name == "none", normalisation=name)


def ladder(height: int, width: int, round_up: bool) -> list[tuple[int, int]]:
    """Sizes from the picture down: each axis is halved until it is 7 or less.

    ladder(64, 64) = [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]; a long axis is halved more often than a short one.

    Args:
        round_up: how halves of odd numbers are rounded: up for generators, which crop; down for strided critics.
    """
    sizes = [(height, width)]
    while max(sizes[-1]) > 7:
        sizes.append(tuple((n + round_up) // 2 if n > 7 else n for n in sizes[-1]))  # type: ignore[arg-type]
    return sizes


def step(upper: tuple[int, int], lower: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """(kernel, stride) of the strided layer between two rungs: 4 and 2 along a halved axis, else 3 and 1."""
    halved = tuple(a > b for a, b in zip(upper, lower, strict=True))
    return tuple(4 if h else 3 for h in halved), tuple(2 if h else 1 for h in halved)  # type: ignore[return-value]


def channels(width: int, max_width: int, rungs: int) -> list[int]:
    """Channels of each rung from the picture down: width, 2 width, 4 width ... at most max_width."""
    return [min(width << rung, max_width) for rung in range(rungs)]


class LabelEmbedding(nn.Embedding):
    """Vectors of classes. std: of the normal distribution that they start from."""

    def __init__(self, classes: int, dim: int, std: float) -> None:
        super().__init__(classes, dim)
        self.std = std


class LabelledLatent(nn.Module):
    """The latent, with an embedding of the label behind it where there are classes.

    z: [N, D], labels: int64 [N] -> [N, D + D/2 or D].
    """

    def __init__(self, latent_dim: int, classes: int) -> None:
        super().__init__()
        self.embedding = LabelEmbedding(classes, max(1, latent_dim // 2), 1.0) if classes else None
        self.dim = latent_dim + (self.embedding.embedding_dim if self.embedding else 0)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        if self.embedding is None:
            return z
        return torch.cat([z, self.embedding(labels).to(z.dtype)], dim=1)


class Projection(nn.Module):
    """What the label adds to a score: <embedding(label), features> (Miyato and Koyama 2018, equation 3).

    features: [N, C, H, W], averaged over pixels; labels: int64 [N] -> [N]; zero where there are no classes.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.embedding = LabelEmbedding(classes, channels, 0.02) if classes else None

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor | float:
        if self.embedding is None:
            return 0.0
        pooled = features.mean(dim=(2, 3))
        product: Tensor = (self.embedding(labels) * pooled).sum(dim=1)
        return product
