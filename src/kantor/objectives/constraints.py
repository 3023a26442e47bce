"""Constraints on the critic other than penalties: drift, weight clipping, gradient clipping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kantor.objectives.losses import at_least_float32


@dataclass(frozen=True)
class Drift:
    """weight x score^2, a term of the critic's loss: (real scores [N], fake scores [N]) -> [N].

    Attributes:
        of: "mean-real" takes the real scores (Karras et al. 2018, app. A.1), "mean-both" the mean square of real and fake
            scores, "half-sum-real" half the sum over the batch instead of its mean, a quirk (docs/quirks.md).
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

    Called with all of the critic's parameters after each of its steps, as in algorithm 1 of Arjovsky et al. 2017. Their
    code clamps before the step, so that the generator sees weights one step out of bounds.

    Attributes:
        scope: "kernels" clamps only the weights of convolutions, which have four dimensions.
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
    """Scales gradients in place so that their total norm is at most `bound`.

    This bounds steps, not slopes: it does not constrain a Wasserstein critic, but published code uses it instead
    (docs/quirks.md).
    """

    bound: float

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor]) -> None:
        tensors = list(gradients)
        factor = (self.bound / torch.nn.utils.get_total_norm(tensors)).clamp(max=1.0)  # stays on the device
        torch._foreach_mul_(tensors, factor)
