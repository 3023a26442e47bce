"""A guided generator that paints what it is asked for, without training: a square of a colour, at a place, of an extent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kantor.controls import CONTROLS, ROWS, Guide
from kantor.types import ImageSpec, Traits

SPEC = ImageSpec(32, 32, 3)


def table() -> Tensor:
    """Controls [ROWS, 6] of small squares: red goes with x, so that they depend on each other."""
    random = torch.rand(ROWS, 6, generator=torch.Generator().manual_seed(4))
    low, high = torch.tensor([0.0, 0, 0, 0.3, 0.3, 0.2]), torch.tensor([0.6, 0.6, 0.6, 0.7, 0.7, 0.5])
    values = low + random * (high - low)
    values[:, 0] = 1.5 * (values[:, 3] - 0.3)
    return values


class Painter(nn.Module):
    """(z [N, D + 6], labels) -> [N, 3, 32, 32]: squares as asked; `deaf` paints as one fixed latent asks."""

    traits = Traits(mixes_batch=False)

    def __init__(self, deaf: bool = False) -> None:
        super().__init__()
        self.deaf, self.scale = deaf, nn.Parameter(torch.ones(()))
        self.guide = Guide(CONTROLS, 3, False)
        self.guide.table.copy_(table())

    def forward(self, z: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        mean, std = self.guide.table.mean(dim=0), self.guide.table.std(dim=0)
        scaled = z[:, :6] if self.deaf else z[:, -6:]
        wanted = scaled * std + mean
        at = (torch.arange(32) + 0.5) / 32
        colour, x, y, half = wanted[:, :3], wanted[:, 3], wanted[:, 4], wanted[:, 5] / 2
        inside = [(32 * (half[:, None] - (at - c[:, None]).abs()) + 0.5).clamp(0, 1) for c in (x, y)]
        mask = (inside[1][:, :, None] * inside[0][:, None, :])[:, None]
        return self.scale * (2 * (mask * colour[:, :, None, None] + (1 - mask)) - 1)
