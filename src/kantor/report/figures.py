"""What all figures share: colours, a calm look, equal bytes for equal figures. matplotlib takes half a second to load."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT_INK, AXIS, RULE = "#2f3136", "#73767d", "#b9b8b3", "#e4e3df"


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
