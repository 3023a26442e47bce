"""Runs without the cost of their plots, which are more than half of a tiny run's time."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the plots of a run, and every other matplotlib figure, one white pixel; not in tests marked `real_figures`."""
    if request.node.get_closest_marker("real_figures"):
        return

    def savefig(figure: Any, target: Any, *, format: str = "png", **options: Any) -> None:
        target.write(PIXEL)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    monkeypatch.setattr("kantor.report.losses_png.losses_png", lambda *_: PIXEL)
    monkeypatch.setattr("kantor.app.write_report.curve_svg", lambda *_: "<svg></svg>")


def _pixel() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), "white").save(buffer, "PNG")
    return buffer.getvalue()


PIXEL = _pixel()
