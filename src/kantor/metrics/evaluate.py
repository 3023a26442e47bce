"""The scores by name: which numbers each gives, and what it needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kantor.errors import ConfigError, nearest
from kantor.metrics import critic, diversity, sliced, transport
from kantor.metrics.bootstrap import REPLICATES, counts, interval, mean_interval
from kantor.metrics.features import Extractor, Pictures
from kantor.metrics.frechet import frechet
from kantor.metrics.gather import Gathered
from kantor.metrics.kernel import kid
from kantor.metrics.manifold import COVERAGE_K, neighbourhoods
from kantor.metrics.memorising import PIXELS, Memory, remember
from kantor.metrics.modes import Modes
from kantor.metrics.score import Score
from kantor.registry import Registry

MOST_TRANSPORTED = 500
MOST_SLICED = 2048
FEWEST = 2 * (COVERAGE_K + 1)
"""Pictures on either side below which nothing is scored."""

Pick = Callable[[NDArray[np.int64]], Pictures]


@dataclass(frozen=True)
class CriticScores:
    """What a critic makes of pictures that it learnt from, drawn ones, and real ones that it never saw (or None)."""

    reals: NDArray[np.float64]
    fakes: NDArray[np.float64]
    held_out: NDArray[np.float64] | None


@dataclass(frozen=True)
class Material:
    """All that scores are made of.

    Attributes:
        fakes, reals: pictures drawn, and those of the reference.
        pick_fakes, pick_reals: whole pictures, by their place in the stream that was gathered.
        fake_labels, real_labels: int64, of the rows of fakes and reals; None where there are no classes.
        training: all pictures that may have been copied; None where they are not known.
        held_out: real pictures that the generator did not learn from.
        modes: of the reference, where they are known.
        critic: its scores, where there is one.
        seed: of resampling and of random directions, pairs and places.
        replicates: resampled sets behind an interval.
        known: what the reals get, by name of the number: filled by the first evaluation, for the next ones of the same
            reals.
    """

    extractor: Extractor
    fakes: Gathered
    reals: Gathered
    pick_fakes: Pick
    pick_reals: Pick
    fake_labels: NDArray[np.int64] | None = None
    real_labels: NDArray[np.int64] | None = None
    training: Gathered | None = None
    held_out: Gathered | None = None
    modes: Modes | None = None
    critic: CriticScores | None = None
    seed: int = 0
    replicates: int = REPLICATES
    known: dict[str, float] = field(default_factory=dict)

    def reals_get(self, name: str, measure: Callable[[], float]) -> float:
        """What `measure` gives, once for these reals."""
        if name not in self.known:
            self.known[name] = measure()
        return self.known[name]

    @cached_property
    def halves(self) -> tuple[Gathered, Gathered]:
        """The reals as two sets: what a score makes of these is the best that a generator can hope for."""
        half = len(self.reals) // 2
        return self.reals.rows(slice(0, half)), self.reals.rows(slice(half, 2 * half))

    @cached_property
    def memory(self) -> Memory:
        """Distances to nearest pictures."""
        assert self.training is not None
        return remember(self.fakes, self.training, self.held_out, self.seed)

    def key(self, name: str, space: str = "") -> str:
        return f"{name}@{space or self.extractor.name}"


Metric = Callable[[Material], dict[str, Score]]
METRICS: Registry[Metric] = Registry("score")
NUMBERS = {
    "fd": ("fd",),
    "kid": ("kid",),
    "is": ("is",),
    "pr": ("precision", "recall"),
    "dc": ("density", "coverage"),
    "swd": ("swd",),
    "msssim": ("msssim",),
    "nn": ("copied", "copying_z"),
    "modes": ("modes", "modes_kl"),
    "w2": ("w2",),
    "sinkhorn": ("sinkhorn",),
    "critic": ("critic_t", "critic_effect"),
}
"""What each gives, but for more of the same kind."""
_SPACES = {"swd": PIXELS, "msssim": PIXELS, "critic": "critic"}
USUAL = ("fd", "kid", "pr", "dc", "swd", "msssim", "nn", "modes", "critic")
"""What is measured where nothing is asked for: all of these that can be."""


_NVIDIA = re.compile(r"(fid|kid|pr|is)\d+k\d?(_full)?")


def known(name: str, where: str) -> None:
    """Raises ConfigError unless there is a score of this name."""
    if name in METRICS:
        return
    if match := _NVIDIA.fullmatch(name):
        ours = {"fid": "fd"}.get(match[1], match[1])
        do = f"its word here is {ours}, with the features inception:FILE and a count of 50000"
        raise ConfigError(where, f'there is no score "{name}"', do)
    raise ConfigError(where, f'there is no score "{name}"', nearest(name, METRICS))


def columns(metrics: Sequence[str], extractor: str) -> tuple[str, ...]:
    """The numbers of `metrics` by their whole names: "fd@kantor-small"."""
    return tuple(f"{number}@{_SPACES.get(name, extractor)}" for name in metrics for number in NUMBERS[name])


def evaluate(material: Material, metrics: Sequence[str], note: Callable[[str], None] | None = None) -> dict[str, Score]:
    """The numbers of `metrics`, by name@extractor.

    Args:
        note: called with a line about each metric that cannot be measured, which is left out; None raises.
    Raises:
        ConfigError: too few pictures, an unknown metric, or one that cannot be measured.
    """
    few = min(len(material.fakes), len(material.reals))
    if few < FEWEST:
        raise ConfigError(
            "--count", f"{few} pictures are too few to be scored", f"give {FEWEST} or more on either side"
        )
    found: dict[str, Score] = {}
    for name in metrics:
        measure = METRICS[name]
        if missing := lacking(name, material):
            if note is None:
                raise ConfigError(f"--metrics {name}", *missing)
            note(f"{name} is left out: {missing[0]}")
            continue
        found |= measure(material)
    return found


def lacking(name: str, material: Material) -> tuple[str, str] | None:
    """What `name` needs and does not have, and what to do; None where it has all."""
    sides = min(material.pick_reals(np.zeros(1, np.int64)).shape[1:3])
    if name == "is" and "classes" not in material.extractor.classes:
        return f"{material.extractor.name} tells no classes apart", "choose --features kantor-small or inception"
    if name == "modes" and material.modes is None:
        return "the modes of these pictures are not known", "give pictures with labels, or leave modes out"
    if name == "nn" and material.training is None:
        return "the pictures that were learnt from are not known", "name them with --against, or leave nn out"
    if name == "critic" and material.critic is None:
        return "there is no critic at hand", "name a run or a checkpoint, which keeps it, or leave critic out"
    if name in ("swd", "msssim") and sides < 16:
        return f"the pictures have sides of {sides}", "give larger ones (16 or more), or leave it out"
    return None


@METRICS.register("fd")
def _fd(material: Material) -> dict[str, Score]:
    value, ends = frechet(material.fakes.features, material.reals.features, material.seed, material.replicates)
    one, other = (half.features for half in material.halves)
    alike = material.reals_get("fd", lambda: frechet(one, other, replicates=1)[0])
    return {material.key("fd"): Score(value, ends, alike)}


@METRICS.register("kid")
def _kid(material: Material) -> dict[str, Score]:
    value, ends = kid(material.fakes.features, material.reals.features, material.seed, material.replicates)
    one, other = (half.features for half in material.halves)
    alike = material.reals_get("kid", lambda: kid(one, other, replicates=1)[0])
    return {material.key("kid"): Score(value, ends, alike)}


@METRICS.register("is")
def _is(material: Material) -> dict[str, Score]:
    value, ends = diversity.inception_style_score(material.fakes.logits["classes"], material.seed)
    reals, _ = diversity.inception_style_score(material.reals.logits["classes"], material.seed)
    return {material.key("is"): Score(value, ends, reals)}


@METRICS.register("pr")
def _precision_recall(material: Material) -> dict[str, Score]:
    return _of_neighbourhoods(material, ("precision", "recall"))


@METRICS.register("dc")
def _density_coverage(material: Material) -> dict[str, Score]:
    return _of_neighbourhoods(material, ("density", "coverage"))


def _of_neighbourhoods(material: Material, names: Sequence[str]) -> dict[str, Score]:
    """As many fakes as reals: recall and coverage depend on both numbers."""
    count = min(len(material.fakes), len(material.reals))
    found = neighbourhoods(material.fakes.first(count).features, material.reals.first(count).features)
    if not {*names} <= material.known.keys():
        one, other = (half.features for half in material.halves)
        material.known.update((name, float(m.mean())) for name, m in neighbourhoods(one, other)._asdict().items())
    scores = {}
    for name in names:
        values = getattr(found, name).numpy()
        ends = mean_interval(values, material.seed, material.replicates)
        scores[material.key(name)] = Score(float(values.mean()), ends, material.known[name])
    return scores


@METRICS.register("swd")
def _swd(material: Material) -> dict[str, Score]:
    count = min(len(material.fakes), len(material.reals) // 2, MOST_SLICED)
    fakes = material.pick_fakes(material.fakes.order[:count])
    reals, others = (material.pick_reals(material.reals.order[i * count : (i + 1) * count]) for i in range(2))
    found, alike = sliced.swd(fakes, reals, material.seed), sliced.swd(others, reals, material.seed)
    scores = {material.key("swd", PIXELS): Score(found.mean, found.interval, alike.mean)}
    for side, value in found.levels.items():
        scores[material.key(f"swd_{side}", PIXELS)] = Score(value, found.intervals[side], alike.levels[side])
    return scores


@METRICS.register("msssim")
def _ms_ssim(material: Material) -> dict[str, Score]:
    """Mean over pairs of drawn pictures, of the same class where there are classes."""
    labelled = material.fake_labels is not None and material.real_labels is not None
    sets = (
        (material.fakes, material.pick_fakes, material.fake_labels),
        (material.reals, material.pick_reals, material.real_labels),
    )
    values = []
    for pictures, pick, labels in sets:
        rows = pictures.order[:MOST_SLICED]
        classes = labels[: len(rows)] if labelled and labels is not None else None
        values.append(diversity.pair_similarity(pick(rows), material.seed, labels=classes))
    fakes, reals = values
    return {
        material.key("msssim", PIXELS): Score(
            float(fakes.mean()), mean_interval(fakes, material.seed), float(reals.mean())
        )
    }


@METRICS.register("modes")
def _modes(material: Material) -> dict[str, Score]:
    modes = material.modes
    assert modes is not None
    found = diversity.coverage(modes.find(material.fakes), len(modes.names), modes.expected, material.seed)
    alike = diversity.coverage(
        modes.find(material.reals.first(len(material.fakes))), len(modes.names), modes.expected, material.seed
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
        resampled = [counts(len(side), material.seed) @ side / len(side) for side in (scored.reals, scored.held_out)]
        found["critic_gap@critic"] = Score(gap, interval(gap, resampled[0] - resampled[1]))
    return found


@METRICS.register("nn")
def _memorised(material: Material) -> dict[str, Score]:
    found = {}
    for space, judged in material.memory.judged.items():
        share = judged.copied.astype(np.float64)
        space = PIXELS if space == PIXELS else material.extractor.name
        found[material.key("copied", space)] = Score(float(share.mean()), mean_interval(share, material.seed), 0.01)
        found[material.key("copying_z", space)] = Score(judged.z, reals=0.0)
    return found
