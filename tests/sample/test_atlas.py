"""Sprite sheets, read back by what game tools know: the sheet, and the JSON."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from kantor.sample.atlas import PADDING, atlas, bled, shelves

RANDOM = np.random.default_rng(3)


def sprites(count: int) -> dict[str, np.ndarray]:
    """Sprites that fill different boxes of their frames; one fills all of it, one nothing."""
    found = {}
    for i in range(count):
        image = np.zeros((24, 32, 4), np.uint8)
        top, left = RANDOM.integers(0, 12, 2)
        height, width = RANDOM.integers(1, 12, 2)
        image[top : top + height, left : left + width] = RANDOM.integers(1, 256, (height, width, 4))
        found[f"seed-{i:08d}.png"] = image
    found["full.png"] = RANDOM.integers(1, 256, (24, 32, 4)).astype(np.uint8)
    found["none.png"] = np.zeros((24, 32, 4), np.uint8)
    return found


def read_back(sheet: np.ndarray, table: Any, name: str) -> np.ndarray:
    """A sprite as a game engine draws it from the sheet."""
    entry = table["frames"][name]
    frame, source, whole = entry["frame"], entry["spriteSourceSize"], entry["sourceSize"]
    assert entry["rotated"] is False and (frame["w"], frame["h"]) == (source["w"], source["h"])
    image = np.zeros((whole["h"], whole["w"], 4), np.uint8)
    part = sheet[frame["y"] : frame["y"] + frame["h"], frame["x"] : frame["x"] + frame["w"]]
    image[source["y"] : source["y"] + source["h"], source["x"] : source["x"] + source["w"]] = part
    return image


def test_every_sprite_comes_back() -> None:
    originals = sprites(40)
    made = atlas(originals, "atlas.png")
    table = json.loads(json.dumps(made.table))
    assert table["meta"]["image"] == "atlas.png" and table["meta"]["format"] == "RGBA8888"
    assert table["meta"]["size"] == {"w": made.image.shape[1], "h": made.image.shape[0]}
    assert list(table["frames"]) == list(originals)
    for name, image in originals.items():
        back = read_back(made.image, table, name)
        seen = image[:, :, 3] > 0
        assert np.array_equal(back[:, :, 3], image[:, :, 3]) and np.array_equal(back[seen], image[seen]), name
    assert table["frames"]["full.png"]["trimmed"] is False and table["frames"]["seed-00000000.png"]["trimmed"] is True


def test_sprites_are_two_pixels_apart_and_from_the_border() -> None:
    sizes = [(int(w), int(h)) for w, h in RANDOM.integers(1, 40, (60, 2))]
    corners, (width, height) = shelves(sizes)
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sizes, strict=True)]
    for left, top, right, bottom in boxes:
        assert min(left, top) >= PADDING and right + PADDING <= width and bottom + PADDING <= height
    for a, b in itertools.combinations(boxes, 2):
        assert max(max(a[0], b[0]) - min(a[2], b[2]), max(a[1], b[1]) - min(a[3], b[3])) >= PADDING
    filled = sum(w * h for w, h in sizes) / (width * height)
    assert filled > 0.6
    assert shelves([(3, 5)]) == ([(2, 2)], (7, 9))


def test_a_bilinear_filter_finds_no_dark_fringe() -> None:
    """Half a pixel off, as a moving sprite is drawn, each visible pixel of a bright sprite still has its colour."""
    image = np.zeros((20, 20, 4), np.uint8)
    image[6:14, 6:14] = (250, 200, 20, 255)
    sheet = atlas({"a.png": image}, "x.png").image.astype(np.float64)
    shifted = (sheet[:-1, :-1] + sheet[1:, :-1] + sheet[:-1, 1:] + sheet[1:, 1:]) / 4  # straight, as cards filter
    assert np.allclose(shifted[shifted[:, :, 3] > 0][:, :3], (250, 200, 20))


def test_colours_run_from_visible_pixels_by_their_alpha() -> None:
    image = np.zeros((1, 3, 4), np.uint8)
    image[0, 0], image[0, 2] = (200, 0, 0, 255), (0, 0, 200, 85)
    assert bled(image)[0, 1].tolist() == [150, 0, 50, 0]
    assert np.array_equal(bled(np.zeros((4, 4, 4), np.uint8)), np.zeros((4, 4, 4), np.uint8))
    far = np.zeros((1, 40, 4), np.uint8)
    far[0, 0] = (9, 9, 9, 255)
    assert np.flatnonzero(bled(far)[0, :, 0]).tolist() == list(range(9))


@pytest.mark.parametrize("count", [0, 300])
def test_sheets_are_about_square(count: int) -> None:
    height, width, _ = atlas(sprites(count), "x.png").image.shape
    assert 0.4 < height / width < 2.5
