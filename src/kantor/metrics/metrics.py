"""One function a score: what it measures of `Material`, and what real images get in the fakes' place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from kantor.metrics import critic, diversity, sliced, transport
from kantor.metrics.bootstrap import counts, interval, mean_interval, share_interval
from kantor.metrics.frechet import frechet
from kantor.metrics.inputs import MOST_PAIRED, Material, Picked
from kantor.metrics.kernel import kid
from kantor.metrics.manifold import neighbourhoods
from kantor.metrics.memorisation import PIXELS
from kantor.metrics.score import Score
from kantor.random import derive
from kantor.registry import Registry

MOST_TRANSPORTED = 500
MOST_COMPARED = 20_000
"""Images on either side whose pairs are looked at: time goes with the square."""

Metric = Callable[[Material], dict[str, Score]]
METRICS: Registry[Metric] = Registry("score")


@METRICS.register("fd")
def _fd(material: Material) -> dict[str, Score]:
    """Two halves of m reals are further apart than n fakes of a perfect generator are from m reals: what is measured of
    halves is bias, which goes with 1 / n + 1 / m."""
    value, ends = frechet(material.fakes.features, material.reals.features, material.seed, material.replicates)
    one, other = (half.features for half in material.halves)
    halves = material.reals_get("fd", lambda: frechet(one, other, replicates=1)[0])
    n, m = len(material.fakes), len(material.reals)
    return {material.key("fd"): Score(value, ends, halves * (1 / n + 1 / m) / (1 / len(one) + 1 / len(other)))}


@METRICS.register("kid")
def _kid(material: Material) -> dict[str, Score]:
    fakes, reals = (side.first(MOST_COMPARED).features for side in (material.fakes, material.reals))
    value, ends = kid(fakes, reals, material.seed, material.replicates)
    one, other = (half.first(MOST_COMPARED).features for half in material.halves)
    return {
        material.key("kid"): Score(value, ends, material.reals_get("kid", lambda: kid(one, other, replicates=1)[0]))
    }


@METRICS.register("is")
def _is(material: Material) -> dict[str, Score]:
    """Of equally many: it grows with their number."""
    count = min(len(material.fakes), len(material.reals))
    fakes, reals = (side.logits["classes"][:count] for side in (material.fakes, material.reals))
    value, ends = diversity.inception_style_score(fakes, material.seed)
    return {material.key("is"): Score(value, ends, diversity.inception_style_score(reals, material.seed)[0])}


@METRICS.register("pr")
def _precision_recall(material: Material) -> dict[str, Score]:
    return _of_neighbourhoods(material, ("precision", "recall"))


@METRICS.register("dc")
def _density_coverage(material: Material) -> dict[str, Score]:
    return _of_neighbourhoods(material, ("density", "coverage"))


def _of_neighbourhoods(material: Material, names: Sequence[str]) -> dict[str, Score]:
    """As many fakes as reals: recall and coverage depend on both numbers."""
    count = min(len(material.fakes), len(material.reals), MOST_COMPARED)
    found = neighbourhoods(material.fakes.first(count).features, material.reals.first(count).features)
    if not {*names} <= material.known.keys():
        one, other = (half.first(MOST_COMPARED).features for half in material.halves)
        material.known.update((name, float(m.mean())) for name, m in neighbourhoods(one, other)._asdict().items())
    scores = {}
    for name in names:
        values = getattr(found, name).numpy()
        shares = name != "density"
        ends = share_interval(values) if shares else mean_interval(values, material.seed, material.replicates, low=0.0)
        scores[material.key(name)] = Score(float(values.mean()), ends, material.known[name])
    return scores


@METRICS.register("swd")
def _swd(material: Material) -> dict[str, Score]:
    count = min(len(material.fakes), len(material.reals) // 2, MOST_PAIRED)
    fakes = Picked(material.pick_fakes, material.fakes.order[:count])
    reals, others = (Picked(material.pick_reals, material.reals.order[i * count : (i + 1) * count]) for i in range(2))
    found, alike = sliced.swd(fakes, reals, material.seed), sliced.swd(others, reals, material.seed)
    scores = {material.key("swd", PIXELS): Score(found.mean, found.interval, alike.mean)}
    for side, value in found.levels.items() if len(found.levels) > 1 else ():
        scores[material.key(f"swd_{side}", PIXELS)] = Score(value, found.intervals[side], alike.levels[side])
    return scores


@METRICS.register("msssim")
def _ms_ssim(material: Material) -> dict[str, Score]:
    """Over pairs of one class where there are classes, and enough of each."""
    sides = (
        (material.fakes, material.pick_fakes, material.fake_labels),
        (material.reals, material.pick_reals, material.real_labels),
    )
    (value, ends), (reals, _) = (
        diversity.pair_similarity(
            Picked(pick, side.order[:MOST_PAIRED]),
            material.seed,
            labels=labels[:MOST_PAIRED] if material.within_classes and labels is not None else None,
        )
        for side, pick, labels in sides
    )
    return {material.key("msssim", PIXELS): Score(value, ends, reals)}


@METRICS.register("modes")
def _modes(material: Material) -> dict[str, Score]:
    """Of equally many: more images show more modes."""
    modes, count = material.modes, min(len(material.fakes), len(material.reals))
    assert modes is not None
    found, alike = (
        diversity.coverage(modes.find(side.first(count), own), len(modes.names), modes.expected, material.seed)
        for side, own in ((material.fakes, False), (material.reals, True))
    )
    return {
        material.key("modes"): Score(found.covered, found.covered_interval, alike.covered, of=len(modes.names)),
        material.key("modes_kl"): Score(found.kl, found.kl_interval, alike.kl),
    }


@METRICS.register("w2")
def _w2(material: Material) -> dict[str, Score]:
    fakes, reals, others = (one.double().numpy() for one in _few(material))
    value, potential, _, _ = transport.exact_w2(fakes, reals)
    ends = transport.potential_interval(value, potential, material.seed, root=True)
    return {material.key("w2"): Score(value, ends, transport.exact_w2(others, reals)[0])}


@METRICS.register("sinkhorn")
def _sinkhorn(material: Material) -> dict[str, Score]:
    fakes, reals, others = _few(material)
    value, potential = transport.sinkhorn_divergence(fakes, reals)
    ends = transport.potential_interval(value, potential, material.seed)
    return {material.key("sinkhorn"): Score(value, ends, transport.sinkhorn_divergence(others, reals)[0])}


def _few(material: Material) -> tuple[Tensor, Tensor, Tensor]:
    """Features of equally many fakes, reals and other reals."""
    count = min(len(material.fakes), len(material.reals) // 2, MOST_TRANSPORTED)
    reals = material.reals.features
    return material.fakes.features[:count], reals[:count], reals[count : 2 * count]


@METRICS.register("critic")
def _critic(material: Material) -> dict[str, Score]:
    scored = material.critic
    assert scored is not None
    test = critic.t_test(scored.reals, scored.fakes)
    alike = critic.t_test(scored.reals[::2], scored.reals[1::2])
    found = {
        "critic_t@critic": Score(test.t, reals=alike.t),
        "critic_effect@critic": Score(test.effect, reals=alike.effect),
    }
    if scored.held_out is not None and len(scored.held_out) > 1:
        gap = float(scored.reals.mean() - scored.held_out.mean())
        learnt, held = (
            counts(len(side), derive(material.seed, name)) @ side / len(side)
            for name, side in (("learnt", scored.reals), ("held", scored.held_out))
        )
        found["held_out_gap@critic"] = Score(gap, interval(gap, learnt - held), 0.0)
    return found


@METRICS.register("nn")
def _memorised(material: Material) -> dict[str, Score]:
    found = {}
    for space, judged in material.memory.judged.items():
        where = PIXELS if space == PIXELS else material.extractor.name
        share = judged.copied.astype(np.float64)
        found[material.key("copied", where)] = Score(float(share.mean()), share_interval(share), judged.expected)
        found[material.key("copying_z", where)] = Score(judged.z, reals=0.0)
    return found
