"""Whether too many images cannot be used, and the words for it."""

from __future__ import annotations

import math
import re
from typing import Any

from kantor.config.data import DataConfig
from kantor.data.packing.journal import Journal, rejected_in
from kantor.data.sources.source import Source
from kantor.errors import DataError

_FEW_BAD = 3


def judge(journal: Journal, source: Source, config: DataConfig, total: int) -> None:
    """Raises DataError where too many of `total` images are bad already."""
    if not too_many(journal.bad, total, config.max_bad):
        return
    seen = journal.rows + journal.bad
    if journal.rows == 0:
        raise none_usable(journal, source, "its" if seen == total else f"the first {seen}")
    share = math.ceil(1000 * journal.bad / seen) / 10
    what = f"{journal.bad} of {'' if seen == total else 'the first '}{seen} images cannot be used, "
    what += f"more than the {config.max_bad * 100:g}% allowed: {_first(journal)}"
    do = "mend or remove them"
    if seen < total:  # more are to come: no share that would do is known yet
        do += ", or leave such images out with a larger --max-bad; kantor pack --inspect looks at all of them"
    elif share < 100:
        do += f", or leave such images out with --max-bad {share:g}%"
    raise DataError(source.path, what, do)


def too_many(bad: int, total: int, max_bad: float) -> bool:
    """Whether `bad` of `total` images are more than the share `max_bad`.

    A few stray files in a small folder are never too many, unless the user tolerates none.
    """
    few = min(_FEW_BAD, total // 4) if max_bad else 0
    return bad > max(max_bad * total, few)


def none_usable(journal: Journal, source: Source, whose: str) -> DataError:
    """The error where there is not a single row; a reason that they share is given once, with the cure it may name."""
    if not journal.bad:
        found = _named(journal.first_strange)
        return DataError(source.path, f"none of its files is an image: {found}, ...", "name a folder of images")
    reasons = [rejected_in(entry).reason for entry in journal.first_bad]
    different = {re.sub(r"\d+", "0", str(reason)) for reason in reasons}
    if len(different) > 1 or journal.bad == 1:
        return DataError(source.path, f"none of {whose} images can be used: {_first(journal)}", "mend or replace them")
    kind, detail, remedy = reasons[0]
    what = f"none of {whose} images can be used: {detail}"
    if kind == "crop":
        return DataError(source.path, what, "use a smaller --crop, or --crop 0 to cut nothing")
    return DataError(source.path, what, f"{remedy}, all of them" if remedy else "mend or replace them")


def _first(journal: Journal) -> str:
    return _named(journal.first_bad) + (", ..." if journal.bad > len(journal.first_bad) else "")


def _named(entries: list[list[Any]]) -> str:
    return ", ".join(f"{one.name} ({one.reason})" for one in map(rejected_in, entries))
