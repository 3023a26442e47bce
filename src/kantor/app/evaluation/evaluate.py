"""Scores of a trained generator, or of any images, against a dataset: images, then features, then numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kantor.alpha import premultiplied
from kantor.app.dataset.cache import DatasetCache, Note, cache_folder
from kantor.app.evaluation.features import DEFAULT, FeaturePlan, interleaved, merged_provenance, plan_features
from kantor.app.evaluation.image_sets import (
    GeneratedImages,
    RealImages,
    choose_images,
    extract_features,
    first_images,
)
from kantor.app.evaluation.modes import find_modes, provenance, with_mode_classifiers
from kantor.app.evaluation.open_images import Reference, Subject, find_subject, images_to_score, open_reference
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.units import names
from kantor.data.loading.feed import to_float
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, ModelError
from kantor.metrics.evaluate import DEFAULT_METRICS, METRICS, evaluate, require_metric
from kantor.metrics.features import ImageFeatures
from kantor.metrics.inputs import CriticScores, MetricInputs
from kantor.metrics.score import Comparisons, Scores, may_differ_for, provenance_of, require_comparable
from kantor.nets import build_critic, premultiplies
from kantor.progress import ProgressOf
from kantor.random import permute
from kantor.runs.run_state import RunState

MAX_TRAINING_IMAGES = 200_000
"""Training images among which copies are looked for, at most."""
MAX_CRITIC_IMAGES = 2000


@dataclass(frozen=True)
class Evaluation:
    """Scores of the images `scored`.

    Attributes:
        inputs: of the metrics, for the first extractor.
        training: the images that may have been copied; None if nn was not measured.
        comparisons: with earlier scores, if the user named some.
    """

    scores: Scores
    inputs: MetricInputs
    subject: Subject
    scored: RealImages | GeneratedImages
    training: RealImages | None
    comparisons: Comparisons | None


def evaluate_subject(
    options: EvaluateOptions, note: Note, progress_of: ProgressOf, subject: Subject | None = None
) -> Evaluation:
    """Measures the metrics that `options` names, of `subject` or else of what the options name.

    Args:
        note: shows a line.
        progress_of: of packing, extracting features and measuring.
    """
    metrics, skip_missing = _requested_metrics(options.metrics)
    earlier = Scores.read(options.compare) if options.compare else None
    device = choose_device(options.device)
    cache = DatasetCache(cache_folder(options.cache), progress_of("packing"), note)
    plans = plan_features(options, metrics, device, note)
    subject = subject or find_subject(options)
    reference = open_reference(options, subject, cache)
    real = choose_images(reference.compared, options.count, reference.spec)
    scored = images_to_score(options, subject, real, device, cache)
    extractions = [_Extraction(plan, scored, real, reference, options, progress_of, cache.folder) for plan in plans]
    origin = merged_provenance([part.provenance() for part in extractions]) | _origin(options, subject)
    if earlier is not None:  # before minutes are spent
        _require_comparable(origin, earlier.provenance)
    training = _possible_copies(reference, note) if "nn" in metrics else None
    critic = _score_with_critic(subject, scored, reference, device) if "critic" in metrics else None
    inputs = [part.inputs(subject, training, critic) for part in extractions]
    if inputs[0].within_classes:
        origin["pairs"] = "within classes"
    measured = [
        evaluate(
            part_inputs,
            part.plan.metrics,
            note if skip_missing else None,
            progress_of(f"computing metric{part.suffix}"),
        )
        for part, part_inputs in zip(extractions, inputs, strict=True)
    ]
    scores = Scores(interleaved(measured), origin)
    comparisons = scores.compare(earlier) if earlier is not None else None
    return Evaluation(scores, inputs[0], subject, scored, training, comparisons)


class _Extraction:
    """Features of all images by one network, at most as many images as it is planned for."""

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
        wants_modes = "modes" in plan.metrics
        self.network = with_mode_classifiers(plan.network, self._real, reference.data) if wants_modes else plan.network
        self.suffix = "" if plan.network.name == DEFAULT else f" ({plan.network.name})"
        self._extracted: dict[str, ImageFeatures] = {}
        self._real_features = self._features(self._real, "real images")
        self._modes = find_modes(self.network, self._real, self._real_features, reference.data) if wants_modes else None

    def provenance(self) -> dict[str, Any]:
        held_out = self._reference.held_out
        part = "" if held_out is None else "held out" if self._options.held_out else "training"
        return provenance(self.network, self._real, len(self._scored), self._modes, part)

    def inputs(self, subject: Subject, training: RealImages | None, critic: CriticScores | None) -> MetricInputs:
        """What the metrics of the plan are computed from."""
        generated, real = self._features(self._scored, "images to score"), self._real_features
        training_features = held_out_features = None
        if training is not None and "nn" in self.plan.metrics:
            training_features = self._features(training, "training images")
            if (held_out := self._reference.held_out) is not None:
                chosen = choose_images(held_out, self._options.count, self._reference.spec)
                held_out_features = self._features(chosen, "held-out images")
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
            modes=self._modes,
            critic=critic,
            seed=self._options.seed,
        )

    def _features(self, images: RealImages | GeneratedImages, what: str) -> ImageFeatures:
        """Of each set once."""
        key = images.digest() if isinstance(images, RealImages) else "generated"
        if key not in self._extracted:
            progress = self._progress_of(f"extracting features of the {what}{self.suffix}:")
            self._extracted[key] = extract_features(images, self.network, progress, self._cache)
        return self._extracted[key]


def _require_comparable(origin: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
    """Raises ConfigError if scores of the same extractor were measured differently, or of none."""
    ours, theirs = ([p.get("extractor"), *p.get("more_features", {})] for p in (origin, earlier))
    shared = [name for name in ours if name in theirs] or [ours[0]]
    for name in shared:
        score = f"fd@{name}" if name in theirs else "fd"
        require_comparable(provenance_of(score, origin), provenance_of(score, earlier), may_differ_for())


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
        raise ConfigError("--metrics", "names no metric", f"choose from: {', '.join(METRICS)}; or all")
    for name in metrics:
        require_metric(name, "--metrics")
    return tuple(dict.fromkeys(metrics)), False


def _possible_copies(reference: Reference, note: Note) -> RealImages:
    training = choose_images(reference.training, MAX_TRAINING_IMAGES, reference.spec)
    if len(training) < reference.training.count:
        note(f"looking for copies of {len(training):,} of {reference.training.count:,} training images")
    return training


def _origin(options: EvaluateOptions, subject: Subject) -> dict[str, Any]:
    origin: dict[str, Any] = {"model": subject.name, "seed": options.seed}
    if subject.card:
        origin |= {"images_seen": subject.card.images_seen, "truncation": options.truncation}
    return origin


def _score_with_critic(
    subject: Subject, scored: RealImages | GeneratedImages, reference: Reference, device: torch.device
) -> CriticScores | None:
    """Critic scores of the three sets, from the checkpoint of the weights; None if there is none, or classes differ."""
    if subject.checkpoint is None or subject.card is None:
        return None
    class_names = subject.card.class_names
    saved = RunState.load(subject.checkpoint)
    config = saved.config()
    critic = build_critic(config.critic, reference.spec, len(class_names))
    try:
        critic.load_state_dict(saved.weights("critic"))
    except RuntimeError as error:
        raise ModelError(subject.checkpoint, "does not fit the run's configuration", "leave critic out") from error
    if class_names and tuple(reference.training.class_names) != class_names:
        return None
    critic.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def scores(images: RealImages | GeneratedImages) -> NDArray[np.float64]:
        """float64 [n], n at most `MAX_CRITIC_IMAGES`.

        Takes whole batches of the size used in training, since a critic may compare the images of a batch; and shuffles
        them, since datasets are stored class by class.
        """
        batch = config.train.batch
        count = min(MAX_CRITIC_IMAGES, len(images)) // batch * batch or min(len(images), batch)
        shuffled = permute(np.arange(len(images)), len(images), seed=0)
        parts = []
        for start in range(0, count, batch):
            indices = shuffled[start : min(start + batch, count)]
            labels = images.labels(indices) if class_names else None
            x = to_float(torch.from_numpy(images.images(indices)).to(device)).contiguous(
                memory_format=torch.channels_last
            )
            if premultiplies(config.generator, reference.spec):
                x = premultiplied(x)
            y = None if labels is None else torch.from_numpy(labels).to(device)
            parts.append(critic(x, y).float().cpu().numpy())
        return np.concatenate(parts).astype(np.float64)

    part = reference.held_out
    training = scores(choose_images(reference.training, MAX_CRITIC_IMAGES, reference.spec))
    held_out = None if part is None else scores(choose_images(part, MAX_CRITIC_IMAGES, reference.spec))
    return CriticScores(training, scores(scored), held_out)
