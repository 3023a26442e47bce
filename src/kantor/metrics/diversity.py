"""How much drawn images differ from each other: similar pairs, sure and even classes, modes that are seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kantor.errors import ConfigError, DataError
from kantor.metrics.bootstrap import REPLICATES, Interval, counts, interval
from kantor.metrics.features import Portions
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
"""Bytes of images that are held at once."""


def ms_ssim(a: Images | Tensor, b: Images | Tensor) -> Tensor:
    """Multi-scale structural similarity of each pair (Wang, Simoncelli and Bovik 2003): [N] in [0, 1], 1 for equals.

    The product over scales, each half of the one before, of the mean contrast-structure term to the power of its
    weight; at the last scale the mean of the whole SSIM. Gaussian windows of 11 x 11, sigma 1.5, that lie within the
    image; channels count alike. As many of the paper's five scales as leave both sides at least 11 pixels, with
    its weights for these, scaled to sum 1; numbers of different counts of scales do not compare. A negative term,
    which has no such power, counts as 0.

    Args:
        a, b: uint8 [N, H, W, C], computed in float32, or floating [N, C, H, W] in [0, 255], computed as they are.
    """
    if a.shape != b.shape or a.ndim != 4 or type(a) is not type(b):
        raise ConfigError("MS-SSIM", f"got pairs of {list(a.shape)} and {list(b.shape)}", "give two alike")
    scales = scales_of(*(a.shape[2:] if isinstance(a, Tensor) else a.shape[1:3]))
    size = max(1, PIXELS // max(1, math.prod(a.shape[1:])))
    starts = range(0, len(a), size)
    parts = [_ms_ssim(_floating(a[i : i + size]), _floating(b[i : i + size]), scales) for i in starts]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def scales_of(height: int, width: int) -> int:
    """How many scales `ms_ssim` takes of such an image: 1 to 5."""
    side = min(height, width)
    if side < WINDOW:
        what = f"images are {height} x {width} pixels"
        raise DataError("MS-SSIM", what, f"leave this score out: it takes {WINDOW} x {WINDOW} or more")
    return min(len(WEIGHTS), (side // WINDOW).bit_length())


def _floating(images: Images | Tensor) -> Tensor:
    """[N, C, H, W] around 0: 127.5 less, so that variances lose fewer digits."""
    if isinstance(images, Tensor):
        return images - RANGE / 2
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() - RANGE / 2


def _ms_ssim(x: Tensor, y: Tensor, scales: int) -> Tensor:
    weights = torch.tensor(WEIGHTS[:scales], dtype=torch.float64)
    found = x.new_ones(len(x), dtype=torch.float64)
    for scale, weight in enumerate((weights / weights.sum()).tolist()):
        structure, whole = _terms(x, y)
        found *= (whole if scale == scales - 1 else structure).double().clamp(min=0) ** weight
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return found


def _terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The mean contrast-structure term and the mean SSIM of pairs [N, C, H, W]: [N] each."""
    mean_x, mean_y = _window(x), _window(y)
    covariance = _window(x * y) - mean_x * mean_y
    variances = (_window(x * x) - mean_x**2).clamp(min=0) + (_window(y * y) - mean_y**2).clamp(min=0)
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    structure = (2 * covariance + c2) / (variances + c2)
    mean_x, mean_y = mean_x + RANGE / 2, mean_y + RANGE / 2
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return structure.mean((1, 2, 3)), (light * structure).mean((1, 2, 3))


def _window(x: Tensor) -> Tensor:
    """Gaussian means of [N, C, H, W] where the window fits."""
    line = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    line = (-(line**2) / (2 * SIGMA**2)).exp()
    for axis in (2, 3):  # sums of shifted images: many times faster than a convolution of one channel
        side = x.shape[axis] - WINDOW + 1
        found = x.new_zeros([side if i == axis else size for i, size in enumerate(x.shape)])
        for shift, weight in enumerate((line / line.sum()).tolist()):
            found.add_(x.narrow(axis, shift, side), alpha=weight)
        x = found
    return x


def pairs_of(n: int, seed: int, pairs: int = PAIRS, labels: Integers | None = None) -> tuple[Integers, Integers]:
    """`pairs` random pairs of two different images of n, of one class where `labels` [n] are given.

    The first is any image whose class has another, the second any other of its class. The same pair may come
    twice.
    """
    dice = np.random.Generator(np.random.PCG64(derive(seed, "pairs", n)))
    labels = np.zeros(n, np.int64) if labels is None else labels
    order = np.argsort(labels, kind="stable")
    _, kind, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n) - starts[kind[order]]
    able = np.flatnonzero(sizes[kind] > 1)
    if not len(able):
        raise ConfigError("pairs", f"no two of {n} images are of one class", "draw more images")
    first = able[dice.integers(len(able), size=pairs)]
    size = sizes[kind[first]]
    ahead = 1 + dice.integers(size - 1)
    return first, order[starts[kind[first]] + (rank[first] + ahead) % size]


def pair_similarity(
    images: Images | Portions, seed: int, pairs: int = PAIRS, labels: Integers | None = None
) -> tuple[float, Interval]:
    """Mean `ms_ssim` of random pairs of one set, and its 95 % interval: high where images are much alike.

    Odena, Olah and Shlens 2017, section 4.2: within classes, to be read beside the same number of the real images.

    Args:
        images: uint8 [n, H, W, C], or what gives rows of these when it is indexed.
        labels: int64 [n]; pairs are then of one class.
    """
    n = len(images)
    first, second = pairs_of(n, seed, pairs, labels)
    size = max(1, PORTION // int(np.prod(images.shape[1:])))
    portions = [slice(start, start + size) for start in range(0, pairs, size)]
    values = np.concatenate([ms_ssim(images[first[p]], images[second[p]]).numpy() for p in portions])
    value, half = float(values.mean()), 1.96 * _pairs_error(values, first, second, n)
    return value, (max(value - half, 0.0), min(value + half, 1.0))


def _pairs_error(values: Floats, first: Integers, second: Integers, n: int) -> float:
    """The standard error of a mean over pairs, of which those with an image in common go together.

    The dyadic variance (Aronow, Samii and Assenova 2015, "Cluster-robust variance estimation for dyadic data"): products
    of all deviations that share an image, summed.
    """
    apart = values - values.mean()
    shared = np.bincount(first, apart, n) + np.bincount(second, apart, n)
    alone = float((apart**2).sum())
    return math.sqrt(max(float((shared**2).sum()) - alone, alone)) / len(values)


def inception_style_score(logits: Tensor, seed: int) -> tuple[float, Interval]:
    """exp of the mean over images of KL(p(class | image) || p(class)): 1 to K, and its 95 % interval.

    Salimans et al. 2016, "Improved techniques for training GANs", with the network that gave the logits and all
    images in one split. High where each image is surely of one class and the classes are even; it knows nothing
    of the real images.

    Args:
        logits: [N, K].
    """
    p = logits.double().softmax(1)
    sure = -torch.special.entr(p).sum(1)
    weights = torch.from_numpy(counts(len(p), seed) / len(p))
    value = float((sure.mean() + torch.special.entr(p.mean(0)).sum()).exp())
    resampled = (weights @ sure + torch.special.entr(weights @ p).sum(1)).exp()
    return value, interval(value, resampled.numpy(), low=1.0)


@dataclass(frozen=True)
class ModeCoverage:
    """Which of the modes are among N drawn images, and what a perfect generator would show.

    Attributes:
        covered: how many modes have at least one image.
        covered_interval: 95 %, never above the number of modes; resampled with the share of all unseen modes set to
            that of the modes seen once (Good 1953), for what was drawn alone shows too little spread.
        missing: the modes without.
        kl: KL(drawn || expected) in nats.
        kl_interval: 95 %.
        perfect_covered: how many modes N draws of the expected shares cover on average: sum of 1 - (1 - p)^N.
        perfect_kl: the mean KL of N such draws, about (modes - 1) / (2 N): less cannot be asked for.
    """

    covered: int
    covered_interval: Interval
    missing: tuple[int, ...]
    kl: float
    kl_interval: Interval
    perfect_covered: float
    perfect_kl: float


def coverage(found: Integers, modes: int, expected: Floats | None = None, seed: int = 0) -> ModeCoverage:
    """How many of the modes drawn images cover, and how evenly.

    As for stacked MNIST (Metz et al. 2017, section 3.3.1, and after them Srivastava et al. 2017, "VEEGAN", and Lin et
    al. 2018, "PacGAN"): a mode is covered by one image, and the divergence is the reverse one, KL(model || data),
    without smoothing, so that modes never drawn add nothing by themselves. They draw 25,600 or 26,000 images for
    1,000 modes; both numbers depend on N.

    Args:
        found: int64 [N], the mode of each drawn image, in [0, modes).
        expected: float64 [modes], the shares of the modes in the data, each above 0; scaled to sum 1. None: even.
    """
    shares = np.ones(modes) if expected is None else np.asarray(expected, np.float64)
    if shares.shape != (modes,) or not (np.isfinite(shares) & (shares > 0)).all():
        raise ConfigError("coverage", f"the expected shares are not {modes} numbers above 0", "leave empty modes out")
    if not len(found) or found.min() < 0 or found.max() >= modes:
        raise ConfigError("coverage", f"modes found are not in 0 .. {modes - 1}", "give one of each drawn image")
    shares = shares / shares.sum()
    n = len(found)
    often = np.bincount(found, minlength=modes)
    dice = np.random.Generator(np.random.PCG64(derive(seed, "coverage", n, modes)))
    again = dice.multinomial(n, often / n, size=REPLICATES)
    seen = dice.multinomial(n, _with_unseen(often), size=REPLICATES)
    perfect = dice.multinomial(n, shares, size=REPLICATES)
    covered, kl = int((often > 0).sum()), float(_kl(often, shares))
    low, high = interval(covered, (seen > 0).sum(1), low=1.0)
    return ModeCoverage(
        covered=covered,
        covered_interval=(low, min(high, float(modes))),
        missing=tuple(np.flatnonzero(often == 0).tolist()),
        kl=kl,
        kl_interval=interval(kl, _kl(again, shares), low=0.0),
        perfect_covered=float(-np.expm1(n * np.log1p(-shares[shares < 1])).sum() + (shares == 1).sum()),
        perfect_kl=float(_kl(perfect, shares).mean()),
    )


def _with_unseen(often: Integers) -> Floats:
    """Shares of the modes from counts [modes], with those never seen given evenly the share of those seen once."""
    n, unseen = often.sum(), often == 0
    share = float((often == 1).sum() / n) if unseen.any() else 0.0
    found: Floats = np.where(unseen, share / max(1, unseen.sum()), often * (1 - share) / n)
    return found


def _kl(often: Integers, expected: Floats) -> Floats:
    """KL(counts [..., modes] || expected [modes]) in nats: [...]."""
    p = often / often.sum(-1, keepdims=True)
    ratio = np.where(p > 0, p, expected) / expected
    found: Floats = (p * np.log(ratio)).sum(-1)
    return found
