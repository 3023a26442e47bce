"""One-sided Shampoo: Adam with a covariance between the rows of a layer's weights in place of a variance for each weight."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

MIN_SIDE = 8  # rows and columns of a matrix: layers next to images and scores have fewer
# Eigenvalues s^2 of a covariance: s becomes a s + b s^3 + c s^5, five times; those above 0.003 of its norm end between 0.7 and 1.2
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


class Shampoo(torch.optim.Optimizer):
    """Divides the gradient of each matrix by the square root of a running mean of its covariance.

    Shampoo (Gupta et al. 2018) with a preconditioner on the smaller side alone and the root -1/2, as in ASGO (An et al. 2025): a step is
    about C^(-1/2) G with C the mean of G G'. With betas[1] = 0 it is Muon (Jordan et al. 2024), with a diagonal C it
    would be Adam. The root is that of Muon's quintic iteration, on the covariance.

    Weights of a layer, [outputs, inputs, ...], are a matrix of `outputs` rows. Steps have a root mean square of about `lr`, as Adam's.
    Embeddings, biases and matrices with fewer than 8 rows or columns, such as those of layers next to images and scores,
    take Adam's steps. As with RMSprop and fused optimizers, a step with found_inf = 1 changes nothing.

    Args:
        network: whose trained parameters to change.
        lr: float32 [].
        betas: decay of the means of gradients and of their covariances, and of Adam's moments.
        eps: of Adam.
        capturable: whether steps may be recorded in a CUDA graph.
    """

    found_inf: Tensor

    def __init__(
        self, network: nn.Module, lr: Tensor, betas: tuple[float, float], eps: float, capturable: bool = False
    ) -> None:
        parameters = [p for p in network.parameters() if p.requires_grad]
        super().__init__(parameters, {"lr": lr, "betas": betas})
        embeddings = {id(layer.weight) for layer in network.modules() if isinstance(layer, nn.Embedding)}
        ours = {id(p) for p in parameters if is_matrix(p)} - embeddings
        self._matrices = [p for p in parameters if id(p) in ours]
        others = [p for p in parameters if id(p) not in ours]
        self._adam: torch.optim.Adam | None = None
        if others:
            self._adam = torch.optim.Adam(others, lr, betas, eps, fused=True, capturable=capturable)
            self._adam.state = self.state  # which is stored and restored as one

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        (group,) = self.param_groups
        lr, (momentum, decay) = group["lr"], group["betas"]
        for parameter in self._matrices:
            gradient, state = as_matrix(torch.where(self.found_inf > 0, 0.0, parameter.grad)), self.state[parameter]
            if not state:
                side = min(gradient.shape)
                state["step"] = torch.zeros_like(lr)
                state["covariance"] = gradient.new_zeros(side, side)
                if momentum:
                    state["mean"] = torch.zeros_like(parameter)
            step, taken = state["step"], 1 - self.found_inf  # 0 in a step that changes nothing
            step += taken
            if momentum:
                mean = as_matrix(state["mean"])
                mean.lerp_(gradient, (1 - momentum) * taken)
                direction = mean / (1 - momentum**step).clamp(min=1e-30)
            else:
                direction = gradient
            tall = len(gradient) > gradient.shape[1]
            covariance = gradient.T @ gradient if tall else gradient @ gradient.T
            state["covariance"].lerp_(covariance, (1 - decay) * taken)
            root = inverse_root(state["covariance"] / (1 - decay**step).clamp(min=1e-30))
            change = direction @ root if tall else root @ direction
            as_matrix(parameter).addcmul_(change, -lr * taken * math.sqrt(max(gradient.shape)))
        if self._adam is not None:
            self._adam.found_inf = self.found_inf
            self._adam.step()


def is_matrix(parameter: Tensor) -> bool:
    """Whether weights of this shape have a covariance."""
    return parameter.ndim >= 2 and min(len(parameter), parameter[0].numel()) >= MIN_SIDE


def as_matrix(weights: Tensor) -> Tensor:
    """The same memory as [outputs, all others], in the order in which they lie there."""
    by_stride = sorted(range(1, weights.ndim), key=weights.stride, reverse=True)
    return weights.permute(0, *by_stride).view(len(weights), -1)


def inverse_root(covariance: Tensor) -> Tensor:
    """About C^(-1/2) of a symmetric matrix [M, M] without negative eigenvalues, by Muon's quintic iteration on Gram matrices.

    Returns:
        A matrix R with the eigenvectors of C. R C R has eigenvalues of 0.45 to 1.45 where those of C are above 1e-5 of its Frobenius
        norm; below, R does not exceed 500 over the root of the norm.
    """
    norm = torch.linalg.matrix_norm(covariance).clamp(min=1e-30)
    gram = covariance / norm
    a, b, c = _QUINTIC
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    root = identity
    for done in range(1, _ROUNDS + 1):
        polynomial = torch.addmm(a * identity + b * gram, gram, gram, alpha=c)
        root = polynomial @ root if done > 1 else polynomial
        if done < _ROUNDS:
            gram = polynomial @ gram @ polynomial
    return root * norm.rsqrt()
