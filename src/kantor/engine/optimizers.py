"""Optimizers whose steps never wait for the device: learning rates are tensors, and a step can be skipped on the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from kantor.config.optimizer import OptimizerConfig
from kantor.engine.elementwise import SGD, Adam, Optimizer, RMSprop, gradient_of
from kantor.engine.shampoo import Shampoo


def build_optimizer(config: OptimizerConfig, network: nn.Module) -> Optimizer:
    """The optimizer of the trained parameters of `network`, on their device."""
    parameters = trained(network)
    lr = torch.tensor(config.lr, dtype=torch.float32, device=parameters[0].device)
    match config.kind:
        case "adam":
            return Adam(parameters, lr, config.betas, config.eps)
        case "rmsprop":
            return RMSprop(parameters, lr, config.alpha, config.eps)
        case "shampoo":
            embeddings = [layer.weight for layer in network.modules() if isinstance(layer, nn.Embedding)]
            return Shampoo(parameters, embeddings, lr, config.betas, config.eps)
        case "sgd":
            return SGD(parameters, lr, config.momentum)


def trained(network: nn.Module) -> list[nn.Parameter]:
    """The parameters of a network that are not frozen (`requires_grad` is true)."""
    return [p for p in network.parameters() if p.requires_grad]


def set_rate(optimizer: Optimizer, rate: float) -> None:
    optimizer.lr.fill_(rate)


def apply(optimizer: Optimizer, gradients: Sequence[Tensor]) -> Tensor:
    """Takes one step along `gradients`; if any is not finite nothing changes, which the device decides.

    Returns:
        1.0 if the step was skipped, else 0.0.
    """
    parameters = optimizer.parameters
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = _laid_out_like(gradient, parameter)
    norm = torch.nn.utils.get_total_norm(gradients)
    skipped = (~torch.isfinite(norm)).to(torch.float32)
    if skipped.device.type == "mps":  # its fused kernels ignore found_inf: a step along zeros harms least
        for parameter in parameters:
            parameter.grad = torch.where(skipped > 0, 0.0, gradient_of(parameter))
    optimizer.found_inf = skipped
    optimizer.step()
    for parameter in parameters:
        parameter.grad = None
    return skipped


def state_tensors(optimizer: Optimizer, network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The optimizer's tensors as "parameter/moment"."""
    for name, parameter in network.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                yield f"{name}/{moment}", value


def load_state_tensors(optimizer: Optimizer, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Restores what `state_tensors` returned."""
    optimizer.state.clear()
    add_state_tensors(optimizer, network, tensors)


def add_state_tensors(optimizer: Optimizer, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Replaces the state of some parameters, as `state_tensors` names it."""
    parameters = dict(network.named_parameters())
    for key, value in tensors.items():
        name, _, moment = key.rpartition("/")
        parameter = parameters[name]
        alike = value.shape == parameter.shape
        value = _laid_out_like(value, parameter) if alike else value.to(parameter.device, copy=True)
        optimizer.state[parameter][moment] = value


def _laid_out_like(value: Tensor, parameter: Tensor) -> Tensor:
    """`value` on the parameter's device, with its strides."""
    # fused optimizers ignore strides: a contiguous gradient, which double backward returns, or a moment out of a file
    # would be applied to the wrong weights of a channels-last parameter
    if value.device == parameter.device and value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
