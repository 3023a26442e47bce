"""The panels of losses.png and of the page: which columns of metrics.csv each one shows, and how it is painted.

The raw values are faint, their moving mean strong; the last value stands at the end of the curve.
"""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kantor.report.curve_data import Column, extremes, smooth
from kantor.report.figures import AXIS, INK, RULE, SOFT_INK, new_figure, soften
from kantor.report.scores import sentence, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_PT = 25.0
"""Height of a label of two lines."""
_FEW = 30
"""Up to so many values are marked with dots."""
_SVG_STEPS = 200
_NONE: Column = np.zeros(0)
_CSS_COLOURS = {INK: "var(--ink)", SOFT_INK: "var(--soft)", AXIS: "var(--rule)", RULE: "var(--rule)"}


@dataclass(frozen=True)
class Line:
    """A curve. column: of metrics.csv; label: written at its end, where the panel has two curves."""

    column: str
    colour: str
    label: str = ""


@dataclass(frozen=True)
class Panel:
    """One or two curves over the same axis.

    Attributes:
        guide: the attribute of `LossGuide` that says what to look for.
        about: what the curve is, written before that sentence.
    """

    title: str
    lines: tuple[Line, ...]
    guide: str
    about: str = ""

    @property
    def colour(self) -> str:
        """Of the title: that of a single curve."""
        return self.lines[0].colour if len(self.lines) == 1 else INK

    def measured(self, metrics: Mapping[str, Column]) -> bool:
        """Whether any of its columns holds a number."""
        return any(has(metrics, line.column) for line in self.lines)


def has(metrics: Mapping[str, Column], column: str) -> bool:
    """Whether a column holds a number."""
    return bool(np.isfinite(metrics.get(column, np.zeros(0))).any())


def _single(column: str, title: str, colour: str, about: str = "", guide: str = "") -> Panel:
    return Panel(title, (Line(column, colour),), guide or column, about)


# Okabe and Ito's colours, which people with any kind of colour vision can tell apart
_GAP = "mean critic(real) − mean critic(fake). "
WASSERSTEIN = _single("wasserstein_estimate", "Wasserstein estimate", "#0072b2", _GAP, "gap")
GAP = _single("critic_gap", "Critic gap", "#0072b2", _GAP, "gap")
CRITIC_SCORES = Panel(
    "Critic scores",
    (Line("critic_real", "#56b4e9", "real"), Line("critic_fake", "#e69f00", "generated")),
    "critic_scores",
)
SMALL = (
    CRITIC_SCORES,
    _single("critic_loss", "Critic loss", "#d55e00"),
    _single("generator_loss", "Generator loss", "#009e73"),
    _single("penalty", "Penalty", "#a3527d"),
    _single("gradient_norm", "Gradient norm", "#8a6d00"),
)
_METRICS = ("#cc4778", "#5b6ee1")


def metric_panels(metrics: Mapping[str, Column]) -> list[Panel]:
    """One for each metric that was measured: "fd@kantor-small"."""
    names = [name for name in metrics if "@" in name and has(metrics, name)]
    return [
        _single(name, title(name), colour, sentence(name)) for name, colour in zip(names, itertools.cycle(_METRICS))
    ]


def gap_panel(metrics: Mapping[str, Column]) -> Panel:
    """The Wasserstein estimate, or else the critic gap: the same numbers, which only some losses bound."""
    return WASSERSTEIN if WASSERSTEIN.measured(metrics) else GAP


@dataclass(frozen=True)
class _Curve:
    """x: kimg, y: values, calm: their moving mean, all [rows]; window: rows of that mean, below 3 for none."""

    line: Line
    x: Column
    y: Column
    calm: Column
    window: int

    @property
    def last(self) -> int:
        return int(np.flatnonzero(np.isfinite(self.calm))[-1])


def _curve(metrics: Mapping[str, Column], line: Line) -> _Curve:
    x, y = metrics["images_seen"] / 1000, metrics[line.column]
    y = np.where(np.isfinite(y), y, np.nan)
    if "@" in line.column:  # measured now and then: a line from one to the next
        x, y = np.append(x[np.isfinite(y)], x[-1:]), np.append(y[np.isfinite(y)], np.nan)
    window = len(y) // 33
    return _Curve(line, x, y, smooth(y, window) if window >= 3 else y, window)


def paint(
    axes: Axes, metrics: Mapping[str, Column], panel: Panel, roll_backs: Column, wide: bool = False, steps: int = 1000
) -> None:
    """Paints the curves of a panel and its axes, without its title.

    Args:
        roll_backs: images seen that the run was rolled back to: [roll-backs].
        wide: the large panel at the top of losses.png.
        steps: of a longer run, paint the least and the greatest value of each of so many parts.
    """
    _dress(axes, wide)
    curves = [_curve(metrics, line) for line in panel.lines if has(metrics, line.column)]
    if not curves:
        axes.set_yticks([])
        axes.set_xticks([])
        axes.text(0.5, 0.5, "nothing measured yet", transform=axes.transAxes, color=SOFT_INK, ha="center")
        return
    limits = [_limits(curve.y, curve.calm, with_zero=wide) for curve in curves]
    low, high = min(bottom for bottom, _ in limits), max(top for _, top in limits)
    axes.set_ylim(low, high)
    end = curves[0].x[-1]
    axes.set_xlim(*((0, end) if end > 0 else (-0.5, 0.5)))
    for curve in curves:
        raw, calm = np.clip(curve.y, low, high), np.clip(curve.calm, low, high)
        if curve.window >= 3:
            rows = extremes(raw, steps)
            axes.plot(curve.x[rows], raw[rows], color=curve.line.colour, alpha=0.22, linewidth=0.8)
        few, rows = np.isfinite(calm).sum() <= _FEW, extremes(calm, steps)
        axes.plot(
            curve.x[rows], calm[rows], color=curve.line.colour, linewidth=2.2 if wide else 1.7,
            marker="o" if few else "", markersize=3.5, clip_on=not few,
        )  # fmt: skip
    if low < 0 < high:
        axes.axhline(0, color=AXIS, linewidth=0.9, zorder=0.9)
    _write_last_values(axes, curves, wide)
    for kimg in roll_backs / 1000:
        axes.axvline(kimg, color=SOFT_INK, linewidth=0.9, linestyle=(0, (2, 3)))
        if wide:
            axes.annotate(
                "rolled back", (kimg, 1), (4, -4), xycoords=("data", "axes fraction"), va="top",
                textcoords="offset points", color=SOFT_INK, size=8.5,
            )  # fmt: skip


def curve_svg(metrics: Mapping[str, Column], panel: Panel, roll_backs: Column = _NONE) -> str:
    """A panel without its title as an <svg> for a page that defines --ink, --soft and --rule as colours.

    Equal metrics give equal text, of some 20,000 characters at most however long the run was.
    """

    def painted(axes: Axes) -> None:
        paint(axes, metrics, panel, roll_backs, steps=_SVG_STEPS)

    return as_svg(painted, panel.lines[0].column, _summary(metrics, panel), right=0.815)


def as_svg(painted: Callable[[Axes], None], salt: str, summary: str, right: float = 0.975) -> str:
    """What `painted` paints on axes, as an <svg> for a page that defines --ink, --soft and --rule as colours.

    Args:
        salt: gives its parts ids that no other drawing of the page has.
        summary: for those who cannot see it.
        right: where the axes end, as a share of the width.
    """
    from matplotlib import rc_context

    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": salt, "font.sans-serif": ["DejaVu Sans"], "path.simplify": False}
    ):
        figure = new_figure(4, 2.1)
        figure.set_facecolor("none")
        axes = figure.add_axes((0.155, 0.24, right - 0.155, 0.72), facecolor="none")
        painted(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = file.getvalue()
    drawing = text[text.index('<g id="figure_1">') :]
    drawing = re.sub(r' id="(?![mp][0-9a-f]{10}")[^"]*"', "", drawing)  # but markers and clips, which are used
    drawing = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d)\d+|\s(?=\s)", r"\1", path[0]), drawing)
    for colour, variable in _CSS_COLOURS.items():
        drawing = drawing.replace(colour, variable)
    return f'<svg viewBox="0 0 288 151.2" role="img" aria-label="{html.escape(summary)}">{drawing}'


def _summary(metrics: Mapping[str, Column], panel: Panel) -> str:
    """ "Critic scores: real from 0.1 to 2.5, generated from 0.1 to −3": for those who cannot see the curves."""
    parts = []
    for line in panel.lines:
        if has(metrics, line.column):
            values = metrics[line.column][np.isfinite(metrics[line.column])]
            parts.append(f"{line.label} from {_number(values[0])} to {_number(values[-1])}".strip())
    return f"{panel.title}: {', '.join(parts) or 'nothing measured yet'}"


def _write_last_values(axes: Axes, curves: list[_Curve], wide: bool) -> None:
    """At the ends of the curves, so far apart that both can be read."""
    from matplotlib.colors import to_rgb

    low, high = axes.get_ylim()
    height_pt = axes.get_position().height * axes.figure.get_figheight() * 72  # type: ignore[union-attr]
    ends = [float(np.clip(curve.calm[curve.last], low, high)) for curve in curves]
    at = [(end - low) / (high - low) * height_pt for end in ends]
    for curve, end, here, there in zip(curves, ends, at, spread(at, height_pt), strict=True):
        shade = 0.72 if curve.line.label else 1  # curves with labels are light blue and orange: too light for words
        colour = tuple(shade * part for part in to_rgb(curve.line.colour))
        style: dict[str, Any] = {
            "textcoords": "offset points", "color": colour, "va": "center", "annotation_clip": False,
        }  # fmt: skip
        place, shift, named = (curve.x[curve.last], end), there - here, bool(curve.line.label)
        number, size = _number(curve.calm[curve.last]), 10 if wide else 9
        axes.annotate(number, place, (6, shift - 6 * named), weight="bold", size=size, **style)
        if named:  # "generated" is as wide as the margin
            axes.annotate(curve.line.label, place, (6, shift + 6), size=8, **style)


def spread(heights: list[float], limit: float) -> list[float]:
    """Centres of labels: two are moved apart until they do not touch, within 0 to `limit` (points)."""
    if len(heights) != 2:
        return heights
    half = LABEL_PT / 2
    first, second = (float(np.clip(height, half, limit - half)) for height in heights)
    if abs(first - second) < LABEL_PT:
        middle = float(np.clip((first + second) / 2, 2 * half, limit - 2 * half))
        up = half if heights[0] >= heights[1] else -half
        first, second = middle + up, middle - up
    return [first, second]


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _dress(axes: Axes, wide: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    soften(axes, "left")
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(pad=5)
    axes.xaxis.set_major_locator(MaxNLocator(8 if wide else 5))
    axes.yaxis.set_major_locator(MaxNLocator(5 if wide else 4))
    axes.set_xlabel("thousand images seen (kimg)" if wide else "kimg", size=9, color=SOFT_INK)


def _limits(raw: Column, calm: Column, with_zero: bool) -> tuple[float, float]:
    """All of the calm curve and nearly all of the raw one: a single spike must not flatten the rest."""
    low, high = np.nanpercentile(raw, [1, 99])
    low, high = min(low, np.nanpercentile(calm, 0.5)), max(high, np.nanpercentile(calm, 99.5))
    if np.isfinite(raw).sum() <= _FEW:
        low, high = np.nanmin(raw), np.nanmax(raw)
    if with_zero:  # the estimate is a distance from zero
        low, high = min(low, 0.0), max(high, 0.0)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    bottom = 0.0 if 0 <= low < 0.35 * high else low - room  # show the zero where it is near
    return bottom, high + room


def epoch_axis(axes: Axes, metrics: Mapping[str, Column]) -> None:
    """The same images in epochs, above the panel."""
    from matplotlib.ticker import MaxNLocator

    seen, epoch = metrics.get("images_seen", np.zeros(0)), metrics.get("epoch", np.zeros(0))
    if len(seen) != len(epoch) or not (good := (seen > 0) & (epoch > 0)).any():
        return
    ratio = float(np.median(epoch[good] / seen[good])) * 1000
    top = axes.secondary_xaxis(
        "top", functions=(lambda kimg: np.multiply(kimg, ratio), lambda epochs: np.divide(epochs, ratio))
    )
    top.spines["top"].set_visible(False)
    top.tick_params(length=0, labelsize=9, labelcolor=SOFT_INK, pad=2)
    top.xaxis.set_major_locator(MaxNLocator(8))
    axes.annotate("epochs", (1, 1), (17, 4), xycoords="axes fraction", textcoords="offset points",
                 size=9, color=SOFT_INK)  # fmt: skip
