"""report.html: one page that shows what a run was and what came of it. It needs no other file and no network."""

from __future__ import annotations

import base64
import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kantor.report.curves import smooth

Column = NDArray[np.float64]
Rows = NDArray[np.int64]
_STEPS = 250  # about one for each pixel of a curve
_DRAWABLE = 1e150  # differences of larger numbers overflow


@dataclass(frozen=True)
class EmbeddedImage:
    """caption: under it; data: a WebP or PNG; width: pixels."""

    caption: str
    data: bytes
    width: int


@dataclass(frozen=True)
class Curve:
    """x: kimg, y: values, both [rows]; words: what healthy looks like and what was found."""

    title: str
    words: str
    x: Column
    y: Column


@dataclass(frozen=True)
class Page:
    """All that the page says, as text; nothing in it is trusted to be harmless HTML.

    Attributes:
        facts: groups of (label, value), by their headings.
        scores: name, value, interval, what reals get, meaning; score_about: what they were measured with.
        changed: fields that differ from the defaults: (field, default, here).
        commands: how to repeat and use it: (what for, command).
        history: what happened, one line each.
    """

    title: str
    lead: str
    facts: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    latest: EmbeddedImage | None
    over_time: Sequence[EmbeddedImage]
    reals: EmbeddedImage | None
    curves: Sequence[Curve]
    scores: Sequence[tuple[str, str, str, str, str]]
    score_about: str
    health: Sequence[str]
    history: Sequence[str]
    changed: Sequence[tuple[str, str, str]]
    config: str
    commands: Sequence[tuple[str, str]]


_STYLE = """
:root { color-scheme: light dark; --ink: #24262b; --soft: #656971; --paper: #fbfaf8; --card: #ffffff; --rule: #dedcd6;
  --line: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --soft: #a3a6ad; --paper: #191a1d; --card: #222428;
  --rule: #3a3d43; --line: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.2rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; padding-top: .8rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 0 0 .4rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.lead, figcaption, .soft { color: var(--soft); }
figcaption { font-size: .85rem; margin-top: .3rem; }
figure { margin: 0; break-inside: avoid; }
img { max-width: 100%; height: auto; display: block; border-radius: 4px; }
.grid { display: grid; gap: 1.2rem; }
.pair { grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 17.5rem), 1fr)); }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 1rem; break-inside: avoid; }
.card p { font-size: .88rem; color: var(--soft); margin: .5rem 0 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: .9rem; } th, td { text-align: left; padding: .25rem 1.2rem .25rem 0;
  border-bottom: 1px solid var(--rule); overflow-wrap: anywhere; } th { color: var(--soft); font-weight: 500; }
pre, code { font: .85rem/1.5 ui-monospace, monospace; } pre { background: var(--card); border: 1px solid var(--rule);
  border-radius: 6px; padding: .7rem .9rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0 .9rem; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .last { fill: var(--line); font-weight: 700; } svg .rule { stroke: var(--rule); } svg polyline { fill: none;
  stroke: var(--line); } svg .raw { opacity: .25; stroke-width: 1; } svg .calm { stroke-width: 2; }
@media print { :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; } body { max-width: none; padding: 0;
  font-size: 11pt; } details > pre { white-space: pre-wrap; } h2 { break-after: avoid; } }
"""


_UNSCORED = (
    "No score was measured here. Curves of a GAN say whether training is sound, not how good the images are, nor how "
    "much of the data they cover."
)
_SCORED = (
    "Scores measure sets, not images, and only what their network sees; numbers with another network, another number of "
    "images or another reference are no comparison. These are of the images learnt from: whether they are copies, "
    "kantor evaluate tells."
)


def page_html(page: Page) -> str:
    """The whole page. Equal values give equal text."""
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
        f"<title>{_text(page.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>",
        f'<h1>{_text(page.title)}</h1>\n<p class="lead">{_text(page.lead)}</p>',
        _section("Images it makes, and those it learnt from", _side_by_side(page)),
        _section("How they came about", _grid(page.over_time)) if page.over_time else "",
        _section("Scores", _scores(page)) if page.scores else "",
        _section("Curves", _curves(page)),
        _section("What happened", _list([*page.health, *page.history])),
        _section("Do it again", "".join(f"<p>{_text(a)}</p>\n<pre>{_text(b)}</pre>" for a, b in page.commands)),
        "".join(_section(heading, _facts(rows)) for heading, rows in page.facts),
        _section("Settings", _settings(page)),
        _section(
            "What this page does not tell",
            f"<p>{_text(_SCORED if page.scores else _UNSCORED)} Look at many of the images. One run is one throw of the "
            "dice.</p>",
        ),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def curve_svg(x: Column, y: Column, title: str = "") -> str:
    """A curve with its last value, its range and the kimg below; the raw values faint behind their moving mean.

    However long the run was, a few hundred points are drawn: of the raw values the least and the greatest of each step.
    """
    width, height, left, bottom, top, right = 360, 170, 58, 22, 10, 52
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], np.clip(y[good], -_DRAWABLE, _DRAWABLE)
    if not len(x):
        return '<svg viewBox="0 0 360 60" role="img" aria-label="nothing measured yet"><text x="10" y="30">nothing measured yet</text></svg>'
    calm = smooth(y, len(y) // 33) if len(y) >= 99 else y
    low, high = (float(v) for v in np.percentile(y, [1, 99]))
    low, high = min(low, float(calm.min())), max(high, float(calm.max()))
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - room, high + room
    across, first = (x[-1] - x[0]) or 1.0, x[0]

    def points(values: Column, rows: Rows) -> str:
        h = left + (x[rows] - first) / across * (width - left - right)
        v = top + (high - np.clip(values[rows], low, high)) / (high - low) * (height - top - bottom)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(h, v, strict=True))

    def level(value: float) -> float:
        return top + (high - value) / (high - low) * (height - top - bottom)

    marks = [low + room, (low + high) / 2, high - room]
    last = float(calm[-1])
    lines = "".join(
        f'<line class="rule" x1="{left}" x2="{width - right}" y1="{level(m):.1f}" y2="{level(m):.1f}"/>'
        f'<text x="{left - 6}" y="{level(m) + 4:.1f}" text-anchor="end">{_number(m)}</text>'
        for m in marks
    )
    raw = f'<polyline class="raw" points="{points(y, _extremes(y, _STEPS))}"/>' if calm is not y else ""
    even = np.unique(np.linspace(0, len(y) - 1, min(len(y), 2 * _STEPS)).astype(np.int64))
    name = _text(f"{title} from {_number(y[0])} to {_number(last)}".strip())
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{name}">{lines}{raw}'
        f'<polyline class="calm" points="{points(calm, even)}"/>'
        f'<text class="last" x="{width - right + 6}" y="{level(min(max(last, low), high)) + 4:.1f}">{_number(last)}</text>'
        f'<text x="{left}" y="{height - 6}">{_number(x[0])}</text>'
        f'<text x="{width - right}" y="{height - 6}" text-anchor="end">{_number(x[-1])} kimg</text></svg>'
    )


def _extremes(values: Column, steps: int) -> Rows:
    """Rows of the least and the greatest value of each of `steps` equal parts; all rows where they are no more."""
    if len(values) <= 2 * steps:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), steps + 1).astype(np.int64)
    parts = [(a, values[a:b]) for a, b in itertools.pairwise(edges)]
    return np.unique([a + pick for a, part in parts for pick in (part.argmin(), part.argmax())])


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _soft(text: str) -> str:
    return f'<p class="soft">{_text(text)}</p>'


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{_text(heading)}</h2>\n{content}\n</section>" if content else ""


def _figure(image: EmbeddedImage) -> str:
    kind = "png" if image.data.startswith(b"\x89PNG") else "webp"
    source = f"data:image/{kind};base64,{base64.b64encode(image.data).decode()}"
    words = _text(image.caption)
    tag = f'<img src="{source}" alt="a sheet of images" width="{image.width}">'
    return f"<figure>{tag}<figcaption>{words}</figcaption></figure>"


def _side_by_side(page: Page) -> str:
    shown = [image for image in (page.latest, page.reals) if image]
    figures = "".join(map(_figure, shown))
    missing = "" if page.latest else _soft("No sheet has been drawn yet.")
    return f'{missing}<div class="grid pair">{figures}</div>'


def _grid(images: Sequence[EmbeddedImage]) -> str:
    return f'<div class="grid wide">{"".join(map(_figure, images))}</div>'


def _facts(rows: Sequence[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{_text(a)}</dt><dd>{_text(b)}</dd>' for a, b in rows)}</dl>"


def _curves(page: Page) -> str:
    if not page.curves:
        return _soft("Nothing has been measured yet.")
    cards = "".join(
        f'<div class="card"><h3>{_text(c.title)}</h3>{curve_svg(c.x, c.y, c.title)}<p>{_text(c.words)}</p></div>'
        for c in page.curves
    )
    return f'<div class="grid wide">{cards}</div>'


def _scores(page: Page) -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in ("", "value", "95% interval", "reals", ""))
    rows = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in page.scores)
    return f"<p>{_text(page.score_about)}</p>\n<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>" if lines else ""


def _settings(page: Page) -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in ("field", "here", "default preset"))
    rows = "".join(
        f"<tr><td><code>{_text(name)}</code></td><td>{_text(new)}</td><td>{_text(old)}</td></tr>"
        for name, old, new in page.changed
    )
    table = (
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        if rows
        else _soft("All fields are those of the default preset.")
    )
    return f"{table}\n<details><summary>The whole configuration</summary><pre>{_text(page.config)}</pre></details>"
