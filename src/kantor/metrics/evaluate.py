"""Metrics by name: how each is measured, which scores it gives, and what it needs.

A score comes with what real images score in place of the generated ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kantor.errors import ConfigError, did_you_mean
from kantor.metrics import diversity, sliced, transport
from kantor.metrics.asked import control_scores
from kantor.metrics.bootstrap import Interval, fraction_interval, mean_interval
from kantor.metrics.critic_scores import critic_scores
from kantor.metrics.features import ImageFeatures
from kantor.metrics.frechet import frechet
from kantor.metrics.inputs import MAX_NEIGHBOUR_IMAGES, MAX_PAIRED_IMAGES, MetricInputs, OrderedImages, ReadImages
from kantor.metrics.kernel import kid
from kantor.metrics.memorisation import PIXELS
from kantor.metrics.mind import mind
from kantor.metrics.precision_recall import COVERAGE_K, calibrated_coverage, neighbourhoods
from kantor.metrics.score import Score, kind
from kantor.progress import Progress, silent

MIN_IMAGES = 2 * (COVERAGE_K + 1)
"""Images that each side must have."""
MAX_TRANSPORT_IMAGES = 500
DEFAULT_METRICS = ("fd", "mind", "cdc", "kid", "pr", "dc", "swd", "msssim", "nn", "modes", "critic")
"""Default metrics; those that cannot be computed are skipped."""
Integers = NDArray[np.int64]
_NVIDIA = re.compile(r"(fid|kid|pr|is)\d+k\d?(_full)?")


class Metric(NamedTuple):
    """A metric.

    Attributes:
        measure: its scores by full name: "fd@kantor-small".
        scores: those that are always there.
        space: the part behind the @; "" for the name of the extractor.
    """

    measure: Callable[[MetricInputs], dict[str, Score]]
    scores: tuple[str, ...]
    space: str = ""


def _fd(inputs: MetricInputs) -> dict[str, Score]:
    value, ends = frechet(inputs.generated.features, inputs.real.features, inputs.seed, inputs.replicates)
    return {f"fd@{inputs.extractor.name}": Score(value, ends, _real_bias(inputs, "fd", frechet))}


def _kid(inputs: MetricInputs) -> dict[str, Score]:
    generated, real = (side.first(MAX_NEIGHBOUR_IMAGES).features for side in (inputs.generated, inputs.real))
    value, ends = kid(generated, real, inputs.seed, inputs.replicates)
    if "kid" not in inputs.real_scores:
        a, b = (half.first(MAX_NEIGHBOUR_IMAGES).features for half in inputs.halves)
        inputs.real_scores["kid"] = kid(a, b, replicates=1)[0]
    return {f"kid@{inputs.extractor.name}": Score(value, ends, inputs.real_scores["kid"])}


def _is(inputs: MetricInputs) -> dict[str, Score]:
    """Of equally many images of each side: the score grows with their number."""
    count = min(len(inputs.generated), len(inputs.real))
    generated, real = (side.logits["classes"][:count] for side in (inputs.generated, inputs.real))
    value, ends = diversity.inception_style_score(generated, inputs.seed)
    of_real, _ = diversity.inception_style_score(real, inputs.seed)
    return {f"is@{inputs.extractor.name}": Score(value, ends, of_real)}


def _mind(inputs: MetricInputs) -> dict[str, Score]:
    value, ends = mind(inputs.generated.features, inputs.real.features, inputs.seed, inputs.replicates)
    return {f"mind@{inputs.extractor.name}": Score(value, ends, _real_bias(inputs, "mind", mind))}


def _real_bias(inputs: MetricInputs, name: str, distance: Callable[..., tuple[float, Interval]]) -> float:
    """The distance of one half of the real images from the other, which is about proportional to 1/n + 1/m, scaled to the
    numbers of images that are compared.
    """
    a, b = (half.features for half in inputs.halves)
    if name not in inputs.real_scores:
        inputs.real_scores[name] = distance(a, b, replicates=1)[0]
    n, m = len(inputs.generated), len(inputs.real)
    return float(inputs.real_scores[name]) * (1 / n + 1 / m) / (1 / len(a) + 1 / len(b))


def _neighbourhoods(inputs: MetricInputs, names: Sequence[str]) -> dict[str, Score]:
    _measure_halves(inputs)
    scores = {}
    for name in names:
        values = getattr(inputs.memberships, name).numpy()
        if name == "density":
            ends = mean_interval(values, inputs.seed, inputs.replicates, low=0.0)
        else:
            ends = fraction_interval(values)
        scores[f"{name}@{inputs.extractor.name}"] = Score(float(values.mean()), ends, inputs.real_scores[name])
    return scores


def _clipped(inputs: MetricInputs) -> dict[str, Score]:
    """Both lie in [0, 1]. The interval of the coverage is that of the mean share of full balls, calibrated."""
    _measure_halves(inputs)
    found, name, real = inputs.memberships, inputs.extractor.name, inputs.real_scores
    density = found.clipped_density.numpy()
    low, high = mean_interval(density, inputs.seed, inputs.replicates, low=0.0)
    influence = found.coverage_influence.numpy()
    below, above = mean_interval(influence - influence.mean(), inputs.seed, inputs.replicates)
    share, n, m = float(found.coverage_share.mean()), len(density), len(found.coverage_share)
    covered = calibrated_coverage(np.array([share, share + below, share + above]), n, m).tolist()
    return {
        f"clipped_density@{name}": Score(
            min(float(density.mean()), 1.0), (min(low, 1.0), min(high, 1.0)), real["clipped_density"]
        ),
        f"clipped_coverage@{name}": Score(covered[0], (covered[1], covered[2]), real["clipped_coverage"]),
    }


def _measure_halves(inputs: MetricInputs) -> None:
    """Writes what one half of the real images scores against the other into `inputs.real_scores`."""
    if "clipped_coverage" in inputs.real_scores:
        return
    a, b = (half.first(MAX_NEIGHBOUR_IMAGES).features for half in inputs.halves)
    means = {name: float(values.mean()) for name, values in neighbourhoods(a, b)._asdict().items()}
    coverage = float(calibrated_coverage(means.pop("coverage_share"), len(a), len(b)))
    inputs.real_scores.update(means, clipped_density=min(means["clipped_density"], 1.0), clipped_coverage=coverage)


def _swd(inputs: MetricInputs) -> dict[str, Score]:
    """What real images score is that of other real images against the same ones."""
    count = min(len(inputs.generated), len(inputs.real) // 2, MAX_PAIRED_IMAGES)
    order, key = inputs.real.order, f"swd/{inputs.seed}/{count}"
    generated = sliced.project(OrderedImages(inputs.read_generated, inputs.generated.order[:count]), inputs.seed)
    real = sliced.project(OrderedImages(inputs.read_real, order[:count]), inputs.seed)
    if key not in inputs.real_scores:
        other_real = sliced.project(OrderedImages(inputs.read_real, order[count : 2 * count]), inputs.seed)
        inputs.real_scores[key] = list(sliced.distances(other_real, real).items())
    found, of_real = sliced.swd_with_interval(generated, real, inputs.seed), dict(inputs.real_scores[key])
    scores = {f"swd@{PIXELS}": Score(found.mean, found.interval, float(np.mean(list(of_real.values()))))}
    if len(found.levels) > 1:
        for height, value in found.levels.items():
            scores[f"swd_{height}@{PIXELS}"] = Score(value, found.intervals[height], of_real[height])
    return scores


def _ms_ssim(inputs: MetricInputs) -> dict[str, Score]:
    """Over pairs of one class if both sides have the same classes, and enough images of each."""

    def similarity(side: ImageFeatures, read: ReadImages, labels: Integers | None) -> tuple[float, Interval]:
        images = OrderedImages(read, side.order[:MAX_PAIRED_IMAGES])
        paired = labels[:MAX_PAIRED_IMAGES] if inputs.within_classes and labels is not None else None
        return diversity.pair_similarity(images, inputs.seed, labels=paired)

    value, ends = similarity(inputs.generated, inputs.read_generated, inputs.generated_labels)
    key = f"msssim/{inputs.seed}/{inputs.within_classes}"
    if key not in inputs.real_scores:
        inputs.real_scores[key], _ = similarity(inputs.real, inputs.read_real, inputs.real_labels)
    return {f"msssim@{PIXELS}": Score(value, ends, inputs.real_scores[key])}


def _modes(inputs: MetricInputs) -> dict[str, Score]:
    """Of equally many images of each side: more images show more modes."""
    modes, count, name = inputs.modes, min(len(inputs.generated), len(inputs.real)), inputs.extractor.name
    assert modes is not None
    generated, real = (
        diversity.coverage(modes.find(side.first(count), is_real), modes.expected, inputs.seed)
        for side, is_real in ((inputs.generated, False), (inputs.real, True))
    )
    return {
        f"modes@{name}": Score(generated.covered, generated.covered_interval, real.covered, of=len(modes.names)),
        f"modes_kl@{name}": Score(generated.kl, generated.kl_interval, real.kl),
    }


def _w2(inputs: MetricInputs) -> dict[str, Score]:
    generated, real, other_real = (side.double().numpy() for side in _transport_features(inputs))
    value, potential, _, _ = transport.exact_w2(generated, real)
    ends = transport.potential_interval(value, potential, inputs.seed, root=True)
    return {f"w2@{inputs.extractor.name}": Score(value, ends, transport.exact_w2(other_real, real)[0])}


def _sinkhorn(inputs: MetricInputs) -> dict[str, Score]:
    generated, real, other_real = _transport_features(inputs)
    value, potential = transport.sinkhorn_divergence(generated, real)
    ends = transport.potential_interval(value, potential, inputs.seed)
    of_real, _ = transport.sinkhorn_divergence(other_real, real)
    return {f"sinkhorn@{inputs.extractor.name}": Score(value, ends, of_real)}


def _transport_features(inputs: MetricInputs) -> tuple[Tensor, Tensor, Tensor]:
    """Features of equally many generated, real and other real images."""
    count = min(len(inputs.generated), len(inputs.real) // 2, MAX_TRANSPORT_IMAGES)
    real = inputs.real.features
    return inputs.generated.features[:count], real[:count], real[count : 2 * count]


def _memorisation(inputs: MetricInputs) -> dict[str, Score]:
    scores = {}
    for space, test in inputs.nearest_images.copy_tests.items():
        name = PIXELS if space == PIXELS else inputs.extractor.name
        copied = test.copied.astype(np.float64)
        scores[f"copied@{name}"] = Score(float(copied.mean()), fraction_interval(copied), test.expected)
        scores[f"copying_z@{name}"] = Score(test.z, reals=0.0)
    return scores


METRICS = {
    "fd": Metric(_fd, ("fd",)),
    "mind": Metric(_mind, ("mind",)),
    "cdc": Metric(_clipped, ("clipped_density", "clipped_coverage")),
    "kid": Metric(_kid, ("kid",)),
    "is": Metric(_is, ("is",)),
    "pr": Metric(lambda inputs: _neighbourhoods(inputs, ("precision", "recall")), ("precision", "recall")),
    "dc": Metric(lambda inputs: _neighbourhoods(inputs, ("density", "coverage")), ("density", "coverage")),
    "swd": Metric(_swd, ("swd",), PIXELS),
    "msssim": Metric(_ms_ssim, ("msssim",), PIXELS),
    "modes": Metric(_modes, ("modes", "modes_kl")),
    "w2": Metric(_w2, ("w2",)),
    "sinkhorn": Metric(_sinkhorn, ("sinkhorn",)),
    "critic": Metric(critic_scores, ("critic_t", "critic_effect"), "critic"),
    "controls": Metric(control_scores, ("controls",), PIXELS),
    "nn": Metric(_memorisation, ("copied", "copying_z")),
}


def require_metric(name: str, where: str, names: Sequence[str] = tuple(METRICS), also: str = "all") -> None:
    """Raises ConfigError unless `name` is one of the metrics `names`; `also` is another word that users may write."""
    if name in names:
        return
    if match := _NVIDIA.fullmatch(name):
        kantor_name = {"fid": "fd"}.get(match[1], match[1])
        do = f"use {kantor_name}, with the features inception:FILE and a count of 50000"
        raise ConfigError(where, f'unknown metric "{name}"', do)
    metric = next((metric for metric in names if name in METRICS[metric].scores), None)
    do = did_you_mean(name, (*names, also)) or f"choose from: {', '.join(names)}; or {also}"
    raise ConfigError(where, f'unknown metric "{name}"', f"use {metric}" if metric else do)


def score_names(metrics: Sequence[str], extractor: str) -> tuple[str, ...]:
    """Full names of the scores of `metrics`: "fd@kantor-small"."""
    return tuple(f"{score}@{METRICS[name].space or extractor}" for name in metrics for score in METRICS[name].scores)


def metrics_of(scores: Iterable[str]) -> list[str]:
    """The metrics that give scores of these names."""
    kinds = {kind(name) for name in scores}
    return [name for name, metric in METRICS.items() if kinds & {*metric.scores}]


def evaluate(
    inputs: MetricInputs,
    metrics: Sequence[str],
    note: Callable[[str], None] | None = None,
    progress: Progress = silent,
    keep: Callable[[dict[str, Score]], None] = lambda scores: None,
) -> dict[str, Score]:
    """The scores of `metrics`, by name@extractor.

    Args:
        note: called with a line about each metric that is skipped because it cannot be measured; None raises.
        progress: in hundredths of the whole work.
        keep: called with the scores so far, after each metric.
    Raises:
        ConfigError: too few images, or a metric that cannot be measured, before any is measured.
    """
    count = min(len(inputs.generated), len(inputs.real))
    if count < MIN_IMAGES:
        side = "the images to score" if count == len(inputs.generated) else "the real images"
        raise ConfigError(side, f"{count} are too few", f"give {MIN_IMAGES} or more on either side")
    missing = {name: lacks for name in metrics if (lacks := _missing_input(name, inputs))}
    for name, lacks in missing.items():
        if note is None:
            raise ConfigError(f"--metrics {name}", *lacks)
        note(f"{name} is skipped: {lacks[0]}")
    measured = [name for name in metrics if name not in missing]
    work = np.cumsum([0.0, *(_work(name, inputs) for name in measured)])
    scores: dict[str, Score] = {}
    for done, name in enumerate(measured):
        progress(int(100 * work[done] / work[-1]), 100)
        scores |= METRICS[name].measure(inputs)
        keep(dict(scores))
    progress(100, 100)
    return scores


def _work(name: str, inputs: MetricInputs) -> float:
    """About how many seconds a metric takes on one core: for the time left."""
    n, m = (len(side) / 1000 for side in (inputs.generated, inputs.real))
    pairs = min(n, m, MAX_NEIGHBOUR_IMAGES / 1000) ** 2
    seconds = {
        "fd": 0.2 + 0.1 * n,
        "mind": 0.4 * (n + m),
        "cdc": 0.14 * pairs,
        "kid": 0.04 * pairs,
        "pr": 0.14 * pairs,
        "swd": 3.2 * min(n, m / 2, MAX_PAIRED_IMAGES / 1000),
        "msssim": 0.35,
        "nn": 0.3 + 0.2 * (0 if inputs.training is None else len(inputs.training) / 1000),
        "w2": 2.0,
        "sinkhorn": 2.0,
    }
    return seconds.get(name, 0.05)


def _missing_input(name: str, inputs: MetricInputs) -> tuple[str, str] | None:
    """(what metric `name` lacks, what to do); None if it has all it needs."""
    if name == "is" and "classes" not in inputs.extractor.classes:
        return f"{inputs.extractor.name} has no classes", "choose --features kantor-small or inception"
    if name == "modes" and inputs.modes is None:
        return "the modes of these images are unknown", "give images with labels, or leave modes out"
    if name == "nn" and inputs.training is None:
        return "the training images are unknown", "name them with --against, or leave nn out"
    if name == "critic" and inputs.critic is None:
        do = "name a run or a checkpoint, and with --against images of its classes, or leave critic out"
        return "there is no critic for these images", do
    if name == "controls" and inputs.controls is None:
        return "these images were not asked for anything", "name a model trained with --guide, or leave controls out"
    if name in ("swd", "msssim"):
        side, least = min(inputs.read_real(np.zeros(1, np.int64)).shape[1:3]), sliced.SMALLEST
        if side < least:
            return f"the images have sides of {side} pixels", f"give larger ones ({least} or more), or leave it out"
    return None
