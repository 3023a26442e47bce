"""Optimizers that change each weight by its own gradient: SGD, RMSProp and Adam, on the fused operators of PyTorch where it has them.

They are not torch.optim's, whose first object in a process imports torch's compiler: 70 MB and some seconds
(findings/torch_first_optimizer.sh).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor


class Optimizer:
    """Parameters with their state. A step with found_inf = 1 changes nothing.

    Attributes:
        lr: learning rate, float32 [].
        state: by parameter, tensors by name.
    """

    found_inf: Tensor

    def __init__(self, parameters: Iterable[Tensor], lr: Tensor) -> None:
        self.parameters, self.lr = list(parameters), lr
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    def step(self) -> None:
        """Changes the parameters by their gradients, all of which are there."""
        raise NotImplementedError

    def start_moments(self, *names: str) -> None:
        """Starts the state of parameters that have none: zeros of their shape by each of the names."""
        for parameter in self.parameters:
            for name in names:
                if name not in self.state[parameter]:
                    self.state[parameter][name] = torch.zeros_like(parameter)

    def by_dtype(self, *names: str) -> Iterable[list[list[Tensor]]]:
        """Parameters of each type, their gradients, and their state by each of the names."""
        for dtype in dict.fromkeys(p.dtype for p in self.parameters):
            some = [p for p in self.parameters if p.dtype == dtype]
            yield [some, [gradient_of(p) for p in some], *([self.state[p][name] for p in some] for name in names)]


def gradient_of(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), as torch.optim.Adam(fused=True) to the bit."""

    def __init__(self, parameters: Iterable[Tensor], lr: Tensor, betas: tuple[float, float], eps: float) -> None:
        super().__init__(parameters, lr)
        self.betas, self.eps = betas, eps

    @torch.no_grad()
    def step(self) -> None:
        beta1, beta2 = self.betas
        for parameter in self.parameters:
            if "step" not in self.state[parameter]:
                self.state[parameter]["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        self.start_moments("exp_avg", "exp_avg_sq")
        for parameters, gradients, means, squares, steps in self.by_dtype("exp_avg", "exp_avg_sq", "step"):
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                parameters, gradients, means, squares, [], steps, lr=self.lr, beta1=beta1, beta2=beta2,
                weight_decay=0.0, eps=self.eps, amsgrad=False, maximize=False, grad_scale=None, found_inf=self.found_inf,
            )  # fmt: skip
            torch._foreach_sub_(steps, [self.found_inf] * len(steps))


class SGD(Optimizer):
    """Gradient descent with momentum, as torch.optim.SGD(fused=True), whose first buffer is uninitialized if that step is skipped."""

    def __init__(self, parameters: Iterable[Tensor], lr: Tensor, momentum: float) -> None:
        super().__init__(parameters, lr)
        self.momentum = momentum
        if momentum:
            self.start_moments("momentum_buffer")

    @torch.no_grad()
    def step(self) -> None:
        for parameters, gradients, *buffers in self.by_dtype(*(["momentum_buffer"] if self.momentum else [])):
            torch._fused_sgd_(
                parameters, gradients, buffers[0] if buffers else [], lr=self.lr, momentum=self.momentum,
                weight_decay=0.0, dampening=0.0, nesterov=False, maximize=False, is_first_step=False, grad_scale=None,
                found_inf=self.found_inf,
            )  # fmt: skip


class RMSprop(Optimizer):
    """RMSProp (Tieleman and Hinton 2012), as torch.optim.RMSprop."""

    def __init__(self, parameters: Iterable[Tensor], lr: Tensor, alpha: float, eps: float) -> None:
        super().__init__(parameters, lr)
        self.alpha, self.eps = alpha, eps

    @torch.no_grad()
    def step(self) -> None:
        self.start_moments("square_avg")
        for parameters, gradients, squares in self.by_dtype("square_avg"):
            gradients = [torch.where(self.found_inf > 0, 0.0, gradient) for gradient in gradients]
            torch._foreach_mul_(squares, self.alpha + (1 - self.alpha) * self.found_inf)
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - self.alpha)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, self.eps)
            updates = torch._foreach_div(gradients, roots)
            torch._foreach_mul_(updates, -self.lr)
            torch._foreach_add_(parameters, updates)
