"""Constraints on the critic other than penalties: drift, weight clipping, gradient clipping."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kantor.config.objective import GradientClipping, SquaredDrift, WeightClipping
from kantor.objectives.losses import at_least_float32


def drift(config: SquaredDrift, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """weight x score^2, a term of the critic's loss: (real scores [N], fake scores [N]) -> [N].

    `of` is "mean-real" for the real scores (Karras et al. 2018, app. A.1), "mean-both" for the mean square of real and
    fake scores, or "half-sum-real" for half the sum over the batch instead of its mean, a quirk (docs/quirks.md).
    """
    squares = at_least_float32(real_scores).square()
    if config.of == "mean-both":
        squares = (squares + at_least_float32(fake_scores).square()) / 2
    return config.weight * squares * (len(squares) / 2 if config.of == "half-sum-real" else 1.0)


@torch.no_grad()
def clip_weights(config: WeightClipping, parameters: Sequence[Tensor]) -> None:
    """Clamps the critic's parameters to [-bound, bound] in place; of scope "kernels", only weights of convolutions.

    Algorithm 1 of Arjovsky et al. 2017 does so after each of its steps. Their code clamps before the step, so that the
    generator sees weights one step out of bounds.
    """
    tensors = [p for p in parameters if config.scope == "all" or p.ndim == 4]
    torch._foreach_clamp_min_(tensors, -config.bound)
    torch._foreach_clamp_max_(tensors, config.bound)


@torch.no_grad()
def clip_gradients(config: GradientClipping, gradients: Sequence[Tensor]) -> None:
    """Scales gradients in place so that their total norm is at most `bound`.

    This bounds steps, not slopes: it does not constrain a Wasserstein critic, but published code uses it instead
    (docs/quirks.md).
    """
    tensors = list(gradients)
    factor = (config.bound / torch.nn.utils.get_total_norm(tensors)).clamp(max=1.0)  # stays on the device
    torch._foreach_mul_(tensors, factor)
