"""The limit on unreadable images, --max-bad."""

from __future__ import annotations

import math
import re
from typing import Any

from kantor.config.data import DataConfig
from kantor.data.packing.journal import Journal, rejected_in
from kantor.data.sources.source import Source
from kantor.errors import DataError

_FEW_BAD = 3


def require_usable(journal: Journal, source: Source, config: DataConfig, total: int) -> None:
    """Raises DataError if none of `total` images can be used, or already too many cannot."""
    seen = journal.rows + journal.bad
    too_many = exceeds(journal.bad, total, config.max_bad)
    if journal.rows == 0 and (too_many or seen == total):
        raise _none_usable(journal, source, "its" if seen == total else f"the first {seen}")
    if too_many:
        raise too_many_bad(source.path, journal.bad, seen, config.max_bad, _first_bad(journal), all_seen=seen == total)


def exceeds(bad: int, total: int, max_bad: float) -> bool:
    """Whether `bad` of `total` images are more than the fraction `max_bad`.

    A few stray files in a small folder are never too many, unless max_bad is 0.
    """
    few = min(_FEW_BAD, total // 4) if max_bad else 0
    return bad > max(max_bad * total, few)


def too_many_bad(
    path: str, bad: int, seen: int, max_bad: float, examples: str = "", all_seen: bool = True
) -> DataError:
    """Returns the error for `bad` of `seen` images. all_seen: there are no more images."""
    what = f"{bad} of {'' if all_seen else 'the first '}{seen} images cannot be used, "
    what += f"more than the {max_bad * 100:g}% allowed" + (f": {examples}" if examples else "")
    percent, remedy = math.ceil(1000 * bad / seen) / 10, "fix or remove them"
    if not all_seen:  # the percentage that would be enough is not known yet
        remedy += ", or skip them with a larger --max-bad; kantor pack --inspect checks all images"
    elif percent < 100:
        remedy += f", or skip them with --max-bad {percent:g}%"
    return DataError(path, what, remedy)


def _none_usable(journal: Journal, source: Source, whose: str) -> DataError:
    """Names a common reason once, with its remedy."""
    if not journal.bad:
        what = f"none of its files is an image: {_named(journal.first_strange)}, ..."
        return DataError(source.path, what, "name a folder of images")
    what = f"none of {whose} images can be used: "
    reasons = [rejected_in(entry).reason for entry in journal.first_bad]
    kind, detail, remedy = reasons[0]
    if journal.bad == 1 or len({re.sub(r"\d+", "0", str(reason)) for reason in reasons}) > 1:
        return DataError(source.path, what + _first_bad(journal), "fix or replace them")
    if kind == "crop":
        return DataError(source.path, what + detail, "use a smaller --crop, or --crop 0 for none")
    return DataError(source.path, what + detail, f"{remedy}, all of them" if remedy else "fix or replace them")


def _first_bad(journal: Journal) -> str:
    return _named(journal.first_bad) + (", ..." if journal.bad > len(journal.first_bad) else "")


def _named(entries: list[list[Any]]) -> str:
    return ", ".join(f"{rejected.name} ({rejected.reason})" for rejected in map(rejected_in, entries))
