"""Scores from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kantor.api.in_memory import keep
from kantor.api.model import HasPath, Model
from kantor.app import units
from kantor.app.dataset.prepare import cache_folder
from kantor.app.evaluation import write
from kantor.app.evaluation.evaluate import EvaluateOptions, Subject, evaluate_subject
from kantor.errors import ConfigError
from kantor.metrics.score import Scores
from kantor.progress import all_silent


def evaluate(
    model: str | Path | HasPath | Model | Any,
    against: str | Path | Any | None = None,
    *,
    metrics: Sequence[str] | str | None = None,
    features: str = "kantor-small",
    count: int = 10_000,
    seed: int = 0,
    size: int | str | tuple[int, int] | None = None,
    crop: int | None = None,
    fit: str | None = None,
    channels: str | None = None,
    held_out: bool = False,
    raw: bool = False,
    checkpoint: int | None = None,
    truncation: float = 1.0,
    out: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    runs: str | Path = "runs",
    cache: str | Path | None = None,
) -> Scores:
    """Measures how near images come to real ones, as `kantor evaluate` does.

    Args:
        model: a `Model`, a run (as `train` gives it, its directory, name, number or "latest"), a checkpoint, or a
            generator.safetensors; or images: a folder, archive or packed set, or uint8 [N, H, W, C].
        against: the real images, in any of these forms; None takes those that the run learnt from.
        metrics: of fd, kid, is, pr, dc, swd, msssim, nn, modes, w2, sinkhorn, critic; None takes the usual ones that can
            be measured.
        features: "kantor-small", "random", "inception:FILE", or a network of your own: see `kantor.extractor`.
        count: images on each side, at most.
        seed: other seeds draw other images.
        held_out: compare with the images that were held out of training.
        out: a folder for scores.json, the sheet of nearest images and the histograms; None writes nothing.
    Returns:
        The scores by name: scores["fd"].value, .interval, .reals; scores.provenance; scores.compare(others).
    Raises:
        ConfigError, DataError, ModelError, ResourceError: as on the command line.
    """
    folder = cache_folder(Path(cache) if cache is not None else None)
    if count < 1:
        raise ConfigError("count", f"{count} images cannot be scored", "give 12 or more")
    fields = {"size": units.size(size), "crop": crop, "fit": fit, "channels": channels}
    given = Subject("a model in memory", model.network, model._card) if isinstance(model, Model) else None
    options = EvaluateOptions(
        subject=given.name if given else _named(getattr(model, "path", model), folder),
        against=None if against is None else _named(against, folder),
        metrics=[metrics] if isinstance(metrics, str) else metrics,
        features=features,
        count=count,
        seed=seed,
        overrides={f"data.{name}": value for name, value in fields.items() if value is not None},
        held_out=held_out,
        raw=raw,
        checkpoint=checkpoint,
        truncation=truncation,
        device=device,
        runs=Path(runs),
        cache=folder,
    )
    found = evaluate_subject(options, lambda _: None, all_silent, given)
    if out is not None:
        write.write(found, Path(out), overwrite)
    return found.scores


def _named(images: Any, cache: Path) -> str:
    """A path or name as it is; images in memory as a file in the cache."""
    return str(images) if isinstance(images, str | Path) else str(keep(images, None, cache)[0])
