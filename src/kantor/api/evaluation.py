"""Scores from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from kantor.api.in_memory import DataKeywords, keep
from kantor.api.model import HasPath, Model
from kantor.app.dataset.cache import cache_folder
from kantor.app.evaluation import write
from kantor.app.evaluation.evaluate import evaluate_subject
from kantor.app.evaluation.open_images import Subject
from kantor.app.evaluation.options import EvaluateOptions
from kantor.app.options import describe
from kantor.metrics.score import Scores
from kantor.progress import all_silent


class EvaluateKeywords(DataKeywords, total=False):
    """Keywords of `evaluate` and their types; `EvaluateOptions` declares what they mean."""

    features: str | Sequence[str]
    count: int | str
    classes: str | int | Sequence[str | int]
    per_class: bool
    seed: int
    held_out: bool
    truncation: float
    raw: bool
    newest: bool
    best: bool
    checkpoint: int | None
    out: str | Path | None
    overwrite: bool


def evaluate(
    model: str | Path | HasPath | Model | Any,
    against: str | Path | Any | None = None,
    **options: Unpack[EvaluateKeywords],
) -> Scores:
    """Measures how close images are to real ones, as `kantor evaluate` does.

    Args:
        model: a `Model`, a run (as `train` returns it, its directory, name, number or "latest"), a checkpoint, or a
            generator.safetensors; or images: a folder, archive or packed dataset, or uint8 [N, H, W, C].
        against: the real images, in any of these forms; by default the run's training set.
        {options}
    Returns:
        The scores by name: scores["fd"].value, .interval, .reals; scores.provenance; scores.compare(others) and its
        .disagreement.
    Raises:
        ConfigError, DataError, ModelError, ResourceError: as on the command line.
    """
    cache = cache_folder(options.get("cache"))
    subject = Subject("a model in memory", model.network, model._card) if isinstance(model, Model) else None
    words = {
        **options,
        "cache": cache,
        "model": subject.name if subject else _named(getattr(model, "path", model), cache),
        "against": None if against is None else _named(against, cache),
    }
    asked = EvaluateOptions.from_words(words)
    folder = None if asked.out is None else write.ScoresFolder(asked)
    keep = (lambda subject, scores: None) if folder is None else folder.keep
    evaluation = evaluate_subject(asked, lambda _: None, all_silent, subject, keep)
    if folder is not None:
        folder.finish(evaluation)
    return evaluation.scores


describe(evaluate, EvaluateOptions)


def _named(images: Any, cache: Path) -> str:
    """A path or name as it is; for images in memory, a file in the cache."""
    return str(images) if isinstance(images, str | Path) else str(keep(images, None, cache)[0])
