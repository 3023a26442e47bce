"""Diversity of generated images: similarity of pairs, Inception score, coverage of modes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kantor.metrics.bootstrap import REPLICATES, Interval, counts, interval
from kantor.metrics.features import to_float
from kantor.metrics.inputs import OrderedImages
from kantor.random import derive
from kantor.types import Images

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
K1, K2, RANGE = 0.01, 0.03, 255.0
PAIRS = 1000
PIXELS = 1 << 19
PORTION = 1 << 24
"""Bytes of images in memory at once."""


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale structural similarity of each pair (Wang, Simoncelli and Bovik 2003): [N] in [0, 1], 1 for equals.

    The product over scales, each half the size of the one before, of the mean contrast-structure term to the power of
    its weight; at the last scale, of the mean SSIM. Windows are Gaussian, 11 x 11, sigma 1.5, within the image; channels
    are averaged. Uses as many of the paper's five scales as leave both sides at least 11 pixels, with its weights for
    these, scaled to sum 1: values of different numbers of scales cannot be compared. Negative terms count as 0.

    Args:
        a, b: float [N, C, H, W] in [0, 255], both sides at least 11; computed in their type.
    """
    scales, size = scales_of(*a.shape[2:]), max(1, PIXELS // math.prod(a.shape[1:]))
    slices = [slice(start, start + size) for start in range(0, len(a), size)]
    return torch.cat([_ms_ssim(a[s] - RANGE / 2, b[s] - RANGE / 2, scales) for s in slices])


def scales_of(height: int, width: int) -> int:
    """Number of scales that `ms_ssim` uses for images of this size: 1 to 5."""
    return min(len(WEIGHTS), (min(height, width) // WINDOW).bit_length())


def _ms_ssim(x: Tensor, y: Tensor, scales: int) -> Tensor:
    """Of images around 0, so that variances lose fewer digits."""
    weights = torch.tensor(WEIGHTS[:scales], dtype=torch.float64)
    similarity = x.new_ones(len(x), dtype=torch.float64)
    for scale, weight in enumerate((weights / weights.sum()).tolist()):
        structure, ssim = _terms(x, y)
        similarity *= (ssim if scale == scales - 1 else structure).double().clamp(min=0) ** weight
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return similarity


def _terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The mean contrast-structure term and the mean SSIM of pairs [N, C, H, W]: [N] each."""
    mean_x, mean_y = _window(x), _window(y)
    covariance = _window(x * y) - mean_x * mean_y
    variances = (_window(x * x) - mean_x**2).clamp(min=0) + (_window(y * y) - mean_y**2).clamp(min=0)
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    structure = (2 * covariance + c2) / (variances + c2)
    mean_x, mean_y = mean_x + RANGE / 2, mean_y + RANGE / 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return structure.mean((1, 2, 3)), (luminance * structure).mean((1, 2, 3))


def _window(x: Tensor) -> Tensor:
    """Gaussian means of [N, C, H, W] at all positions where the window fits."""
    line = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    line = (-(line**2) / (2 * SIGMA**2)).exp()
    for axis in (2, 3):  # sums of shifted images are many times faster than a one-channel convolution
        side = x.shape[axis] - WINDOW + 1
        blurred = x.new_zeros([side if i == axis else size for i, size in enumerate(x.shape)])
        for shift, weight in enumerate((line / line.sum()).tolist()):
            blurred.add_(x.narrow(axis, shift, side), alpha=weight)
        x = blurred
    return x


def pairs_of(n: int, seed: int, pairs: int = PAIRS, labels: Integers | None = None) -> tuple[Integers, Integers]:
    """Indices of `pairs` random pairs of different images of n; of one class if `labels` [n] are given.

    Two images at least must be of one class. The first is any image whose class has another, the second any other of its
    class. Pairs may repeat.
    """
    rng = np.random.Generator(np.random.PCG64(derive(seed, "pairs", n)))
    labels = np.zeros(n, np.int64) if labels is None else labels
    order = np.argsort(labels, kind="stable")
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n) - starts[classes[order]]
    candidates = np.flatnonzero(sizes[classes] > 1)
    first = candidates[rng.integers(len(candidates), size=pairs)]
    size = sizes[classes[first]]
    shift = 1 + rng.integers(size - 1)
    return first, order[starts[classes[first]] + (rank[first] + shift) % size]


def pair_similarity(
    images: Images | OrderedImages, seed: int, pairs: int = PAIRS, labels: Integers | None = None
) -> tuple[float, Interval]:
    """Mean `ms_ssim` of random pairs of a set, and its 95% interval: high if images are much alike.

    Odena, Olah and Shlens 2017, section 4.2: within classes, to be compared with the value of the real images.

    Args:
        images: uint8 [n, H, W, C].
        labels: int64 [n]; pairs are then of one class.
    """
    n = len(images)
    first, second = pairs_of(n, seed, pairs, labels)
    size = max(1, PORTION // int(np.prod(images.shape[1:])))
    parts = [slice(start, start + size) for start in range(0, pairs, size)]
    pairs_read = ((images[first[part]], images[second[part]]) for part in parts)
    similarities = [ms_ssim(*(to_float(torch.from_numpy(side)) for side in pair)) for pair in pairs_read]
    values = torch.cat(similarities).numpy()
    value, half = float(values.mean()), 1.96 * _pairs_error(values, first, second, n)
    return value, (max(value - half, 0.0), min(value + half, 1.0))


def _pairs_error(values: Floats, first: Integers, second: Integers, n: int) -> float:
    """The standard error of a mean over pairs, of which those with a common image are correlated.

    The dyadic variance (Aronow, Samii and Assenova 2015, "Cluster-robust variance estimation for dyadic data"): the sum
    of products of all deviations that share an image.
    """
    deviations = values - values.mean()
    shared = np.bincount(first, deviations, n) + np.bincount(second, deviations, n)
    independent = float((deviations**2).sum())
    return math.sqrt(max(float((shared**2).sum()) - independent, independent)) / len(values)


def inception_style_score(logits: Tensor, seed: int) -> tuple[float, Interval]:
    """exp of the mean over images of KL(p(class | image) || p(class)): 1 to K, and its 95% interval.

    The Inception score (Salimans et al. 2016, "Improved techniques for training GANs") with the network that gave the
    logits, and all images in one split. High if each image is surely of one class and the classes are even; it ignores
    the real images.

    Args:
        logits: [N, K].
    """
    p = logits.double().softmax(1)
    negative_entropy = -torch.special.entr(p).sum(1)
    weights = torch.from_numpy(counts(len(p), seed) / len(p))
    value = float((negative_entropy.mean() + torch.special.entr(p.mean(0)).sum()).exp())
    resampled = (weights @ negative_entropy + torch.special.entr(weights @ p).sum(1)).exp()
    return value, interval(value, resampled.numpy(), low=1.0)


@dataclass(frozen=True)
class ModeCoverage:
    """Which modes N generated images show.

    Attributes:
        covered: number of modes with at least one image.
        covered_interval: 95%, at most the number of modes; resampled with the probability of all unseen modes set to
            that of the modes seen once (Good 1953), since the images alone show too little spread.
        kl: KL(generated || expected) in nats.
        kl_interval: 95%.
    """

    covered: int
    covered_interval: Interval
    kl: float
    kl_interval: Interval


def coverage(shown: Integers, expected: Floats, seed: int = 0) -> ModeCoverage:
    """How many modes the generated images cover, and how evenly.

    As for stacked MNIST (Metz et al. 2017, section 3.3.1; Srivastava et al. 2017, "VEEGAN"; Lin et al. 2018, "PacGAN"):
    one image covers a mode, and the divergence is the reverse one, KL(model || data), without smoothing, so that unseen
    modes add nothing. They generate 25,600 or 26,000 images for 1,000 modes; both numbers depend on N.

    Args:
        shown: int64 [N], the mode of each generated image.
        expected: float64 [modes], the fraction of each mode in the data, all above 0; scaled to sum 1.
    """
    n, modes, shares = len(shown), len(expected), expected / expected.sum()
    mode_counts = np.bincount(shown, minlength=modes)
    unseen = mode_counts == 0
    share = float((mode_counts == 1).sum() / n) if unseen.any() else 0.0
    with_unseen = np.where(unseen, share / max(1, unseen.sum()), mode_counts * (1 - share) / n)
    rng = np.random.Generator(np.random.PCG64(derive(seed, "coverage", n, modes)))
    resampled = rng.multinomial(n, mode_counts / n, size=REPLICATES)
    resampled_unseen = rng.multinomial(n, with_unseen, size=REPLICATES)
    covered, kl = int((mode_counts > 0).sum()), float(_kl(mode_counts, shares))
    low, high = interval(covered, (resampled_unseen > 0).sum(1), low=1.0)
    return ModeCoverage(
        covered=covered,
        covered_interval=(low, min(high, float(modes))),
        kl=kl,
        kl_interval=interval(kl, _kl(resampled, shares), low=0.0),
    )


def _kl(mode_counts: Integers, expected: Floats) -> Floats:
    """KL(counts [..., modes] || expected [modes]) in nats: [...]."""
    p = mode_counts / mode_counts.sum(-1, keepdims=True)
    ratio = np.where(p > 0, p, expected) / expected
    divergence: Floats = (p * np.log(ratio)).sum(-1)
    return divergence
