"""Scores of a trained generator, or of any images, against a dataset: images, then features, then numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from kantor.app.dataset.cache import DatasetCache, Note, cache_folder
from kantor.app.evaluation.classes import choose_classes, of_classes
from kantor.app.evaluation.critic import Critic, load_critic, score_with_critic
from kantor.app.evaluation.earlier import as_earlier, read_earlier
from kantor.app.evaluation.extraction import Extraction
from kantor.app.evaluation.features import FeaturePlan, interleaved, merged_provenance, plan_features
from kantor.app.evaluation.image_sets import GeneratedImages, RealImages, RealScores, choose_images, has_classes_of
from kantor.app.evaluation.open_images import Reference, Subject, find_subject, images_to_score, open_reference
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.evaluation.per_class import PER_CLASS_METRICS, class_counts, mean_over_classes, require_per_class
from kantor.app.units import names
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, ModelError, UserError
from kantor.metrics.evaluate import DEFAULT_METRICS, METRICS, evaluate, metrics_of, require_metric
from kantor.metrics.inputs import MetricInputs
from kantor.metrics.score import Comparisons, Score, Scores, may_differ_for, provenance_of, require_comparable
from kantor.progress import ProgressOf

MAX_TRAINING_IMAGES = 200_000
"""Training images among which copies are looked for, at most."""
Keep = Callable[[Subject, Scores], None]
"""Called with the scores so far, after each metric."""


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
    options: EvaluateOptions,
    note: Note,
    progress_of: ProgressOf,
    subject: Subject | None = None,
    keep: Keep = lambda subject, scores: None,
) -> Evaluation:
    """Measures the metrics that `options` names, of `subject` or else of what the options name.

    Args:
        note: shows a line.
        progress_of: of packing, extracting features and measuring.
        keep: called with the scores so far.
    """
    earlier = read_earlier(options)
    metrics, skip_missing = _requested_metrics(options)
    if earlier is not None:
        options = as_earlier(options, earlier, metrics_of(earlier), note)
        metrics, _ = _requested_metrics(options)
    device = choose_device(options.device)
    cache = DatasetCache(cache_folder(options.cache), progress_of("packing"), note)
    subject = subject or find_subject(options, note)
    if options.metrics is None and not options.per_class and earlier is None and subject.card and subject.card.guide:
        metrics += ("controls",)
    critic, metrics = _critic(subject, metrics, device, note)
    plans = plan_features(options, metrics, device, note)
    reference = open_reference(options, subject, cache)
    job = _Job(options, subject, plans, critic, device, cache, note if skip_missing else None, progress_of, earlier)
    if options.per_class:
        choose_classes(options, subject, reference, cache)
        return _evaluate_classes(job, reference, note, keep)
    if classes := choose_classes(options, subject, reference, cache):
        reference = of_classes(reference, classes)
    return job.measure(reference, lambda scores: keep(subject, scores))


@dataclass(frozen=True)
class _Job:
    """What is the same for all classes. note: None if a metric that cannot be measured is an error."""

    options: EvaluateOptions
    subject: Subject
    plans: Sequence[FeaturePlan]
    critic: Critic | None
    device: torch.device
    cache: DatasetCache
    note: Note | None
    progress_of: ProgressOf
    earlier: Scores | None

    def measure(
        self, reference: Reference, keep: Callable[[Scores], None], count: int | None = None, skipped: int = 0
    ) -> Evaluation:
        """Scores against one reference; those of another way of measuring than `earlier` are refused first.

        Args:
            count: of images of one class among others; `skipped` seeds are taken by those before it.
        """
        options = self.options if count is None else replace(self.options, count=count)
        real = choose_images(reference.compared, options.image_count, reference.spec)
        scored = images_to_score(options, self.subject, real, self.device, self.cache, reference.classes, skipped)
        parts = [
            Extraction(plan, scored, real, reference, options, self.progress_of, self.cache.folder)
            for plan in self.plans
        ]
        origin = merged_provenance([part.provenance() for part in parts]) | _origin(options, self.subject, real)
        origin |= {"classes": list(reference.classes)} if reference.classes else {}
        if self.earlier is not None and not options.per_class:  # before minutes are spent
            _require_comparable(origin, self.earlier.provenance)
        metrics = {name for plan in self.plans for name in plan.metrics}
        training = _possible_copies(reference, self.cache.note) if "nn" in metrics else None
        critic = None
        if self.critic is not None and "critic" in metrics:
            critic = score_with_critic(self.critic, self.subject, scored, reference, self.device)
        measured: list[dict[str, Score]] = []
        first: MetricInputs | None = None
        for part in parts:
            inputs = part.inputs(self.subject, training, critic)
            first = first or inputs
            if first.within_classes:
                origin["pairs"] = "within classes"
            progress = self.progress_of(f"computing metrics{part.suffix}, per cent:")
            so_far: Callable[[Mapping[str, Score]], None] = lambda some: keep(  # noqa: E731
                Scores(interleaved([*measured, some]), origin)
            )
            measured.append(evaluate(inputs, part.plan.metrics, self.note, progress, so_far))
            if isinstance(inputs.real_scores, RealScores):
                inputs.real_scores.keep()
        assert first is not None
        scores = Scores(interleaved(measured), origin)
        comparisons = None if self.earlier is None or options.per_class else scores.compare(self.earlier)
        return Evaluation(scores, first, self.subject, scored, training, comparisons)


def _evaluate_classes(job: _Job, reference: Reference, note: Note, keep: Keep) -> Evaluation:
    """Each class of the model against its own real images, and the means over classes."""
    require_per_class([name for plan in job.plans for name in plan.metrics])
    counts = class_counts(job.subject, reference, job.options, note)
    of_each: dict[str, Scores] = {}
    skipped = 0
    for name, count in counts.items():
        one = job.measure(of_classes(reference, [name]), lambda scores: None, count, skipped)
        skipped += count
        of_each[name] = one.scores
        means, origin = mean_over_classes(of_each, list(counts), job.options)
        keep(job.subject, Scores(means, origin, dict(of_each)))
    scores = Scores(means, origin, of_each)
    comparisons = None if job.earlier is None else scores.compare(job.earlier)
    return Evaluation(scores, one.inputs, job.subject, one.scored, None, comparisons)


def _critic(
    subject: Subject, metrics: tuple[str, ...], device: torch.device, note: Note
) -> tuple[Critic | None, tuple[str, ...]]:
    """The critic, if it is asked for, and the metrics without it if it cannot be had."""
    if "critic" not in metrics:
        return None, metrics
    try:
        return load_critic(subject, device), metrics
    except UserError as error:
        rest = tuple(name for name in metrics if name != "critic")
        if not rest:
            raise ModelError(
                subject.name, f"its critic cannot be used: {error.where} {error.what}", error.do
            ) from error
        note(f"critic is left out: {error}")
        return None, rest


def _require_comparable(origin: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
    """Raises ConfigError if scores of the same extractor were measured differently, or of none."""
    ours, theirs = ([p.get("extractor"), *p.get("more_features", {})] for p in (origin, earlier))
    shared = [name for name in ours if name in theirs] or [ours[0]]
    for name in shared:
        full = f"fd@{name}" if name in theirs else "fd"
        require_comparable(provenance_of(full, origin), provenance_of(full, earlier), may_differ_for())


def _requested_metrics(options: EvaluateOptions) -> tuple[tuple[str, ...], bool]:
    """The metrics to measure, and whether to skip those that cannot be measured; metrics named one by one are not."""
    if options.metrics is None:
        return PER_CLASS_METRICS if options.per_class else DEFAULT_METRICS, True
    metrics = names(",".join(options.metrics))
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


def _origin(options: EvaluateOptions, subject: Subject, real: RealImages) -> dict[str, Any]:
    origin: dict[str, Any] = {"model": subject.name, "seed": options.first_seed, "count": options.image_count}
    if subject.card:
        origin |= {"images_seen": subject.card.images_seen, "truncation": options.truncation}
        if options.raw:
            origin["raw"] = True
        if known := subject.card.class_names:
            origin["class_shares"] = "as in the reference" if has_classes_of(real, known) else "equal"
    return origin
