"""A critic that sees the image together with its condition."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kantor.types import Traits


class Conditioned(nn.Module):
    """Scores pairs of image and condition with a critic built for the channels of both.

    (x [N, C, H, W], labels [N] or None, condition [N, K, H, W]) -> [N].

    A gradient penalty is taken with respect to x alone: the critic must be smooth in the image, but may be arbitrarily
    steep in the condition, which is the same for real and generated images.
    """

    def __init__(self, network: nn.Module, traits: Traits) -> None:
        super().__init__()
        self.network, self.traits = network, traits

    def fade_in(self, images_seen: int) -> None:
        """Fades in the grown layers of the critic: see `nets.fade`."""
        fade_in = getattr(self.network, "fade_in", None)
        if fade_in is not None:
            fade_in(images_seen)

    def forward(self, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        if condition is None:
            raise ValueError("this critic needs a condition")
        score: Tensor = self.network(torch.cat([x, condition.to(x.dtype)], dim=1), labels)
        return score
