"""Scores of a trained generator, or of any images, against a dataset: images, then features, then numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kantor.app.dataset.cache import DatasetCache, Note, cache_folder
from kantor.app.evaluation.image_sets import GeneratedImages, RealImages, choose_images, extract_features
from kantor.app.evaluation.modes import find_modes, provenance, with_mode_classifiers
from kantor.app.evaluation.open_images import Reference, Subject, find_subject, images_to_score, open_reference
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.units import names
from kantor.data.loading.feed import to_float
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, ModelError
from kantor.metrics.evaluate import DEFAULT_METRICS, METRICS, evaluate, require_metric
from kantor.metrics.extractors import extractor
from kantor.metrics.features import ImageFeatures
from kantor.metrics.inputs import CriticScores, MetricInputs
from kantor.metrics.score import Comparison, Scores, may_differ_for, require_comparable
from kantor.nets import build_critic
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
        training: the images that may have been copied; None if nn was not measured.
        comparisons: with earlier scores, if the user named some.
    """

    scores: Scores
    inputs: MetricInputs
    subject: Subject
    scored: RealImages | GeneratedImages
    training: RealImages | None
    comparisons: dict[str, Comparison] | None


def evaluate_subject(
    options: EvaluateOptions, note: Note, progress_of: ProgressOf, subject: Subject | None = None
) -> Evaluation:
    """Measures the metrics that `options` names, of `subject` or else of what the options name.

    Args:
        note: shows a line.
        progress_of: of packing, extracting features and measuring.
    """
    # long: one step after another, which share most of their names
    metrics, skip_missing = _requested_metrics(options.metrics)
    earlier = Scores.read(options.compare) if options.compare else None
    device = choose_device(options.device)
    cache = DatasetCache(cache_folder(options.cache), progress_of("packing"), note)
    network = extractor(options.features, device)
    subject = subject or find_subject(options)
    reference = open_reference(options, subject, cache)
    spec, held_out = reference.spec, reference.held_out
    real = choose_images(reference.compared, options.count, spec)
    if "modes" in metrics:
        network = with_mode_classifiers(network, real, reference.data)
    scored = images_to_score(options, subject, real, device, cache)
    extracted: dict[str, ImageFeatures] = {}

    def extract(images: RealImages | GeneratedImages, what: str) -> ImageFeatures:
        """Features of each set once."""
        key = images.digest() if isinstance(images, RealImages) else "generated"
        if key not in extracted:
            progress = progress_of(f"extracting features of the {what}:")
            extracted[key] = extract_features(images, network, progress, cache.folder)
        return extracted[key]

    real_features = extract(real, "real images")
    modes = find_modes(network, real, real_features, reference.data) if "modes" in metrics else None
    part = "" if held_out is None else "held out" if options.held_out else "training"
    origin = provenance(network, real, len(scored), modes, part) | _origin(options, subject)
    if earlier is not None:  # before minutes are spent
        require_comparable(origin, earlier.provenance, may_differ_for())
    generated = extract(scored, "images to score")
    training = _possible_copies(reference, note) if "nn" in metrics else None
    training_features = held_out_features = None
    if training is not None:
        training_features = extract(training, "training images")
        if held_out is not None:
            held_out_features = extract(choose_images(held_out, options.count, spec), "held-out images")
    class_names = subject.card.class_names if subject.card else ()
    same_classes = bool(class_names) and tuple(real.store.class_names) == class_names
    inputs = MetricInputs(
        extractor=network,
        generated=generated,
        real=real_features,
        read_generated=scored.images,
        read_real=real.images,
        generated_labels=scored.labels(generated.order) if same_classes else None,
        real_labels=real.labels(real_features.order) if same_classes else None,
        training=training_features,
        held_out=held_out_features,
        modes=modes,
        critic=_score_with_critic(subject, scored, reference, device) if "critic" in metrics else None,
        seed=options.seed,
    )
    if inputs.within_classes:
        origin["pairs"] = "within classes"
    progress = progress_of("computing metric")
    scores = Scores(evaluate(inputs, metrics, note if skip_missing else None, progress), origin)
    comparisons = scores.compare(earlier) if earlier is not None else None
    return Evaluation(scores, inputs, subject, scored, training, comparisons)


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
    critic.eval().to(device)

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
            x = to_float(torch.from_numpy(images.images(indices)).to(device))
            y = None if labels is None else torch.from_numpy(labels).to(device)
            parts.append(critic(x, y).float().cpu().numpy())
        return np.concatenate(parts).astype(np.float64)

    part = reference.held_out
    training = scores(choose_images(reference.training, MAX_CRITIC_IMAGES, reference.spec))
    held_out = None if part is None else scores(choose_images(part, MAX_CRITIC_IMAGES, reference.spec))
    return CriticScores(training, scores(scored), held_out)
