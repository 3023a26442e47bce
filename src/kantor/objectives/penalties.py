"""Penalties on the gradient of a score with respect to its image: where it is taken, and what is computed from it.

A penalty is one number per sample: the gradient is flattened over channels, height and width first, so that a norm never
runs over a single axis, nor over the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kantor.config.objective import FakeProbe, InterpolatesProbe, PerturbedProbe, RealProbe
from kantor.objectives.losses import at_least_float32

# --- where --------------------------------------------------------------------------------------------------

Probe = RealProbe | FakeProbe | InterpolatesProbe | PerturbedProbe


def points(at: Probe, real: Tensor, fake: Tensor, uniform: Tensor, noise: Tensor | None = None) -> Tensor:
    """Where the gradient is taken, to be scored after `.detach().requires_grad_()`.

    The real and the generated images are those of R1 and R2 (Mescheder et al. 2018, eqs. 9 and 10).

    Interpolates are u real + (1 - u) fake, one u for each sample (Gulrajani et al. 2017, algorithm 1). Quirks of
    published code, for comparison (docs/quirks.md): u is N(0, 1), so that a point may lie beyond either end; one u for
    the whole batch; the real images negated, (1 - u) fake - u real.

    Perturbed points are real + u std s noise, with s the standard deviation of all values of the batch and one u for each
    sample. This follows the authors' code (github.com/kodalinaveen3/DRAGAN): a point on the line from the image to
    image + 0.5 s U(0, 1). Kodali et al. 2017 write normal noise N(0, c I), with a c for one scale of pixels; relative to
    s it means the same for every dataset. As in that code, the noise only brightens, and points may leave [-1, 1].

    Args:
        real, fake: [N, C, H, W].
        uniform: [N] in [0, 1), one number for each sample.
        noise: [N, C, H, W] in [0, 1), for perturbed points.
    Returns:
        [N, C, H, W].
    """
    if at.kind == "real":
        return real
    if at.kind == "fake":
        return fake
    if at.kind == "perturbed":
        if noise is None:
            raise ValueError("perturbed points need noise [N, C, H, W] in [0, 1)")
        return real + _per_sample(uniform, real) * (at.std * real.std(correction=0)) * noise
    if at.alpha == "normal":  # the inverse of the normal distribution, which is infinite at 0 and 1
        uniform = math.sqrt(2) * torch.erfinv((2 * uniform - 1).clamp(-1 + 1e-7, 1 - 1e-7))
    elif at.alpha == "batch":
        uniform = uniform[:1].expand_as(uniform)
    return torch.lerp(fake.to(real.dtype), -real if at.sign == "minus" else real, _per_sample(uniform, real))


def _per_sample(numbers: Tensor, like: Tensor) -> Tensor:
    """[N] -> [N, 1, 1, 1]. Refuses another length, which could broadcast one number silently to the whole batch."""
    if numbers.shape != like.shape[:1]:
        raise ValueError(f"expected one number per sample, [{len(like)}], got {list(numbers.shape)}")
    return numbers.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


# --- what ---------------------------------------------------------------------------------------------------


def input_gradient(scores: Tensor, points: Tensor) -> Tensor:
    """The gradient of each score with respect to its own point, differentiable again.

    Args:
        scores: [N], computed from `points`; score i must depend only on point i.
        points: [N, C, H, W] that require grad.
    Returns:
        [N, C, H, W].
    """
    grad: Tensor = torch.autograd.grad(scores.sum(), points, create_graph=True)[0]
    return grad


def gradient_norm(grad: Tensor) -> Tensor:
    """Euclidean norm of each sample's gradient: [N, C, H, W] -> [N], at least float32.

    Its derivative at norm 0 is 0; that of sqrt(sum of squares) would be NaN.
    """
    norm: Tensor = torch.linalg.vector_norm(at_least_float32(grad.flatten(1)), dim=1)
    return norm


def two_sided(grad: Tensor, target: float = 1.0) -> Tensor:
    """(norm - target)^2: [N, C, H, W] -> [N] (Gulrajani et al. 2017, eq. 3, where the target is 1)."""
    return (gradient_norm(grad) - target).square()


def one_sided(grad: Tensor, target: float = 1.0) -> Tensor:
    """max(0, norm - target)^2: [N, C, H, W] -> [N] (Petzka et al. 2018, where the target is 1)."""
    return (gradient_norm(grad) - target).relu().square()


def zero_centred(grad: Tensor) -> Tensor:
    """norm^2: [N, C, H, W] -> [N] (Mescheder et al. 2018, eqs. 9 and 10, without their gamma / 2)."""
    return at_least_float32(grad.flatten(1)).square().sum(1)


def by_columns(grad: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean of `of` over the gradients of all columns of all channels: [N, C, H, W] -> [N].

    This is what published code computes that takes the norm over one axis (docs/quirks.md); it does not bound the
    critic's slope.
    """
    columns = grad.transpose(2, 3).flatten(0, 2)
    return of(columns).view(len(grad), -1).mean(1)


@dataclass(frozen=True)
class GradientPenalty:
    """A term of the critic's loss.

    Attributes:
        at: where the gradient is taken.
        of: input gradients [N, C, H, W] -> penalty [N].
        weight: weight of the penalty's mean in the loss, averaged over steps.
        every: applied lazily, at every k-th critic step at k times the weight (Karras et al. 2020, sec. 3.1).
        share: of each batch, on whose first images the penalty is computed: unbiased, noisier and cheaper.
    """

    at: Probe
    of: Callable[[Tensor], Tensor]
    weight: float
    every: int = 1
    share: float = 1.0

    @property
    def batch(self) -> Literal["real", "fake"] | None:
        """The batch that the points are; None for points of their own."""
        return self.at.kind if isinstance(self.at, RealProbe | FakeProbe) else None

    @property
    def reuses_scores(self) -> bool:
        """Whether the points are a whole batch, which is scored anyway."""
        return self.batch is not None and self.share == 1

    def images(self, count: int) -> int:
        """How many of a batch of `count` images the penalty is computed on."""
        return max(1, round(self.share * count))

    def due(self, critic_step: int) -> bool:
        """Whether the penalty is applied at this critic step, counted from 0; at step 0 it is."""
        return critic_step % self.every == 0
