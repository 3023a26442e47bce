"""Curves of several runs over each other: a colour for each kind of training, a dash for each of its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from kantor.report.curve_data import Column, extremes, smooth
from kantor.report.curves import as_svg
from kantor.report.figures import AXIS, INK, RULE, SOFT_INK, new_figure, png_of, soften

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a3527d", "#e69f00", "#56b4e9", "#8a6d00", "#5a5c63")
"""Okabe and Ito's, which people with any kind of colour vision can tell apart; the yellow is darker, to be seen on white."""
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("-", (0, (4, 1.6)), (0, (1, 1.3)), (0, (5, 1.4, 1, 1.4)))
SVG_DASHES = ("", "8 3", "2 2.6", "10 3 2 3")
_FEW = 30
_STEPS = 300


@dataclass(frozen=True)
class Trace:
    """One run's curve.

    Attributes:
        label: of the kind of training.
        colour, dash: numbers of these.
        kimg, seconds, values: [rows].
    """

    label: str
    colour: int
    dash: int
    kimg: Column
    seconds: Column
    values: Column


@dataclass(frozen=True)
class OverlayPanel:
    """Curves of one quantity. hint: what to look for, in a few words; over: what lies on the horizontal axis."""

    title: str
    hint: str
    traces: tuple[Trace, ...]
    over: Literal["kimg", "seconds"] = "kimg"


def overlay_svg(panel: OverlayPanel, salt: str) -> str:
    """A panel without its title as an <svg>. salt: text that no other panel of the page has."""
    ends = [(trace.label, trace.values[np.isfinite(trace.values)]) for trace in panel.traces]
    summary = (
        f"{panel.title}: {', '.join(f'{label} ends at {values[-1]:.3g}' for label, values in ends if len(values))}"
    )

    def painted(axes: Axes) -> None:
        paint_overlay(axes, panel)

    return as_svg(painted, salt, summary)


def overlay_png(panels: Sequence[OverlayPanel], title: str, columns: int = 2) -> bytes:
    """All panels in one PNG under a key of colours and dashes. Equal panels give equal bytes.

    Args:
        columns: panels in a row.
    """
    rows = -(-len(panels) // columns)
    key = list(dict.fromkeys((trace.label, trace.colour) for panel in panels for trace in panel.traces))
    height = 1.35 + 2.75 * rows
    figure = new_figure(10, height)
    figure.text(0.075, 1 - 0.36 / height, title, size=15, weight="bold", color=INK, va="center", parse_math=False)
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=COLOURS[colour], linewidth=2.6, label=label) for label, colour in key]
    legend = figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=(0.066, 1 - 0.72 / height), ncols=min(len(key), 5), frameon=False,
        fontsize=10, labelcolor=INK, handlelength=1.6, columnspacing=1.8, borderpad=0,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    if any(trace.dash for panel in panels for trace in panel.traces):
        words = "each line is one run; dashes tell seeds apart"
        figure.text(0.955, 1 - 0.36 / height, words, size=9.5, color=SOFT_INK, ha="right", va="center")
    layout = figure.add_gridspec(
        rows,
        columns,
        hspace=0.62,
        wspace=0.2 + 0.08 * (columns > 2),
        left=0.075,
        right=0.955,
        top=1 - 1.35 / height,
        bottom=0.55 / height,
    )
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(layout[i // columns, i % columns])
        axes.annotate(
            panel.title, (0, 1), (0, 20), xycoords="axes fraction", textcoords="offset points", size=10.5, weight="bold",
            color=INK, parse_math=False,
        )  # fmt: skip
        axes.annotate(
            panel.hint, (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", size=8.5, color=SOFT_INK
        )
        paint_overlay(axes, panel)
    return png_of(figure)


def paint_overlay(axes: Axes, panel: OverlayPanel) -> None:
    """Paints the curves of a panel and its axes, without its title."""
    from matplotlib.ticker import MaxNLocator

    soften(axes, "left")
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(pad=5)
    unit, label = (1.0, "kimg") if panel.over == "kimg" else _time_unit(panel.traces)
    low, high, end = np.inf, -np.inf, 0.0
    for trace in panel.traces:
        x, y = _points(trace, panel.over)
        if not len(x):
            continue
        rows = extremes(y, _STEPS)
        low, high, end = min(low, *_range(y)), max(high, *_range(y)), max(end, x[-1] / unit)
        few = len(x) <= _FEW
        axes.plot(
            x[rows] / unit, y[rows], color=COLOURS[trace.colour], linestyle=DASHES[trace.dash % len(DASHES)], linewidth=1.7,
            marker="o" if few else "", markersize=3.2, clip_on=not few,
        )  # fmt: skip
    if low > high or low == high == 0:
        low, high = 0.0, 1.0
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(0.0 if 0 <= low < 0.35 * high else low - room, high + room)
    axes.set_xlim(0, end or 1)
    if low < 0 < high:
        axes.axhline(0, color=AXIS, linewidth=0.9, zorder=0.9)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(label, size=9, color=SOFT_INK)


def _points(trace: Trace, over: str) -> tuple[Column, Column]:
    """Where there are numbers; long curves as their moving mean."""
    x = trace.kimg if over == "kimg" else trace.seconds
    good = np.isfinite(x) & np.isfinite(trace.values)
    x, y = x[good], trace.values[good]
    window = len(y) // 20
    return x, smooth(y, window) if window >= 3 else y


def _range(values: Column) -> tuple[float, float]:
    """Nearly all of a curve: a spike must not flatten the others."""
    if len(values) <= _FEW:
        return float(values.min()), float(values.max())
    low, high = np.percentile(values, [1, 99])
    return float(low), float(high)


def _time_unit(traces: Sequence[Trace]) -> tuple[float, str]:
    longest = max(
        (float(np.nanmax(trace.seconds)) for trace in traces if np.isfinite(trace.seconds).any()), default=0.0
    )
    if longest < 300:
        return 1.0, "seconds"
    return (60.0, "minutes") if longest < 3 * 3600 else (3600.0, "hours")
