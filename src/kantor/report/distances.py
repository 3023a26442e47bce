"""Three histograms of distances to the nearest image: are generated images diverse, and are they copies?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kantor.report.figures import INK, SOFT_INK, new_figure, png_of, soften

KINDS = {
    "real-real": ("real to nearest real", "#0072b2"),
    "fake-fake": ("generated to nearest generated", "#d55e00"),
    "real-fake": ("generated to nearest real", "#009e73"),
}
BINS = 60


def distances_png(histograms: Mapping[str, NDArray[np.float64]], title: str) -> bytes:
    """A PNG with one outline per kind of distance.

    Args:
        histograms: distances by "real-real", "fake-fake", "real-fake", in grey levels; infinite ones are skipped.
    """
    distances = {name: values[np.isfinite(values)] for name, values in histograms.items()}
    highest = max((float(values.max()) for values in distances.values() if len(values)), default=1.0) or 1.0
    edges = np.linspace(0, highest * 1.02, BINS + 1)
    figure = new_figure(10, 5.2)
    axes = figure.add_axes((0.075, 0.13, 0.85, 0.63))
    for name, (label, colour) in KINDS.items():
        values = distances.get(name, np.zeros(0))
        if not len(values):
            continue
        shares = np.histogram(values, edges)[0] / len(values)
        axes.stairs(shares, edges, color=colour, linewidth=2, label=f"{label}, median {np.median(values):.1f}")
        axes.stairs(shares, edges, color=colour, alpha=0.12, fill=True)
    figure.text(0.075, 0.94, title, size=15, weight="bold", color=INK, va="center", parse_math=False)
    words = (
        "The three outlines should coincide. Generated to generated near 0: the same image again and again.\n"
        "Generated to real near 0: copies of training images. Generated ones end far left of real ones: low diversity."
    )
    figure.text(0.075, 0.845, words, size=9.5, color=SOFT_INK, va="center")
    axes.set_xlabel(
        "distance to the nearest other image: root mean square difference in grey levels", size=9, color=SOFT_INK
    )
    axes.set_ylabel("fraction of the images", size=9, color=SOFT_INK)
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
    soften(axes, "left")
    axes.legend(frameon=False, fontsize=9.5, labelcolor=INK)
    return png_of(figure)
