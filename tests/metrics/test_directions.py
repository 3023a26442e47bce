"""Every score changes in the right direction on image sets that are damaged in a known way."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from kantor.data.sources.glyphs import HUES, LETTERS, Glyphs, render
from kantor.metrics import inputs as metric_inputs
from kantor.metrics.evaluate import METRICS, evaluate
from kantor.metrics.extractors import extractor
from kantor.metrics.features import ImageFeatures, extract
from kantor.metrics.inputs import CriticScores, MetricInputs
from kantor.metrics.modes import modes_by_classifiers, modes_by_neighbours
from kantor.metrics.precision_recall import Neighbourhoods, neighbourhoods
from kantor.metrics.score import Score

N = 500
Images = np.ndarray


@lru_cache
def glyphs(seed: int, letters: str = LETTERS, hues: tuple[str, ...] = tuple(HUES), count: int = N) -> Images:
    source, found, index = Glyphs(10**6, seed), [], 0
    while len(found) < count:
        shown = source.parameters(index)
        index += 1
        if shown.letter in letters and shown.hue in hues:
            found.append(render(shown, 32, 32))
    return np.stack(found)


@lru_cache
def features_of(kind: str, *more: object) -> tuple[ImageFeatures, Images]:
    images = SETS[kind](*more)
    return extract([images], extractor("kantor-small")), images


def blurred(radius: float) -> Images:
    return np.stack([np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(radius))) for p in glyphs(1)])


def noisy(sigma: float, seed: int = 1) -> Images:
    noise = np.random.default_rng(0).normal(0, sigma, (N, 32, 32, 3))
    return (glyphs(seed) + noise).round().clip(0, 255).astype(np.uint8)


SETS = {
    "reals": lambda: glyphs(0),
    "fresh": lambda: glyphs(1),
    "blurred": blurred,
    "noisy": noisy,
    "lacking": lambda letters: glyphs(1, LETTERS[:letters]),
    "collapsed": lambda: glyphs(1, "A", ("red",)),
    "one": lambda: np.repeat(glyphs(1)[:1], N, 0),
    "copies": lambda: noisy(2, seed=0),
    "held": lambda: glyphs(2),
}


def inputs_of(fakes: ImageFeatures, images: Images, held: bool = False) -> MetricInputs:
    """Against the real images, which are the training set too."""
    reals, theirs = features_of("reals")
    return MetricInputs(
        extractor("kantor-small"),
        fakes,
        reals,
        lambda places: images[places],
        lambda places: theirs[places],
        training=reals,
        held_out=features_of("held")[0] if held else None,
        modes=modes_by_classifiers(extractor("kantor-small"), ("letter", "hue"), "letter x hue"),
    )


def measured(metrics: str, kind: str, *more: object, held: bool = False) -> dict[str, Score]:
    found = evaluate(inputs_of(*features_of(kind, *more), held), metrics.split(","))
    return {name.partition("@")[0] + ("@pixels" * name.endswith("copied@pixels")): one for name, one in found.items()}


def value(metrics: str, name: str, kind: str, *more: object) -> float:
    return measured(metrics, kind, *more)[name].value


@pytest.mark.parametrize("metric", ["fd", "mind", "kid", "w2", "sinkhorn"])
def test_distances_grow_with_damage(metric: str) -> None:
    fresh = value(metric, metric, "fresh")
    for kind, strengths in (("blurred", (0.7, 1.5, 3.0)), ("noisy", (20, 40, 70)), ("lacking", (30, 18, 6))):
        found = [value(metric, metric, kind, strength) for strength in strengths]
        assert fresh < found[0] < found[1] < found[2], (kind, fresh, found)
    assert value(metric, metric, "one") > (10 if metric in ("fd", "mind", "kid") else 1.4) * max(fresh, 0)


@pytest.mark.parametrize("metric", ["fd", "mind", "kid", "w2", "sinkhorn", "swd"])
def test_fresh_images_score_like_real_images(metric: str) -> None:
    found = measured(metric, "fresh")[metric]
    other = measured(metric, "collapsed")[metric]
    assert found.reals is not None and found.interval is not None
    assert abs(found.value - found.reals) < (0.1 if metric == "swd" else 0.05) * (other.value - found.reals)
    assert found.interval[0] <= found.value <= found.interval[1]


@pytest.mark.parametrize(("fakes", "reals"), [(500, 500), (120, 500), (500, 120)])
def test_score_of_real_images_is_that_of_a_perfect_generator(fakes: int, reals: int) -> None:
    """The distance of fresh images is all bias, which goes with the numbers on both sides."""
    fresh, images = features_of("fresh")
    other, theirs = features_of("reals")
    inputs = MetricInputs(
        extractor("kantor-small"), fresh.first(fakes), other.first(reals), lambda i: images[i], lambda i: theirs[i],
        modes=modes_by_classifiers(extractor("kantor-small"), ("letter", "hue"), ""), replicates=2,
    )  # fmt: skip
    found = evaluate(inputs, ["fd", "mind", "is", "modes"])
    for name, tolerance in (("fd", 0.2), ("mind", 0.25), ("is", 0.2), ("modes", 0.15)):
        score = found[f"{name}@kantor-small"]
        assert score.value == pytest.approx(score.reals, rel=tolerance), name


def test_held_out_gap_has_the_interval_of_two_means() -> None:
    rng = np.random.default_rng(0)
    critic = CriticScores(rng.normal(0, 2, 400), rng.normal(-1, 1, 400), rng.normal(-0.5, 2, 400))
    fresh, _ = features_of("fresh")
    inputs = MetricInputs(
        extractor("kantor-small"),
        fresh,
        fresh,
        lambda i: SETS["fresh"]()[i],
        lambda i: SETS["fresh"]()[i],
        critic=critic,
    )
    found = evaluate(inputs, ["critic"])["held_out_gap@critic"]
    assert found.value == pytest.approx(0.5, abs=0.4) and found.interval is not None
    half = 1.96 * np.hypot(critic.training.std(), critic.held_out.std()) / 20
    assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(half, rel=0.2)


def test_distance_of_a_set_to_itself_is_zero() -> None:
    found = measured("fd,mind,kid", "reals")
    assert found["mind"].value == pytest.approx(0, abs=1e-9)
    assert found["fd"].value == pytest.approx(0, abs=1e-4)
    assert found["kid"].value < 0  # unbiased: less than chance would give


def test_finest_level_of_swd_reacts_to_fine_detail() -> None:
    fresh = measured("swd", "fresh")
    blur, noise = measured("swd", "blurred", 1.0), measured("swd", "noisy", 30)
    for spoilt in (blur, noise):
        assert spoilt["swd_32"].value > 2 * fresh["swd_32"].value
    assert noise["swd_32"].value - fresh["swd_32"].value > noise["swd_16"].value - fresh["swd_16"].value


def test_collapse_lowers_recall_and_noise_lowers_precision() -> None:
    fresh, collapsed = measured("pr,dc", "fresh"), measured("pr,dc", "collapsed")
    noise = measured("pr,dc", "noisy", 60)
    assert collapsed["precision"].value > 0.8 * fresh["precision"].value
    assert collapsed["recall"].value < 0.2 < 0.6 < fresh["recall"].value
    assert collapsed["coverage"].value < 0.3 < fresh["coverage"].value
    assert (
        noise["precision"].value < 0.5 * fresh["precision"].value
        and noise["density"].value < 0.5 * fresh["density"].value
    )


def test_clipped_density_and_coverage_fall_apart() -> None:
    fresh, collapsed, noise = (measured("cdc", *kind) for kind in (("fresh",), ("collapsed",), ("noisy", 60)))
    for name in ("clipped_density", "clipped_coverage"):
        assert fresh[name].value > 0.9 and fresh[name].value == pytest.approx(fresh[name].reals, abs=0.1)
        assert 0 <= fresh[name].interval[0] <= fresh[name].value <= fresh[name].interval[1] <= 1
        assert noise[name].value < 0.4
    assert collapsed["clipped_density"].value > 0.8 and collapsed["clipped_coverage"].value < 0.2


def test_msssim_rises_with_collapse() -> None:
    fresh, collapsed = measured("msssim", "fresh")["msssim"], measured("msssim", "collapsed")["msssim"]
    assert collapsed.value > fresh.value + 0.1
    assert fresh.value == pytest.approx(fresh.reals, abs=0.05)
    assert measured("msssim", "one")["msssim"].value == pytest.approx(1, abs=1e-4)


def test_missing_modes_are_counted() -> None:
    fresh, half = measured("modes", "fresh"), measured("modes", "lacking", 18)
    assert fresh["modes"].of == 36 * 12
    assert half["modes"].value < 0.75 * fresh["modes"].value
    assert (
        half["modes_kl"].value > fresh["modes_kl"].value + 0.3
    )  # half of the letters: log 2 more, but for what is mistaken
    assert measured("modes", "one")["modes"].value == 1


def test_modes_by_nearest_real_images() -> None:
    reals, _ = features_of("reals")
    source = Glyphs(N, 0)
    labels = np.asarray([LETTERS.index(source.parameters(int(i)).letter) for i in reals.order])
    modes = modes_by_neighbours(reals, labels, LETTERS, np.full(36, 1 / 36))
    fresh, _ = features_of("fresh")
    other = Glyphs(N, 1)
    truth = np.asarray([LETTERS.index(other.parameters(int(i)).letter) for i in fresh.order])
    assert np.mean(modes.find(fresh, False) == truth) > 0.7  # of 36


def test_precision_recall_density_and_coverage_share_their_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = measured("pr", "fresh") | measured("dc", "fresh") | measured("cdc", "fresh")
    computed: list[Neighbourhoods] = []

    def once(generated: torch.Tensor, real: torch.Tensor) -> Neighbourhoods:
        computed.append(neighbourhoods(generated, real))
        return computed[-1]

    monkeypatch.setattr(metric_inputs, "neighbourhoods", once)
    assert measured("pr,dc,cdc", "fresh") == alone and len(computed) == 1


@pytest.mark.parametrize("held", [False, True])
def test_copies_are_found(held: bool) -> None:
    copies, fresh = measured("nn", "copies", held=held), measured("nn", "fresh", held=held)
    assert copies["copied@pixels"].value > 0.95 and copies["copied"].value > 0.5
    assert copies["copying_z"].value < -10
    assert fresh["copied@pixels"].value < 0.05 and fresh["copied"].value < 0.05
    assert abs(fresh["copying_z"].value) < 5


def test_every_metric_is_tested_here() -> None:
    assert {*METRICS} - {"is", "critic", "controls"} == {
        "fd",
        "mind",
        "cdc",
        "kid",
        "pr",
        "dc",
        "swd",
        "msssim",
        "nn",
        "modes",
        "w2",
        "sinkhorn",
    }


def test_confident_and_diverse_classes_score_high() -> None:
    fresh, noise, one = (measured("is", *kind)["is"].value for kind in (("fresh",), ("noisy", 80), ("one",)))
    assert fresh > noise > one == pytest.approx(1)


def test_scores_do_not_depend_on_order_or_batches() -> None:
    names = "fd,kid,pr,dc,swd,msssim,nn,modes,w2,sinkhorn,is"
    once = measured(names, "fresh")
    images = glyphs(1)[::-1]
    again = extract(np.array_split(images, 11), extractor("kantor-small"))
    inputs = inputs_of(again, images)
    torch.manual_seed(99)  # nothing comes from torch's global generator
    found = evaluate(inputs, names.split(","))
    for name, score in found.items():
        short = name.partition("@")[0] + ("@pixels" * name.endswith("copied@pixels"))
        if "copying" not in short and short != "copied":
            assert score.value == pytest.approx(once[short].value, rel=1e-5, abs=1e-7), name
            assert score.interval == pytest.approx(once[short].interval, rel=1e-4, abs=1e-6), name
