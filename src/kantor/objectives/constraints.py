"""What keeps a critic in bounds, other than a penalty: drift, clipped weights, clipped gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kantor.objectives.losses import at_least_float32


@dataclass(frozen=True)
class Drift:
    """weight x score^2, part of the critic's loss: (real scores [N], fake scores [N]) -> [N].

    Attributes:
        of: "mean-real" takes real scores (Karras et al. 2018, app. A.1), "mean-both" the mean of real and fake ones'
            squares; "half-sum-real" is half the batch's sum in the place of its mean, a quirk (docs/quirks.md).
    """

    weight: float
    of: Literal["mean-real", "mean-both", "half-sum-real"] = "mean-real"

    def __call__(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        squares = at_least_float32(real_scores).square()
        if self.of == "mean-both":
            squares = (squares + at_least_float32(fake_scores).square()) / 2
        return self.weight * squares * (len(squares) / 2 if self.of == "half-sum-real" else 1.0)


@dataclass(frozen=True)
class WeightClipping:
    """Clamps tensors to [-bound, bound] in place.

    To be called with all of the critic's parameters after each of its steps, as in algorithm 1 of Arjovsky et al.
    2017. Their code clamps before the step, so that its generator meets weights one step out of bounds.

    Attributes:
        scope: "kernels" leaves all but the weights of convolutions, tensors of four dimensions, as they are.
        when: "after" a critic step, or "before" it.
    """

    bound: float
    scope: Literal["all", "kernels"] = "all"
    when: Literal["after", "before"] = "after"

    @torch.no_grad()
    def __call__(self, parameters: Sequence[Tensor]) -> None:
        tensors = [p for p in parameters if self.scope == "all" or p.ndim == 4]
        torch._foreach_clamp_min_(tensors, -self.bound)
        torch._foreach_clamp_max_(tensors, self.bound)


@dataclass(frozen=True)
class GradientClipping:
    """Scales gradients in place so that the norm of them all together is at most `bound`.

    It bounds steps, not slopes: no constraint of a Wasserstein critic, but what published code has in its place
    (docs/quirks.md).
    """

    bound: float

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor]) -> None:
        tensors = list(gradients)
        factor = (self.bound / torch.nn.utils.get_total_norm(tensors)).clamp(max=1.0)  # stays on the device
        torch._foreach_mul_(tensors, factor)
