"""Scores of a run while it goes on: cheap, the same images every time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kantor.app.evaluation.image_sets import TRAINING_SEED, Drawn, chosen, classes_like, gathered
from kantor.app.evaluation.modes import modes_of, provenance, reading_modes
from kantor.config.schema import Config
from kantor.data.loading.image_set import ImageSet
from kantor.engine.events import Scored
from kantor.errors import ConfigError
from kantor.metrics.evaluate import Material, columns, evaluate, known
from kantor.metrics.extract import Gathered
from kantor.metrics.extractors import extractor
from kantor.metrics.features import Extractor
from kantor.metrics.modes import Modes
from kantor.metrics.score import BETTER, kind
from kantor.types import ImageSpec

NOT_WHILE_TRAINING = ("nn", "critic")
"""Slow, or of the critic, whose scores change their meaning: these are for `kantor evaluate`."""
REPLICATES = 50
"""Resampled sets behind an interval: a quarter of what `kantor evaluate` takes."""


@dataclass(frozen=True)
class Measuring:
    """What is measured: checked before a run directory is made.

    Attributes:
        names: of the numbers: "fd@kantor-small".
        best: of the number that chooses the best moment; "" where the newest is kept.
    """

    metrics: tuple[str, ...]
    network: Extractor
    names: tuple[str, ...]
    best: str


def measuring(config: Config, device: torch.device) -> Measuring | None:
    """What `config` asks for; None where that is nothing.

    Raises:
        ConfigError: an unknown score or network; ModelError, ResourceError: its weights cannot be had.
    """
    score = config.score
    if not score.metrics:
        return None
    for name in score.metrics:
        known(name, "score.metrics")
        if name in NOT_WHILE_TRAINING:
            do = f"leave it out, and ask for it afterwards: kantor evaluate RUN --metrics {name}"
            raise ConfigError("score.metrics", f"{name} is not measured while training", do)
    network = extractor(score.features, device)
    names = columns(score.metrics, network.name)
    ranked = [name for name in names if kind(name) in BETTER]
    if score.best == "auto":
        return Measuring(tuple(score.metrics), network, names, ranked[0] if ranked else "")
    if score.best == "none":
        return Measuring(tuple(score.metrics), network, names, "")
    best = next((name for name in ranked if score.best in (name, kind(name))), None)
    if best is None:
        what = f"{score.best} is not measured, or cannot tell what is better"
        raise ConfigError("score.best", what, f"choose one of: {', '.join(map(kind, ranked))}, none")
    return Measuring(tuple(score.metrics), network, names, best)


class Scorer:
    """Scores the running average of a generator. Reals are looked at once, by the first score.

    Args:
        cache: where their features are kept.
    """

    def __init__(
        self,
        what: Measuring,
        config: Config,
        store: ImageSet,
        spec: ImageSpec,
        classes: tuple[str, ...],
        cache: Path,
    ) -> None:
        self._what, self._config, self._classes, self._cache = what, config, classes, cache
        assert isinstance(config.score.count, int)
        self._count = config.score.count
        self._reals = chosen(store, self._count, spec)
        self._known: dict[str, float] = {}

    def __call__(self, generator: nn.Module, images_seen: int) -> Scored:
        """Draws images, the same seeds each time, and measures."""
        began_s = time.monotonic()
        network = self._config.generator
        fakes = Drawn(generator, network, self._count, TRAINING_SEED, self._labels, conditions=self._reals)
        material = Material(
            self._network,
            gathered(fakes, self._network),
            self._looked_at,
            fakes.pick,
            self._reals.pick,
            modes=self._modes,
            replicates=REPLICATES,
            known=self._known,
        )
        found = evaluate(material, self._what.metrics, note=lambda _: None)
        told = provenance(self._network, self._reals, len(fakes), self._modes)
        values = {name: found[name].value for name in self._what.names if name in found}
        details = {name: one.as_json() for name, one in found.items()}
        return Scored(images_seen, values, details, told, time.monotonic() - began_s)

    @cached_property
    def _labels(self) -> Any:
        return classes_like(self._reals, self._classes, self._count, 0)

    @cached_property
    def _network(self) -> Extractor:
        network = self._what.network
        return reading_modes(network, self._reals, self._config.data) if "modes" in self._what.metrics else network

    @cached_property
    def _modes(self) -> Modes | None:
        if "modes" not in self._what.metrics:
            return None
        return modes_of(self._network, self._reals, self._looked_at, self._config.data)

    @cached_property
    def _looked_at(self) -> Gathered:
        return gathered(self._reals, self._network, cache=self._cache)
