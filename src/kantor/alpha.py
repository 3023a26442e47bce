"""Straight and premultiplied alpha. Files and metrics have straight colours; networks may see and paint premultiplied ones.

A network that has to paint straight colours learns what no one sees: colours behind transparency, and a hard edge to them.
Premultiplied (Porter and Duff 1984), here around mid-grey, a transparent pixel is 0 in all colours, and an edge is smooth.
"""

from __future__ import annotations

import torch
from torch import Tensor

HALF_A_LEVEL = 0.5 / 255


def premultiplied(images: Tensor) -> Tensor:
    """Scales the colours of RGBA images [N, 4, H, W] in [-1, 1] by alpha, so that transparent pixels become mid-grey (0)."""
    colours, alpha = images[:, :3], images[:, 3:]
    return torch.cat([colours * ((alpha + 1) / 2), alpha], dim=1)


def straight(images: Tensor) -> Tensor:
    """The inverse of `premultiplied`, with colours clamped to [-1, 1]; white where alpha rounds to 0 of 255."""
    opacity = (images[:, 3:].clamp(-1, 1) + 1) / 2
    colours = (images[:, :3] / opacity.clamp(min=HALF_A_LEVEL)).clamp(-1, 1)
    return torch.cat([torch.where(opacity < HALF_A_LEVEL, 1.0, colours), images[:, 3:]], dim=1)
