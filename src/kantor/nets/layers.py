"""Normalisation, minibatch stddev, dropout, resizing, the sizes between latent and image, and label embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kantor.config.networks import BatchNormConfig
from kantor.nets import ops
from kantor.nets.pixel_norm import modulated
from kantor.random import derive
from kantor.types import Traits


class PixelNorm(nn.Module):
    """x / sqrt(mean over channels of x^2 + 1e-8), for each pixel (Karras et al. 2018, section 4.2)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.pixel_norm(x)


class Modulation(nn.Module):
    """Factors and shifts of each layer's channels, linear in the latent (self-modulation, Chen et al. 2019, without its hidden layer).

    z: [N, D] -> a pair of [N, C] for each layer; the factors are 1 plus the linear function.

    Args:
        dim: D.
        channels: C of each layer.
    """

    def __init__(self, dim: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = [count for count in channels for _ in ("scale", "shift")]
        self.linear = ops.NarrowLinear(dim, sum(self.channels))

    def forward(self, z: Tensor) -> list[tuple[Tensor, Tensor]]:
        parts = self.linear(z).split(self.channels, dim=1)
        return [(1 + scale, shift) for scale, shift in zip(parts[::2], parts[1::2], strict=True)]


def normalised(x: Tensor, norm: nn.Module, modulation: tuple[Tensor, Tensor] | None) -> Tensor:
    """norm(x) [N, C, H, W], then times scale plus shift, [N, C] each, unless `modulation` is None."""
    if modulation is None:
        y: Tensor = norm(x)
        return y
    scale, shift = (part.to(x.dtype) for part in modulation)
    if isinstance(norm, PixelNorm):
        return ops.modulated_pixel_norm(x, scale, shift)
    return modulated(norm(x), scale, shift)


class LayerNorm(nn.Module):
    """Mean 0 and variance 1 over [C, H, W] of each sample, then a gain and a bias for each channel (Ba et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1)  # channels last, as in memory: the order does not matter here
        normal = nn.functional.layer_norm(pixels, pixels.shape[1:]).permute(0, 3, 1, 2)
        return torch.addcmul(self.bias, normal, self.gain).to(x.dtype)


class MinibatchStddev(nn.Module):
    """Appends a channel that says how much the images of a batch differ (Karras et al. 2018, section 3).

    The standard deviation over the images of a group, for each channel and pixel, is averaged into one number per group.

    [N, C, H, W] -> [N, C + 1, H, W].

    Args:
        group: "batch" takes the whole batch as one group, as the first version of the paper's text says; a number is the
            size of a group, as in its code. If it does not divide the batch, the largest smaller divisor is used.
    """

    def __init__(self, group: Literal["batch"] | int) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        count, _, height, width = x.shape
        size = count if self.group == "batch" else max(n for n in range(1, self.group + 1) if count % n == 0)
        groups = x.to(torch.promote_types(x.dtype, torch.float32)).reshape(size, count // size, *x.shape[1:])
        deviation = (groups.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3)).to(x.dtype)
        channel = deviation.repeat(size)[:, None, None, None].expand(-1, 1, height, width)
        order = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        return torch.cat([x, channel.contiguous(memory_format=order)], dim=1)


class Dropout(nn.Module):
    """Sets a fraction `rate`, in [0, 1), of the values to zero in training and scales up the others (Srivastava et al. 2014).

    The mask is a function of the seed set by `reseed_dropout` and of the number of passes since: a resumed run has the
    same masks.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.seed = self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        rng = torch.Generator(x.device).manual_seed(derive(self.seed, "mask", self.passes))
        self.passes += 1
        mask = torch.rand(x.shape, generator=rng, device=x.device) >= self.rate
        return x * (mask / (1 - self.rate)).to(x.dtype)


def reseed_dropout(network: nn.Module, seed: int) -> None:
    """Sets the seed of every dropout layer."""
    for number, layer in enumerate(m for m in network.modules() if isinstance(m, Dropout)):
        layer.seed, layer.passes = derive(seed, "layer", number), 0


def has_dropout(network: nn.Module) -> bool:
    """Whether a pass in training uses random numbers, from seeds that the host sets."""
    return any(isinstance(layer, Dropout) and layer.rate for layer in network.modules())


def dropout(rate: float) -> nn.Module:
    """A dropout layer; the identity for a rate of 0."""
    return Dropout(rate) if rate else nn.Identity()


def minibatch_stddev(group: Literal["none", "batch"] | int) -> tuple[nn.Module, int]:
    """The layer, and the number of channels that it appends."""
    return (nn.Identity(), 0) if group == "none" else (MinibatchStddev(group), 1)


class ShiftedBatchNorm(nn.BatchNorm2d):
    """Batch norm that learns a shift for each channel and no factor (center=True, scale=False in TensorFlow)."""

    def __init__(self, channels: int, eps: float, momentum: float) -> None:
        super().__init__(channels, eps, momentum)
        del self.weight
        self.register_buffer("weight", torch.ones(channels), persistent=False)


def normalisation(name: str, channels: int, batch_norm: BatchNormConfig = BatchNormConfig()) -> nn.Module:  # noqa: B008
    """The normalisation layer called "none", "batch" (with the settings of `batch_norm`), "layer" or "pixel"."""
    match name:
        case "none":
            return nn.Identity()
        case "batch":
            momentum = round(1 - batch_norm.decay, 12)  # exactly 0.1 for 0.9, torch's default
            kind = nn.BatchNorm2d if batch_norm.scale else ShiftedBatchNorm
            return kind(channels, batch_norm.eps, momentum)
        case "layer":
            return LayerNorm(channels)
        case "pixel":
            return PixelNorm()
    raise ValueError(f"unknown normalisation {name!r}")


def traits(name: str, stddev: Literal["none", "batch"] | int = "none") -> Traits:
    """Traits of a network of convolutions and (leaky) ReLU with this normalisation and minibatch stddev."""
    return Traits(mixes_batch=name == "batch" or stddev != "none", normalisation=name)


def upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Doubles the axes that grow (nearest neighbour), then crops to `size`."""
    if (2 * x.shape[2], 2 * x.shape[3]) == size:
        return nn.functional.interpolate(x, scale_factor=2.0)
    for axis in (2, 3):
        if size[axis - 2] > x.shape[axis]:
            x = x.repeat_interleave(2, dim=axis)
    return x[:, :, : size[0], : size[1]]


def upsample_and_convolve(x: Tensor, layer: nn.Module, size: tuple[int, int]) -> Tensor:
    """layer(upsample(x, size)); in 4/9 of the multiply-adds for a 3x3 convolution if both axes just double."""
    if (2 * x.shape[2], 2 * x.shape[3]) == size and isinstance(layer, ops.Conv2d) and ops.keeps_size(layer):
        return ops.doubled(x, layer)
    y: Tensor = layer(upsample(x, size))
    return y


def pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages pairs along the axes that shrink; a last odd row or column is dropped."""
    if (x.shape[2], x.shape[3]) == size:
        return x
    return ops.average_pool(x, (x.shape[2] // size[0], x.shape[3] // size[1]))


def ladder(height: int, width: int, round_up: bool) -> list[tuple[int, int]]:
    """Sizes from the image down: each axis is halved until it is at most 7.

    ladder(64, 64) = [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]; a long axis is halved more often than a short one.

    Args:
        round_up: round halves of odd numbers up, for generators, which crop; else down, for strided critics.
    """
    sizes = [(height, width)]
    while max(sizes[-1]) > 7:
        sizes.append(tuple((n + round_up) // 2 if n > 7 else n for n in sizes[-1]))  # type: ignore[arg-type]
    return sizes


def step(upper: tuple[int, int], lower: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """(kernel, stride) of the layer between two sizes of a ladder: 4 and 2 along a halved axis, else 3 and 1."""
    halved = tuple(a > b for a, b in zip(upper, lower, strict=True))
    return tuple(4 if h else 3 for h in halved), tuple(2 if h else 1 for h in halved)  # type: ignore[return-value]


def channels(width: int, max_width: int, rungs: int) -> list[int]:
    """Channels at each size from the image down: width, 2 width, 4 width ..., at most max_width."""
    return [min(width << rung, max_width) for rung in range(rungs)]


class LabelEmbedding(nn.Embedding):
    """Embeddings of class labels. std: of the normal distribution that initializes them."""

    def __init__(self, classes: int, dim: int, std: float) -> None:
        super().__init__(classes, dim)
        self.std = std

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:  # where `normal_` imports torch's compiler
            super().reset_parameters()

    def forward(self, labels: Tensor) -> Tensor:
        """labels: int64 [N], or class weights, float [N, classes], to interpolate between classes -> [N, dim]."""
        return labels.to(self.weight.dtype) @ self.weight if labels.is_floating_point() else super().forward(labels)


class LabelledLatent(nn.Module):
    """Appends an embedding of the label to the latent, if there are classes.

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
    """The label's term of a score: <embedding(label), features> (Miyato and Koyama 2018, equation 3).

    features: [N, C, H, W], averaged over pixels; labels: int64 [N] -> [N]; zero without classes.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.embedding = LabelEmbedding(classes, channels, 0.02) if classes else None

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor | float:
        if self.embedding is None:
            return 0.0
        product: Tensor = (self.embedding(labels) * features.mean(dim=(2, 3))).sum(dim=1)
        return product
