"""losses.png: curves that somebody who sees a GAN for the first time can read."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kantor import atomic
from kantor.engine.events import Event, Finished, Request, Saved
from kantor.report.reading import Reading
from kantor.report.scores import sentence, title
from kantor.report.words import figure as figure_text
from kantor.sinks.csv import read_metrics
from kantor.sinks.sparing import Sparing

if TYPE_CHECKING:  # matplotlib takes half a second to load
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Column = NDArray[np.float64]

INK, SOFT_INK, RULE = "#2f3136", "#73767d", "#e4e3df"


@dataclass(frozen=True)
class Panel:
    """One curve. column: of metrics.csv; about: what it is, before the sentence on what to look for."""

    column: str
    title: str
    colour: str
    about: str = ""


# Okabe and Ito's colours, which people with any kind of colour vision can tell apart
_GAP = "mean critic(real) − mean critic(fake). "
WASSERSTEIN = Panel("wasserstein_estimate", "Wasserstein estimate", "#0072b2", _GAP)
GAP = Panel("critic_gap", "Critic gap", "#0072b2", _GAP)
SMALL = (
    Panel("critic_loss", "Critic loss", "#d55e00"),
    Panel("generator_loss", "Generator loss", "#009e73"),
    Panel("penalty", "Penalty", "#a3527d"),
    Panel("gradient_norm", "Gradient norm", "#8a6d00"),
)
_SCORES = ("#cc4778", "#5b6ee1")
_ANY = Reading()
_MOST_IMAGES = 2.0**53
_DRAWABLE = 1e150
"""Differences and sums of larger numbers overflow."""


def losses_png(metrics: Mapping[str, Column], title: str, reading: Reading = _ANY) -> bytes:
    """The curves of a run, as a PNG 1400 pixels wide. Equal metrics give equal bytes.

    Args:
        metrics: columns as `read_metrics` gives them; any may be missing or hold NaN, all may be empty.
        title: above everything.
        reading: what to look for, said under the title of each curve.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kept, rolled_back = without_abandoned(metrics)
    panels = [panel for panel in (*_score_panels(kept), *SMALL) if _has(kept, panel.column)]
    rows = -(-len(panels) // 2)
    height = 4.3 + 2.35 * rows
    figure = Figure(figsize=(10, height), dpi=140, facecolor="white")
    FigureCanvasAgg(figure)
    layout = figure.add_gridspec(
        1 + rows, 2, height_ratios=[1.55] + [1] * rows, hspace=0.62, wspace=0.26,
        left=0.075, right=0.925, top=1 - 1.45 / height, bottom=0.62 / height,
    )  # fmt: skip
    figure.text(0.075, 1 - 0.38 / height, title, size=15, weight="bold", color=INK, va="center", parse_math=False)
    figure.text(0.925, 1 - 0.38 / height, _summary(kept), size=10, color=SOFT_INK, ha="right", va="center")
    main = WASSERSTEIN if _has(kept, WASSERSTEIN.column) else GAP
    top = figure.add_subplot(layout[0, :])
    _draw(top, kept, main, reading.gap, rolled_back, wide=True)
    _epoch_axis(top, kept)
    for i, panel in enumerate(panels):
        alone = i == len(panels) - 1 and i % 2 == 0
        axes = figure.add_subplot(layout[1 + i // 2, slice(None) if alone else i % 2])
        _draw(axes, kept, panel, getattr(reading, panel.column, ""), rolled_back)
    return png_of(figure)


def without_abandoned(metrics: Mapping[str, Column]) -> tuple[dict[str, Column], Column]:
    """Leaves out rows that a roll-back undid, and what was never measured: numbers beyond all bounds.

    Returns:
        The columns of the rows that count, images_seen rising, and where the run was rolled back to: [roll-backs].
    """
    seen = metrics.get("images_seen", np.zeros(0))
    count = (seen >= 0) & (seen <= _MOST_IMAGES)  # NaN is neither
    seen = seen[count]
    later_least = np.minimum.accumulate(np.append(seen, np.inf)[::-1])[::-1][1:]
    keep = seen < later_least
    back = seen[1:][np.diff(seen) <= 0]
    return {name: np.clip(column[count][keep], -_DRAWABLE, _DRAWABLE) for name, column in metrics.items()}, back


def smooth(values: Column, window: int) -> Column:
    """Centred moving mean over `window` rows after a median over five, so that a lone spike leaves no plateau.

    The window is narrower at the start, where curves are steep. NaN is left out; NaN where there is nothing else.
    """
    calm = _median_of_five(values)
    finite = np.isfinite(calm)
    sums = np.append(0, np.cumsum(np.where(finite, calm, 0)))
    counts = np.append(0, np.cumsum(finite))
    at = np.arange(len(calm))
    half = np.minimum(window // 2, at)
    first, last = at - half, np.minimum(at + half + 1, len(calm))
    count = counts[last] - counts[first]
    return np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan)


def _median_of_five(values: Column) -> Column:
    padded = np.pad(values, 2, constant_values=np.nan)
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)  # NaN go last
    count = np.isfinite(windows).sum(1)
    rows = np.arange(len(values))
    middle = (windows[rows, np.maximum(count - 1, 0) // 2] + windows[rows, np.minimum(count // 2, 4)]) / 2
    return np.where(count > 0, middle, np.nan)


class LossPlot:
    """Draws losses.png in the folder of a run anew at saves, though no oftener than `sparing` allows, and at the end.

    Should stand behind MetricsCsv.

    Args:
        run_folder: holds metrics.csv; its name is the title.
        reading: how to read the curves.
    """

    def __init__(self, run_folder: Path, reading: Reading = _ANY, sparing: Sparing | None = None) -> None:
        self.folder, self.reading, self._sparing = run_folder, reading, sparing or Sparing()
        self._drawn_rows = -1

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        if isinstance(event, Finished) or (isinstance(event, Saved) and self._sparing.due()):
            with self._sparing.doing():
                self._draw()
        return None

    def _draw(self) -> None:
        metrics = read_metrics(self.folder / "metrics.csv")
        rows = len(metrics.get("images_seen", ()))
        path = self.folder / "losses.png"
        if rows and (rows != self._drawn_rows or not path.exists()):
            atomic.write_bytes(path, losses_png(metrics, self.folder.resolve().name, self.reading))
            self._drawn_rows = rows

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        self._drawn_rows = -1


def _score_panels(metrics: Mapping[str, Column]) -> list[Panel]:
    """Of the first two scores; the page of the run has all of them."""
    names = [name for name in metrics if "@" in name and _has(metrics, name)][:2]
    return [Panel(name, title(name), colour, sentence(name)) for name, colour in zip(names, _SCORES, strict=False)]


def _has(metrics: Mapping[str, Column], name: str) -> bool:
    return bool(np.isfinite(metrics.get(name, np.zeros(0))).any())


def _summary(metrics: Mapping[str, Column]) -> str:
    seen, epoch = metrics.get("images_seen", np.zeros(0)), metrics.get("epoch", np.zeros(0))
    if not len(seen):
        return "nothing measured yet"
    text = f"{int(seen[-1]):,} pictures seen"
    return text + (f" · epoch {figure_text(epoch[-1], 1)}" if len(epoch) and np.isfinite(epoch[-1]) else "")


def _draw(
    axes: Axes, metrics: Mapping[str, Column], panel: Panel, hint: str, marks: Column, wide: bool = False
) -> None:
    """One curve: the raw values faint, their moving mean strong, the last value written at its end."""
    _dress(axes, panel, hint, wide)
    x, y = metrics.get("images_seen", np.zeros(0)) / 1000, metrics.get(panel.column, np.zeros(0))
    y = np.where(np.isfinite(y), y, np.nan)
    if "@" in panel.column:  # measured now and then: a line from one to the next
        x, y = np.append(x[np.isfinite(y)], x[-1:]), np.append(y[np.isfinite(y)], np.nan)
    if not np.isfinite(y).any():
        axes.set_yticks([])
        axes.set_xticks([])
        axes.text(0.5, 0.5, "nothing measured yet", transform=axes.transAxes, color=SOFT_INK, ha="center")
        return
    window = len(y) // 33
    calm = smooth(y, window) if window >= 3 else y
    if window >= 3:
        axes.plot(x, y, color=panel.colour, alpha=0.22, linewidth=0.8)
    few = np.isfinite(y).sum() <= 30
    axes.plot(
        x, calm, color=panel.colour, linewidth=2.2 if wide else 1.7,
        marker="o" if few else "", markersize=3.5, clip_on=not few,
    )  # fmt: skip
    low, high = _limits(y, calm, with_zero=wide)
    axes.set_ylim(low, high)
    axes.set_xlim(*((0, x[-1]) if x[-1] > 0 else (-0.5, 0.5)))
    if low < 0 < high:
        axes.axhline(0, color="#b9b8b3", linewidth=0.9, zorder=0.9)
    last = np.flatnonzero(np.isfinite(calm))[-1]
    axes.annotate(
        f"{calm[last]:.3g}".replace("-", "−"), (x[last], np.clip(calm[last], low, high)), (6, 0),
        textcoords="offset points", color=panel.colour, weight="bold", size=10 if wide else 9, va="center",
        annotation_clip=False,
    )  # fmt: skip
    for mark in marks / 1000:
        axes.axvline(mark, color=SOFT_INK, linewidth=0.9, linestyle=(0, (2, 3)))
        if wide:
            axes.annotate(
                "rolled back", (mark, 1), (4, -4), xycoords=("data", "axes fraction"), va="top",
                textcoords="offset points", color=SOFT_INK, size=8.5,
            )  # fmt: skip


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
    axes.set_xlabel("thousand pictures seen (kimg)" if wide else "kimg", size=9, color=SOFT_INK)


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


def _epoch_axis(axes: Axes, metrics: Mapping[str, Column]) -> None:
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


def png_of(figure: Figure) -> bytes:
    """The figure as a PNG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
