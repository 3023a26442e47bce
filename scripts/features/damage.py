"""Ten kinds of damage, at a strength from barely to badly.

Each function takes float [N, 3, 32, 32] in [0, 255], strengths [N] in (0, 1], other images of the same shape, and a generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from kantor.metrics.features import resized
from kantor.metrics.small_network import SIDE
from scripts.features.images import UNKNOWN, LabelledImages
from scripts.features.variations import uniform

Damage = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]


def blurred(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """By a Gaussian of 0.4 to 2 pixels."""
    sigma = (0.4 + 1.6 * s)[:, None]
    kernel = torch.exp(-((torch.arange(-4.0, 5.0) / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    y = F.pad(x, (4, 4, 4, 4), mode="replicate").reshape(1, -1, SIDE + 8, SIDE + 8)
    y = F.conv2d(y, kernel[:, None, :, None], groups=len(kernel))
    return F.conv2d(y, kernel[:, None, None, :], groups=len(kernel)).reshape(x.shape)


def noisy(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """White noise of 3 to 53 levels, a third of it grey."""
    noise = torch.randn(x.shape, generator=g)
    grey = uniform(g, len(x), 1, 1, 1) < 1 / 3
    return x + torch.where(grey, noise[:, :1], noise) * (3 + 50 * s).view(-1, 1, 1, 1)


def coarse(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """Shrunk to 24, 18, 12 or 8 pixels a side and grown again, half of it to blocks."""
    out = x.clone()
    for level, side in enumerate((24, 18, 12, 8)):
        for mode in ("nearest", "bilinear"):
            mine = ((s * 4).ceil() - 1 == level) & (torch.arange(len(x)) % 2 == (mode == "nearest"))
            if mine.any():
                out[mine] = F.interpolate(resized(x[mine], side, side), (SIDE, SIDE), mode=mode)
    return out


def cut(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """A rectangle of 4 to 18 pixels a side in one colour, or in that of the image's corner."""
    sides = (4 + 14 * s)[:, None] * uniform(g, len(x), 2, low=0.75, high=1.25)
    centre = uniform(g, len(x), 2, low=6, high=SIDE - 6)
    place = torch.arange(SIDE) + 0.5
    inside = (place - centre[:, :, None]).abs() < sides[:, :, None] / 2
    colour = torch.where(uniform(g, len(x), 1) < 0.5, uniform(g, len(x), 3, high=255.0), x[:, :, 0, 0])
    return torch.where((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], colour[:, :, None, None], x)


def flat(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """Contrast lowered to as little as 0.2 or raised to 2.5, brightness changed by up to 60 levels."""
    lower = uniform(g, len(x)) < 0.6
    gain = torch.where(lower, 1 - 0.8 * s, 1 + 1.5 * s).view(-1, 1, 1, 1)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * gain + (s * uniform(g, len(x), low=-60, high=60)).view(-1, 1, 1, 1)


def cast(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """A colour cast: channels moved apart by up to 120 levels."""
    way = torch.randn(len(x), 3, generator=g)
    way = F.normalize(way - way.mean(1, keepdim=True), dim=1)
    return x + (way * (8 + 112 * s)[:, None])[:, :, None, None]


def blended(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """With 8 to 50% of another image."""
    share = (0.08 + 0.42 * s).view(-1, 1, 1, 1)
    return x + (other - x) * share


def warped(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """Pixels moved by a smooth random field, 0.4 to 2.4 of them."""
    field = torch.randn(len(x), 2, 6, 6, generator=g) * ((0.5 + 2.5 * s) * 2 / SIDE).view(-1, 1, 1, 1)
    field = F.interpolate(field, (SIDE, SIDE), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    still = F.affine_grid(torch.eye(2, 3).expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, still + field, "bicubic", "border", align_corners=False)


def chequered(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """A pattern of 2 or 4 pixels' period, as transposed convolutions leave it, of 4 to 44 levels."""
    place = torch.arange(SIDE)
    period = torch.where(uniform(g, len(x), 1) < 0.5, 1, 2)
    stripes = (place // period % 2 * 2 - 1).float()
    across, down = stripes[:, None, :], stripes[:, :, None]
    kind = torch.randint(3, (len(x), 1, 1), generator=g)
    pattern = torch.where(kind == 0, across * down, torch.where(kind == 1, across, down).expand(-1, SIDE, SIDE))
    tint = 1 + 0.5 * uniform(g, len(x), 3, 1, 1, low=-1)
    return x + pattern[:, None] * tint * (4 + 40 * s).view(-1, 1, 1, 1)


def shuffled(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """Some cells of 8x8, up to half of them, show what another cell shows."""
    cells = x.reshape(-1, 3, 4, 8, 4, 8).permute(0, 2, 4, 1, 3, 5).reshape(len(x), 16, 3, 8, 8)
    source = torch.arange(16).expand(len(x), 16)
    there = torch.randint(16, (len(x), 16), generator=g)
    rank = uniform(g, len(x), 16).argsort(1).argsort(1)
    source = torch.where(rank < (8 * s).ceil()[:, None], there, source)
    cells = cells.gather(1, source[:, :, None, None, None].expand_as(cells))
    return cells.reshape(-1, 4, 4, 3, 8, 8).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


DAMAGES: tuple[Damage, ...] = (blurred, noisy, coarse, cut, flat, cast, blended, warped, chequered, shuffled)
CHANGES_COLOUR = torch.tensor([damage in (flat, cast, blended) for damage in DAMAGES])
BLENDED = DAMAGES.index(blended)


def damaged(shown: LabelledImages, g: torch.Generator) -> tuple[LabelledImages, Tensor, Tensor]:
    """Half of the images damaged: the images, the kind of damage [N] (UNKNOWN: none), strengths [N, kinds]."""
    count, kinds = len(shown), len(DAMAGES)
    kind = torch.randint(2 * kinds, (count,), generator=g)
    kind = torch.where(kind < kinds, kind, UNKNOWN)
    strength = uniform(g, count).clamp(min=0.02)
    images = shown.images.clone()
    others = shown.images[torch.randperm(count, generator=g)]
    for index, damage in enumerate(DAMAGES):
        mine = kind == index
        if mine.any():
            images[mine] = damage(shown.images[mine], strength[mine], others[mine], g)
    images = images.clamp(0, 255).round()
    discoloured = (kind >= 0) & CHANGES_COLOUR[kind]
    hue = torch.where(discoloured, UNKNOWN, shown.hue)
    colours = torch.where(discoloured[:, None], math.nan, shown.colours)
    strengths = F.one_hot(kind.clamp(min=0), kinds) * torch.where(kind >= 0, strength, 0.0)[:, None]
    return replace(shown, images=images, hue=hue, colours=colours), kind, strengths
