"""One panel of losses.png: a curve or two, their names, their last values, and what to look for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kantor.report.curves import Column, smooth
from kantor.report.scores import sentence, title

if TYPE_CHECKING:  # matplotlib takes half a second to load
    from matplotlib.axes import Axes

INK, SOFT_INK, RULE = "#2f3136", "#73767d", "#e4e3df"


@dataclass(frozen=True)
class Line:
    """A curve. column: of metrics.csv; label: written at its end, where it is not alone."""

    column: str
    colour: str
    label: str = ""


@dataclass(frozen=True)
class Panel:
    """One or two curves over the same axis.

    Attributes:
        reading: the attribute of `Reading` that says what to look for.
        about: what it is, before that sentence.
    """

    title: str
    lines: tuple[Line, ...]
    reading: str
    about: str = ""

    @property
    def colour(self) -> str:
        """Of the title: that of the curve, where there is one."""
        return self.lines[0].colour if len(self.lines) == 1 else INK


def _alone(column: str, title: str, colour: str, about: str = "", reading: str = "") -> Panel:
    return Panel(title, (Line(column, colour),), reading or column, about)


# Okabe and Ito's colours, which people with any kind of colour vision can tell apart
_GAP = "mean critic(real) − mean critic(fake). "
WASSERSTEIN = _alone("wasserstein_estimate", "Wasserstein estimate", "#0072b2", _GAP, "gap")
GAP = _alone("critic_gap", "Critic gap", "#0072b2", _GAP, "gap")
SCORES = Panel(
    "Scores", (Line("critic_real", "#56b4e9", "real"), Line("critic_fake", "#e69f00", "generated")), "scores"
)
SMALL = (
    SCORES,
    _alone("critic_loss", "Critic loss", "#d55e00"),
    _alone("generator_loss", "Generator loss", "#009e73"),
    _alone("penalty", "Penalty", "#a3527d"),
    _alone("gradient_norm", "Gradient norm", "#8a6d00"),
)
_MEASURED = ("#cc4778", "#5b6ee1")
_LABEL_PT = 25.0
"""Height of a label of two lines."""


def measured_panels(metrics: Mapping[str, Column]) -> list[Panel]:
    """Of the first two scores of images; the page of the run has all of them."""
    names = [name for name in metrics if "@" in name and has(metrics, name)][:2]
    return [_alone(name, title(name), colour, sentence(name)) for name, colour in zip(names, _MEASURED, strict=False)]


def has(metrics: Mapping[str, Column], name: str) -> bool:
    """Whether anything was measured in a column."""
    return bool(np.isfinite(metrics.get(name, np.zeros(0))).any())


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


def draw(axes: Axes, metrics: Mapping[str, Column], panel: Panel, hint: str, marks: Column, wide: bool = False) -> None:
    """The raw values faint, their moving mean strong, the last value written at its end.

    Args:
        marks: images seen where the run was rolled back to: [roll-backs].
        wide: the large panel at the top.
    """
    _dress(axes, panel, hint, wide)
    curves = [_curve(metrics, line) for line in panel.lines if has(metrics, line.column)]
    if not curves:
        axes.set_yticks([])
        axes.set_xticks([])
        axes.text(0.5, 0.5, "nothing measured yet", transform=axes.transAxes, color=SOFT_INK, ha="center")
        return
    for curve in curves:
        if curve.window >= 3:
            axes.plot(curve.x, curve.y, color=curve.line.colour, alpha=0.22, linewidth=0.8)
        few = np.isfinite(curve.y).sum() <= 30
        axes.plot(
            curve.x, curve.calm, color=curve.line.colour, linewidth=2.2 if wide else 1.7,
            marker="o" if few else "", markersize=3.5, clip_on=not few,
        )  # fmt: skip
    limits = [_limits(curve.y, curve.calm, with_zero=wide) for curve in curves]
    low, high = min(bottom for bottom, _ in limits), max(top for _, top in limits)
    axes.set_ylim(low, high)
    end = curves[0].x[-1]
    axes.set_xlim(*((0, end) if end > 0 else (-0.5, 0.5)))
    if low < 0 < high:
        axes.axhline(0, color="#b9b8b3", linewidth=0.9, zorder=0.9)
    _write_last_values(axes, curves, wide)
    for mark in marks / 1000:
        axes.axvline(mark, color=SOFT_INK, linewidth=0.9, linestyle=(0, (2, 3)))
        if wide:
            axes.annotate(
                "rolled back", (mark, 1), (4, -4), xycoords=("data", "axes fraction"), va="top",
                textcoords="offset points", color=SOFT_INK, size=8.5,
            )  # fmt: skip


def _write_last_values(axes: Axes, curves: list[_Curve], wide: bool) -> None:
    """At the ends of the curves, so far from each other that both can be read."""
    low, high = axes.get_ylim()
    height_pt = axes.get_position().height * axes.figure.get_figheight() * 72  # type: ignore[union-attr]
    ends = [float(np.clip(curve.calm[curve.last], low, high)) for curve in curves]
    at = [(end - low) / (high - low) * height_pt for end in ends]
    for curve, end, here, there in zip(curves, ends, at, _apart(at, height_pt), strict=True):
        number, colour = f"{curve.calm[curve.last]:.3g}".replace("-", "−"), _legible(curve.line)
        style: dict[str, Any] = {
            "textcoords": "offset points",
            "color": colour,
            "va": "center",
            "annotation_clip": False,
        }
        place, shift, named = (curve.x[curve.last], end), there - here, bool(curve.line.label)
        axes.annotate(number, place, (6, shift - 6 * named), weight="bold", size=10 if wide else 9, **style)
        if named:  # "generated" is as wide as the margin
            axes.annotate(curve.line.label, place, (6, shift + 6), size=8, **style)


def _apart(heights: list[float], most: float) -> list[float]:
    """Centres of labels: of two, moved so far apart that they do not touch, within 0 to `most` (points)."""
    if len(heights) != 2:
        return heights
    half = _LABEL_PT / 2
    first, second = (float(np.clip(height, half, most - half)) for height in heights)
    if abs(first - second) < _LABEL_PT:
        middle = float(np.clip((first + second) / 2, 2 * half, most - 2 * half))
        up = half if heights[0] >= heights[1] else -half
        first, second = middle + up, middle - up
    return [first, second]


def _legible(line: Line) -> tuple[float, ...]:
    """The colour of a curve, darker where words in it would be too pale: curves with labels are light blue and orange."""
    rgb = (int(line.colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return tuple(0.72 * part if line.label else part for part in rgb)


def _dress(axes: Axes, panel: Panel, hint: str, wide: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    above = 33 if wide else 16  # room for the axis of epochs
    style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    size = 12 if wide else 10.5
    axes.annotate(panel.title, (0, 1), (0, above + 4), size=size, weight="bold", color=panel.colour, **style)
    axes.annotate(panel.about + hint, (0, 1), (0, above - 9), size=9.5 if wide else 8.5, color=SOFT_INK, **style)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#b9b8b3")
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=SOFT_INK, pad=5)
    axes.xaxis.set_major_locator(MaxNLocator(8 if wide else 5))
    axes.yaxis.set_major_locator(MaxNLocator(5 if wide else 4))
    axes.set_xlabel("thousand images seen (kimg)" if wide else "kimg", size=9, color=SOFT_INK)


def _limits(raw: Column, calm: Column, with_zero: bool) -> tuple[float, float]:
    """All of the calm curve and nearly all of the raw one: a single spike must not flatten the rest."""
    low, high = np.nanpercentile(raw, [1, 99])
    low, high = min(low, np.nanpercentile(calm, 0.5)), max(high, np.nanpercentile(calm, 99.5))
    if np.isfinite(raw).sum() <= 30:
        low, high = np.nanmin(raw), np.nanmax(raw)
    if with_zero:  # how far the estimate is from zero is what it says
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

    def to_epochs(kimg: Any) -> Any:
        return kimg * ratio

    def to_kimg(epochs: Any) -> Any:
        return epochs / ratio

    top = axes.secondary_xaxis("top", functions=(to_epochs, to_kimg))
    top.spines["top"].set_visible(False)
    top.tick_params(length=0, labelsize=9, labelcolor=SOFT_INK, pad=2)
    top.xaxis.set_major_locator(MaxNLocator(8))
    axes.annotate("epochs", (1, 1), (17, 4), xycoords="axes fraction", textcoords="offset points",
                 size=9, color=SOFT_INK)  # fmt: skip
