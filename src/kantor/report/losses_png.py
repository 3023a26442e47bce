"""losses.png: curves that somebody who sees a GAN for the first time can read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kantor import atomic
from kantor.engine.events import Event, Finished, Listener, Request, Saved
from kantor.report.curve_data import Column, without_abandoned
from kantor.report.curves import CRITIC_SCORES, SMALL, Panel, epoch_axis, gap_panel, metric_panels, paint
from kantor.report.figures import INK, SOFT_INK, new_figure, png_of
from kantor.report.loss_guide import LossGuide
from kantor.report.table import number_text
from kantor.sinks.metrics_csv import read_metrics
from kantor.sinks.timing import Throttle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ANY = LossGuide()


def losses_png(metrics: Mapping[str, Column], title: str, guide: LossGuide = _ANY) -> bytes:
    """The curves of a run, as a PNG 1400 pixels wide. Equal metrics give equal bytes.

    Args:
        metrics: columns as `read_metrics` returns them; any may be missing or hold NaN, all may be empty.
        title: above everything.
        guide: what to look for, under the title of each panel.
    """
    kept, roll_backs = without_abandoned(metrics)
    panels = [*metric_panels(kept)[:2], *(panel for panel in SMALL if panel.measured(kept))]
    rows = -(-len(panels) // 2)
    height = 4.3 + 2.35 * rows
    figure = new_figure(10, height)
    layout = figure.add_gridspec(
        1 + rows, 2, height_ratios=[1.55] + [1] * rows, hspace=0.62, wspace=0.26,
        left=0.075, right=0.925, top=1 - 1.45 / height, bottom=0.62 / height,
    )  # fmt: skip
    figure.text(0.075, 1 - 0.38 / height, title, size=15, weight="bold", color=INK, va="center", parse_math=False)
    figure.text(0.925, 1 - 0.38 / height, _summary(kept), size=10, color=SOFT_INK, ha="right", va="center")
    top = figure.add_subplot(layout[0, :])
    _head(top, gap_panel(kept), guide, wide=True)
    paint(top, kept, gap_panel(kept), roll_backs, wide=True)
    epoch_axis(top, kept)
    for panel, row, column in places(panels):
        axes = figure.add_subplot(layout[1 + row, column])
        _head(axes, panel, guide)
        paint(axes, kept, panel, roll_backs)
    return png_of(figure)


def _head(axes: Axes, panel: Panel, guide: LossGuide, wide: bool = False) -> None:
    """Title and hint, above the axes."""
    above = 33 if wide else 16  # room for the axis of epochs
    hint = textwrap.fill(panel.about + getattr(guide, panel.guide, ""), 140 if wide else 68)
    style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    size, top = 12 if wide else 10.5, above + 4 + 10 * hint.count("\n")
    axes.annotate(panel.title, (0, 1), (0, top), size=size, weight="bold", color=panel.colour, **style)
    axes.annotate(hint, (0, 1), (0, above - 9), size=9.5 if wide else 8.5, color=SOFT_INK, **style)


def places(panels: list[Panel]) -> Iterator[tuple[Panel, int, int | slice]]:
    """Panel, row and column: two in a row.

    Of an odd number, the critic scores fill the first row, right under their gap; else the last panel the last row.
    """
    first = 0
    if len(panels) % 2 and CRITIC_SCORES in panels:
        yield CRITIC_SCORES, 0, slice(None)
        panels, first = [panel for panel in panels if panel is not CRITIC_SCORES], 1
    for i, panel in enumerate(panels):
        alone = i == len(panels) - 1 and i % 2 == 0
        yield panel, first + i // 2, slice(None) if alone else i % 2


def _summary(metrics: Mapping[str, Column]) -> str:
    seen, epoch = metrics.get("images_seen", np.zeros(0)), metrics.get("epoch", np.zeros(0))
    if not len(seen):
        return "nothing measured yet"
    text = f"{int(seen[-1]):,} images seen"
    return text + (f" · epoch {number_text(epoch[-1], 1)}" if len(epoch) and np.isfinite(epoch[-1]) else "")


class LossPlot(Listener):
    """Repaints losses.png in the folder of a run at saves, as often as the throttle allows, and at the end.

    Should come after MetricsCsv among the listeners.

    Args:
        run_folder: holds metrics.csv; its name is the title.
        guide: how to read the curves.
    """

    def __init__(self, run_folder: Path, guide: LossGuide = _ANY, throttle: Throttle | None = None) -> None:
        self.folder, self.guide, self._throttle = run_folder, guide, throttle or Throttle()
        self._painted_rows = -1

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        if isinstance(event, Finished) or (isinstance(event, Saved) and self._throttle.due()):
            with self._throttle.doing():
                self._paint()
        return None

    def _paint(self) -> None:
        metrics = read_metrics(self.folder / "metrics.csv")
        rows = len(metrics.get("images_seen", ()))
        path = self.folder / "losses.png"
        if rows and (rows != self._painted_rows or not path.exists()):
            atomic.write_bytes(path, losses_png(metrics, self.folder.resolve().name, self.guide))
            self._painted_rows = rows

    def load(self, state: dict[str, Any]) -> None:
        self._painted_rows = -1
