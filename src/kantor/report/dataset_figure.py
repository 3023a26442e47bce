"""A figure about a dataset: sizes, kinds and classes of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kantor.errors import printable
from kantor.report.figures import INK, RULE, SOFT_INK, new_figure, png_of, soften

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_BARS = 20


def figure_png(sizes: Sequence[tuple[int, int]], kinds: Mapping[str, int], classes: Mapping[str, int]) -> bytes:
    """A PNG of the sizes of images, and of how many there are of each kind and class.

    Args:
        sizes: (height, width) of each image.
        kinds, classes: number of images of each; `classes` may be empty.
    """
    bars = sorted(classes.items(), key=lambda pair: -pair[1])[:MAX_BARS]
    figure = new_figure(10, 4.2 + (0.24 * len(bars) + 0.9 if bars else 0))
    ratios = [4.2, 0.24 * len(bars) + 0.9] if bars else [1]
    layout = figure.add_gridspec(
        len(ratios), 2, width_ratios=[2, 1], height_ratios=ratios, hspace=0.35, wspace=0.45, left=0.1, right=0.95
    )
    left = figure.add_subplot(layout[0, 0])
    _sizes(left, sizes)
    _bars(figure.add_subplot(layout[0, 1]), list(kinds.items()), "kinds")
    if bars:
        title = f"the {MAX_BARS} largest of {len(classes)} classes" if len(classes) > MAX_BARS else "classes"
        _bars(figure.add_subplot(layout[1, :]), bars, title)
    return png_of(figure)


def _sizes(axes: Axes, sizes: Sequence[tuple[int, int]]) -> None:
    import numpy as np

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
    places = range(len(bars))
    axes.barh(places, [count for _, count in bars], color="#009e73", height=0.65)
    axes.set_yticks(places, labels=names, parse_math=False)
    axes.invert_yaxis()
    axes.set_title(title, size=10, color=INK, loc="left")
    for place, (_, count) in zip(places, bars, strict=True):
        axes.annotate(
            f"{count:,}", (count, place), (4, 0), textcoords="offset points", va="center", size=8, color=SOFT_INK
        )
    axes.set_xticks([])
    soften(axes, "bottom")
