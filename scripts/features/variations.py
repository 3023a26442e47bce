"""Random variations of images that change neither letter nor digit nor garment: position, colours, grey."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from kantor.data.sources.glyphs import HUES
from scripts.features.images import UNKNOWN, LabelledImages

PALETTE = tuple(HUES.values())


def uniform(g: torch.Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.rand(shape, generator=g) * (high - low) + low


def moved(x: Tensor, g: torch.Generator) -> Tensor:
    """float [N, C, 32, 32], slightly turned, scaled and shifted; black comes in at the borders."""
    count = len(x)
    turn, size = uniform(g, count, low=-0.15, high=0.15), uniform(g, count, low=0.9, high=1.25)
    shift = uniform(g, count, 2, low=-0.1, high=0.1)
    cos, sin = turn.cos() * size, turn.sin() * size
    affine = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(affine, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, "bicubic", "zeros", align_corners=False).clamp(0, 255)


def hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """[N] each in [0, 1] -> RGB [N, 3] in [0, 1]."""
    k = (hue[:, None] * 6 + torch.tensor([5.0, 3.0, 1.0])) % 6
    return value[:, None] * (1 - saturation[:, None] * torch.minimum(k, 4 - k).clamp(0, 1))


def tinted(grey: LabelledImages, g: torch.Generator) -> LabelledImages:
    """Grey images, 1 channel -> 3: 45% as they are, 15% inverted, 40% between two colours."""
    count = len(grey)
    luma = torch.tensor([0.299, 0.587, 0.114])
    which = uniform(g, count)
    name = torch.randint(len(PALETTE), (count,), generator=g)
    angle = (torch.tensor(PALETTE)[name] + uniform(g, count, low=-4, high=4)) / 360 % 1
    ink = hsv(angle, uniform(g, count, low=0.65), uniform(g, count, low=0.6))
    paper = hsv(uniform(g, count), uniform(g, count, low=0.0, high=0.6), uniform(g, count).sqrt())
    close = ((ink - paper) @ luma).abs() < 0.25
    paper[close] = (((ink @ luma) < 0.5).float()[:, None] * torch.ones(3))[close]
    tint, inverted = which < 0.4, (which >= 0.4) & (which < 0.55)
    white, black = torch.ones(count, 3), torch.zeros(count, 3)
    ink = torch.where(tint[:, None], ink, torch.where(inverted[:, None], black, white))
    paper = torch.where(tint[:, None], paper, torch.where(inverted[:, None], white, black))
    cover = grey.images.float() / 255
    images = 255 * (paper[:, :, None, None] + (ink - paper)[:, :, None, None] * cover)
    colours = torch.cat([ink, paper, torch.zeros(count, 6)], 1)
    return replace(grey, images=images, hue=torch.where(tint, name, UNKNOWN), colours=colours)


def greyed(shown: LabelledImages, g: torch.Generator, share: float = 0.15) -> LabelledImages:
    """Some coloured images without their colours."""
    some = uniform(g, len(shown)) < share
    x = shown.images.float()
    luma = torch.tensor([0.299, 0.587, 0.114])
    x = torch.where(some[:, None, None, None], (x * luma.view(1, 3, 1, 1)).sum(1, keepdim=True), x)
    grey = (shown.colours.unflatten(1, (4, 3)) @ luma).repeat_interleave(3, 1)
    colours = torch.where(some[:, None], grey, shown.colours)
    hue = torch.where(some, UNKNOWN, shown.hue)
    return replace(shown, images=x, hue=hue, colours=colours)
