"""Figures of a dataset."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from kantor.report.figures import dataset_png


@pytest.mark.parametrize("name", ["a", "signs_and_symbols", "W" * 23, "m" * 40])
def test_names_of_classes_are_not_cut_off(name: str) -> None:
    with Image.open(io.BytesIO(dataset_png([(8, 8), (9, 12)], {"colour": 2}, {name: 2, "b": 1}))) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[:, :8] == 255).all(), "the edge is empty"
    assert (pixels[:, 8:] < 100).any()
