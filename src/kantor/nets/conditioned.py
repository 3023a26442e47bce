"""A critic that sees the condition beside the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kantor.types import Traits


class Conditioned(nn.Module):
    """Any critic, built for as many channels as image and condition have together.

    (x [N, C, H, W], labels [N] or None, condition [N, K, H, W]) -> [N]: the score of the pair.

    A gradient penalty is taken with respect to x alone: the critic is to be smooth in the image, and may be as steep as
    it likes in the condition, which is the same for real and generated images.
    """

    def __init__(self, network: nn.Module, traits: Traits) -> None:
        super().__init__()
        self.network, self.traits = network, traits

    def fade_in(self, images_seen: int) -> None:
        """As `nets.fade`, for one that grew."""
        fade_in = getattr(self.network, "fade_in", None)
        if fade_in is not None:
            fade_in(images_seen)

    def forward(self, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        if condition is None:
            raise ValueError("this critic looks at a condition beside the image")
        score: Tensor = self.network(torch.cat([x, condition.to(x.dtype)], dim=1), labels)
        return score
