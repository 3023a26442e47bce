"""Scores during training: cheap, and of the same images every time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from kantor.app.evaluation.features import DEFAULT, SECOND, interleaved, merged_provenance
from kantor.app.evaluation.image_sets import (
    FIRST_TRAINING_SEED,
    GeneratedImages,
    RealImages,
    choose_images,
    extract_features,
    first_images,
    sample_labels,
)
from kantor.app.evaluation.modes import find_modes, provenance, with_mode_classifiers
from kantor.app.evaluation.options import feature_names
from kantor.config.schema import Config
from kantor.data.loading.image_set import ImageSet
from kantor.engine.events import Scored
from kantor.errors import ConfigError, UserError
from kantor.metrics.efficientnet_lite import available
from kantor.metrics.evaluate import METRICS, evaluate, require_metric, score_names
from kantor.metrics.extractors import extractor
from kantor.metrics.features import Extractor, ImageFeatures
from kantor.metrics.frechet import frechet_of_few
from kantor.metrics.inputs import MetricInputs
from kantor.metrics.modes import Modes
from kantor.metrics.score import BETTER, Score, kind
from kantor.types import ImageSpec

NOT_WHILE_TRAINING = ("nn", "critic", "controls")
"""Metrics for `kantor evaluate` only: nn is slow, critic scores change their meaning while the critic trains, and controls say nothing
of quality."""
REPLICATES = 50
"""Resampled sets behind an interval: a quarter of those of `kantor evaluate`."""


class ScorePlan(NamedTuple):
    """What to measure, checked before a run directory is made.

    Attributes:
        names: of the scores: "fd@kantor-small".
        best: name of the score that chooses the best checkpoint; "" keeps the newest.
        judging: metrics measured besides, for events.jsonl alone: whether a score may choose depends on them.
        second: extractor of a second opinion on candidates; "" for none.
    """

    metrics: tuple[str, ...]
    networks: tuple[Extractor, ...]
    names: tuple[str, ...]
    best: str
    judging: tuple[str, ...] = ()
    second: str = ""


def plan_scores(config: Config, device: torch.device) -> ScorePlan | None:
    """What `config.score` asks for; None for no metrics.

    Raises:
        ConfigError: an unknown metric or network; ModelError, ResourceError: its weights cannot be loaded.
    """
    score = config.score
    if not score.metrics:
        return None
    where, measurable = "--metrics", [name for name in METRICS if name not in NOT_WHILE_TRAINING]
    for name in score.metrics:
        if name in NOT_WHILE_TRAINING:
            do = f"leave it out, and measure it afterwards: kantor evaluate RUN --metrics {name}"
            raise ConfigError(where, f"{name} is not measured during training", do)
        require_metric(name, where, measurable, "none")
    networks = tuple(extractor(name, device) for name in feature_names(score.features))
    if not networks:
        raise ConfigError("score.features", "names no network", "write for example kantor-small")
    names = tuple(dict.fromkeys(name for network in networks for name in score_names(score.metrics, network.name)))
    ranked = [name for name in names if kind(name) in BETTER]
    choices = {"none": "", "auto": next(iter(ranked), "")}
    choices |= {name: name for name in ranked} | {kind(name): name for name in reversed(ranked)}
    if score.best not in choices:
        what = f"{score.best} is not measured, or cannot tell what is better"
        raise ConfigError("score.best", what, f"choose one of: {', '.join(dict.fromkeys(map(kind, ranked)))}, none")
    best = choices[score.best]
    second = SECOND if best and score.features == DEFAULT and available(SECOND.partition("@")[0]) else ""
    needed = ("pr", "fd") if second or len(networks) > 1 else ("pr",)
    judging = tuple(name for name in needed if best and name not in score.metrics)
    return ScorePlan(tuple(score.metrics), networks, names, best, judging, second)


def second_count(count: int) -> int:
    """Generated images that a second extractor judges, if the first one judges `count`: it is ten times as slow."""
    return min(2 * count // 5, 500)


class Scorer:
    """Scores the EMA generator. Extracts features of real images once, for the first score, and caches them in `cache`.

    Args:
        wants_second: whether a second extractor should judge this generator too, given its other scores.
    """

    def __init__(
        self,
        plan: ScorePlan,
        config: Config,
        store: ImageSet,
        spec: ImageSpec,
        class_names: tuple[str, ...],
        cache: Path,
        wants_second: Callable[[Scored], bool] = lambda scored: False,
    ) -> None:
        assert isinstance(config.score.count, int)
        self._plan, self._config, self._cache, self._count = plan, config, cache, config.score.count
        self._real = choose_images(store, self._count, spec)
        self._labels = sample_labels(self._real, class_names, self._count, 0)
        self._real_scores: list[dict[str, float]] = [{} for _ in plan.networks]
        self._wants_second = wants_second

    def __call__(self, generator: nn.Module, images_seen: int) -> Scored:
        """Generates the images of the same seeds each time, and measures them with each network."""
        started_s = time.monotonic()
        generated = GeneratedImages(
            generator, self._config.generator, self._count, FIRST_TRAINING_SEED, self._labels, conditions=self._real
        )
        parts, origins = [], []
        for i, (network, real_features, modes) in enumerate(self._references):
            inputs = MetricInputs(
                extractor=network,
                generated=extract_features(generated, network),
                real=real_features,
                read_generated=generated.images,
                read_real=self._real.images,
                modes=modes,
                replicates=REPLICATES,
                real_scores=self._real_scores[i],
            )
            asked = (*self._plan.metrics, *self._plan.judging)
            metrics = [name for name in asked if i == 0 or not METRICS[name].space]
            parts.append(evaluate(inputs, metrics, note=lambda _: None))
            origins.append(provenance(network, self._real, len(generated), None if modes is None else modes.kind))
        scored = self._scored(images_seen, parts, origins, started_s)
        if self._plan.second and self._wants_second(scored):
            with contextlib.suppress(UserError):  # its weights are damaged, say: one extractor judges
                score, origin = self._second_opinion(generated)
                scored = self._scored(images_seen, [*parts, score], [*origins, origin], started_s)
        return scored

    def _scored(
        self, images_seen: int, parts: list[dict[str, Score]], origins: list[dict[str, Any]], started_s: float
    ) -> Scored:
        scores = interleaved(parts)
        values = {name: scores[name].value for name in self._plan.names if name in scores}
        details = {name: score.as_json() for name, score in scores.items()}
        return Scored(images_seen, values, details, merged_provenance(origins), time.monotonic() - started_s)

    def _second_opinion(self, generated: GeneratedImages) -> tuple[dict[str, Score], dict[str, Any]]:
        """The Fréchet distance in the second extractor, of fewer images."""
        network, real, features = self._second
        few = first_images(generated, second_count(self._count))
        distance, ends = frechet_of_few(extract_features(few, network).features, features, replicates=REPLICATES)
        return {f"fd@{network.name}": Score(distance, ends)}, provenance(network, real, len(few), None)

    @cached_property
    def _second(self) -> tuple[Extractor, RealImages, torch.Tensor]:
        """The second extractor, the real images that it judges, and their features."""
        network = extractor(self._plan.second, self._plan.networks[0].device)
        real = first_images(self._real, second_count(self._count))
        return network, real, extract_features(real, network, cache=self._cache).features

    @cached_property
    def _references(self) -> list[tuple[Extractor, ImageFeatures, Modes | None]]:
        """Each extractor, its features of the real images, and their modes, if those are measured."""
        return [self._reference(network) for network in self._plan.networks]

    def _reference(self, network: Extractor) -> tuple[Extractor, ImageFeatures, Modes | None]:
        data = self._config.data
        if "modes" not in self._plan.metrics:
            return network, extract_features(self._real, network, cache=self._cache), None
        network = with_mode_classifiers(network, self._real, data)
        features = extract_features(self._real, network, cache=self._cache)
        return network, features, find_modes(network, self._real, features, data)
