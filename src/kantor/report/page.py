"""report.html: one page about a run and its results, which needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class EmbeddedImage:
    """caption: under it; data: a WebP or PNG; width: pixels."""

    caption: str
    data: bytes
    width: int

    @property
    def url(self) -> str:
        """The image itself, as a data: URL."""
        kind = "png" if self.data.startswith(b"\x89PNG") else "webp"
        return f"data:image/{kind};base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True)
class Curve:
    """svg: the curve, markup that goes into the page as it is; words: what healthy looks like and what was seen."""

    title: str
    words: str
    svg: str


@dataclass(frozen=True)
class Page:
    """What the page says, as text; the template escapes all of it but `Curve.svg`.

    Attributes:
        note: the user's, "" without one.
        facts: groups of (label, value), by their headings.
        scores: name, value, interval, what real images score, meaning; score_about: how they were measured.
        changed: fields that differ from the defaults: (field, default, here).
        commands: how to repeat the run and use its model: (purpose, command).
        history: what happened, one line each.
    """

    title: str
    lead: str
    note: str
    facts: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    latest: EmbeddedImage | None
    over_time: Sequence[EmbeddedImage]
    reals: EmbeddedImage | None
    curves: Sequence[Curve]
    scores: Sequence[tuple[str, str, str, str, str]]
    score_about: str
    evaluated: bool
    history: Sequence[str]
    changed: Sequence[tuple[str, str, str]]
    config: str
    commands: Sequence[tuple[str, str]]


def page_html(page: Page) -> str:
    """The whole page. Equal values give equal text."""
    return render("page.html.j2", page)


def render(template: str, page: object) -> str:
    """A template of this folder, in which the values are `page`."""
    return str(_environment().get_template(template).render(page=page))


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # needed at the end of a run only

    return Environment(
        loader=PackageLoader("kantor", "report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
