"""Optimisers whose steps never wait for the device: rates are tensors, and a step can be skipped on the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kantor.config.schema import OptimizerConfig


class RMSprop(torch.optim.Optimizer):
    """RMSProp as in torch.optim, with `found_inf` as its fused optimisers have: 1 leaves everything as it was."""

    found_inf: Tensor | None = None

    def __init__(self, parameters: Iterable[Tensor], lr: Tensor, alpha: float, eps: float) -> None:
        super().__init__(parameters, {"lr": lr, "alpha": alpha, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alpha, eps = group["alpha"], group["eps"]
            for parameter in group["params"]:
                if not self.state[parameter]:
                    self.state[parameter]["square_avg"] = torch.zeros_like(parameter)
            squares = [self.state[p]["square_avg"] for p in group["params"]]
            keep = torch.zeros_like(group["lr"]) if self.found_inf is None else self.found_inf
            grads = [torch.where(keep > 0, 0.0, p.grad) for p in group["params"]]
            torch._foreach_mul_(squares, alpha + (1 - alpha) * keep)
            torch._foreach_addcmul_(squares, grads, grads, 1 - alpha)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, eps)
            updates = torch._foreach_div(grads, roots)
            torch._foreach_mul_(updates, -group["lr"])
            torch._foreach_add_(group["params"], updates)


def build_optimizer(config: OptimizerConfig, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over the parameters of `network` that are trained, on their device."""
    parameters = trained(network)
    lr = torch.tensor(config.lr, dtype=torch.float32, device=parameters[0].device)
    match config.kind:
        case "adam":
            on_gpu = lr.device.type == "cuda"  # there a step may be recorded
            return torch.optim.Adam(parameters, lr, config.betas, config.eps, fused=True, capturable=on_gpu)
        case "rmsprop":
            return RMSprop(parameters, lr, config.alpha, config.eps)
        case "sgd":
            sgd = torch.optim.SGD(parameters, lr, config.momentum, fused=True)
            if config.momentum:  # torch leaves it uninitialised where the first step is skipped
                for parameter in parameters:
                    sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd


def trained(network: nn.Module) -> list[nn.Parameter]:
    """Its parameters but for those that are frozen (`requires_grad` is false)."""
    return [p for p in network.parameters() if p.requires_grad]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"].fill_(rate)


def apply(optimizer: torch.optim.Optimizer, gradients: Sequence[Tensor]) -> Tensor:
    """One step along `gradients`; where any of them is not finite nothing changes, without a look from the host.

    Returns:
        1.0 where the step was skipped, else 0.0.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = _laid_out_like(gradient, parameter)
    norm = torch.nn.utils.get_total_norm(gradients)
    skipped = (~torch.isfinite(norm)).to(torch.float32)
    if skipped.device.type == "mps":  # its fused kernels pass over found_inf: a step along zeros harms least
        for parameter in parameters:
            parameter.grad = torch.where(skipped > 0, 0.0, parameter.grad)
    optimizer.found_inf = skipped  # type: ignore[attr-defined]
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    optimizer.step()
    for parameter in parameters:
        parameter.grad = None
    return skipped


def state_tensors(optimizer: torch.optim.Optimizer, network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The optimiser's tensors as "parameter/moment"."""
    for name, parameter in network.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                yield f"{name}/{moment}", value


def load_state_tensors(optimizer: torch.optim.Optimizer, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """What `state_tensors` gave, back to where it was."""
    parameters = dict(network.named_parameters())
    optimizer.state.clear()
    for key, value in tensors.items():
        name, _, moment = key.rpartition("/")
        parameter = parameters[name]
        optimizer.state[parameter][moment] = (
            _laid_out_like(value, parameter) if value.ndim else value.to(parameter.device, copy=True)
        )


def _laid_out_like(value: Tensor, parameter: Tensor) -> Tensor:
    """`value` on the parameter's device and in its order in memory.

    Fused optimisers walk through memory without a look at strides: a contiguous gradient, which double backward
    gives, or a moment out of a file would meet the wrong weights of a parameter that is channels-last.
    """
    if value.device == parameter.device and value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
