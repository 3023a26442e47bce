"""Real images changed each time they are shown: where pixels go, what colours become, and that it can be repeated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.prepare import open_set
from kantor.app.training.build import build
from kantor.config.data import AugmentConfig
from kantor.config.io import resolve
from kantor.data.loading.augment import augment, composed_maps, maps, random_numbers, recolour, triangular, warp
from kantor.data.loading.feed import Feed, dequantised, shrink, to_float
from kantor.random import derive
from kantor.types import ImageSpec
from support.engine_fakes import CPU, TINY, InMemory, feed

SEED = AugmentConfig(
    rotation=25, shift_x=0.05, shift_y=0.1, shear=10, zoom=(0.95, 1.2), brightness=(0.8, 1.4), colour=(0.6, 1.4)
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator(5)) * 2 - 1


def placed(n: int = 1, **given: float) -> Tensor:
    """The maps [n, 2, 3] of given angles in degrees, factors and shifts."""
    values = {"angle": 0.0, "shear": 0.0, "zoom_x": 1.0, "zoom_y": 1.0, "shift_x": 0.0, "shift_y": 0.0} | given
    values |= {name: math.radians(values[name]) for name in ("angle", "shear")}
    return composed_maps(**{name: torch.full((n,), value) for name, value in values.items()})


def arrow(width: int, height: int) -> Image.Image:
    """An arrow to the right and a bar at the top left: no turn or mirroring leaves it as it is."""
    image = Image.new("L", (width, height), 30)
    draw = ImageDraw.Draw(image)
    draw.rectangle((width * 0.25, height * 0.45, width * 0.6, height * 0.55), fill=220)
    draw.polygon([(width * 0.6, height * 0.3), (width * 0.8, height * 0.5), (width * 0.6, height * 0.7)], fill=180)
    draw.rectangle((width * 0.3, height * 0.2, width * 0.4, height * 0.3), fill=255)
    return image


def tensor(image: Image.Image, n: int = 1) -> Tensor:
    array = np.asarray(image, np.float32) / 127.5 - 1
    return torch.from_numpy(array).expand(n, 1, *array.shape)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 48), (40, 71)])
@pytest.mark.parametrize("degrees", [25.0, -40.0, 90.0])
def test_rotations_equal_those_of_pillow(width: int, height: int, degrees: float) -> None:
    """Counter-clockwise about the centre, in pixels: a circle stays one in an image that is no square."""
    image = arrow(width, height)
    wanted = tensor(image.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=30))
    got = warp(tensor(image, 3), placed(3, angle=degrees))
    assert got.shape == (3, 1, height, width)
    inside = (got - wanted)[..., 3:-3, 3:-3].abs()  # Pillow has half a pixel less at the border
    assert inside.mean() < 0.004 and inside.max() < 0.25
    wrong = tensor(image.rotate(-degrees, Image.Resampling.BILINEAR, fillcolor=30))
    assert (got - wrong).abs().mean() > 0.05


def test_whole_shifts_move_pixels_and_fill_from_the_border() -> None:
    images = random(2, 3, 12, 20)
    got = warp(images, placed(2, shift_x=3, shift_y=-2))
    torch.testing.assert_close(got[..., :-2, 3:], images[..., 2:, :-3], atol=2e-5, rtol=0)
    torch.testing.assert_close(got[..., :-2, :3], images[..., 2:, :1].expand(-1, -1, -1, 3), atol=2e-5, rtol=0)
    torch.testing.assert_close(got[..., -2:, 3:], images[..., -1:, :-3].expand(-1, -1, 2, -1), atol=2e-5, rtol=0)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_zoom_by_two_shows_every_second_pixel_on_one_axis(axis: str) -> None:
    """Above 1 the image shrinks towards its centre: between two old pixels lies each new one."""
    images = random(2, 3, 16, 24)
    got = warp(images, placed(2, **{f"zoom_{axis}": 2.0}))
    lying = images if axis == "x" else images.transpose(2, 3)
    found = got if axis == "x" else got.transpose(2, 3)
    width = lying.shape[3]
    means = (lying[..., 0::2] + lying[..., 1::2]) / 2
    torch.testing.assert_close(found[..., width // 4 : -width // 4], means, atol=2e-5, rtol=0)
    torch.testing.assert_close(found[..., 0], lying[..., 0], atol=2e-5, rtol=0)


def test_shear_slants_rows_as_keras_does() -> None:
    """Looked up at row - sin(s) column and cos(s) column, from the centre."""
    steep = math.radians(20)
    (found,) = placed(shear=20).double()
    x, y = 3.0, -5.0
    got = found @ torch.tensor([x, y, 1.0], dtype=torch.float64)
    torch.testing.assert_close(
        got, torch.tensor([math.cos(steep) * x, y - math.sin(steep) * x], dtype=torch.float64), atol=1e-6, rtol=1e-6
    )


def test_maps_are_products_of_matrices() -> None:
    """old = R S Z (new - shift), in 64 bits."""
    config, height, width = SEED, 60, 100
    numbers = random_numbers(torch.zeros(5, 3, height, width), generator(3))
    got = maps(numbers, config, height, width)
    for row, found in zip(numbers.double().numpy(), got.double().numpy(), strict=True):
        angle, shear = (math.radians(most) * (2 * u - 1) for most, u in zip((25, 10), row[:2], strict=True))
        zoom = [0.95 + 0.25 * u for u in row[2:4]]
        shift = np.array([(2 * row[4] - 1) * 0.05 * width, (2 * row[5] - 1) * 0.1 * height])
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        slant = np.array([[math.cos(shear), 0], [-math.sin(shear), 1]])
        wanted = turn @ slant @ np.diag(zoom)
        np.testing.assert_allclose(found[:, :2], wanted, atol=1e-6)
        np.testing.assert_allclose(found[:, 2], -wanted @ shift, atol=1e-5)


def test_settings_stay_within_their_bounds_and_use_them() -> None:
    numbers = random_numbers(torch.zeros(4000, 1, 8, 8), generator())
    alone = {
        "rotation": (maps(numbers, AugmentConfig(rotation=30), 80, 40)[:, 1, 0].asin().rad2deg(), -30, 30),
        "shear": (-maps(numbers, AugmentConfig(shear=10), 80, 40)[:, 1, 0].asin().rad2deg(), -10, 10),
        "zoom x": (maps(numbers, AugmentConfig(zoom=(0.5, 2)), 80, 40)[:, 0, 0], 0.5, 2),
        "zoom y": (maps(numbers, AugmentConfig(zoom=(0.5, 2)), 80, 40)[:, 1, 1], 0.5, 2),
        "shift x": (maps(numbers, AugmentConfig(shift_x=0.1), 80, 40)[:, 0, 2], -4, 4),
        "shift y": (maps(numbers, AugmentConfig(shift_y=0.1), 80, 40)[:, 1, 2], -8, 8),
    }
    for name, (found, low, high) in alone.items():
        span = high - low
        assert low - 1e-3 * span <= found.min() < low + 0.01 * span, name
        assert high - 0.01 * span < found.max() <= high + 1e-3 * span, name
        assert abs(float(found.mean()) - (low + high) / 2) < 0.02 * span, name
        assert abs(float(found.std()) - span / math.sqrt(12)) < 0.01 * span, name
    both = torch.stack([found for found, _, _ in alone.values()])
    assert (torch.corrcoef(both) - torch.eye(6)).abs().max() < 0.06  # each for itself


def test_triangular_numbers() -> None:
    """Mean (a + b) / 2, variance (b - a)^2 / 24, and the CDF of the triangle."""
    found = triangular(torch.rand(200_000, generator=generator()), 0.6, 1.4).double()
    assert found.min() >= 0.6 and found.max() <= 1.4
    assert abs(found.mean() - 1) < 1e-3 and abs(found.var() - 0.64 / 24) < 3e-4
    for value, share in ((0.8, 0.125), (1.0, 0.5), (1.3, 1 - 0.03125)):
        assert abs((found < value).double().mean() - share) < 5e-3
    exact = triangular(torch.tensor([0.0, 0.125, 0.5, 0.875]), 0.6, 1.4)
    torch.testing.assert_close(exact, torch.tensor([0.6, 0.8, 1.0, 1.2]))


def test_colours_are_multiplied_from_black_and_cut_off_at_white() -> None:
    config = AugmentConfig(brightness=(0.8, 1.4), colour=(0.6, 1.4))
    images = random(6, 4, 5, 7)
    numbers = random_numbers(images, generator(9))
    got = recolour(images, numbers, config)
    assert torch.equal(got[:, 3], images[:, 3]) and got.min() >= -1 and got.max() == 1
    values, u = (images[:, :3].double() + 1) / 2, numbers.double()
    values = (values * (0.8 + 0.6 * u[:, 6])[:, None, None, None]).clamp(0, 1)
    values = (values * triangular(u[:, 7:10], 0.6, 1.4)[:, :, None, None]).clamp(0, 1)
    torch.testing.assert_close(got[:, :3].double(), values * 2 - 1, atol=1e-5, rtol=0)
    black = torch.full((2, 3, 4, 4), -1.0)
    assert torch.equal(augment(black, config, generator()), black)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_any_number_of_channels_and_shape(channels: int) -> None:
    images = random(4, channels, 24, 40)
    got = augment(images, SEED, generator(1))
    assert got.shape == images.shape and got.dtype == torch.float32
    assert got.min() >= -1 and got.max() <= 1 and torch.isfinite(got).all()
    assert all((a - b).abs().mean() > 0.05 for a, b in zip(got, images, strict=True))


def test_transparency_is_moved_with_the_image() -> None:
    images = random(3, 1, 16, 16).expand(3, 4, 16, 16)
    got = augment(images, AugmentConfig(rotation=90, shift_x=0.2), generator())
    torch.testing.assert_close(got[:, 3], got[:, 0])
    assert not torch.allclose(got[:, 3], images[:, 3], atol=0.1)


def test_an_empty_configuration_changes_nothing() -> None:
    rng = generator()
    before, images = rng.get_state(), random(2, 3, 8, 8)
    assert augment(images, AugmentConfig(), rng) is images
    assert torch.equal(rng.get_state(), before)
    torch.testing.assert_close(warp(images, placed(2)), images, atol=1e-6, rtol=0)


def test_images_and_settings_are_independent() -> None:
    images = random(1, 3, 16, 16).expand(5, -1, -1, -1)
    got = augment(images, SEED, generator(4))
    assert torch.equal(got, augment(images, SEED, generator(4)))
    assert len({tuple(one.flatten().tolist()) for one in got}) == 5
    numbers, more = random_numbers(images, generator(4)), AugmentConfig(rotation=25, shear=5, colour=(0.5, 1.5))
    alone = maps(numbers, AugmentConfig(rotation=25), 16, 16)
    torch.testing.assert_close(maps(numbers, more.model_copy(update={"shear": 0.0}), 16, 16), alone)


# --- in the feed --------------------------------------------------------------------------------------------------


def test_a_feed_changes_images_at_their_packed_size() -> None:
    plain = feed().take(6).images
    got = Feed(InMemory(), 7, CPU, augment=SEED, spec=ImageSpec(8, 8, 3)).take(6).images
    assert got.shape == (6, 3, 8, 8)
    wanted = shrink(augment(plain, SEED, generator(derive(7, "augment", 0))), 8, 8)
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("more", [{"augment": SEED}, {"dequantise": True}, {"augment": SEED, "dequantise": True}])
def test_batches_depend_only_on_seed_and_position(more: dict[str, Any]) -> None:
    first, again = feed(mirror=True, **more), feed(mirror=True, **more)
    batches = [first.take(4).images for _ in range(3)]
    again.position = 8
    assert torch.equal(again.take(4).images, batches[2])
    again.position = 0
    assert torch.equal(again.take(4).images, batches[0])
    other = Feed(InMemory(), 8, CPU, **more)
    assert not torch.equal(other.take(4).images, batches[0])
    repeated = feed(**more)  # ten images: the same one comes again, changed otherwise
    epochs = [repeated.take(10) for _ in range(2)]
    shown = {tuple(one.flatten().tolist()) for batch in epochs for one in batch.images}
    assert len(shown) == 20


def test_dequantised_levels_become_a_range() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(50, -1, -1, 3)
    got = dequantised(levels, generator()).double()
    assert got.shape == (50, 3, 16, 16)
    noise = (got + 1) * 128 - levels.permute(0, 3, 1, 2).double()
    assert noise.min() >= 0 and noise.max() <= 1 and got.max() < 1
    assert abs(noise.mean() - 0.5) < 0.005 and abs(noise.var() - 1 / 12) < 0.002
    apart = noise.reshape(150, 256).T.corrcoef()
    assert (apart - torch.eye(256, dtype=torch.float64)).abs().mean() < 0.09
    plain = to_float(levels).double()
    assert (got - plain).abs().max() < 1 / 100  # the two conversions show the same image


def test_a_run_augments_as_configured(tmp_path: Any) -> None:
    values = TINY | {"data.glyphs.count": 12, "data.size": "16"}
    changed = {"data.augment.rotation": 20.0, "data.dequantise": True}
    batches = []
    for fields in ({}, changed):
        config = resolve(overrides=values | fields)
        store, config, _ = open_set(config, 16, DatasetCache(tmp_path))
        batches.append(build(config, store, CPU, "float32").feed.take(12).images)
    assert len({len(batch) for batch in batches}) == 1
    levels = (batches[0] + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    levels = (batches[1] + 1) * 128
    assert (levels - levels.round()).abs().mean() > 0.2 and (batches[0] - batches[1]).abs().mean() > 0.02
