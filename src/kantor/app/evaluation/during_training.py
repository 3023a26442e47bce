"""Scores during training: cheap, and of the same images every time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kantor.app.evaluation.image_sets import (
    FIRST_TRAINING_SEED,
    GeneratedImages,
    choose_images,
    extract_features,
    sample_labels,
)
from kantor.app.evaluation.modes import find_modes, provenance, with_mode_classifiers
from kantor.config.schema import Config
from kantor.data.loading.image_set import ImageSet
from kantor.engine.events import Scored
from kantor.errors import ConfigError
from kantor.metrics.evaluate import METRICS, evaluate, require_metric, score_names
from kantor.metrics.extractors import extractor
from kantor.metrics.features import Extractor, ImageFeatures
from kantor.metrics.inputs import MetricInputs
from kantor.metrics.modes import Modes
from kantor.metrics.score import BETTER, kind
from kantor.types import ImageSpec

NOT_WHILE_TRAINING = ("nn", "critic")
"""Metrics for `kantor evaluate` only: nn is slow, and critic scores change their meaning while the critic trains."""
REPLICATES = 50
"""Resampled sets behind an interval: a quarter of those of `kantor evaluate`."""


@dataclass(frozen=True)
class ScorePlan:
    """What to measure, checked before a run directory is made.

    Attributes:
        names: of the scores: "fd@kantor-small".
        best: name of the score that chooses the best checkpoint; "" keeps the newest.
    """

    metrics: tuple[str, ...]
    network: Extractor
    names: tuple[str, ...]
    best: str


def plan_scores(config: Config, device: torch.device) -> ScorePlan | None:
    """What `config.score` asks for; None for no metrics.

    Raises:
        ConfigError: an unknown metric or network; ModelError, ResourceError: its weights cannot be loaded.
    """
    score = config.score
    if not score.metrics:
        return None
    where = "score.metrics (--metrics)"
    for name in score.metrics:
        if name in NOT_WHILE_TRAINING:
            do = f"leave it out, and measure it afterwards: kantor evaluate RUN --metrics {name}"
            raise ConfigError(where, f"{name} is not measured during training", do)
        require_metric(name, where, [metric for metric in METRICS if metric not in NOT_WHILE_TRAINING])
    network = extractor(score.features, device)
    names = score_names(score.metrics, network.name)
    ranked = [name for name in names if kind(name) in BETTER]
    if score.best == "auto":
        best = ranked[0] if ranked else ""
    elif score.best == "none":
        best = ""
    else:
        best = next((name for name in ranked if score.best in (name, kind(name))), "")
        if not best:
            what = f"{score.best} is not measured, or cannot tell what is better"
            raise ConfigError("score.best", what, f"choose one of: {', '.join(map(kind, ranked))}, none")
    return ScorePlan(tuple(score.metrics), network, names, best)


class Scorer:
    """Scores the EMA generator. Extracts features of real images once, for the first score.

    Args:
        cache: where these features are kept.
    """

    def __init__(
        self,
        plan: ScorePlan,
        config: Config,
        store: ImageSet,
        spec: ImageSpec,
        class_names: tuple[str, ...],
        cache: Path,
    ) -> None:
        self._plan, self._config, self._class_names, self._cache = plan, config, class_names, cache
        assert isinstance(config.score.count, int)
        self._count = config.score.count
        self._real = choose_images(store, self._count, spec)
        self._real_scores: dict[str, float] = {}

    def __call__(self, generator: nn.Module, images_seen: int) -> Scored:
        """Generates the images of the same seeds each time, and measures them."""
        started_s = time.monotonic()
        generated = GeneratedImages(
            generator,
            self._config.generator,
            self._count,
            FIRST_TRAINING_SEED,
            self._labels,
            conditions=self._real,
        )
        inputs = MetricInputs(
            extractor=self._network,
            generated=extract_features(generated, self._network),
            real=self._real_features,
            read_generated=generated.images,
            read_real=self._real.images,
            modes=self._modes,
            replicates=REPLICATES,
            real_scores=self._real_scores,
        )
        scores = evaluate(inputs, self._plan.metrics, note=lambda _: None)
        origin = provenance(self._network, self._real, len(generated), self._modes)
        values = {name: scores[name].value for name in self._plan.names if name in scores}
        details = {name: score.as_json() for name, score in scores.items()}
        return Scored(images_seen, values, details, origin, time.monotonic() - started_s)

    @cached_property
    def _labels(self) -> NDArray[np.int64] | None:
        return sample_labels(self._real, self._class_names, self._count, 0)

    @cached_property
    def _network(self) -> Extractor:
        network = self._plan.network
        return with_mode_classifiers(network, self._real, self._config.data) if self._has_modes else network

    @cached_property
    def _modes(self) -> Modes | None:
        if not self._has_modes:
            return None
        return find_modes(self._network, self._real, self._real_features, self._config.data)

    @cached_property
    def _real_features(self) -> ImageFeatures:
        return extract_features(self._real, self._network, cache=self._cache)

    @property
    def _has_modes(self) -> bool:
        return "modes" in self._plan.metrics
