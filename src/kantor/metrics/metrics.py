"""One function per metric: its scores from `MetricInputs`, each with what real images score in place of generated ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from kantor.metrics import critic, diversity, sliced, transport
from kantor.metrics.bootstrap import counts, interval, mean_interval, share_interval
from kantor.metrics.frechet import frechet
from kantor.metrics.inputs import MAX_PAIRED_IMAGES, MetricInputs, OrderedImages
from kantor.metrics.kernel import kid
from kantor.metrics.memorisation import PIXELS
from kantor.metrics.precision_recall import neighbourhoods
from kantor.metrics.score import Score
from kantor.random import derive
from kantor.registry import Registry

MAX_TRANSPORT_IMAGES = 500
MAX_NEIGHBOUR_IMAGES = 20_000
"""Images of each side that pairwise distances are computed of, at most: time grows with the square."""

Metric = Callable[[MetricInputs], dict[str, Score]]
METRICS: Registry[Metric] = Registry("score")


@METRICS.register("fd")
def _fd(inputs: MetricInputs) -> dict[str, Score]:
    """The distance of two halves is all bias, which is proportional to 1/n + 1/m: it is scaled to n and m."""
    value, ends = frechet(inputs.generated.features, inputs.real.features, inputs.seed, inputs.replicates)
    a, b = (half.features for half in inputs.halves)
    of_halves = inputs.real_score("fd", lambda: frechet(a, b, replicates=1)[0])
    n, m = len(inputs.generated), len(inputs.real)
    return {inputs.score_name("fd"): Score(value, ends, of_halves * (1 / n + 1 / m) / (1 / len(a) + 1 / len(b)))}


@METRICS.register("kid")
def _kid(inputs: MetricInputs) -> dict[str, Score]:
    generated, real = (side.first(MAX_NEIGHBOUR_IMAGES).features for side in (inputs.generated, inputs.real))
    value, ends = kid(generated, real, inputs.seed, inputs.replicates)
    a, b = (half.first(MAX_NEIGHBOUR_IMAGES).features for half in inputs.halves)
    of_halves = inputs.real_score("kid", lambda: kid(a, b, replicates=1)[0])
    return {inputs.score_name("kid"): Score(value, ends, of_halves)}


@METRICS.register("is")
def _is(inputs: MetricInputs) -> dict[str, Score]:
    """Of equally many images of each side: the score grows with their number."""
    count = min(len(inputs.generated), len(inputs.real))
    generated, real = (side.logits["classes"][:count] for side in (inputs.generated, inputs.real))
    value, ends = diversity.inception_style_score(generated, inputs.seed)
    return {inputs.score_name("is"): Score(value, ends, diversity.inception_style_score(real, inputs.seed)[0])}


@METRICS.register("pr")
def _precision_recall(inputs: MetricInputs) -> dict[str, Score]:
    return _from_neighbourhoods(inputs, ("precision", "recall"))


@METRICS.register("dc")
def _density_coverage(inputs: MetricInputs) -> dict[str, Score]:
    return _from_neighbourhoods(inputs, ("density", "coverage"))


def _from_neighbourhoods(inputs: MetricInputs, names: Sequence[str]) -> dict[str, Score]:
    """Of equally many images of each side: recall and coverage depend on both numbers."""
    count = min(len(inputs.generated), len(inputs.real), MAX_NEIGHBOUR_IMAGES)
    memberships = neighbourhoods(inputs.generated.first(count).features, inputs.real.first(count).features)
    if not {*names} <= inputs.real_scores.keys():
        a, b = (half.first(MAX_NEIGHBOUR_IMAGES).features for half in inputs.halves)
        inputs.real_scores.update((name, float(v.mean())) for name, v in neighbourhoods(a, b)._asdict().items())
    scores = {}
    for name in names:
        values = getattr(memberships, name).numpy()
        if name == "density":
            ends = mean_interval(values, inputs.seed, inputs.replicates, low=0.0)
        else:
            ends = share_interval(values)
        scores[inputs.score_name(name)] = Score(float(values.mean()), ends, inputs.real_scores[name])
    return scores


@METRICS.register("swd")
def _swd(inputs: MetricInputs) -> dict[str, Score]:
    count = min(len(inputs.generated), len(inputs.real) // 2, MAX_PAIRED_IMAGES)
    generated = OrderedImages(inputs.read_generated, inputs.generated.order[:count])
    real = OrderedImages(inputs.read_real, inputs.real.order[:count])
    other_real = OrderedImages(inputs.read_real, inputs.real.order[count : 2 * count])
    distances, of_real = sliced.swd(generated, real, inputs.seed), sliced.swd(other_real, real, inputs.seed)
    scores = {inputs.score_name("swd", PIXELS): Score(distances.mean, distances.interval, of_real.mean)}
    if len(distances.levels) > 1:
        for side, value in distances.levels.items():
            score = Score(value, distances.intervals[side], of_real.levels[side])
            scores[inputs.score_name(f"swd_{side}", PIXELS)] = score
    return scores


@METRICS.register("msssim")
def _ms_ssim(inputs: MetricInputs) -> dict[str, Score]:
    """Over pairs of one class if both sides have the same classes, and enough images of each."""
    sides = (
        (inputs.generated, inputs.read_generated, inputs.generated_labels),
        (inputs.real, inputs.read_real, inputs.real_labels),
    )
    (value, ends), (of_real, _) = (
        diversity.pair_similarity(
            OrderedImages(read, side.order[:MAX_PAIRED_IMAGES]),
            inputs.seed,
            labels=labels[:MAX_PAIRED_IMAGES] if inputs.within_classes and labels is not None else None,
        )
        for side, read, labels in sides
    )
    return {inputs.score_name("msssim", PIXELS): Score(value, ends, of_real)}


@METRICS.register("modes")
def _modes(inputs: MetricInputs) -> dict[str, Score]:
    """Of equally many images of each side: more images show more modes."""
    modes, count = inputs.modes, min(len(inputs.generated), len(inputs.real))
    assert modes is not None
    generated, real = (
        diversity.coverage(modes.find(side.first(count), is_real), len(modes.names), modes.expected, inputs.seed)
        for side, is_real in ((inputs.generated, False), (inputs.real, True))
    )
    return {
        inputs.score_name("modes"): Score(
            generated.covered, generated.covered_interval, real.covered, of=len(modes.names)
        ),
        inputs.score_name("modes_kl"): Score(generated.kl, generated.kl_interval, real.kl),
    }


@METRICS.register("w2")
def _w2(inputs: MetricInputs) -> dict[str, Score]:
    generated, real, other_real = (side.double().numpy() for side in _transport_features(inputs))
    value, potential, _, _ = transport.exact_w2(generated, real)
    ends = transport.potential_interval(value, potential, inputs.seed, root=True)
    return {inputs.score_name("w2"): Score(value, ends, transport.exact_w2(other_real, real)[0])}


@METRICS.register("sinkhorn")
def _sinkhorn(inputs: MetricInputs) -> dict[str, Score]:
    generated, real, other_real = _transport_features(inputs)
    value, potential = transport.sinkhorn_divergence(generated, real)
    ends = transport.potential_interval(value, potential, inputs.seed)
    return {inputs.score_name("sinkhorn"): Score(value, ends, transport.sinkhorn_divergence(other_real, real)[0])}


def _transport_features(inputs: MetricInputs) -> tuple[Tensor, Tensor, Tensor]:
    """Features of equally many generated, real and other real images."""
    count = min(len(inputs.generated), len(inputs.real) // 2, MAX_TRANSPORT_IMAGES)
    real = inputs.real.features
    return inputs.generated.features[:count], real[:count], real[count : 2 * count]


@METRICS.register("critic")
def _critic(inputs: MetricInputs) -> dict[str, Score]:
    critic_scores = inputs.critic
    assert critic_scores is not None
    training, held_out = critic_scores.training, critic_scores.held_out
    test = critic.t_test(training, critic_scores.generated)
    of_real = critic.t_test(training[::2], training[1::2])
    scores = {
        "critic_t@critic": Score(test.t, reals=of_real.t),
        "critic_effect@critic": Score(test.effect, reals=of_real.effect),
    }
    if held_out is not None and len(held_out) > 1:
        gap = float(training.mean() - held_out.mean())
        training_means, held_out_means = (
            counts(len(side), derive(inputs.seed, purpose)) @ side / len(side)
            for purpose, side in (("learnt", training), ("held", held_out))
        )
        scores["held_out_gap@critic"] = Score(gap, interval(gap, training_means - held_out_means), 0.0)
    return scores


@METRICS.register("nn")
def _memorisation(inputs: MetricInputs) -> dict[str, Score]:
    scores = {}
    for space, test in inputs.nearest_images.copy_tests.items():
        name = PIXELS if space == PIXELS else inputs.extractor.name
        copied = test.copied.astype(np.float64)
        scores[inputs.score_name("copied", name)] = Score(float(copied.mean()), share_interval(copied), test.expected)
        scores[inputs.score_name("copying_z", name)] = Score(test.z, reals=0.0)
    return scores
