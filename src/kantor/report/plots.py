"""losses.png: curves that somebody who sees a GAN for the first time can read."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kantor import atomic
from kantor.engine.events import Event, Finished, Request, Saved
from kantor.report.curves import Column, without_abandoned
from kantor.report.loss_guide import Reading
from kantor.report.panels import (
    GAP,
    INK,
    SCORES,
    SMALL,
    SOFT_INK,
    WASSERSTEIN,
    Panel,
    draw,
    epoch_axis,
    has,
    measured_panels,
)
from kantor.report.sentences import figure as figure_text
from kantor.sinks.metrics_csv import read_metrics
from kantor.sinks.throttle import Sparing

if TYPE_CHECKING:  # matplotlib takes half a second to load
    from matplotlib.figure import Figure

_ANY = Reading()


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
    panels = [
        panel for panel in (*measured_panels(kept), *SMALL) if any(has(kept, line.column) for line in panel.lines)
    ]
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
    main = WASSERSTEIN if has(kept, WASSERSTEIN.lines[0].column) else GAP
    top = figure.add_subplot(layout[0, :])
    draw(top, kept, main, reading.gap, rolled_back, wide=True)
    epoch_axis(top, kept)
    for panel, row, column in _places(panels):
        draw(figure.add_subplot(layout[1 + row, column]), kept, panel, getattr(reading, panel.reading, ""), rolled_back)
    return png_of(figure)


def _places(panels: list[Panel]) -> Iterator[tuple[Panel, int, int | slice]]:
    """Panel, row and column: two in a row. Of an odd number the scores have the first row to themselves, right under
    their gap, or else the last panel has the last."""
    if len(panels) % 2 and SCORES in panels:
        yield SCORES, 0, slice(None)
        panels = [panel for panel in panels if panel is not SCORES]
        first = 1
    else:
        first = 0
    for i, panel in enumerate(panels):
        alone = i == len(panels) - 1 and i % 2 == 0
        yield panel, first + i // 2, slice(None) if alone else i % 2


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


def _summary(metrics: Mapping[str, Column]) -> str:
    seen, epoch = metrics.get("images_seen", np.zeros(0)), metrics.get("epoch", np.zeros(0))
    if not len(seen):
        return "nothing measured yet"
    text = f"{int(seen[-1]):,} images seen"
    return text + (f" · epoch {figure_text(epoch[-1], 1)}" if len(epoch) and np.isfinite(epoch[-1]) else "")


def png_of(figure: Figure) -> bytes:
    """The figure as a PNG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
