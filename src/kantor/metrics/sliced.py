"""Sliced Wasserstein distance (SWD) of image patches at each level of a Laplacian pyramid (Karras et al. 2018, section 5).

Along a line, the 1-Wasserstein distance is the mean absolute difference of the sorted projections; the sliced distance is
its mean over random lines (Rabin et al. 2011).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kantor.metrics.bootstrap import Interval, counts, interval
from kantor.metrics.features import to_float
from kantor.metrics.inputs import OrderedImages
from kantor.random import derive, philox
from kantor.types import Images

Floats = NDArray[np.float64]
ImageArray = Images | OrderedImages

PATCH = 7
SMALLEST = 16
PATCHES = 64
DIRECTIONS = 128
RESAMPLED = 16
REPLICATES = 50
PIXELS = 1 << 22


@dataclass(frozen=True)
class SlicedScore:
    """The sliced distance of each level, by the level's height, and the mean over the levels."""

    levels: Mapping[int, float]
    mean: float
    intervals: Mapping[int, Interval]
    interval: Interval


def swd(
    generated: ImageArray, real: ImageArray, seed: int, patches: int = PATCHES, directions: int = DIRECTIONS
) -> SlicedScore:
    """Sliced distance of 7x7 patches at each level of both pyramids, times 1000.

    As in the code of Karras et al., each set is normalised by its own mean and deviation of each channel, so that a mere
    difference of brightness or contrast is ignored. They take 128 patches of each of 16,384 images and 512 directions.
    The 95% intervals resample the generated images: all give equally many patches, so a resampled projection is sorted
    already, each value repeated as often as its image; its new normalisation is applied to the projection, with one
    deviation for all channels, along `RESAMPLED` directions.

    Args:
        generated, real: uint8 [N, H, W, C], equally many, of one size, both sides at least `SMALLEST`.
    """
    ours, theirs = (project(images, seed, patches, directions) for images in (generated, real))
    return swd_with_interval(ours, theirs, seed)


class Projected(NamedTuple):
    """Patches of one level of N images along random lines.

    Attributes:
        height: of the level.
        lines: float32 [directions, C * 7 * 7].
        values: float32 [directions, N * patches], those of an image next to each other.
        ascending: the same, sorted.
        mean, square: mean and mean square of the normalised patches of each image: float64 [N, C].
    """

    height: int
    lines: Tensor
    values: NDArray[np.float32]
    ascending: NDArray[np.float32]
    mean: Tensor
    square: Tensor


def project(images: ImageArray, seed: int, patches: int = PATCHES, directions: int = DIRECTIONS) -> list[Projected]:
    """Normalised patches of uint8 [N, H, W, C] at each level, the finest first."""
    projected = []
    levels = _all_patches(images, seed, patches)
    for level in range(len(levels)):
        height, some = levels.pop(0)
        lines = random_lines(some[0].numel(), directions, derive(seed, "level", level)).float()
        some, mean, square = _normalised(some, len(images))
        values = _projected(some, lines)
        projected.append(Projected(height, lines, values, np.sort(values, axis=1), mean, square))
    return projected


def distances(generated: Sequence[Projected], real: Sequence[Projected]) -> dict[int, float]:
    """The sliced distance of each level, by its height."""
    return {
        a.height: 1000 * float(np.abs(a.ascending - b.ascending).mean(1, dtype=np.float64).mean())
        for a, b in zip(generated, real, strict=True)
    }


def swd_with_interval(generated: Sequence[Projected], real: Sequence[Projected], seed: int) -> SlicedScore:
    """`swd` of projected sets."""
    image_counts = counts(len(generated[0].mean), seed, REPLICATES)
    values, few = distances(generated, real), slice(RESAMPLED)
    resampled = {
        x.height: 1000 * _resampled(x.values[few], y.ascending[few], x.mean, x.square, x.lines[few], image_counts)
        for x, y in zip(generated, real, strict=True)
    }
    mean_value, means = float(np.mean(list(values.values()))), np.mean(list(resampled.values()), 0)
    intervals = {height: interval(values[height], resampled[height], low=0.0) for height in values}
    return SlicedScore(values, mean_value, intervals, interval(mean_value, means, low=0.0))


def random_lines(dimension: int, directions: int, seed: int) -> Tensor:
    """Unit vectors, uniform on the sphere: float64 [directions, dimension]."""
    rng = np.random.Generator(np.random.PCG64(derive(seed, "directions", dimension)))
    lines = rng.standard_normal((directions, dimension))
    return torch.from_numpy(lines / np.linalg.norm(lines, axis=1, keepdims=True))


def laplacian_pyramid(images: Images) -> list[Tensor]:
    """Each level of detail of uint8 [N, H, W, C], the finest first: float32 [N, C, h, w].

    A level is the difference from the next smaller one, enlarged; the last is the small image itself (Burt and Adelson
    1983). Filters are 5 x 5 binomial with mirrored borders; h and w are halved, rounded up, while both stay at least
    `SMALLEST`.
    """
    levels = [to_float(torch.from_numpy(np.array(images)))]
    while min(-(-side // 2) for side in levels[-1].shape[2:]) >= SMALLEST:
        small = _binomial(levels[-1])[:, :, ::2, ::2]
        enlarged = torch.zeros_like(levels[-1])
        enlarged[:, :, ::2, ::2] = 4 * small
        levels[-1] -= _binomial(enlarged)
        levels.append(small)
    return levels


def _binomial(x: Tensor) -> Tensor:
    """[N, C, H, W] filtered by (1, 4, 6, 4, 1) / 16 along both axes; borders are mirrored about the last pixel."""
    for axis in (2, 3):
        side = x.shape[axis]
        padded = F.pad(x, (0, 0, 2, 2) if axis == 2 else (2, 2, 0, 0), mode="reflect")
        a, b, c, d, e = (padded.narrow(axis, shift, side) for shift in range(5))
        x = ((a + e) + 4 * (b + d) + 6 * c) / 16
    return x


def laplacian_descriptors(images: Images, seed: int, patches: int = PATCHES, first: int = 0) -> dict[int, Tensor]:
    """Patches of each level of uint8 [N, H, W, C], by the level's height: float32 [N * patches, C, 7, 7].

    Their positions are a function of (seed, rank of the image), so batches do not matter.

    Args:
        first: the rank of the first of `images` in its set.
    """
    descriptors = {}
    key = derive(seed, "patches")
    image, patch = np.divmod(np.arange(len(images) * patches), patches)
    counters = np.zeros((len(image), 4), np.uint32)
    counters[:, 0], counters[:, 1] = image + first, patch
    for level, x in enumerate(laplacian_pyramid(images)):
        counters[:, 2] = level
        words = philox(counters, (key & 0xFFFFFFFF, key >> 32)).astype(np.uint64)
        top, left = (
            torch.from_numpy((words[:, i] * np.uint64(x.shape[2 + i] - PATCH + 1) >> np.uint64(32)).astype(np.int64))
            for i in range(2)
        )
        windows = x.unfold(2, PATCH, 1).unfold(3, PATCH, 1)
        descriptors[x.shape[2]] = windows[torch.from_numpy(image), :, top, left]
    return descriptors


def _all_patches(images: ImageArray, seed: int, patches: int) -> list[tuple[int, Tensor]]:
    """`laplacian_descriptors` of a whole set, a few images at a time."""
    size = max(1, PIXELS // int(np.prod(images.shape[1:])))
    starts = range(0, len(images), size)
    parts = [laplacian_descriptors(images[start : start + size], seed, patches, start) for start in starts]
    return [(height, torch.cat([part.pop(height) for part in parts])) for height in list(parts[0])]


def _normalised(patches: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Normalises each channel to mean 0 and deviation 1 over the set, in place; a constant channel stays 0.

    Returns:
        The patches, and the mean and mean square of those of each image: float64 [n, C].
    """
    variance, mean = torch.var_mean(patches.view(n, -1, patches.shape[1], PATCH * PATCH), (1, 3), correction=0)
    variance, mean = variance.double(), mean.double()
    middle = mean.mean(0)
    mean = mean - middle
    deviation = (variance + mean**2).mean(0).sqrt()
    deviation = torch.where(deviation > 1e-3, deviation, 1.0)
    patches.sub_(middle.float().view(1, -1, 1, 1)).div_(deviation.float().view(1, -1, 1, 1))
    return patches, mean / deviation, (variance + mean**2) / deviation**2


def _projected(patches: Tensor, lines: Tensor) -> NDArray[np.float32]:
    """[directions, patches]."""
    return (lines @ patches.flatten(1).T).numpy()


def _resampled(
    x: NDArray[np.float32], y: NDArray[np.float32], mean: Tensor, square: Tensor, lines: Tensor, image_counts: Floats
) -> Floats:
    """Sliced distance of each resampled set of generated images: float64 [replicates].

    Args:
        x, y: projections of generated patches, and sorted ones of real patches: [directions, n * patches].
        mean, square: moments of the normalised patches of each generated image: [n, C].
        lines: [directions, C * 7 * 7].
        image_counts: how often each generated image is in each resampled set: [replicates, n].
    """
    n, channels = mean.shape
    weights = torch.from_numpy(image_counts / n)
    parts = lines.double().view(len(lines), channels, -1)
    means = weights @ mean  # [replicates, C]
    shift = (means @ parts.sum(2).T).float().numpy()  # [replicates, directions]
    spread = ((weights @ square - means**2) @ parts.square().sum(2).T).clamp(min=0).sqrt()
    scale = torch.where(spread > 1e-6, spread, 1.0).float().numpy()
    repeats = image_counts.astype(np.int64)
    total = np.zeros(len(image_counts))
    for i, order in enumerate(np.argsort(x, axis=1)):
        values, images = x[i][order], order // (x.shape[1] // n)
        for r, count in enumerate(repeats):
            sample = np.repeat(values, count[images])
            sample -= shift[r, i]
            sample /= scale[r, i]
            sample -= y[i]
            total[r] += np.abs(sample, out=sample).mean(dtype=np.float64)
    return total / len(x)
