"""Muon: steps along orthogonalised gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

MIN_SIDE = 8  # rows and columns of a matrix that is orthogonalised: fewer are images' channels or scores
# Singular values s of a matrix become a s + b s^3 + c s^5, five times: those above 0.003 end between 0.7 and 1.2
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024): replaces the gradient of each matrix by the nearest semi-orthogonal one.

    Weights of a layer, [outputs, inputs, ...], are a matrix of `outputs` rows. Its step has a root mean square of about `lr`,
    which is that of Adam's steps. Embeddings, biases and matrices with fewer than 8 rows or columns, such as the layers next to
    images and scores, take Adam's steps. As RMSprop and fused optimizers, a step with found_inf = 1 changes nothing.

    Args:
        network: whose trained parameters to change.
        lr: float32 [].
        betas: decay of the gradients' mean (0: none is kept), and of Adam's second moment.
        eps: of Adam.
    """

    found_inf: Tensor

    def __init__(
        self, network: nn.Module, lr: Tensor, betas: tuple[float, float], eps: float, capturable: bool
    ) -> None:
        parameters = [p for p in network.parameters() if p.requires_grad]
        super().__init__(parameters, {"lr": lr, "momentum": betas[0]})
        embeddings = {id(layer.weight) for layer in network.modules() if isinstance(layer, nn.Embedding)}
        self._matrices = [p for p in parameters if id(p) not in embeddings and is_matrix(p)]
        ours = {id(p) for p in self._matrices}
        others = [p for p in parameters if id(p) not in ours]
        self._adam: torch.optim.Adam | None = None
        if others:
            self._adam = torch.optim.Adam(others, lr, betas, eps, fused=True, capturable=capturable)
            self._adam.state = self.state  # which is read and written by name, whoever keeps it

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        (group,) = self.param_groups
        lr, momentum = group["lr"], group["momentum"]
        keep = self.found_inf > 0
        for parameter in self._matrices:
            gradient = as_matrix(parameter.grad)
            if momentum:
                state = self.state[parameter]
                if not state:
                    state["mean"] = torch.zeros_like(parameter)
                mean = as_matrix(state["mean"])
                mean.copy_(torch.where(keep, mean, mean.lerp(gradient, 1 - momentum)))
                gradient = mean
            change = orthogonalised(gradient).mul_(-lr * math.sqrt(max(gradient.shape)))
            as_matrix(parameter).add_(torch.where(keep, 0.0, change))
        if self._adam is not None:
            self._adam.found_inf = self.found_inf
            self._adam.step()


def is_matrix(parameter: Tensor) -> bool:
    """Whether Muon orthogonalises a layer's weights of this shape."""
    return parameter.ndim >= 2 and min(len(parameter), parameter[0].numel()) >= MIN_SIDE


def as_matrix(weights: Tensor) -> Tensor:
    """The same memory as [outputs, all others], in the order in which they lie there."""
    by_stride = sorted(range(1, weights.ndim), key=weights.stride, reverse=True)
    return weights.permute(0, *by_stride).view(len(weights), -1)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U V' of the singular value decomposition U S V' of a matrix [M, N]: quintic Newton-Schulz iteration.

    The iteration runs on the smaller Gram matrix, which commutes with its polynomials: two products with all of the matrix in place
    of ten.

    Returns:
        The same shape and type; singular values above 0.003 of the Frobenius norm become 0.7 to 1.2.
    """
    wide = matrix.T if len(matrix) > matrix[0].numel() else matrix
    wide = wide / (torch.linalg.vector_norm(wide) + 1e-30)
    a, b, c = _QUINTIC
    gram = wide @ wide.T
    identity = torch.eye(len(wide), dtype=gram.dtype, device=gram.device)
    product = identity
    for done in range(1, _ROUNDS + 1):
        polynomial = torch.addmm(a * identity + b * gram, gram, gram, alpha=c)
        product = polynomial @ product
        if done < _ROUNDS:
            gram = polynomial @ gram @ polynomial
    result = product @ wide
    return result.T if len(matrix) > matrix[0].numel() else result
