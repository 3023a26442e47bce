"""Scores of a trained generator, or of any images, against a dataset: images, then features, then numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kantor.app.dataset.cache import DatasetCache, Note, cache_folder
from kantor.app.dataset.image_size import spec_of
from kantor.app.evaluation.critic_scores import score_with_critic
from kantor.app.evaluation.image_sets import GeneratedImages, RealImages, choose_images, extract_features
from kantor.app.evaluation.modes import find_modes, provenance, with_mode_classifiers
from kantor.app.evaluation.open_images import images_to_score, open_reference, split_reference
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.evaluation.subject import Subject, find_subject
from kantor.app.units import names
from kantor.config.data import DataConfig
from kantor.data.loading.image_set import ImageSet
from kantor.engine.device import choose_device
from kantor.errors import ConfigError
from kantor.metrics.evaluate import DEFAULT_METRICS, METRICS, evaluate, require_metric
from kantor.metrics.extractors import extractor
from kantor.metrics.features import Extractor, ImageFeatures
from kantor.metrics.inputs import MetricInputs
from kantor.metrics.modes import Modes
from kantor.metrics.score import Comparison, Scores, may_differ_for, require_comparable
from kantor.progress import Progress, ProgressOf

MAX_TRAINING_IMAGES = 200_000
"""Training images among which copies are looked for, at most."""


@dataclass(frozen=True)
class Evaluation:
    """Scores, and the images they are of.

    Attributes:
        scored: the images scored.
        training: the images that may have been copied; None if nn was not measured.
        comparisons: with earlier scores, if the user named some.
    """

    scores: Scores
    inputs: MetricInputs
    subject: Subject
    scored: RealImages | GeneratedImages
    training: RealImages | None
    comparisons: dict[str, Comparison] | None


@dataclass(frozen=True)
class _Images:
    """All images of an evaluation.

    Attributes:
        real: the reference.
        training, held_out: parts of the dataset; held_out is None if nothing was held out.
        data: configuration of the dataset.
        extractor: with the classifiers that tell its modes.
    """

    scored: RealImages | GeneratedImages
    real: RealImages
    training: ImageSet
    held_out: ImageSet | None
    data: DataConfig
    extractor: Extractor
    device: torch.device
    cache: Path


class _FeatureReader:
    """Extracts features, of each set of real images once."""

    def __init__(self, network: Extractor, progress_of: ProgressOf, cache: Path) -> None:
        self._network, self._progress_of, self._cache = network, progress_of, cache
        self._features: dict[str, ImageFeatures] = {}

    def __call__(self, images: RealImages | GeneratedImages, what: str) -> ImageFeatures:
        key = images.digest() if isinstance(images, RealImages) else ""
        if key and key in self._features:
            return self._features[key]
        features = extract_features(images, self._network, self._progress_of(f"looking at {what}:"), self._cache)
        if key:
            self._features[key] = features
        return features


def evaluate_subject(
    options: EvaluateOptions, note: Note, progress_of: ProgressOf, subject: Subject | None = None
) -> Evaluation:
    """Measures the metrics that `options` names.

    Args:
        subject: what is scored; None loads what the options name.
        note: shows a line.
        progress_of: of packing, extracting features and measuring.
    """
    metrics, skip_missing = _requested_metrics(options.metrics)
    earlier = Scores.read(options.compare) if options.compare else None
    subject, images = _open_images(options, subject, metrics, note, progress_of("packing"))

    extract = _FeatureReader(images.extractor, progress_of, images.cache)
    real = extract(images.real, "real images")
    modes = find_modes(images.extractor, images.real, real, images.data) if "modes" in metrics else None
    part = "" if images.held_out is None else "held out" if options.held_out else "training"
    origin = provenance(images.extractor, images.real, len(images.scored), modes, part) | _origin(options, subject)
    if earlier is not None:  # before minutes are spent
        require_comparable(origin, earlier.provenance, may_differ_for())
    training = None
    if "nn" in metrics:
        training = choose_images(images.training, MAX_TRAINING_IMAGES, images.real.spec)
        if len(training) < images.training.count:
            note(f"looking for copies of {len(training):,} of {images.training.count:,} training images")
    inputs = _metric_inputs(options, subject, images, metrics, extract, real, training, modes)

    if inputs.within_classes:
        origin["pairs"] = "within classes"
    numbers = evaluate(inputs, metrics, note if skip_missing else None, progress_of("measuring score"))
    scores = Scores(numbers, origin)
    comparisons = scores.compare(earlier) if earlier is not None else None
    return Evaluation(scores, inputs, subject, images.scored, training, comparisons)


def _requested_metrics(requested: Sequence[str] | None) -> tuple[tuple[str, ...], bool]:
    """The metrics to measure, and whether to skip those that cannot be measured; metrics named one by one are not."""
    if requested is None:
        return DEFAULT_METRICS, True
    metrics = names(",".join(requested))
    if metrics == ["all"]:
        return tuple(METRICS), True
    if "all" in metrics:
        raise ConfigError("--metrics", "'all' cannot be combined with other metrics", "give 'all' alone")
    if not metrics:
        raise ConfigError("--metrics", "names no metric", f"choose from: {', '.join(METRICS)}")
    for name in metrics:
        require_metric(name, "--metrics")
    return tuple(dict.fromkeys(metrics)), False


def _open_images(
    options: EvaluateOptions, subject: Subject | None, metrics: Sequence[str], note: Note, packing: Progress
) -> tuple[Subject, _Images]:
    device, cache = choose_device(options.device), DatasetCache(cache_folder(options.cache), packing, note)
    network = extractor(options.features, device)
    subject = subject or find_subject(options)
    if options.held_out and (options.against is not None or not (subject.config and subject.config.data.holdout)):
        named = options.against is not None
        what = "cannot be combined with --against" if named else "no images were held out of training"
        raise ConfigError("--held-out", what, "train with --set data.holdout=10%, and name that run alone")
    store, config = open_reference(options, subject, cache)
    training, held_out = split_reference(store, config, options, note)
    spec = subject.card.spec if subject.card else spec_of(config, store)
    reference = held_out if options.held_out and held_out is not None else training
    real = choose_images(reference, options.count, spec)
    if "modes" in metrics:
        network = with_mode_classifiers(network, real, config.data)
    scored = images_to_score(options, subject, real, device, spec, cache)
    return subject, _Images(scored, real, training, held_out, config.data, network, device, cache.folder)


def _metric_inputs(
    options: EvaluateOptions, subject: Subject, images: _Images, metrics: Sequence[str], extract: _FeatureReader,
    real: ImageFeatures, training: RealImages | None, modes: Modes | None,
) -> MetricInputs:  # fmt: skip
    generated = extract(images.scored, "the images to score")
    training_features = held_out_features = critic = None
    if training is not None:
        training_features = extract(training, "all training images")
        if images.held_out is not None:
            held_out = choose_images(images.held_out, options.count, images.real.spec)
            held_out_features = extract(held_out, "held-out images")
    if "critic" in metrics:
        critic = score_with_critic(subject, images.scored, images.training, images.held_out, images.device)
    same_classes = _same_classes(subject, images.real)
    return MetricInputs(
        extractor=images.extractor,
        generated=generated,
        real=real,
        read_generated=images.scored.images,
        read_real=images.real.images,
        generated_labels=images.scored.labels(generated.order) if same_classes else None,
        real_labels=images.real.labels(real.order) if same_classes else None,
        training=training_features,
        held_out=held_out_features,
        modes=modes,
        critic=critic,
        seed=options.seed,
    )


def _same_classes(subject: Subject, real: RealImages) -> bool:
    """Whether labels mean the same classes on both sides."""
    class_names = subject.card.class_names if subject.card else ()
    return bool(class_names) and tuple(real.store.class_names) == class_names


def _origin(options: EvaluateOptions, subject: Subject) -> dict[str, Any]:
    origin: dict[str, Any] = {"model": subject.name, "seed": options.seed}
    if subject.card:
        origin |= {"images_seen": subject.card.images_seen, "truncation": options.truncation}
    return origin
