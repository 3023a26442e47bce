"""Convolution, average pooling and (leaky) ReLU whose derivatives, of any order, compute nothing that is always zero.

PyTorch's operators waste a sixth of a critic step with a gradient penalty. The second derivative of a (leaky) ReLU is zero,
as is that of average pooling, yet their double backward passes zeros on, and everything below is differentiated once more
for them. The double backward of a convolution computes the gradient of the weights as a convolution with a kernel as large
as the image. Here every derivative is an operator with only the derivatives that it has:

    operator               with respect to its input      with respect to its weights
    y = C(x, w)            X(gy, w)                       W(gy, x)
    gx = X(gy, w)          C(., w) for gy                 W(gy, .)
    gw = W(gy, x)          C(x, .) for gy                 X(gy, .) for x

Values and gradients equal those of PyTorch's operators. Counted in multiply-adds, a WGAN-GP step of a critic without layer
norm costs 10 forward passes instead of 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd import Function

_convolution = torch.ops.aten.convolution
_convolution_backward = torch.ops.aten.convolution_backward
_average_pool_backward = torch.ops.aten.avg_pool2d_backward
_leaky_relu_backward = torch.ops.aten.leaky_relu_backward
_threshold_backward = torch.ops.aten.threshold_backward
_will_execute = getattr(torch._C, "_will_engine_execute_node", None)


class Geometry(NamedTuple):
    """Stride, padding and the other settings of a convolution."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int


Layout = tuple[torch.Size, tuple[int, ...]]
"""Shape and strides of the tensor that a derivative is with respect to: kernels are selected by them."""


def run(operator: type[Function], *arguments: Any) -> Tensor:
    """Applies `operator` to its arguments, differentiably."""
    return cast(Tensor, operator.apply(*arguments))  # type: ignore[no-untyped-call]


def needed(ctx: Any, argument: int) -> bool:
    """Whether this backward pass needs the gradient of an argument; `ctx.needs_input_grad` says whether it has one.

    A gradient with respect to images does not need those of the weights, which are a third of all work.
    """
    if not ctx.needs_input_grad[argument]:
        return False
    node = ctx.next_functions[argument][0]
    if node is None or hasattr(node, "variable") or _will_execute is None:  # unknown for leaves
        return node is not None
    return bool(_will_execute(node))


# --- convolution ----------------------------------------------------------------------------------------------------


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None, how: Geometry) -> Tensor:
    """C(x, w) + b, in PyTorch's operators."""
    if how.transposed and better_as_blocks(x, weight.shape[1], weight.shape[2:], how):
        y = _transposed_by_blocks(x, weight, how)
        return y if bias is None else y + bias.view(1, -1, 1, 1)
    return cast(Tensor, _convolution(x, weight, bias, *how))


class Convolution(Function):
    """y = C(x, w) + b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, how: Geometry) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight)
        ctx.how = how
        return convolved(x, weight, bias, how)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None
        x, weight = ctx.saved_tensors
        by_x = run(ConvolutionInput, grad, weight, _layout(x), ctx.how) if needed(ctx, 0) else None
        by_weight = run(ConvolutionWeight, grad, x, _layout(weight), ctx.how) if needed(ctx, 1) else None
        by_bias = grad.sum((0, 2, 3)) if needed(ctx, 2) else None
        return by_x, by_weight, by_bias, None


class ConvolutionInput(Function):
    """gx = X(gy, w), the transpose of C(., w)."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, weight: Tensor, like: Layout, how: Geometry) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(grad, weight)
        ctx.how = how
        if not how.transposed and better_as_blocks(grad, weight.shape[1], weight.shape[2:], how):
            return _transposed_by_blocks(grad, weight, how, like[0])
        # the same as a plain convolution, which is faster in bfloat16 on CPUs
        if how.transposed and like[0][2:] == _sizes(grad, weight, how):
            return cast(Tensor, _convolution(grad, weight, None, *how[:3], False, (0, 0), how.groups))
        x = torch.empty_strided(*like, dtype=grad.dtype, device=grad.device)  # only shape and strides are used
        return cast(Tensor, _convolution_backward(grad, x, weight, None, *how, (True, False, False))[0])

    @staticmethod
    def backward(ctx: Any, more: Tensor | None) -> tuple[Tensor | None, ...]:
        if more is None:
            return None, None, None, None
        grad, weight = ctx.saved_tensors
        by_grad = run(Convolution, more, weight, None, ctx.how) if needed(ctx, 0) else None
        by_weight = run(ConvolutionWeight, grad, more, _layout(weight), ctx.how) if needed(ctx, 1) else None
        return by_grad, by_weight, None, None


class ConvolutionWeight(Function):
    """gw = W(gy, x), the transpose of C(x, .)."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, like: Layout, how: Geometry) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(grad, x)
        ctx.how = how
        if _better_as_product(grad, x, like[0], how):
            return _weight_product(grad, x, like[0], how)
        weight = torch.empty_strided(*like, dtype=x.dtype, device=x.device)  # only shape and strides are used
        return cast(Tensor, _convolution_backward(grad, x, weight, None, *how, (False, True, False))[1])

    @staticmethod
    def backward(ctx: Any, more: Tensor | None) -> tuple[Tensor | None, ...]:
        if more is None:
            return None, None, None, None
        grad, x = ctx.saved_tensors
        by_grad = run(Convolution, x, more, None, ctx.how) if needed(ctx, 0) else None
        by_x = run(ConvolutionInput, grad, more, _layout(x), ctx.how) if needed(ctx, 1) else None
        return by_grad, by_x, None, None


def _better_as_product(grad: Tensor, x: Tensor, kernel: torch.Size, how: Geometry) -> bool:
    """Whether the gradient of the weights is faster as one matrix product with the patches that the kernel sees.

    It is in bfloat16 on CPUs if few patches overlap: on a Zen 4, 23 instead of 36 ms for the layers of DCGAN with 8x8 and
    4x4 outputs (batch 128), the same for 16x16, and slower for a 3x3 kernel at every pixel of 8x8. In float32 the
    convolution is faster.
    """
    if x.dtype != torch.bfloat16 or x.device.type != "cpu" or how.groups > 1 or max(how.dilation) > 1:
        return False
    small = x if how.transposed else grad
    overlap = kernel[2] * kernel[3] / (how.stride[0] * how.stride[1])
    return overlap * small.shape[2] * small.shape[3] <= 400


def _weight_product(grad: Tensor, x: Tensor, kernel: torch.Size, how: Geometry) -> Tensor:
    """W(gy, x), channels last. A transposed convolution strides over its output, so there gy and x change places."""
    small, large = (x, grad) if how.transposed else (grad, x)
    (top, left), (down, across), (height, width) = how.padding, how.stride, kernel[2:]
    pixels = torch.nn.functional.pad(large.permute(0, 2, 3, 1), (0, 0, left, left, top, top)).contiguous()
    count, rows, columns = small.shape[0], small.shape[2], small.shape[3]
    image, row, column, channel = pixels.stride()
    patches = pixels.as_strided(
        (count, rows, columns, height, width, pixels.shape[3]),
        (image, row * down, column * across, row, column, channel),
    )
    values = small.permute(0, 2, 3, 1).reshape(-1, small.shape[1])
    product = values.t() @ patches.reshape(len(values), -1)
    return product.view(-1, height, width, pixels.shape[3]).permute(0, 3, 1, 2)


def better_as_blocks(x: Tensor, outputs: int, kernel: Sequence[int], how: Geometry) -> bool:
    """Whether a strided transposed convolution that outputs images is faster when computed one block of pixels at a time.

    CPUs compute 16 channels at once, and an image has three. With a stride of 2, a block of pixels has twelve: 3.7 instead
    of 11.5 ms in float32 and 2.0 instead of 6.6 ms in bfloat16 for the last layer of DCGAN (64x64, batch 64, Zen 4).
    """
    if x.device.type != "cpu" or how.groups > 1 or max(how.dilation) > 1 or max(how.output_padding) > 0:
        return False
    divides = all(side % step == 0 for side, step in zip(kernel, how.stride, strict=True))
    return divides and outputs <= 4 and max(how.stride) > 1


def _transposed_by_blocks(x: Tensor, weight: Tensor, how: Geometry, like: torch.Size | None = None) -> Tensor:
    """X(x, w) for a kernel whose sides are multiples of the stride: all pixels of a block see the same neighbours in x.

    Args:
        like: shape of the image if it differs from the usual one: the kernel may not reach its last rows.
    """
    (down, across), (top, left) = how.stride, how.padding
    inputs, outputs, height, width = weight.shape
    high, wide = height // down, width // across
    parts = weight.reshape(inputs, outputs, high, down, wide, across).flip(2, 4)
    blocks = parts.permute(3, 5, 1, 0, 2, 4).reshape(-1, inputs, high, wide)
    y = _convolution(x, blocks, None, (1, 1), (high - 1, wide - 1), (1, 1), False, (0, 0), 1)
    count, _, rows, columns = y.shape
    pixels = y.permute(0, 2, 3, 1).reshape(count, rows, columns, down, across, outputs).transpose(2, 3)
    image: Tensor = pixels.reshape(count, rows * down, columns * across, outputs).permute(0, 3, 1, 2)
    sides = (rows * down - 2 * top, columns * across - 2 * left) if like is None else like[2:]
    below, beyond = (max(0, sides[0] + top - rows * down), max(0, sides[1] + left - columns * across))
    if below or beyond:
        image = torch.nn.functional.pad(image, (0, beyond, 0, below))
    return image[:, :, top : top + sides[0], left : left + sides[1]]


def _sizes(x: Tensor, weight: Tensor, how: Geometry) -> tuple[int, ...]:
    """(height, width) of a convolution's output."""
    sides = zip(x.shape[2:], weight.shape[2:], how.stride, how.padding, how.dilation, strict=True)
    return tuple((n + 2 * pad - gap * (k - 1) - 1) // step + 1 for n, k, step, pad, gap in sides)


def _layout(tensor: Tensor) -> Layout:
    return tensor.shape, tensor.stride()


# --- average pooling ------------------------------------------------------------------------------------------------


class AveragePool(Function):
    """Means over patches of `kernel` pixels that do not overlap, or, given the layout of its input, the transpose.

    Both are linear: each is the other's derivative.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: tuple[int, int], like: Layout | None) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.kernel, ctx.like = kernel, _layout(x) if like is None else None
        if like is None:
            return torch.nn.functional.avg_pool2d(x, kernel)
        image = torch.empty_strided(*like, dtype=x.dtype, device=x.device)  # only shape and strides are used
        return cast(Tensor, _average_pool_backward(x, image, kernel, kernel, (0, 0), False, True, None))

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None, None]:
        return (None if grad is None else run(AveragePool, grad, ctx.kernel, ctx.like)), None, None


# --- activations ----------------------------------------------------------------------------------------------------


class Rectifier(Function):
    """max(x, slope x) with 0 <= slope < 1. The sign of its output is that of x, so x need not be saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.set_materialize_grads(False)
        y = torch.nn.functional.leaky_relu(x, slope) if slope else x.relu()
        ctx.save_for_backward(y)
        ctx.slope = slope
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None]:
        return (None if grad is None else run(RectifierInput, grad, *ctx.saved_tensors, ctx.slope)), None


class RectifierInput(Function):
    """gy where y > 0, else slope gy. Linear in gy; only the sign of y matters."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, y: Tensor, slope: float) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y)
        ctx.slope = slope
        by_x = _leaky_relu_backward(grad, y, slope, True) if slope else _threshold_backward(grad, y, 0)
        return cast(Tensor, by_x)

    @staticmethod
    def backward(ctx: Any, more: Tensor | None) -> tuple[Tensor | None, None, None]:
        return (None if more is None else run(RectifierInput, more, *ctx.saved_tensors, ctx.slope)), None, None
