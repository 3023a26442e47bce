"""Real images shown otherwise each time: turned, slanted, stretched, moved, in other colours.

All images of a batch at once, on their device, without waiting for it. The maps are those of Keras' image generator:
what is drawn says where in the old image a pixel of the new one is looked up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from kantor.config.data import AugmentConfig

_MAP_DRAWS = 6  # rotation, shear, zoom across and down, shift across and down
_AS_IT_IS = (1.0, 1.0)


def augment(images: Tensor, config: AugmentConfig, rng: torch.Generator) -> Tensor:
    """Each image changed in its own way; what is not asked for costs nothing.

    Args:
        images: float [N, C, H, W] in [-1, 1]; of four channels the last is transparency, moved but not recoloured.
        rng: on the device of the images. A setting draws the same numbers whatever the others are.
    Returns:
        The same shape and range.
    """
    if not (moves(config) or recolours(config)):
        return images
    draws = drawn(images, rng)
    if moves(config):
        images = warp(images, maps(draws, config, *images.shape[2:]))
    return recolour(images, draws, config) if recolours(config) else images


def drawn(images: Tensor, rng: torch.Generator) -> Tensor:
    """[N, 7 + C] uniform numbers in [0, 1): six for the map, one for brightness, one a channel for colour."""
    count, channels = images.shape[:2]
    return torch.rand(count, _MAP_DRAWS + 1 + channels, generator=rng, device=images.device)


def moves(config: AugmentConfig) -> bool:
    """Whether pixels change their places."""
    return bool(config.rotation or config.shear or config.shift_x or config.shift_y or config.zoom != _AS_IT_IS)


def recolours(config: AugmentConfig) -> bool:
    """Whether pixels change their values."""
    return config.brightness != _AS_IT_IS or config.colour != _AS_IT_IS


def maps(draws: Tensor, config: AugmentConfig, height: int, width: int) -> Tensor:
    """[N, 2, 3]: where each new pixel is looked up, (x, y) in pixels from the centre, x to the right and y down.

    old = R S Z (new - shift): the image is turned, slanted, stretched about its centre, then moved. R turns it
    counter-clockwise by up to `rotation` degrees; S = [[cos s, 0], [-sin s, 1]] slants its rows (Keras' shear);
    Z multiplies coordinates by `zoom`, x and y apart.
    """
    turn, slant, across, down, right, below = draws[:, :_MAP_DRAWS].unbind(1)
    angle = (2 * turn - 1) * math.radians(config.rotation)
    shear = (2 * slant - 1) * math.radians(config.shear)
    zoom_x, zoom_y = _between(across, config.zoom), _between(down, config.zoom)
    shift_x = (2 * right - 1) * (config.shift_x * width)
    shift_y = (2 * below - 1) * (config.shift_y * height)
    return composed(angle, shear, zoom_x, zoom_y, shift_x, shift_y)


def composed(angle: Tensor, shear: Tensor, zoom_x: Tensor, zoom_y: Tensor, shift_x: Tensor, shift_y: Tensor) -> Tensor:
    """The maps [N, 2, 3] of `maps` from angles [N] in radians, factors [N] and shifts [N] in pixels."""
    cos, sin = angle.cos(), angle.sin()
    x_of_x = (cos * shear.cos() + sin * shear.sin()) * zoom_x
    y_of_x = (sin * shear.cos() - cos * shear.sin()) * zoom_x
    x_of_y, y_of_y = -sin * zoom_y, cos * zoom_y
    x_of_1, y_of_1 = -(x_of_x * shift_x + x_of_y * shift_y), -(y_of_x * shift_x + y_of_y * shift_y)
    rows = torch.stack([x_of_x, x_of_y, x_of_1, y_of_x, y_of_y, y_of_1], dim=1)
    return rows.reshape(-1, 2, 3)


def warp(images: Tensor, places: Tensor) -> Tensor:
    """[N, C, H, W] looked up at the places of `maps`, between pixels bilinearly; beyond the border is its colour."""
    height, width = images.shape[2:]
    # grid_sample counts half a width, half a height as 1, so turns would be slants where these differ
    across, down = places[:, 0] / (width / 2), places[:, 1] / (height / 2)
    units = (width / 2, height / 2, 1.0)
    columns = [torch.stack([across[:, i], down[:, i]], dim=1) * unit for i, unit in enumerate(units)]
    grid = F.affine_grid(torch.stack(columns, dim=2), list(images.shape), align_corners=False).to(images.dtype)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def recolour(images: Tensor, draws: Tensor, config: AugmentConfig) -> Tensor:
    """Values from black multiplied by a brightness, then by a factor a channel, cut off at white after each."""
    channels = images.shape[1]
    coloured = images[:, :3] if channels == 4 else images
    shown = coloured + 1
    if config.brightness != _AS_IT_IS:
        shown = (shown * _between(draws[:, _MAP_DRAWS], config.brightness)[:, None, None, None]).clamp(max=2)
    if config.colour != _AS_IT_IS:
        factors = triangular(draws[:, _MAP_DRAWS + 1 :][:, : coloured.shape[1]], *config.colour)
        shown = (shown * factors[:, :, None, None]).clamp(max=2)
    shown = shown - 1
    return torch.cat([shown, images[:, 3:]], dim=1) if channels == 4 else shown


def triangular(uniform: Tensor, low: float, high: float) -> Tensor:
    """Numbers from `low` to `high`, the likelier the nearer to the middle, from uniform ones in [0, 1), by inverse CDF."""
    rising, falling = (uniform / 2).sqrt(), 1 - ((1 - uniform) / 2).sqrt()
    return low + (high - low) * torch.where(uniform < 0.5, rising, falling)


def _between(uniform: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Uniform numbers in [0, 1) as ones between two bounds."""
    return bounds[0] + (bounds[1] - bounds[0]) * uniform
