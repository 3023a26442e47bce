"""Enlarges an image of any size with a network that has learned to, tile by tile where it is large."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from kantor.alpha import premultiplied, straight
from kantor.sample.generate import to_uint8
from kantor.types import Images

TILE = 192
"""Side of the tiles that large images are enlarged in, in their own pixels, without what they overlap."""


class Enlarger(Protocol):
    """What `kantor.nets.upscale.Generator` offers."""

    times: int
    reach: int
    premultiplied: bool

    def enlarged(self, small: Tensor) -> Tensor: ...
    def parameters(self) -> Iterator[torch.nn.Parameter]: ...


@torch.inference_mode()
def enlarge(network: Enlarger, channels: int, image: Images, passes: int = 1, tile: int = TILE) -> Images:
    """An image enlarged `passes` times by network.times: uint8 [H, W, C] -> [H', W', C], C of 1, 3 or 4.

    Tiles overlap by as much as the network can see, so that none shows in the result.

    Args:
        network: in evaluation mode.
        channels: of the images that it was trained on. Others work too: colours by a grey network one by one, grey by a
            network of colours as equal ones, and transparency that the network does not know as if it were grey.
    """
    height, width, depth = image.shape
    factor = network.times**passes
    margin = sum(-(-network.reach // network.times**i) for i in range(passes))
    result = np.empty((height * factor, width * factor, depth), np.uint8)
    for rows in _spans(height, tile, margin):
        for columns in _spans(width, tile, margin):
            part = np.ascontiguousarray(image[rows.seen, columns.seen])
            larger = _enlarged(network, channels, part, passes)
            inner = larger[rows.within(factor), columns.within(factor)]
            result[rows.scaled(factor), columns.scaled(factor)] = inner
    return result


class _Span(NamedTuple):
    """Rows or columns of a tile: those that are `kept`, and those `seen` by the network, from `first` on."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def seen(self) -> slice:
        return slice(self.first, self.last)

    def scaled(self, factor: int) -> slice:
        return slice(self.start * factor, self.stop * factor)

    def within(self, factor: int) -> slice:
        return slice((self.start - self.first) * factor, (self.stop - self.first) * factor)


def _spans(side: int, tile: int, margin: int) -> Iterator[_Span]:
    for start in range(0, side, tile):
        stop = min(start + tile, side)
        yield _Span(start, stop, max(0, start - margin), min(side, stop + margin))


def _enlarged(network: Enlarger, channels: int, image: Images, passes: int) -> Images:
    """One tile, [H, W, C] -> [H', W', C]."""
    device = next(network.parameters()).device
    x = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].to(torch.float32) / 127.5 - 1
    depth = x.shape[1]
    scaled_by_alpha = depth == 4 and (network.premultiplied or channels != 4)
    if scaled_by_alpha:
        x = premultiplied(x)
    x = _as_known(x, channels)
    for _ in range(passes):
        x = network.enlarged(x).to(torch.float32).clamp(-1, 1)
    x = _as_given(x, channels, depth)
    larger: Images = to_uint8(straight(x) if scaled_by_alpha else x)[0]
    return larger


def _as_known(x: Tensor, channels: int) -> Tensor:
    """An image [1, C, H, W] as one or more of the channels that the network knows, [N, channels, H, W]."""
    if channels == 1:
        return x.transpose(0, 1)
    colours = x[:, :3] if x.shape[1] > 1 else x.expand(-1, 3, -1, -1)
    if channels == 4:
        return x if x.shape[1] == 4 else torch.cat([colours, torch.ones_like(x[:, :1])], dim=1)
    return torch.cat([colours, x[:, 3:].expand(-1, 3, -1, -1)]) if x.shape[1] == 4 else colours


def _as_given(x: Tensor, channels: int, depth: int) -> Tensor:
    """The inverse of `_as_known`, [N, channels, H, W] -> [1, depth, H, W]."""
    if channels == 1:
        return x.transpose(0, 1)
    if depth == 1:
        return x[:1, :3].mean(1, keepdim=True)
    if depth == 4 and channels == 3:
        return torch.cat([x[:1], x[1:].mean(1, keepdim=True)], dim=1)
    return x[:, :depth]
