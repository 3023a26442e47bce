"""Which networks give the features of an evaluation, and what is measured with each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from kantor.app.dataset.cache import Note
from kantor.app.evaluation.options import EvaluateOptions
from kantor.errors import ConfigError, ModelError, ResourceError
from kantor.metrics.efficientnet_lite import available
from kantor.metrics.evaluate import METRICS
from kantor.metrics.extractors import extractor
from kantor.metrics.features import Extractor
from kantor.metrics.score import Score

DEFAULT = "kantor-small"
SECOND = "lite0@96"
"""A second opinion, without a word of the user if it is installed."""
SECOND_METRICS = ("fd", "mind", "cdc")
OF_EXTRACTOR = ("extractor_sha256", "resize", "drawn", "reals", "reference", "modes")
"""Keys of the provenance that may differ between extractors of an evaluation."""
SECOND_COUNT = 2000
"""Images of each kind for the second opinion, at most: some 15 seconds on one core."""


@dataclass(frozen=True)
class FeaturePlan:
    """An extractor, what is measured with it, and of how many images of each kind at most."""

    network: Extractor
    metrics: tuple[str, ...]
    count: int


def plan_features(
    options: EvaluateOptions, metrics: Sequence[str], device: torch.device, note: Note
) -> list[FeaturePlan]:
    """The extractors that `options` name, or else the default one and the second opinion on `SECOND_METRICS`.

    Metrics of pixels and of the critic are measured once, with the first.

    Raises:
        ConfigError: an unknown name, or none. ModelError, ResourceError: weights that cannot be loaded.
    """
    if options.features is not None:
        if not options.features:
            raise ConfigError("--features", "names no network", f"write for example {DEFAULT}, or {DEFAULT},{SECOND}")
        of_features = tuple(name for name in metrics if not METRICS[name].space)
        first, *others = (extractor(name, device) for name in options.features)
        plans = [FeaturePlan(first, tuple(metrics), options.image_count)]
        return plans + [FeaturePlan(network, of_features, options.image_count) for network in others if of_features]
    plans = [FeaturePlan(extractor(DEFAULT, device), tuple(metrics), options.image_count)]
    if second := tuple(name for name in SECOND_METRICS if name in metrics):
        if available(SECOND.partition("@")[0]):
            try:
                plans.append(FeaturePlan(extractor(SECOND, device), second, min(options.image_count, SECOND_COUNT)))
            except (ModelError, ResourceError) as error:
                note(f"{error}; one network alone judges these images")
        else:
            note("one network alone judges these images; for a second opinion: pip install 'kantor[imagenet]'")
    return plans


def interleaved(parts: Sequence[Mapping[str, Score]]) -> dict[str, Score]:
    """All scores, those of one metric one after another."""
    kinds = dict.fromkeys(name.partition("@")[0] for part in parts for name in part)
    return {
        name: score
        for kind in kinds
        for part in parts
        for name, score in part.items()
        if name.partition("@")[0] == kind
    }


def merged_provenance(origins: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """That of the first extractor, and under "more_features" what differs for the others."""
    first, *others = origins
    more = {
        origin["extractor"]: {key: value for key, value in origin.items() if key in OF_EXTRACTOR} for origin in others
    }
    return {**first, **({"more_features": more} if more else {})}
