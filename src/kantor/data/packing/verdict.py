"""Whether too many images cannot be used, and the words for it."""

from __future__ import annotations

import math
import re

from kantor.config.schema import DataConfig
from kantor.data.packing.journal import Journal
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
        found = ", ".join(f"{name} ({reason})" for name, reason in journal.first_strange)
        return DataError(source.path, f"none of its files is an image: {found}, ...", "name a folder of images")
    kinds = {re.sub(r"\d+", "0", reason) for _, reason in journal.first_bad}
    reason, _, do = journal.first_bad[0][1].partition("; ")
    if len(kinds) > 1 or journal.bad == 1:
        return DataError(source.path, f"none of {whose} images can be used: {_first(journal)}", "mend or replace them")
    what = f"none of {whose} images can be used: {reason}"
    if "smaller than the crop" in reason:
        return DataError(source.path, what, "use a smaller --crop, or --crop 0 to cut nothing")
    return DataError(source.path, what, f"{do}, all of them" if do else "mend or replace them")


def _first(journal: Journal) -> str:
    text = ", ".join(f"{name} ({reason})" for name, reason in journal.first_bad)
    return text + (", ..." if journal.bad > len(journal.first_bad) else "")
