"""The limit on unreadable images, --max-bad."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from kantor.config.data import DataConfig
from kantor.data.packing.journal import Journal, rejected_in
from kantor.data.packing.scan import Listing
from kantor.data.sources.source import Rejected, Source
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


def require_few_listed_bad(listing: Listing, source: Source, config: DataConfig) -> None:
    """Raises DataError if the listing alone holds too many images that cannot be used: links, placeholders, other formats."""
    total = listing.items + listing.bad
    if exceeds(listing.bad, total, config.max_bad):
        remedies = {rejected.reason.remedy for rejected in listing.first_bad}
        remedy = remedies.pop() if len(remedies) == 1 and len(listing.reasons) == 1 else ""
        examples = _examples(listing.first_bad, listing.bad, listing.reasons, with_remedies=not remedy)
        raise too_many_bad(source.path, listing.bad, total, config.max_bad, examples, remedy=remedy)


def exceeds(bad: int, total: int, max_bad: float) -> bool:
    """Whether `bad` of `total` images are more than the fraction `max_bad`.

    A few stray files in a small folder are never too many, unless max_bad is 0.
    """
    few = min(_FEW_BAD, total // 4) if max_bad else 0
    return bad > max(max_bad * total, few)


def too_many_bad(
    path: str, bad: int, seen: int, max_bad: float, examples: str = "", all_seen: bool = True, remedy: str = ""
) -> DataError:
    """Returns the error for `bad` of `seen` images. all_seen: there are no more images; remedy: for all of them."""
    what = f"{bad} of {'' if all_seen else 'the first '}{seen} images cannot be used, "
    what += f"more than the {max_bad * 100:g}% allowed" + (f": {examples}" if examples else "")
    percent, remedy = math.ceil(1000 * bad / seen) / 10, remedy or "fix or remove them"
    if not all_seen:  # the percentage that would be enough is not known yet
        remedy += ", or skip them with a larger --max-bad; kantor pack --inspect checks all images"
    elif percent < 100:
        remedy += f", or skip them with --max-bad {percent:g}%"
    return DataError(path, what, remedy)


def _none_usable(journal: Journal, source: Source, whose: str) -> DataError:
    """Names a common reason once, with its remedy."""
    if not journal.bad:
        what = f"none of its files is an image: {_examples([rejected_in(entry) for entry in journal.first_strange], 0, {})}, ..."
        return DataError(source.path, what, "name a folder of images")
    what = f"none of {whose} images can be used: "
    reasons = [rejected_in(entry).reason for entry in journal.first_bad]
    kind, detail, remedy = reasons[0]
    if journal.bad == 1 or len({re.sub(r"\d+", "0", str(reason)) for reason in reasons}) > 1:
        return DataError(source.path, what + _first_bad(journal), "fix or replace them")
    if kind == "crop":
        return DataError(source.path, what + detail, "use a smaller --crop, or --crop 0 for none")
    return DataError(
        source.path,
        what + detail,
        f"for all of them: {remedy}"
        if "--set" in remedy
        else f"{remedy}, all of them"
        if remedy
        else "fix or replace them",
    )


def _first_bad(journal: Journal) -> str:
    return _examples([rejected_in(entry) for entry in journal.first_bad], journal.bad, journal.bad_reasons)


def _examples(first: Sequence[Rejected], bad: int, reasons: Mapping[str, int], with_remedies: bool = True) -> str:
    """Some of `bad` images with their reasons; a reason that all of many share once."""
    if bad > _FEW_BAD and len(reasons) == 1:
        names = ", ".join(rejected.name for rejected in first[:2])
        return f"{bad:,} {first[0].reason.detail} ({names}, ...)"
    shown = (f"{r.name} ({r.reason if with_remedies else r.reason.detail})" for r in first)
    return ", ".join(shown) + (", ..." if bad > len(first) else "")
