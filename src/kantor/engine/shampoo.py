"""One-sided Shampoo: an Adam that knows how the rows, or columns, of a layer's weights move together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from kantor.engine.elementwise import Adam, Optimizer, gradient_of

MIN_SIDE = 8  # rows and columns of a matrix that has a covariance
# Of eigenvalues s^2 of a covariance, s becomes a s + b s^3 + c s^5, five times: those above 0.003 of the norm end between 0.7 and 1.2
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


class Shampoo(Optimizer):
    """Divides the gradient of each matrix by the square root of a running mean of its covariance.

    Shampoo (Gupta et al. 2018) with a preconditioner on one side alone and the root -1/2, as in ASGO (An et al. 2025): the step along a
    gradient G is about C^(-1/2) G, where C is the mean of G G' (or, where columns are fewer than rows, G C^(-1/2) and G' G).
    With betas = (0, 0) it is Muon (Jordan et al. 2024) without momentum. The root is that of Muon's quintic iteration, on C.

    The weights of a layer, [A, B, ...], are a matrix of A rows. Without momentum, steps have a root mean square of about `lr`, as Adam's.
    Embeddings, biases and weights with fewer than 8 rows or columns take Adam's steps. As with RMSprop and fused
    optimizers, a step with found_inf = 1 changes nothing.

    Args:
        parameters: to change.
        embeddings: those of them that take Adam's steps whatever their shape.
        lr: float32 [].
        betas: decay of the means of gradients and of their covariances, and of Adam's moments.
        eps: of Adam; its square is the least norm that a covariance is divided by.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        embeddings: Sequence[Tensor],
        lr: Tensor,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        super().__init__(parameters, lr)
        self.betas, self.eps = betas, eps
        excluded = {id(p) for p in embeddings}
        self._matrices = [p for p in parameters if is_matrix(p) and id(p) not in excluded]
        ours = {id(p) for p in self._matrices}
        others = [p for p in parameters if id(p) not in ours]
        for parameter in self._matrices:
            side = min(as_matrix(parameter).shape)
            state = self.state[parameter]
            state["covariance"] = parameter.new_zeros(side, side)
            state["step"] = torch.zeros_like(lr)
            if betas[0]:
                state["mean"] = torch.zeros_like(parameter)
        self._adam = Adam(others, lr, betas, eps) if others else None
        if self._adam is not None:
            self._adam.state = self.state  # one state to store

    @torch.no_grad()
    def step(self) -> None:
        if self._matrices:
            self._step_matrices()
        if self._adam is not None:
            self._adam.found_inf = self.found_inf
            self._adam.step()

    def _step_matrices(self) -> None:
        momentum, decay = self.betas
        taken = 1 - self.found_inf  # 0 in a step that changes nothing
        steps = [self.state[p]["step"] for p in self._matrices]
        torch._foreach_add_(steps, [taken] * len(steps))  # a lone tensor would be read by the host
        count = steps[0].clamp(min=1)  # of all
        share = taken * (1 - decay) / (1 - decay**count)  # of the new one in a mean that needs no correction
        share_of_gradient = taken * (1 - momentum) / (1 - momentum**count)
        for parameter in self._matrices:
            state, dtype = self.state[parameter], parameter.dtype
            gradient = direction = as_matrix(torch.where(self.found_inf > 0, 0.0, gradient_of(parameter)))
            if momentum:
                direction = as_matrix(state["mean"]).lerp_(gradient, share_of_gradient.to(dtype))
            tall = len(gradient) > gradient.shape[1]
            new = gradient.T @ gradient if tall else gradient @ gradient.T
            covariance = state["covariance"].lerp_(new, share.to(dtype))
            root = inverse_root(covariance, self.eps).mul_(-self.lr * taken * math.sqrt(max(gradient.shape)))
            as_matrix(parameter).addmm_(*((direction, root) if tall else (root, direction)))


def is_matrix(parameter: Tensor) -> bool:
    """Whether weights of this shape have a covariance."""
    return parameter.ndim >= 2 and min(len(parameter), parameter[0].numel()) >= MIN_SIDE


def as_matrix(weights: Tensor) -> Tensor:
    """The same memory as [outputs, all others], in the order in which they lie there."""
    by_stride = sorted(range(1, weights.ndim), key=weights.stride, reverse=True)
    return weights.permute(0, *by_stride).view(len(weights), -1)


def inverse_root(covariance: Tensor, eps: float = 1e-8) -> Tensor:
    """About C^(-1/2) of a symmetric matrix [M, M] without negative eigenvalues, by Muon's quintic iteration on Gram matrices.

    Args:
        eps: C is divided by its Frobenius norm, or by eps^2 if that is larger; at least by the least normal number.

    Returns:
        A matrix R with the eigenvectors of C. R C R has eigenvalues of 0.45 to 1.45 where those of C are above 1e-5 of its Frobenius
        norm; below, R does not exceed 500 over the root of the norm.
    """
    norm = torch.linalg.vector_norm(covariance).clamp(min=max(eps**2, torch.finfo(covariance.dtype).tiny))
    gram = covariance / norm
    a, b, c = _QUINTIC
    root: Tensor = gram
    for done in range(1, _ROUNDS + 1):
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        root = polynomial @ root if done > 1 else polynomial
        if done < _ROUNDS:
            gram = polynomial @ gram @ polynomial
    scaled: Tensor = root * norm.rsqrt()
    return scaled
