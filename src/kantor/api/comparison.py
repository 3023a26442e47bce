"""Comparisons of runs from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from kantor.api.in_memory import keep
from kantor.api.model import HasPath
from kantor.app.comparison.compare import Comparison
from kantor.app.comparison.compare import compare as _compare
from kantor.app.comparison.options import CompareOptions
from kantor.app.dataset.cache import cache_folder
from kantor.app.options import describe
from kantor.progress import all_silent


class CompareKeywords(TypedDict, total=False):
    """Keywords of `compare` and their types; `CompareOptions` declares what they mean."""

    metrics: str | Sequence[str]
    features: str | Sequence[str]
    count: int | str
    cache: str | Path | None
    device: str
    runs: str | Path
    out: str | Path | None


def compare(
    named: Sequence[str | Path | HasPath],
    against: str | Path | Any | None = None,
    **options: Unpack[CompareKeywords],
) -> Comparison:
    """Compares runs on one page, as `kantor compare` does.

    Args:
        named: two or more runs, as `train` returns them, or their directories, names or numbers.
        against: real images against which all models are measured afresh: a folder, archive, packed dataset or array; by
            default scores are those that the runs have.
        {options}
    Returns:
        The conclusions, the table of scores, and the folder with compare.html, figures and tables.
    Raises:
        ConfigError, DataError, ModelError, ResourceError: as on the command line.
    """
    cache = cache_folder(options.get("cache"))
    real = (
        None if against is None else str(against if isinstance(against, str | Path) else keep(against, None, cache)[0])
    )
    words = {**options, "cache": cache, "against": real, "named": [str(getattr(run, "path", run)) for run in named]}
    return _compare(CompareOptions.from_words(words), lambda line: None, all_silent)


describe(compare, CompareOptions)
