"""Controls measured in images: closed forms, gradients, and what the critic sees of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kantor.alpha import premultiplied
from kantor.controls import CONTROLS, ROWS, Guide, beside_planes, components, controls_of, guided
from kantor.types import Batch

RED, WHITE = (0.8, 0.2, 0.1), (1.0, 1.0, 1.0)
TOLERANCE = {"atol": 2e-3, "rtol": 0.0}


def grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """x [1, W] and y [H, 1] of pixels, in [0, 1]."""
    return ((torch.arange(width) + 0.5) / width)[None], ((torch.arange(height) + 0.5) / height)[:, None]


def on_ground(mask: Tensor, colour: tuple[float, ...] = RED, ground: tuple[float, ...] = WHITE) -> Tensor:
    """An opaque image [C, H, W] in [-1, 1]: `colour` where the mask [H, W] is 1."""
    a, b = (torch.tensor(c).view(-1, 1, 1) for c in (colour, ground))
    return 2 * (mask * a + (1 - mask) * b) - 1


def with_alpha(mask: Tensor, colour: tuple[float, ...] = RED) -> Tensor:
    colours = torch.tensor(colour).view(-1, 1, 1).expand(-1, *mask.shape)
    return 2 * torch.cat([colours, mask[None]]) - 1


def rectangle(left: int, top: int, width: int, height: int, size: tuple[int, int] = (40, 60)) -> Tensor:
    mask = torch.zeros(size)
    mask[top : top + height, left : left + width] = 1
    return mask


def test_rectangles_have_their_colour_place_and_extent() -> None:
    """sqrt((w^2 + h^2) / 2) of the sides, each as a fraction of that of the image."""
    masks = [rectangle(6, 4, 12, 8), rectangle(30, 20, 24, 12), rectangle(3, 30, 6, 4)]
    images = torch.stack([on_ground(mask) for mask in masks])
    expected = torch.tensor([
        [*RED, 12 / 60, 8 / 40, math.sqrt((0.2**2 + 0.2**2) / 2)],
        [*RED, 42 / 60, 26 / 40, math.sqrt((0.4**2 + 0.3**2) / 2)],
        [*RED, 6 / 60, 32 / 40, math.sqrt((0.1**2 + 0.1**2) / 2)],
    ])  # fmt: skip
    found = controls_of(images, CONTROLS)
    assert torch.allclose(found[:2], expected[:2], **TOLERANCE)
    assert torch.allclose(found[2], expected[2], **TOLERANCE)
    assert torch.equal(controls_of(images[1:2], CONTROLS), found[1:2]), "an image does not depend on its batch"


def test_alpha_is_the_mask_whatever_lies_behind() -> None:
    masks = torch.stack([rectangle(6, 4, 12, 8), rectangle(30, 20, 24, 12)])
    images = torch.stack([with_alpha(mask) for mask in masks])
    opaque = controls_of(torch.stack([on_ground(mask) for mask in masks]), CONTROLS)
    assert torch.allclose(controls_of(images, CONTROLS), opaque, **TOLERANCE)
    hidden = torch.where(images[:, 3:] < 0, 0.77, images)
    hidden[:, 3] = images[:, 3]
    assert torch.allclose(controls_of(hidden, CONTROLS), opaque, **TOLERANCE)
    assert torch.allclose(controls_of(premultiplied(hidden), CONTROLS, premultiplied=True), opaque, **TOLERANCE)


def test_a_full_frame_has_extent_1_and_a_disc_its_closed_form() -> None:
    x, y = grid(64, 64)
    disc = ((x - 0.4).square() + (y - 0.55).square() < 0.3**2).float()
    found = controls_of(torch.stack([with_alpha(torch.ones(64, 64)), with_alpha(disc)]), ("place", "extent"))
    expected = torch.tensor([[0.5, 0.5, 1.0], [0.4, 0.55, math.sqrt(6 / 8) * 0.6]])
    assert torch.allclose(found, expected, **TOLERANCE)


def test_a_gaussian_has_the_extent_of_its_variance() -> None:
    x, y = grid(96, 64)
    blob = torch.exp(-((x - 0.45).square() / 0.01 + (y - 0.6).square() / 0.0064) / 2)
    found = controls_of(torch.stack([with_alpha(blob), with_alpha(blob)]), ("place", "extent"))
    pixel = (1 / 64**2 + 1 / 96**2) / 12
    expected = torch.tensor([0.45, 0.6, math.sqrt(6 * (0.01 + 0.0064 + pixel))])
    assert torch.allclose(found, expected.expand(2, -1), atol=3e-3)


def test_the_ground_may_have_any_colour_and_the_subject_may_touch_the_border() -> None:
    masks = torch.stack([rectangle(0, 10, 15, 12), rectangle(20, 28, 12, 12)])
    dark = torch.stack([on_ground(mask, (0.9, 0.9, 0.2), (0.1, 0.2, 0.3)) for mask in masks])
    found = controls_of(dark, CONTROLS)
    assert torch.allclose(found[:, :3], torch.tensor([0.9, 0.9, 0.2]).expand(2, -1), atol=0.01)
    assert torch.allclose(found[:, 3:5], torch.tensor([[7.5 / 60, 16 / 40], [26 / 60, 34 / 40]]), atol=5e-3)


def test_specks_move_nothing_and_do_not_pay() -> None:
    """Of one pixel; in a corner, where they would move the centre most, or anywhere."""
    subject = rectangle(10, 12, 12, 8, (32, 32))
    masks = torch.stack([subject] * 3)
    masks[1, 0, 31] = 1
    masks[2, [0, 31, 5, 28], [31, 0, 25, 17]] = 1
    for images in (
        torch.stack([on_ground(m, (0.1, 0.1, 0.1)) for m in masks]),
        torch.stack([with_alpha(m) for m in masks]),
    ):
        found = controls_of(images.requires_grad_(), CONTROLS)
        assert torch.allclose(found[1:], found[:1].expand(2, -1), atol=1e-5)
        (slope,) = torch.autograd.grad(found[1, 3:].sum(), images)
        assert slope[1, :, 0, 31].abs().max() < 1e-5 * slope[1].abs().max()


@pytest.mark.parametrize(
    ("side", "speck", "counts"),
    [(32, 1, 0), (32, 2, 4 * 3 / 8), (32, 3, 9), (32, 5, 25), (16, 1, 0), (16, 2, 4), (64, 2, 4 * 3 / 24), (64, 5, 25)],
)
@pytest.mark.parametrize("corner", [False, True])
def test_squares_count_as_their_neighbours_support(side: int, speck: int, counts: float, corner: bool) -> None:
    """Seen in the centroid of a subject and a square: the square's share is its weight among both."""
    masks = torch.zeros(2, side, side)
    masks[:, side // 2 : side // 2 + 8, side // 4 : side // 4 + 8] = 1
    first = side - speck - 2 * (not corner)
    masks[1, :speck, first : first + speck] = 1
    both = controls_of(torch.stack([with_alpha(mask) for mask in masks]), ("place",))[:, 0].double()
    here, there = (side / 4 + 4) / side, (first + speck / 2) / side
    share = (both[1] - both[0]) / (there - both[0])
    assert both[0] == pytest.approx(here, abs=1e-3)
    assert share == pytest.approx(counts / (counts + 64), abs=1e-3)


def test_a_faint_subject_is_supported_as_a_strong_one() -> None:
    mask = rectangle(10, 12, 12, 8, (32, 32))
    strong, faint = controls_of(torch.stack([with_alpha(mask), with_alpha(mask * 0.2)]), CONTROLS)
    assert torch.allclose(strong, faint, **TOLERANCE)


def test_grey_images_have_one_colour() -> None:
    images = torch.stack([on_ground(rectangle(6, 4, 12, 8), (0.25,), (1.0,)) for _ in range(2)])
    assert components(CONTROLS, 1) == ("grey", "x", "y", "extent")
    assert torch.allclose(controls_of(images, CONTROLS)[:, :3], torch.tensor([0.25, 0.2, 0.2]), **TOLERANCE)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_image_without_a_subject_is_in_the_middle(channels: int) -> None:
    empty = torch.full((2, channels, 16, 16), -1.0, requires_grad=True)
    found = controls_of(empty, ("place", "extent"))
    assert torch.allclose(found[:, :2], torch.full((2, 2), 0.5))
    (slope,) = torch.autograd.grad(found.sum(), empty)
    assert slope.isfinite().all()


@pytest.mark.parametrize(("channels", "alpha"), [(1, False), (3, False), (4, False), (4, True)])
def test_the_gradient_is_that_of_the_function(channels: int, alpha: bool) -> None:
    images = torch.rand(2, channels, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 1.8 - 0.9
    assert torch.autograd.gradcheck(lambda x: controls_of(x, CONTROLS, alpha), images.requires_grad_())


def test_the_critic_sees_colour_and_extent_as_planes_and_place_as_the_way_from_there() -> None:
    images, values = torch.zeros(2, 3, 4, 8), torch.tensor([[1.0, 0.5, 0.0, 0.25, 0.75, 1.0]] * 2)
    planes = beside_planes(images, values, CONTROLS)
    assert planes.shape == (2, 9, 4, 8) and torch.equal(planes[:, :3], images)
    for k, value in ((3, 1.0), (4, 0.0), (5, -1.0), (8, 1.0)):
        assert (planes[:, k] == value).all()
    x, y = grid(4, 8)
    assert torch.allclose(planes[0, 6], (2 * (0.25 - x)).expand(4, 8))
    assert torch.allclose(planes[0, 7], (2 * (0.75 - y)).expand(4, 8))


def test_a_guide_scales_by_what_training_images_have() -> None:
    guide = Guide(("place",), 3, False)
    guide.table.copy_(torch.stack([torch.linspace(0, 1, ROWS), torch.full((ROWS,), 0.5)], dim=1))
    scaled = guide.scaled(guide.table)
    assert torch.allclose(scaled.mean(dim=0), torch.zeros(2), atol=1e-4)
    assert scaled[:, 0].std() == pytest.approx(1, abs=1e-4)
    assert scaled[:, 1].abs().max() < 1e-3, "a control that never changes is not divided by 0"
    assert guide.ranges() == {"x": (0.0, 1.0), "y": (0.5, 0.5)}
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    batch = guided(Batch(images), guide)
    assert batch.controls is not None and torch.equal(batch.controls, controls_of(images, ("place",)))
    assert guided(Batch(images), None).controls is None
