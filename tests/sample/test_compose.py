"""Sprites in pictures: compositing against a float64 reference, clean edges, places."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kantor.sample.compose import (
    Placed,
    cleaned,
    composed,
    over,
    place_sprites,
    premultiplied,
    resampled,
    rounded,
    visible_box,
)

RANDOM = np.random.default_rng(0)
GROUNDS = {
    "black": np.zeros((40, 60, 3), np.uint8),
    "white": np.full((40, 60, 3), 255, np.uint8),
    "red": np.full((40, 60, 3), (255, 0, 0), np.uint8),
    "noise": RANDOM.integers(0, 256, (40, 60, 3), np.uint8),
    "grey": RANDOM.integers(0, 256, (40, 60, 1), np.uint8),
}


def disc(side: int = 32, radius: float = 11, soft: float = 4, colour: tuple[int, int, int] = (255, 0, 0)) -> np.ndarray:
    """A disc whose alpha falls off smoothly; behind transparency its colours are noise, which nobody should see."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = np.clip((radius - np.hypot(x, y)) / soft + 0.5, 0, 1)
    image = RANDOM.integers(0, 256, (side, side, 4)).astype(np.uint8)
    image[alpha > 0, :3] = colour
    image[:, :, 3] = np.rint(alpha * 255)
    return image


def exact(sprite: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """alpha * colour + (1 - alpha) * ground in float64, levels of 255."""
    alpha = sprite[:, :, 3:].astype(np.float64) / 255
    return alpha * sprite[:, :, :3].astype(np.float64) + (1 - alpha) * ground.astype(np.float64)


@pytest.mark.parametrize("name", GROUNDS)
def test_unscaled_sprites_are_composed_as_in_float64(name: str) -> None:
    """Within rounding, with one sprite in front of another; the rest of the ground is untouched."""
    ground = GROUNDS[name]
    sprites = [RANDOM.integers(0, 256, (16, 20, 4)).astype(np.uint8) for _ in range(2)]
    for sprite in sprites:
        sprite[0, 0, 3] = sprite[-1, -1, 3] = 255  # the whole is visible
    placed = [Placed(5, 7, 20, 16, 1.0), Placed(12, 10, 20, 16, 1.0)]
    wanted = np.repeat(ground, 3, axis=2).astype(np.float64) if name == "grey" else ground.astype(np.float64)
    untouched = np.ones(ground.shape[:2], bool)
    for sprite, place in zip(sprites, placed, strict=True):
        box = slice(place.top, place.top + 16), slice(place.left, place.left + 20)
        wanted[box], untouched[box] = exact(sprite, wanted[box]), False
    image = composed(ground, [premultiplied(sprite) for sprite in sprites], placed)
    assert image.shape == (40, 60, 3)
    assert np.abs(image - wanted).max() <= 0.5 + 1e-3
    assert np.array_equal(image[untouched], np.broadcast_to(ground, (40, 60, 3))[untouched])


@pytest.mark.parametrize("scale", [0.4, 0.77, 1.0, 2.6])
def test_edges_are_clean_on_every_ground(scale: float) -> None:
    """One scaled sprite, seen through two grounds, gives its alpha; on any third ground it is what that alpha says."""
    sprite = premultiplied(disc(colour=(230, 40, 90)))
    place = Placed(8, 4, round(23 * scale), round(23 * scale), scale)

    def on(colour: tuple[int, int, int] | np.ndarray) -> np.ndarray:
        ground = np.broadcast_to(np.asarray(colour, np.uint8), (90, 90, 3))
        return composed(ground, [sprite], [place]).astype(np.float64)

    clear = composed(np.zeros((90, 90, 4), np.uint8), [sprite], [place]).astype(np.float64)
    assert clear[:, :, 3].max() == 255 and (clear[:, :, 3] % 255 > 0).any()
    grounds: list[tuple[int, int, int] | np.ndarray] = [(0, 0, 0), (255, 255, 255), (17, 200, 99)]
    for colour in [*grounds, RANDOM.integers(0, 256, (90, 90, 3))]:
        alpha = clear[:, :, 3:] / 255
        wanted = alpha * clear[:, :, :3] + (1 - alpha) * np.asarray(colour, np.float64)
        assert np.abs(on(colour) - wanted).max() <= 1.01
    visible = clear[:, :, 3] > 8
    assert np.abs(clear[visible][:, :3] - (230, 40, 90)).max() <= 1, "no colour but its own"


@pytest.mark.parametrize("scale", [0.3, 0.9, 1.0, 3.3])
def test_no_halo(scale: float) -> None:
    """A red sprite on red stays red, whatever is hidden behind its transparency."""
    image = composed(GROUNDS["red"], [premultiplied(disc())], [Placed(10, 10, 20, 20, scale)])
    assert (image == (255, 0, 0)).all()


def test_over_is_associative_and_transparent_is_its_identity() -> None:
    a, b, c = (premultiplied(RANDOM.integers(0, 256, (5, 6, 4)).astype(np.uint8)) for _ in range(3))
    np.testing.assert_allclose(over(over(a, b), c), over(a, over(b, c)), atol=1e-6)
    nothing = np.zeros_like(a)
    assert np.array_equal(over(nothing, a), a) and np.array_equal(over(a, nothing), a)


def test_premultiplied_and_back() -> None:
    image = RANDOM.integers(0, 256, (64, 64, 4)).astype(np.uint8)
    back = rounded(premultiplied(image))
    seen = image[:, :, 3] > 0
    assert np.array_equal(back[seen], image[seen]) and (back[~seen] == (255, 255, 255, 0)).all()


def test_resampled_colours_never_exceed_alpha() -> None:
    x = premultiplied((RANDOM.random((16, 16, 4)) > 0.5).astype(np.uint8) * 255)
    for size in ((7, 9), (50, 61)):
        y = resampled(x, *size)
        assert y.shape == (*size, 4) and y.min() >= 0 and y.max() <= 1 and (y[:, :, :3] <= y[:, :, 3:]).all()
    assert resampled(x, 16, 16) is x


def test_haze_is_taken_away() -> None:
    """Faint alpha becomes none, nearly full becomes full, smoothly; colours stay."""
    image = np.full((1, 256, 4), (200, 100, 50, 0), np.uint8)
    image[0, :, 3] = np.arange(256)
    clean = cleaned(premultiplied(image), 0.05)
    alpha = clean[0, :, 3]
    assert (alpha[:13] == 0).all() and (alpha[243:] == 1).all() and (np.diff(alpha) >= 0).all()
    assert np.diff(alpha).max() <= 1.12 / 255
    assert np.abs(rounded(clean)[0, 30:, :3].astype(int) - (200, 100, 50)).max() <= 1
    np.testing.assert_allclose(cleaned(premultiplied(image), 0.0), premultiplied(image), atol=1e-6)


# --- places ----------------------------------------------------------------------------------------------------------


def sprites(count: int) -> list[np.ndarray]:
    return [premultiplied(disc())] * count


def test_places_that_are_named_are_kept_to_half_a_pixel() -> None:
    placed = place_sprites(sprites(3), [4, 5, 6], (300, 500), (0.2, 0.3), [(0.25, 0.5), (1.0, 0.0)])
    for place, (x, y) in zip(placed, [(0.25, 0.5), (1.0, 0.0)], strict=False):
        assert abs(place.centre(300, 500)[0] - x) * 500 <= 0.5 and abs(place.centre(300, 500)[1] - y) * 300 <= 0.5
        assert 0.2 * 300 - 1 <= max(place.width, place.height) <= 0.3 * 300 + 1
    ground = np.zeros((300, 500, 4), np.uint8)
    left, top, right, bottom = visible_box(composed(ground, sprites(1), placed[:1]), 32)
    middle = (left + right) / 2, (top + bottom) / 2
    assert abs(middle[0] - 0.25 * 500) <= 1.5 and abs(middle[1] - 150) <= 1.5
    assert abs(right - left - placed[0].width) <= 3


def test_drawn_places_are_functions_of_seeds_inside_and_apart() -> None:
    seeds = list(range(7, 15))
    placed = place_sprites(sprites(8), seeds, (300, 500), (0.2, 0.25))
    assert placed == place_sprites(sprites(8), seeds, (300, 500), (0.2, 0.25))
    assert placed[:3] == place_sprites(sprites(3), seeds[:3], (300, 500), (0.2, 0.25)), "later sprites change nothing"
    assert placed != place_sprites(sprites(8), range(20, 28), (300, 500), (0.2, 0.25))
    boxes = [(p.left, p.top, p.left + p.width, p.top + p.height) for p in placed]
    assert all(left >= 0 and top >= 0 and right <= 500 and bottom <= 300 for left, top, right, bottom in boxes)
    touching = [
        (a, b)
        for a, b in itertools.combinations(boxes, 2)
        if min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])
    ]
    assert not touching
    assert len({(p.left, p.top) for p in place_sprites(sprites(2), [3, 3], (300, 500), (0.2, 0.2))}) == 2


def test_the_place_of_a_seed_is_a_promise() -> None:
    (place,) = place_sprites(sprites(1), [17], (300, 500), (0.2, 0.4))
    assert place[:4] == (347, 43, 113, 113) and place.scale == pytest.approx(4.71695941)


def test_a_sprite_may_reach_over_the_border_or_be_larger_than_the_picture() -> None:
    ground = np.zeros((30, 40, 3), np.uint8)
    placed = place_sprites(sprites(2), [1, 2], (30, 40), (2.0, 2.0), [(0.0, 0.0)])
    image = composed(ground, sprites(2), placed)
    assert image.shape == (30, 40, 3) and image[0, 0].tolist() == [255, 0, 0]


def test_a_speck_stays_a_speck() -> None:
    speck = np.zeros((32, 32, 4), np.uint8)
    speck[10:12, 10:12] = 255
    (place,) = place_sprites([premultiplied(speck)], [0], (400, 400), (0.4, 0.4))
    assert place.width == 40  # two pixels of the eight that count as least
