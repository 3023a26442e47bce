"""Scores of each class of a model against its own real images, and their means over classes (intra-FD).

Miyato and Koyama 2018, "cGANs with projection discriminator", call the mean of the Fréchet distances intra-FID.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kantor.app.dataset.cache import Note
from kantor.app.evaluation.open_images import Reference, Subject
from kantor.app.evaluation.options import EvaluateOptions
from kantor.errors import ConfigError, DataError
from kantor.metrics.evaluate import MIN_IMAGES
from kantor.metrics.score import INTRA, Score, Scores

PER_CLASS_METRICS = ("fd", "mind", "cdc", "kid", "pr", "dc")
NOT_PER_CLASS = ("nn", "modes", "critic", "controls")
"""These are of all classes together."""


def require_per_class(metrics: Sequence[str]) -> None:
    """Raises ConfigError for a metric that is not measured class by class."""
    if wrong := next((name for name in metrics if name in NOT_PER_CLASS), None):
        do = "leave it out, or leave --per-class out"
        raise ConfigError(f"--metrics {wrong}", "is not measured class by class", do)


def class_counts(subject: Subject, reference: Reference, options: EvaluateOptions, note: Note) -> dict[str, int]:
    """How many images of each kind are taken of each class that has enough real ones; a line names the other classes.

    Raises DataError if no class of the reference has enough, or the reference has none.
    """
    assert subject.card is not None
    images, known = reference.compared, subject.card.class_names
    labels = images.labels(np.arange(images.count))
    if labels is None or not {*images.class_names} & {*known}:
        do = "name images in folders of the same names with --against, or leave --per-class out"
        raise DataError(options.against or reference.data.source, "has no classes of this model", do)
    at_hand = dict(
        zip(images.class_names, np.bincount(labels, minlength=len(images.class_names)).tolist(), strict=True)
    )
    share = max(options.image_count // len(known), MIN_IMAGES)
    counts = {name: min(share, at_hand[name]) for name in known if at_hand.get(name, 0) >= MIN_IMAGES}
    few = [f"{name} ({at_hand.get(name, 0)})" for name in known if name not in counts]
    if few:
        listed = ", ".join(few[:10]) + (f" and {len(few) - 10} more" if len(few) > 10 else "")
        note(f"not scored, for want of {MIN_IMAGES} real images: {listed}")
    if not counts:
        raise DataError(
            options.against or reference.data.source, f"no class has {MIN_IMAGES} images", "leave --per-class out"
        )
    return counts


def mean_over_classes(
    found: Mapping[str, Scores], classes: Sequence[str], options: EvaluateOptions
) -> tuple[dict[str, Score], dict[str, Any]]:
    """Means of the scores that all classes have, and what they depend on. The intervals of independent classes add up."""
    shared = [name for name in next(iter(found.values())) if all(name in scores for scores in found.values())]
    means = {f"{INTRA}{name}": _mean([scores[name] for scores in found.values()]) for name in shared}
    origins = [dict(scores.provenance) for scores in found.values()]
    origin = _combined(origins)
    origin |= {"count": options.image_count, "seed": options.first_seed, "per_class": True, "classes": list(classes)}
    if more := origins[0].get("more_features"):
        origin["more_features"] = {name: _combined([one["more_features"][name] for one in origins]) for name in more}
    return means, origin


def _combined(origins: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of one network: the numbers of images of all classes, and a digest of all references."""
    origin = {key: value for key, value in origins[0].items() if key not in ("class_shares", "more_features")}
    origin |= {key: sum(one[key] for one in origins) for key in ("drawn", "reals")}
    references = ",".join(str(one["reference"]) for one in origins)
    return origin | {"reference": hashlib.sha256(references.encode()).hexdigest()}


def _mean(scores: Sequence[Score]) -> Score:
    value = float(np.mean([score.value for score in scores]))
    reals = [score.reals for score in scores if score.reals is not None]
    of_real = float(np.mean(reals)) if len(reals) == len(scores) else None
    ends = [score.interval for score in scores]
    if any(end is None for end in ends):
        return Score(value, None, of_real)
    below, above = (
        math.sqrt(sum((score.interval[side] - score.value) ** 2 for score in scores if score.interval)) / len(scores)
        for side in (0, 1)
    )
    return Score(value, (value - below, value + above), of_real)
