"""inspect.html: one page about a dataset, which needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kantor.report.page import EmbeddedImage, render


@dataclass(frozen=True)
class DatasetPage:
    """What the page says, as text; the template escapes all of it.

    Attributes:
        findings: what was found and decided, a line each.
        facts: groups of (label, value), by their headings.
        classes: name and number of images of each.
        copies: names of images that are the same, a group each.
        figures: contact sheet, sizes, suspects.
    """

    title: str
    lead: str
    findings: Sequence[str]
    facts: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    classes: Sequence[tuple[str, int]]
    copies: Sequence[Sequence[str]]
    figures: Sequence[EmbeddedImage]


def dataset_html(page: DatasetPage) -> str:
    """The whole page. Equal values give equal text."""
    return render("dataset.html.j2", page)
