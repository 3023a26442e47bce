"""Metrics by name: which scores each gives, and what it needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from kantor.errors import ConfigError, nearest
from kantor.metrics.inputs import CriticScores, MetricInputs
from kantor.metrics.memorisation import PIXELS
from kantor.metrics.metrics import METRICS
from kantor.metrics.precision_recall import COVERAGE_K
from kantor.metrics.score import Score
from kantor.metrics.sliced import SMALLEST
from kantor.progress import Progress, silent

__all__ = ["METRICS", "CriticScores", "MetricInputs", "evaluate", "missing_input", "require_metric", "score_names"]

MIN_IMAGES = 2 * (COVERAGE_K + 1)
"""Images that each side must have."""
SCORES_OF = {
    "fd": ("fd",),
    "kid": ("kid",),
    "is": ("is",),
    "pr": ("precision", "recall"),
    "dc": ("density", "coverage"),
    "swd": ("swd",),
    "msssim": ("msssim",),
    "nn": ("copied", "copying_z"),
    "modes": ("modes", "modes_kl"),
    "w2": ("w2",),
    "sinkhorn": ("sinkhorn",),
    "critic": ("critic_t", "critic_effect"),
}
"""The scores of each metric that are always there."""
_SPACES = {"swd": PIXELS, "msssim": PIXELS, "critic": "critic"}
DEFAULT_METRICS = ("fd", "kid", "pr", "dc", "swd", "msssim", "nn", "modes", "critic")
"""Default metrics; those that cannot be computed are skipped."""
_NVIDIA = re.compile(r"(fid|kid|pr|is)\d+k\d?(_full)?")


def require_metric(name: str, where: str) -> None:
    """Raises ConfigError unless there is a metric of this name."""
    if name in METRICS:
        return
    if match := _NVIDIA.fullmatch(name):
        kantor_name = {"fid": "fd"}.get(match[1], match[1])
        do = f"use {kantor_name}, with the features inception:FILE and a count of 50000"
        raise ConfigError(where, f'unknown metric "{name}"', do)
    metric = next((metric for metric, scores in SCORES_OF.items() if name in scores), None)
    raise ConfigError(where, f'unknown metric "{name}"', f"use {metric}" if metric else nearest(name, METRICS))


def score_names(metrics: Sequence[str], extractor: str) -> tuple[str, ...]:
    """Full names of the scores of `metrics`: "fd@kantor-small"."""
    return tuple(f"{score}@{_SPACES.get(metric, extractor)}" for metric in metrics for score in SCORES_OF[metric])


def evaluate(
    inputs: MetricInputs,
    metrics: Sequence[str],
    note: Callable[[str], None] | None = None,
    progress: Progress = silent,
) -> dict[str, Score]:
    """The scores of `metrics`, by name@extractor.

    Args:
        note: called with a line about each metric that is skipped because it cannot be measured; None raises.
        progress: of the metrics.
    Raises:
        ConfigError: too few images, an unknown metric, or one that cannot be measured.
    """
    count = min(len(inputs.generated), len(inputs.real))
    if count < MIN_IMAGES:
        side = "the images to score" if count == len(inputs.generated) else "the real images"
        raise ConfigError(side, f"{count} are too few", f"give {MIN_IMAGES} or more on either side")
    scores: dict[str, Score] = {}
    for done, name in enumerate(metrics):
        progress(done, len(metrics))
        measure = METRICS[name]
        if missing := missing_input(name, inputs):
            if note is None:
                raise ConfigError(f"--metrics {name}", *missing)
            note(f"{name} is skipped: {missing[0]}")
            continue
        scores |= measure(inputs)
    progress(len(metrics), len(metrics))
    return scores


def missing_input(name: str, inputs: MetricInputs) -> tuple[str, str] | None:
    """(what metric `name` lacks, what to do); None if it has all it needs."""
    if name == "is" and "classes" not in inputs.extractor.classes:
        return f"{inputs.extractor.name} has no classes", "choose --features kantor-small or inception"
    if name == "modes" and inputs.modes is None:
        return "the modes of these images are unknown", "give images with labels, or leave modes out"
    if name == "nn" and inputs.training is None:
        return "the training images are unknown", "name them with --against, or leave nn out"
    if name == "critic" and inputs.critic is None:
        return "there is no critic", "name a run or a checkpoint, which has one, or leave critic out"
    if name in ("swd", "msssim") and (side := min(inputs.read_real(np.zeros(1, np.int64)).shape[1:3])) < SMALLEST:
        return f"the images have sides of {side} pixels", f"give larger ones ({SMALLEST} or more), or leave it out"
    return None
