"""Runs without the cost of drawing: more than half of a tiny run's time goes into its plots."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every matplotlib figure one white pixel, except in tests marked `real_figures`."""
    if request.node.get_closest_marker("real_figures"):
        return

    def savefig(figure: Any, target: Any, *, format: str = "png", **options: Any) -> None:
        target.write(SVG if format == "svg" else PIXEL)

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)


def _pixel() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), "white").save(buffer, "PNG")
    return buffer.getvalue()


PIXEL = _pixel()
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><g id="figure_1"></g></svg>'
