"""Objects found in made-up scenes of which the truth is known, and cut out of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("skimage", reason="the extra `edges` is not installed")

from kantor.data.decoding.decode import DecodeSettings, decode, objects_in
from kantor.data.decoding.objects import Cut, ObjectSettings, Scene, cut_out, find_objects
from kantor.data.sources.source import sha256
from kantor.types import ImageSpec

AUTO = ObjectSettings("auto", 0.003, 0.9, 0.05)
HEIGHT, WIDTH = 160, 220
Box = tuple[float, float, float, float]
COLOURS = [(220, 40, 40), (250, 210, 30), (40, 60, 200), (20, 20, 20), (250, 250, 250), (160, 60, 190)]


def ground(kind: str, random: np.random.Generator) -> Image.Image:
    """Plain, transparent, grainy, clouds of one hue, or a meadow under a sky."""
    pixels = np.zeros((HEIGHT, WIDTH, 3)) + random.integers(90, 170, 3)
    if kind == "clear":
        return Image.new("RGBA", (WIDTH, HEIGHT))
    if kind == "grain":
        pixels += random.normal(0, 16, (HEIGHT, WIDTH, 1))
    if kind == "clouds":
        frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
        clouds = np.fft.irfft2(np.fft.rfft2(random.normal(size=(HEIGHT, WIDTH))) / np.maximum(frequency, 0.02))
        pixels += 14 * (clouds / clouds.std())[:, :, None]
    if kind == "meadow":
        pixels[:], pixels[100:] = (140, 185, 235), (90, 140, 70)
        pixels += random.normal(0, 8, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def scene(kind: str, seed: int) -> tuple[Image.Image, list[Box]]:
    """Four shapes, discs and hexagons with a dark rim and a spot of the ground's brightness, drawn antialiased; their boxes."""
    random = np.random.default_rng(seed)
    picture, truth, large = ground(kind, random).convert("RGBA"), list[Box](), 4
    for x, y in [(0.2, 0.28), (0.74, 0.3), (0.26, 0.74), (0.7, 0.72)]:
        radius = int(random.integers(16, 28))
        centre = [round((at + random.uniform(-0.05, 0.05)) * side) for at, side in ((x, WIDTH), (y, HEIGHT))]
        stamp = Image.new("RGBA", (2 * radius * large, 2 * radius * large))
        draw, colour = ImageDraw.Draw(stamp), COLOURS[random.integers(len(COLOURS))]
        circle = (radius * large, radius * large, radius * large - 1)
        if random.random() < 0.5:
            draw.ellipse((0, 0, *(2 * radius * large - 1,) * 2), fill=colour, outline=(60, 30, 30), width=8)
        else:
            draw.regular_polygon(circle, 6, fill=colour, outline=(60, 30, 30), width=8)
        stamp = stamp.resize((2 * radius, 2 * radius), Image.Resampling.BOX)
        corner = centre[0] - radius, centre[1] - radius
        picture.alpha_composite(stamp, corner)
        left, top, right, bottom = stamp.getbbox() or (0, 0, 0, 0)
        truth.append((corner[0] + left, corner[1] + top, corner[0] + right, corner[1] + bottom))
    return (picture if kind == "clear" else picture.convert("RGB")), truth


def pixels_of(found: Scene) -> list[Box]:
    sides = (WIDTH, HEIGHT, WIDTH, HEIGHT)
    return [tuple(v * side for v, side in zip(spot.box, sides, strict=True)) for spot in found.spots]  # type: ignore[misc]


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(across, 0) * max(down, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@pytest.mark.parametrize(
    ("kind", "method", "recall"),
    [("plain", "parts", 1.0), ("clear", "parts", 1.0), ("grain", "saliency", 0.9), ("clouds", "saliency", 0.9), ("meadow", "saliency", 0.9)],
)  # fmt: skip
def test_objects_of_known_places_are_found(kind: str, method: str, recall: float) -> None:
    hits = false = 0
    for seed in range(5):
        picture, truth = scene(kind, seed)
        found = find_objects(picture, AUTO)
        assert found.method == method
        boxes = pixels_of(found)
        hits += sum(max((overlap(own, box) for box in boxes), default=0) > 0.5 for own in truth)
        false += sum(max(overlap(own, box) for own in truth) < 0.5 for box in boxes)
    assert hits >= recall * 20 and false <= 2


@pytest.mark.parametrize("kind", ["plain", "clear", "grain", "clouds", "meadow"])
def test_grounds_alone_hold_no_object(kind: str) -> None:
    assert not any(find_objects(ground(kind, np.random.default_rng(seed)), AUTO).spots for seed in range(4))


def test_a_cut_object_has_its_own_colours_and_soft_edges() -> None:
    """Of a disc drawn antialiased on plain green, nothing of the green is left, and alpha is the coverage."""
    large = Image.new("L", (800, 800))
    ImageDraw.Draw(large).ellipse((200, 200, 600, 600), fill=255)
    coverage = np.asarray(large.resize((100, 100), Image.Resampling.BOX)) / 255
    mixed = coverage[:, :, None] * (230, 40, 60) + (1 - coverage[:, :, None]) * (60, 200, 80)
    found = find_objects(Image.fromarray(np.rint(mixed).astype(np.uint8)), AUTO)
    cut = cut_out(found, 0, 1.0, 0.1)
    assert cut.shape[0] == cut.shape[1] == pytest.approx(50 * 1.2, abs=2)
    seen = cut[:, :, 3] > 24
    assert np.abs(cut[seen][:, :3].astype(int) - (230, 40, 60)).max() <= 12
    assert (cut[:, :, 3] % 255 > 0).sum() > 100, "soft"
    assert abs(cut[:, :, 3].sum() / 255 - coverage.sum()) < 0.01 * coverage.sum()


def test_spots_say_where() -> None:
    picture = Image.new("RGB", (200, 100), "white")
    ImageDraw.Draw(picture).rectangle((20, 30, 59, 49), fill="navy")
    (spot,) = find_objects(picture, AUTO).spots
    assert spot.box == (0.1, 0.3, 0.3, 0.5) and spot.centroid == pytest.approx((0.2, 0.4)) and spot.extent == 0.4


def test_specks_and_whole_pictures_are_no_objects() -> None:
    picture = Image.new("RGB", (100, 100), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((10, 10, 13, 13), fill="black")
    draw.rectangle((30, 30, 69, 69), fill="black")
    assert len(find_objects(picture, AUTO._replace(smallest=0.0)).spots) == 2
    (spot,) = find_objects(picture, AUTO).spots
    assert spot.extent == 0.4
    assert not find_objects(picture, AUTO._replace(largest=0.1)).spots


def test_what_is_enclosed_belongs_to_the_object() -> None:
    """White eyes on a white ground are eyes."""
    picture = Image.new("RGB", (100, 100), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((20, 20, 80, 80), fill="orange")
    draw.ellipse((40, 40, 50, 50), fill="white")
    cut = cut_out(find_objects(picture, AUTO), 0, 1.0, 0.0)
    assert cut[25, 25].tolist() == [255, 255, 255, 255]


def test_neighbours_are_cut_off_and_frames_have_the_shape_of_the_result() -> None:
    picture = Image.new("RGB", (120, 80), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((10, 10, 69, 69), fill="red")
    draw.rectangle((75, 30, 79, 49), fill="blue")
    found = find_objects(picture, AUTO)
    red, blue = cut_out(found, 0, 2.0, 0.2), cut_out(found, 1, 0.5, 0.0)
    assert red.shape[1] / red.shape[0] == pytest.approx(2, abs=0.05) and blue.shape == (20, 10, 4)
    assert not (red[:, :, 2][red[:, :, 3] > 100] > 100).any(), "nothing blue"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_files_of_every_kind_are_cut(mode: str) -> None:
    import io

    grey = np.full((60, 60), 250, np.uint8)
    grey[20:40, 10:40] = 30
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    method, spots = objects_in(stream.getvalue(), AUTO)
    assert method == "parts" and len(spots) == 1
    spec = ImageSpec(32, 32, 4)
    settings = DecodeSettings(spec, rules=2, all_looked_at=True, background=(1, 2, 3))
    pixels, _ = decode(Cut(stream.getvalue(), 0, AUTO, spots[0].box), settings)
    assert pixels.shape == spec and pixels[16, 16].tolist() == [30, 30, 30, 255]
    assert pixels[0, 0].tolist() == [1, 2, 3, 0]


def test_the_digest_of_an_object_begins_as_that_of_its_picture() -> None:
    data = b"some bytes"
    cuts: list[Any] = [Cut(data, number, AUTO, (0.0, 0.0, 1.0, 1.0)) for number in range(3)]
    digests = [sha256(cut) for cut in cuts]
    assert {digest[:8] for digest in digests} == {sha256(data)[:8]} and len({digest[8:] for digest in digests}) == 3
    assert len(digests[0]) == 32
