"""One-sided Shampoo: Adam with a covariance between the rows of a layer's weights in place of a variance for each weight."""

from __future__ import annotations

import math
from typing import Any, cast

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
        if self._matrices:
            self._step_matrices(group["lr"], *group["betas"])
        if self._adam is not None:
            cast(Any, self._adam).found_inf = self.found_inf
            self._adam.step()

    def _step_matrices(self, lr: Tensor, momentum: float, decay: float) -> None:
        steps, taken = self._steps(), 1 - self.found_inf  # 0 in a step that changes nothing
        steps += taken
        steps_or_one = steps.clamp(min=1)
        share = taken * (1 - decay) / (1 - decay**steps_or_one)  # of the new one in a mean that needs no correction
        share_of_gradient = taken * (1 - momentum) / (1 - momentum**steps_or_one)
        rate = -lr * taken
        for parameter in self._matrices:
            state = self.state[parameter]
            gradient = direction = as_matrix(torch.where(self.found_inf > 0, 0.0, cast(Tensor, parameter.grad)))
            if momentum:
                direction = as_matrix(state["mean"]).lerp_(gradient, share_of_gradient)
            tall = len(gradient) > gradient.shape[1]
            covariance = state["covariance"].lerp_(gradient.T @ gradient if tall else gradient @ gradient.T, share)
            root = inverse_root(covariance).mul_(rate * math.sqrt(max(gradient.shape)))
            as_matrix(parameter).addmm_(*((direction, root) if tall else (root, direction)))

    def _steps(self) -> Tensor:
        """Number of steps taken, float32 []; the first matrix keeps it, and all get their state in the first step."""
        first = self.state[self._matrices[0]]
        if not first:
            for parameter in self._matrices:
                side = min(as_matrix(parameter).shape)
                self.state[parameter]["covariance"] = parameter.new_zeros(side, side)
                if self.param_groups[0]["betas"][0]:
                    self.state[parameter]["mean"] = torch.zeros_like(parameter)
            first["step"] = self._matrices[0].new_zeros(())
        return cast(Tensor, first["step"])


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
    norm = torch.linalg.vector_norm(covariance).clamp(min=1e-30)
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
