"""Losses: (real scores [N], fake scores [N]) -> [N], to be minimised; the step takes the mean.

Scores are the critic's outputs, without a sigmoid. Results are at least float32: bfloat16 scores are widened first, so
that no sum is rounded to 8 bits. Generator losses ignore the real scores, except the relativistic one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

Loss = Callable[[Tensor, Tensor], Tensor]


def at_least_float32(x: Tensor) -> Tensor:
    """`x` as float32 if it is narrower; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """fake - real (Arjovsky et al. 2017, eq. 2, negated). Minus its mean estimates the distance."""
    return at_least_float32(fake) - at_least_float32(real)


def wasserstein_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-fake (Arjovsky et al. 2017, algorithm 1). The same in the hinge GAN."""
    return -at_least_float32(fake)


def non_saturating_critic(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(-real) + softplus(fake) = -log D(x) - log(1 - D(G(z))), D = sigmoid(score).

    Goodfellow et al. 2014, eq. 1, negated.
    """
    return softplus(-at_least_float32(real)) + softplus(at_least_float32(fake))


def non_saturating_generator(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(-fake) = -log D(G(z)) (Goodfellow et al. 2014, end of section 3)."""
    return softplus(-at_least_float32(fake))


def least_squares_critic(real: Tensor, fake: Tensor) -> Tensor:
    """1/2 (real - b)^2 + 1/2 (fake - a)^2 with a = 0, b = 1 (Mao et al. 2017, eq. 2)."""
    return 0.5 * (at_least_float32(real) - 1).square() + 0.5 * at_least_float32(fake).square()


def least_squares_generator(real: Tensor, fake: Tensor) -> Tensor:
    """1/2 (fake - c)^2 with c = 1 (Mao et al. 2017, eq. 2)."""
    return 0.5 * (at_least_float32(fake) - 1).square()


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - real) + max(0, 1 + fake) (Lim and Ye 2017), used with `wasserstein_generator`."""
    return (1 - at_least_float32(real)).relu() + (1 + at_least_float32(fake)).relu()


def relativistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(-(real - fake)), which compares the i-th real with the i-th fake score.

    Jolicoeur-Martineau 2019 (RSGAN); with R1 and R2: R3GAN (Huang et al. 2024).
    """
    return softplus(at_least_float32(fake) - at_least_float32(real))


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(-(fake - real)): the critic's loss with the roles exchanged (same sources)."""
    return relativistic_critic(fake, real)
