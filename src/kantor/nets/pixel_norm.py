"""Pixel norm with a derivative of its own: a third of the operators that autograd would run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

_FEW_CHANNELS = 64
"""On a CPU, means over so few channels, and products with them, are faster as a matrix product that repeats the mean in
each channel: rows of 16 channels fill no vector of bfloat16."""


class PixelNorm(Function):
    """y = x r with r = 1 / sqrt(mean of x^2 + eps); the gradient is r (gy - y mean of gy y), means over channels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        inverse = inverse_norm(x, eps)
        ctx.save_for_backward(x)
        ctx.inverse, ctx.eps = inverse, eps
        return x * inverse

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        # in a graph of its own the norm has to be seen to depend on x
        inverse = inverse_norm(x, ctx.eps) if torch.is_grad_enabled() else ctx.inverse
        y = x * inverse
        return inverse * (grad - y * _mean(grad * y)), None


class ModulatedPixelNorm(Function):
    """y = n scale + shift with n = x r as in PixelNorm, scale and shift [N, C] for each image and channel.

    With p = gy n, the gradients are sums over pixels of p and gy, and r (gy scale - n mean of p scale).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
        inverse = inverse_norm(x, eps)
        normal = x * inverse
        ctx.save_for_backward(x, scale)
        ctx.inverse, ctx.normal, ctx.eps = inverse, normal, eps
        return modulated(normal, scale, shift)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, scale = ctx.saved_tensors
        inverse, normal = ctx.inverse, ctx.normal
        if torch.is_grad_enabled():  # in a graph of its own they have to be seen to depend on x
            inverse = inverse_norm(x, ctx.eps)
            normal = x * inverse
        scaled = grad * _spread(scale)
        grad_x = inverse * (scaled - normal * _mean(scaled * normal))
        return grad_x, (grad * normal).sum((2, 3)), grad.sum((2, 3)), None


def modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x * scale + shift, [N, C, H, W] and two [N, C] -> [N, C, H, W]."""
    return torch.addcmul(_spread(shift), x, _spread(scale))


def _spread(x: Tensor) -> Tensor:
    """[N, C] -> [N, C, 1, 1]."""
    return x[:, :, None, None]


def inverse_norm(x: Tensor, eps: float) -> Tensor:
    """1 / sqrt(mean over channels of x^2 + eps): [N, C, H, W] -> [N, C or 1, H, W]."""
    return torch.rsqrt(_mean(x * x) + eps)


def _mean(x: Tensor) -> Tensor:
    """Mean over channels, [N, C, H, W] -> [N, C or 1, H, W]."""
    channels = x.shape[1]
    power_of_two = channels & (channels - 1) == 0  # 1 / channels is exact in bfloat16
    narrowed = torch.is_autocast_enabled(x.device.type) and x.dtype == torch.float32  # by a product, not by a mean
    if x.device.type != "cpu" or channels > _FEW_CHANNELS or not power_of_two or narrowed:
        return x.mean(dim=1, keepdim=True)
    share = torch.full((channels, channels), 1 / channels, dtype=x.dtype)
    pixels = x.permute(0, 2, 3, 1)
    return (pixels.reshape(-1, channels) @ share).view(pixels.shape).permute(0, 3, 1, 2)
