"""How close enlargements come to pictures that were reduced, beside what filters make of them, which needs no training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kantor.alpha import premultiplied, straight
from kantor.app.images import at_size
from kantor.data.loading.feed import to_float
from kantor.errors import DataError
from kantor.metrics.efficientnet_lite import VARIANTS, available, lite_network
from kantor.metrics.features import resized
from kantor.metrics.fidelity import psnr, ssim
from kantor.metrics.layer_distance import layer_distance, on_grey
from kantor.metrics.welch import student_quantile
from kantor.progress import Progress, silent
from kantor.sample.generate import to_uint8
from kantor.types import Images, ImageSpec

MODEL, RIVAL = "model", "bicubic"
FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
LOWER_IS_BETTER = {"lite0": True, "lite1": True, "psnr": False, "ssim": False}
"""Measures: distances of features, dB, and a number up to 1."""
LEAST_SIDE = 96
"""Pixels: pictures with a shorter side are enlarged to it, bicubically, for networks of features, as those of scores."""
LARGEST_SIDE = 512
"""Pixels: of larger pictures the middle is measured."""
_SHOWN = 12
NamedImages = Iterator[tuple[str, Images | DataError]]  # an error for a picture that cannot be used


class Comparison(NamedTuple):
    """One measure of the model minus that of bicubic enlargement, over the same pictures: mean, and Student's 95% interval, None of a single picture."""

    difference: float
    interval: tuple[float, float] | None
    lower_is_better: bool

    @property
    def verdict(self) -> str:
        """ "better", "worse", or "no clear difference" if the interval includes 0."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return "no clear difference"
        return "better" if (self.difference < 0) == self.lower_is_better else "worse"


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        values: measure -> way of enlarging -> one number for each picture.
        comparisons: measure -> the model against bicubic enlargement.
        origin: of the pictures, in words.
    """

    times: int
    origin: str
    values: Mapping[str, Mapping[str, Sequence[float]]]
    comparisons: Mapping[str, Comparison]

    @property
    def count(self) -> int:
        return len(next(iter(self.values.values()))[MODEL])

    def as_json(self) -> dict[str, Any]:
        measures = {}
        for name, values in self.values.items():
            comparison = self.comparisons[name]
            measures[name] = {
                "lower_is_better": comparison.lower_is_better,
                "means": {way: float(np.mean(numbers)) for way, numbers in values.items()},
                "model_minus_bicubic": comparison.difference,
                "interval": comparison.interval,
            }
        return {"times": self.times, "pictures": self.origin, "count": self.count, "measures": measures}


def compare(
    enlarge: Callable[[Images], Images],
    times: int,
    images: NamedImages,
    total: int,
    origin: str,
    progress: Progress = silent,
) -> tuple[Measured, list[list[Images]], list[DataError]]:
    """Reduces, enlarges in all ways, and measures (name, uint8 [H, W, C]), `total` of them.

    Also returns some of the pictures in all ways, and why others cannot be used. Raises DataError if none can.
    """
    values: dict[str, dict[str, list[float]]] = {}
    shown, rejected = list[list[Images]](), list[DataError]()
    spread = set(np.linspace(0, total - 1, _SHOWN).astype(int).tolist())
    for done, (name, image) in enumerate(images, 1):
        progress(done, total)
        if isinstance(image, DataError):
            rejected.append(image)
            continue
        true = _middle(image, times)
        if true.size == 0:
            what = f"is too small to be reduced {times} times ({'x'.join(map(str, image.shape[:2]))})"
            rejected.append(DataError(name, what, "measure on larger pictures"))
            continue
        small = reduced(true, times)
        ways = {MODEL: enlarge(small), **{way: enlarged_by(small, times, way) for way in FILTERS}}
        for measure, numbers in _numbers(true, list(ways.values())).items():
            for way, number in zip(ways, numbers, strict=True):
                values.setdefault(measure, {}).setdefault(way, []).append(number)
        if len(shown) < sum(row < done for row in spread):
            shown.append([ways["nearest"], ways[RIVAL], ways[MODEL], true])
    if not values:
        raise rejected[0]
    comparisons = {name: compared(by_way, LOWER_IS_BETTER[name]) for name, by_way in values.items()}
    return Measured(times, origin, values, comparisons), shown, rejected


def compared(values: Mapping[str, Sequence[float]], lower_is_better: bool) -> Comparison:
    """The model against bicubic enlargement, picture by picture."""
    differences = np.subtract(values[MODEL], values[RIVAL])
    count, mean = len(differences), float(differences.mean())
    if count < 2:
        return Comparison(mean, None, lower_is_better)
    reach = student_quantile(0.975, count - 1) * float(differences.std(ddof=1)) / math.sqrt(count)
    return Comparison(mean, (mean - reach, mean + reach), lower_is_better)


def reduced(image: Images, times: int) -> Images:
    """uint8 [H, W, C] -> [H / times, W / times, C], as in training: each pixel the mean of a square, weighted by alpha."""
    height, width, channels = image.shape
    small: Images = at_size(image[None], ImageSpec(height // times, width // times, channels))[0]
    return small


def enlarged_by(image: Images, times: int, way: str) -> Images:
    """uint8 [H, W, C] -> [times H, times W, C] by a filter of Pillow, in floats with colours weighted by alpha."""
    x = to_float(torch.from_numpy(np.ascontiguousarray(image))[None])
    x = premultiplied(x) if image.shape[2] == 4 else x
    size = (image.shape[1] * times, image.shape[0] * times)
    planes = [np.asarray(Image.fromarray(plane.numpy(), "F").resize(size, FILTERS[way])) for plane in x[0].contiguous()]
    larger = torch.from_numpy(np.stack(planes))[None]
    result: Images = to_uint8(straight(larger) if image.shape[2] == 4 else larger)[0]
    return result


def _middle(image: Images, times: int) -> Images:
    """The middle of an image, with sides that are multiples of `times`."""
    height, width = (min(side, LARGEST_SIDE) // times * times for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


@torch.inference_mode()
def _numbers(true: Images, others: Sequence[Images]) -> dict[str, list[float]]:
    """Each measure of how close images come to a true one, all uint8 [H, W, C]; colours are laid on mid-grey."""
    x = on_grey(to_float(torch.from_numpy(np.stack([true, *others]))), premultiply=True)
    first = x[:1].expand(len(others), -1, -1, -1)
    numbers = {}
    if all(map(available, VARIANTS)):
        scale = max(1.0, LEAST_SIDE / min(x.shape[2:]))
        seen = resized(x, *(round(side * scale) for side in x.shape[2:]))
        for name in VARIANTS:
            layers = lite_network(name).layers(seen)
            numbers[name] = layer_distance([y[:1].expand_as(y[1:]) for y in layers], [y[1:] for y in layers])
    numbers |= {"psnr": psnr(first, x[1:]), "ssim": ssim(first, x[1:])}
    return {name: _listed(value) for name, value in numbers.items()}


def _listed(values: Tensor) -> list[float]:
    return [float(value) for value in values]
