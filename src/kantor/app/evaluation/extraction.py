"""Features of all images of an evaluation by one network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kantor.app.evaluation.asked import asked_and_got
from kantor.app.evaluation.features import DEFAULT, FeaturePlan
from kantor.app.evaluation.image_sets import (
    GeneratedImages,
    RealImages,
    RealScores,
    choose_images,
    extract_features,
    first_images,
)
from kantor.app.evaluation.modes import SCORES, find_modes, modes_kind, provenance, with_mode_classifiers
from kantor.app.evaluation.open_images import Reference, Subject
from kantor.app.evaluation.options import EvaluateOptions
from kantor.metrics.features import ImageFeatures
from kantor.metrics.inputs import CriticScores, MetricInputs
from kantor.progress import ProgressOf


class Extraction:
    """What one network sees, of at most as many images as it is planned for. Extracts each set once, when it is needed."""

    def __init__(
        self,
        plan: FeaturePlan,
        scored: RealImages | GeneratedImages,
        real: RealImages,
        reference: Reference,
        options: EvaluateOptions,
        progress_of: ProgressOf,
        cache: Path,
    ) -> None:
        self.plan, self._reference, self._options = plan, reference, options
        self._progress_of, self._cache = progress_of, cache
        self._scored, self._real = first_images(scored, plan.count), first_images(real, plan.count)
        self._data = None if reference.classes else reference.data
        wants_modes = "modes" in plan.metrics
        whole = wants_modes and self._data is not None
        self.network = with_mode_classifiers(plan.network, self._real, reference.data) if whole else plan.network
        self._modes_kind = modes_kind(self.network, self._real, self._data) if wants_modes else None
        self.suffix = "" if plan.network.name == DEFAULT else f" ({plan.network.name})"
        self._extracted: dict[str, ImageFeatures] = {}
        self._whole: RealImages | None = None  # the training images, once their features are extracted

    def provenance(self) -> dict[str, Any]:
        """What the scores depend on, known before any image is generated."""
        held_out = self._reference.held_out
        part = "" if held_out is None else "held out" if self._options.held_out else "training"
        return provenance(self.network, self._real, len(self._scored), self._modes_kind, part)

    def inputs(self, subject: Subject, training: RealImages | None, critic: CriticScores | None) -> MetricInputs:
        """What the metrics of the plan are computed from."""
        generated = self._features(self._scored, "images to score")
        training_features = held_out_features = None
        origin: list[Any] = [SCORES, self._real.digest(), self.network.name, self.network.digest, self.network.size]
        if training is not None and "nn" in self.plan.metrics:
            training_features = self._features(training, "training images")
            origin.append(training.digest())
            if (held_out := self._reference.held_out) is not None:
                chosen = choose_images(held_out, self._options.image_count, self._reference.spec)
                held_out_features = self._features(chosen, "held-out images")
                origin.append(chosen.digest())
        real = self._features(self._real, "real images")
        modes = find_modes(self.network, self._real, real, self._data) if self._modes_kind else None
        class_names = subject.card.class_names if subject.card else ()
        same_classes = bool(class_names) and tuple(self._real.store.class_names) == class_names
        return MetricInputs(
            extractor=self.network,
            generated=generated,
            real=real,
            read_generated=self._scored.images,
            read_real=self._real.images,
            generated_labels=self._scored.labels(generated.order) if same_classes else None,
            real_labels=self._real.labels(real.order) if same_classes else None,
            training=training_features,
            held_out=held_out_features,
            modes=modes,
            critic=critic,
            controls=asked_and_got(self._scored) if "controls" in self.plan.metrics else None,
            seed=self._options.first_seed,
            real_scores=RealScores(origin, self._cache) if self.network.cacheable else {},
        )

    def _features(self, images: RealImages | GeneratedImages, what: str) -> ImageFeatures:
        key = images.digest() if isinstance(images, RealImages) else "generated"
        if key not in self._extracted and isinstance(images, RealImages) and (part := self._part(images)) is not None:
            self._extracted[key] = part
        if key not in self._extracted:
            progress = self._progress_of(f"extracting features of the {what}{self.suffix}:")
            self._extracted[key] = extract_features(images, self.network, progress, self._cache)
            self._whole = images if what.startswith("training") and isinstance(images, RealImages) else self._whole
        return self._extracted[key]

    def _part(self, images: RealImages) -> ImageFeatures | None:
        """Features of some of the training images, if those of all of them are there."""
        whole = self._whole
        if whole is None or images.store is not whole.store or not np.isin(images.rows, whole.rows).all():
            return None
        features = self._extracted[whole.digest()]
        rows = whole.rows[features.order]
        chosen = np.flatnonzero(np.isin(rows, images.rows))
        return features.chosen(chosen, np.searchsorted(images.rows, rows[chosen]))
