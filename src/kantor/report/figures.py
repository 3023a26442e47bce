"""The look that all figures share, and a small figure of a dataset.

matplotlib takes half a second to load: functions import it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kantor.errors import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT_INK, AXIS, RULE = "#2f3136", "#73767d", "#b9b8b3", "#e4e3df"
MAX_BARS = 20
EDGE = 0.01  # of the width stay empty


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` times `height` inches, 140 pixels an inch."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=140, facecolor="white")


def png_of(figure: Figure) -> bytes:
    """The figure as a PNG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def soften(axes: Axes, *hidden: str) -> None:
    """Hides the top and right sides, and those named; makes the rest of the frame and its numbers pale."""
    for side in ("top", "right", *hidden):
        axes.spines[side].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(AXIS)
    axes.tick_params(length=0, labelsize=9, labelcolor=SOFT_INK)


def dataset_png(sizes: Sequence[tuple[int, int]], kinds: Mapping[str, int], classes: Mapping[str, int]) -> bytes:
    """A PNG of the (height, width) of images, and of how many there are of each kind and class, if they have any."""
    bars = sorted(classes.items(), key=lambda pair: -pair[1])[:MAX_BARS]
    figure = new_figure(10, 4.2 + (0.24 * len(bars) + 0.9 if bars else 0))
    ratios = [4.2, 0.24 * len(bars) + 0.9] if bars else [1]
    layout = figure.add_gridspec(len(ratios), 2, width_ratios=[2, 1], height_ratios=ratios, hspace=0.35, wspace=0.45)
    figure.subplots_adjust(left=0.1, right=0.95)
    left = figure.add_subplot(layout[0, 0])
    _sizes(left, sizes)
    _bars(figure.add_subplot(layout[0, 1]), list(kinds.items()), "kinds")
    if bars:
        title = f"the {MAX_BARS} largest of {len(classes)} classes" if len(classes) > MAX_BARS else "classes"
        _bars(figure.add_subplot(layout[1, :]), bars, title)
        hidden = EDGE - figure.get_tightbbox().x0 / figure.get_figwidth()  # of the longest names
        figure.subplots_adjust(left=0.1 + max(0.0, hidden))
    return png_of(figure)


def _sizes(axes: Axes, sizes: Sequence[tuple[int, int]]) -> None:
    pairs, counts = np.unique(np.array(sizes), axis=0, return_counts=True)
    axes.scatter(pairs[:, 1], pairs[:, 0], s=10 + 160 * counts / counts.max(), color="#0072b2", alpha=0.5, linewidth=0)
    low, high = pairs.min() * 0.9, pairs.max() * 1.1
    axes.plot([low, high], [low, high], color=RULE, zorder=0)
    if pairs.max() > 4 * pairs.min():
        axes.set_xscale("log")
        axes.set_yscale("log")
        from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_xlabel("width in pixels", color=SOFT_INK)
    axes.set_ylabel("height in pixels", color=SOFT_INK)
    axes.set_title("sizes: square images lie on the line, larger dots are more images", size=10, color=INK, loc="left")
    soften(axes)


def _bars(axes: Axes, bars: Sequence[tuple[str, int]], title: str) -> None:
    shown = [printable(name) for name, _ in bars]
    names = [name if len(name) < 24 else name[:22] + "…" for name in shown]
    container = axes.barh(range(len(bars)), [count for _, count in bars], color="#009e73", height=0.65)
    axes.bar_label(container, fmt="{:,.0f}", padding=4, size=8, color=SOFT_INK)
    axes.set_yticks(range(len(bars)), labels=names, parse_math=False)
    axes.invert_yaxis()
    axes.set_title(title, size=10, color=INK, loc="left")
    axes.set_xticks([])
    soften(axes, "bottom")
