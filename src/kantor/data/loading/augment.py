"""Random changes to real images: rotation, shear, zoom, shift and colours, with the maps of Keras' image generator.

All images of a batch are changed at once, on their device, without waiting for it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from kantor.alpha import premultiplied

if TYPE_CHECKING:
    from kantor.config.data import AugmentConfig

_MAP_NUMBERS = 6  # rotation, shear, zoom across and down, shift across and down
_UNCHANGED = (1.0, 1.0)


def augment(images: Tensor, config: AugmentConfig, rng: torch.Generator, premultiply: bool = False) -> Tensor:
    """Changes each image in its own way; what `config` leaves out costs nothing.

    Args:
        images: float [N, C, H, W] in [-1, 1]; of four channels the last is transparency, moved but not recoloured.
        rng: on the device of the images. A setting takes the same random numbers whatever the others are.
        premultiply: return `kantor.alpha.premultiplied` images, so that what moves at an edge is not mixed with hidden colours.
    Returns:
        The same shape and range.
    """
    moves = config.rotation or config.shear or config.shift_x or config.shift_y or config.zoom != _UNCHANGED
    recolours = config.brightness != _UNCHANGED or config.colour != _UNCHANGED
    if not (moves or recolours):
        return premultiplied(images) if premultiply else images
    numbers = random_numbers(images, rng)
    if premultiply:
        images = premultiplied(recolour(images, numbers, config) if recolours else images)
    if moves:
        images = warp(images, maps(numbers, config, *images.shape[2:]))
    return recolour(images, numbers, config) if recolours and not premultiply else images


def random_numbers(images: Tensor, rng: torch.Generator) -> Tensor:
    """[N, 7 + C] uniform in [0, 1): six for the map, one for brightness, one a channel for colour."""
    count, channels = images.shape[:2]
    return torch.rand(count, _MAP_NUMBERS + 1 + channels, generator=rng, device=images.device)


def maps(numbers: Tensor, config: AugmentConfig, height: int, width: int) -> Tensor:
    """[N, 2, 3]: where each new pixel is looked up, (x, y) in pixels from the centre, x to the right and y down.

    old = R S Z (new - shift): the image is rotated, sheared and zoomed about its centre, then shifted. R rotates it
    counter-clockwise by up to `rotation` degrees; S = [[cos s, 0], [-sin s, 1]] slants its rows (Keras' shear);
    Z multiplies coordinates by `zoom`, x and y separately.
    """
    turn, slant, across, down, right, below = numbers[:, :_MAP_NUMBERS].unbind(1)
    angle = (2 * turn - 1) * math.radians(config.rotation)
    shear = (2 * slant - 1) * math.radians(config.shear)
    zoom_x, zoom_y = _between(across, config.zoom), _between(down, config.zoom)
    shift_x = (2 * right - 1) * (config.shift_x * width)
    shift_y = (2 * below - 1) * (config.shift_y * height)
    return composed_maps(angle, shear, zoom_x, zoom_y, shift_x, shift_y)


def composed_maps(
    angle: Tensor, shear: Tensor, zoom_x: Tensor, zoom_y: Tensor, shift_x: Tensor, shift_y: Tensor
) -> Tensor:
    """The [N, 2, 3] of `maps` from angles [N] in radians, factors [N] and shifts [N] in pixels."""
    cos, sin = angle.cos(), angle.sin()
    x_of_x = (cos * shear.cos() + sin * shear.sin()) * zoom_x
    y_of_x = (sin * shear.cos() - cos * shear.sin()) * zoom_x
    x_of_y, y_of_y = -sin * zoom_y, cos * zoom_y
    x_of_1, y_of_1 = -(x_of_x * shift_x + x_of_y * shift_y), -(y_of_x * shift_x + y_of_y * shift_y)
    rows = torch.stack([x_of_x, x_of_y, x_of_1, y_of_x, y_of_y, y_of_1], dim=1)
    return rows.reshape(-1, 2, 3)


def warp(images: Tensor, lookup: Tensor) -> Tensor:
    """Looks [N, C, H, W] up where the [N, 2, 3] of `maps` say, bilinearly; the border continues outside."""
    height, width = images.shape[2:]
    # grid_sample counts half a width, half a height as 1, so turns would be slants where these differ
    across, down = lookup[:, 0] / (width / 2), lookup[:, 1] / (height / 2)
    units = (width / 2, height / 2, 1.0)
    columns = [torch.stack([across[:, i], down[:, i]], dim=1) * unit for i, unit in enumerate(units)]
    grid = F.affine_grid(torch.stack(columns, dim=2), list(images.shape), align_corners=False).to(images.dtype)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def recolour(images: Tensor, numbers: Tensor, config: AugmentConfig) -> Tensor:
    """Multiplies values, counted from black, by a brightness and then by a factor a channel; clips at white after each."""
    channels = images.shape[1]
    coloured = images[:, :3] if channels == 4 else images
    shown = coloured + 1
    if config.brightness != _UNCHANGED:
        shown = (shown * _between(numbers[:, _MAP_NUMBERS], config.brightness)[:, None, None, None]).clamp(max=2)
    if config.colour != _UNCHANGED:
        factors = triangular(numbers[:, _MAP_NUMBERS + 1 :][:, : coloured.shape[1]], *config.colour)
        shown = (shown * factors[:, :, None, None]).clamp(max=2)
    shown = shown - 1
    return torch.cat([shown, images[:, 3:]], dim=1) if channels == 4 else shown


def triangular(uniform: Tensor, low: float, high: float) -> Tensor:
    """Triangular distribution from `low` to `high`, from uniform numbers in [0, 1), by inverse CDF."""
    rising, falling = (uniform / 2).sqrt(), 1 - ((1 - uniform) / 2).sqrt()
    return low + (high - low) * torch.where(uniform < 0.5, rising, falling)


def _between(uniform: Tensor, bounds: tuple[float, float]) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * uniform
