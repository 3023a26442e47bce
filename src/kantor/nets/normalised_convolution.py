"""Batch norm over a whole batch, a (leaky) ReLU and a convolution in one operator that keeps the input of the norm alone.

PyTorch keeps a layer's output, its normalised form and, where it is enlarged, four times that for the derivatives, of the
whole batch. Here a few images at a time are normalised, rectified and convolved, in the forward pass and again in the
backward pass; statistics are those of the whole batch in both. It pays on CPUs for layers of many pixels: the fewer
images at a time stay in the caches, and their memory is used again for the next ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function

from kantor.nets.double_backward import (
    Convolution,
    ConvolutionInput,
    ConvolutionWeight,
    Geometry,
    Rectifier,
    convolved,
    needed,
    run,
)

PART = 1 << 23
"""Values of an activation that are computed at once, at least one image: 16 MiB in bfloat16."""

LARGE = 1 << 25
"""Values of an activation above which less memory is worth computing some of it twice: 64 MiB in bfloat16."""

IMAGE_CHANNELS = 4


class Norm(NamedTuple):
    """Batch norm and the rectifier after it.

    Attributes:
        mean, variance: of the whole batch, float32 [C].
        slope: of the rectifier for negative values; 0 for ReLU.
    """

    mean: Tensor
    variance: Tensor
    eps: float
    slope: float

    def applied(self, y: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        """[N, C, H, W] -> the same, normalised and rectified."""
        x = nn.functional.batch_norm(y, self.mean, self.variance, gain, shift, False, 0.0, self.eps)
        return nn.functional.leaky_relu_(x, self.slope) if self.slope else x.relu_()

    @property
    def scale(self) -> Tensor:
        return (self.variance + self.eps).rsqrt()

    def parameter_gradients(self, by_normal: Tensor, y: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """The part that some images y [n, C, H, W] have in the gradients with respect to gain and shift."""
        _, by_gain, by_shift = torch.ops.aten.native_batch_norm_backward(
            by_normal, y, gain, None, None, self.mean, self.scale, True, self.eps, (False, True, True)
        )
        return by_gain, by_shift

    def input_gradient(
        self, gain: Tensor, by_gain: Tensor, by_shift: Tensor, count: int
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """(gradient with respect to the norm's output, y) -> that with respect to y, of some images of the batch.

        Args:
            by_gain, by_shift: gradients of the whole batch.
            count: values of each channel in the whole batch.
        """
        by_value = -gain * self.scale.square() * by_gain / count
        constant = -gain * self.scale * by_shift / count - by_value * self.mean
        factor, slope, start = (a.view(1, -1, 1, 1) for a in (gain * self.scale, by_value, constant))
        exact = start.dtype
        return lambda by_normal, y: torch.addcmul(start, y.to(exact), slope).addcmul_(by_normal.to(exact), factor)


def large(inputs: Tensor, values: int) -> bool:
    """Whether layers with so many values an image are large enough for a batch of `inputs` [N, ...]."""
    return inputs.device.type == "cpu" and len(inputs) * values > LARGE and not torch.compiler.is_compiling()


def pays(y: Tensor, norm: nn.BatchNorm2d) -> bool:
    """Whether `normalised_convolution` saves memory for `y` [N, C, H, W] and `norm`."""
    return norm.training and norm.track_running_stats and large(y, y[0].numel())


def normalised_convolution(
    y: Tensor, norm: nn.BatchNorm2d, slope: float, weight: Tensor, bias: Tensor | None, how: Geometry
) -> Tensor:
    """C(rectifier(norm(y)), weight) + bias, [N, C, H, W] -> [N, K, H', W']; updates the running statistics of `norm`.

    Args:
        slope: of the rectifier for negative values; 0 for ReLU.
        weight, bias: of the convolution `how`, in the type of `y`.
    """
    assert norm.num_batches_tracked is not None and norm.momentum is not None
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        mean, variance = torch.batch_norm_update_stats(y, norm.running_mean, norm.running_var, norm.momentum)
    return run(_Operator, y, norm.weight, norm.bias, weight, bias, Norm(mean, variance, norm.eps, slope), how)


def parts(images: Tensor) -> Iterator[slice]:
    """The rows of [N, C, H, W] in parts of at most `PART` values."""
    size = max(1, PART * len(images) // images.numel())
    return (slice(start, start + size) for start in range(0, len(images), size))


class _Operator(Function):
    @staticmethod
    def forward(
        ctx: Any, y: Tensor, gain: Tensor, shift: Tensor, weight: Tensor, bias: Tensor | None, norm: Norm, how: Geometry
    ) -> Tensor:
        ctx.save_for_backward(y, gain, shift, weight)
        ctx.norm, ctx.how = norm, how
        output = None
        for some in parts(y):
            part = convolved(norm.applied(y[some], gain, shift), weight, bias, how)
            if output is None:
                output = torch.empty((len(y), *part.shape[1:]), dtype=y.dtype, memory_format=torch.channels_last)
            output[some] = part
        assert output is not None
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, gain, shift, weight = ctx.saved_tensors
        norm, how = ctx.norm, ctx.how
        if torch.is_grad_enabled():  # for a second derivative
            return (*_differentiable_backward(ctx, grad), None, None)
        by_weight = torch.zeros_like(weight, dtype=norm.mean.dtype) if needed(ctx, 3) else None
        by_gain, by_shift = torch.zeros_like(norm.mean), torch.zeros_like(norm.mean)
        # with respect to the norm's output: where the convolution outputs images, quicker to compute twice than to keep
        kept = None if weight.shape[how.transposed] <= IMAGE_CHANNELS else torch.empty_like(y)
        for some in parts(y):
            x = norm.applied(y[some], gain, shift)
            if by_weight is not None:
                by_weight += run(ConvolutionWeight, grad[some], x, (weight.shape, weight.stride()), how)
            by_normal = _before_rectifier(grad[some], x, weight, norm.slope, how)
            sums = norm.parameter_gradients(by_normal, y[some], gain)
            by_gain, by_shift = by_gain + sums[0], by_shift + sums[1]
            if kept is not None:
                kept[some] = by_normal
        chain = norm.input_gradient(gain, by_gain, by_shift, y.numel() // y.shape[1])
        by_y = y if kept is None else kept  # y is not needed any more; autograd refuses to differentiate a second time
        for some in parts(y):
            if kept is None:
                x = norm.applied(y[some], gain, shift)
                by_y[some] = chain(_before_rectifier(grad[some], x, weight, norm.slope, how), y[some])
            else:
                by_y[some] = chain(kept[some], y[some])
        by_bias = grad.sum((0, 2, 3)) if needed(ctx, 4) else None
        return by_y, by_gain, by_shift, by_weight, by_bias, None, None


def _differentiable_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """What `_Operator.backward` returns for tensors, of operators that have derivatives themselves."""
    y, gain, shift, weight = (t.view_as(t) for t in ctx.saved_tensors)
    x = nn.functional.batch_norm(y, None, None, gain, shift, True, 0.0, ctx.norm.eps)
    output = run(Convolution, run(Rectifier, x, ctx.norm.slope), weight, None, ctx.how)
    inputs = (y, gain, shift, weight)
    wanted = [tensor for tensor, needs in zip(inputs, ctx.needs_input_grad, strict=False) if needs]
    found = iter(torch.autograd.grad(output, wanted, grad, create_graph=True))
    gradients = [next(found) if needs else None for _, needs in zip(inputs, ctx.needs_input_grad, strict=False)]
    return (*gradients, grad.sum((0, 2, 3)) if needed(ctx, 4) else None)


def _before_rectifier(grad: Tensor, x: Tensor, weight: Tensor, slope: float, how: Geometry) -> Tensor:
    """The gradient with respect to the norm's output. x: the rectified output [N, C, H, W]."""
    by_x = run(ConvolutionInput, grad, weight, (x.shape, x.stride()), how)
    return cast(Tensor, torch.ops.aten.leaky_relu_backward(by_x, x, slope, True)) if slope else by_x.mul_(x > 0)
