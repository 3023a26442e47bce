"""The layers of `nets.stack`, with TensorFlow's "SAME" padding.

It is uneven if the kernel is even or the stride does not divide the size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from kantor.config.networks import DownLayer, UpLayer
from kantor.nets import ops
from kantor.nets.double_backward import Geometry
from kantor.nets.layers import upsample, upsample_and_convolve
from kantor.nets.normalised_convolution import normalised_convolution, pays

Size = tuple[int, int]
Pads = tuple[int, int]
Activation = Callable[[Tensor], Tensor]


def same_padding(size: int, kernel: int, stride: int) -> Pads:
    """Zeros to pad (before, after) an axis, so that a convolution outputs ceil(size / stride) pixels.

    The odd one goes after: a kernel of 4 at a stride of 1 is padded by (1, 2).
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def transposed_padding(size: int, kernel: int) -> Pads:
    """The same for a transposed convolution with a stride of 1, which is a convolution with a flipped kernel.

    A transposed convolution is the gradient of a convolution: if that reaches `before` pixels to the near side of its
    output, this one reaches as many to the far side. So an even kernel is padded the other way round: 4 by (2, 1).
    """
    return same_padding(size, kernel, 1)[::-1]


def _inside_or_before(rows: Pads, columns: Pads) -> tuple[Size, nn.Module]:
    """Puts even padding inside the convolution, where it costs nothing, and uneven padding before it."""
    if rows[0] == rows[1] and columns[0] == columns[1]:
        return (rows[0], columns[0]), nn.Identity()
    return (0, 0), nn.ZeroPad2d((*columns, *rows))


def output_size(layer: UpLayer | DownLayer, size: Size) -> Size:
    """Output size of a layer for an input of this size."""
    if isinstance(layer, DownLayer):
        return -(-size[0] // layer.stride), -(-size[1] // layer.stride)
    factor = layer.stride * (1 + layer.upsample)
    height, width = size[0] * factor, size[1] * factor
    return (min(height, layer.crop), min(width, layer.crop)) if layer.crop else (height, width)


class Step(nn.Module):
    """A convolution, a norm and a rectifier."""

    conv: nn.Module
    pad: nn.Module
    norm: nn.Module
    activation: Activation

    def forward(self, x: Tensor) -> Tensor:
        return self.finished(self.convolved(x))

    def convolved(self, x: Tensor) -> Tensor:
        """The output before norm and rectifier."""
        y: Tensor = self.conv(self.pad(x))
        return y

    def finished(self, y: Tensor) -> Tensor:
        """The output, from what `convolved` returns."""
        return self.activation(self.norm(y))

    def kernel(self) -> tuple[Tensor, Geometry] | None:
        """The weights of the only operator that `convolved` is, and how it convolves; None if it is something else."""
        if not isinstance(self.conv, ops.Conv2d) or not isinstance(self.pad, nn.Identity):
            return None
        return self.conv.weight, ops.geometry(self.conv)

    def convolved_after(self, before: Step, y: Tensor) -> Tensor:
        """convolved(before.finished(y)), in less memory where `y` is large."""
        norm, slope = before.norm, ops.SLOPES.get(before.activation)
        if slope is None or not isinstance(norm, nn.BatchNorm2d) or not pays(y, norm) or (how := self.kernel()) is None:
            return self.convolved(before.finished(y))
        bias = cast(Tensor | None, self.conv.bias)
        return normalised_convolution(
            y, norm, slope, how[0].to(y.dtype), None if bias is None else bias.to(y.dtype), how[1]
        )


def chained(steps: Sequence[Step], x: Tensor) -> Tensor:
    """All steps, one after the other."""
    y = steps[0].convolved(x)
    for before, step in pairwise(steps):
        y = step.convolved_after(before, y)
    return steps[-1].finished(y)


class UpStep(Step):
    """A layer of a stacked generator: [N, inputs, H, W] -> [N, outputs, factor H, factor W], cropped to `crop`.

    A transposed convolution that multiplies the size is the gradient of the "SAME" convolution that divides the larger
    image; what lies under that one's padding is cropped.
    """

    def __init__(
        self, layer: UpLayer, inputs: int, outputs: int, size: Size, norm: nn.Module, activation: Activation
    ) -> None:
        super().__init__()
        self.doubled = (size[0] * 2, size[1] * 2) if layer.upsample else None
        size = self.doubled or size
        if layer.stride == 1:
            rows, columns = (transposed_padding(side, layer.kernel) for side in size)
            inside, self.pad = _inside_or_before(rows, columns)
            self.conv: nn.Module = ops.Conv2d(inputs, outputs, layer.kernel, layer.stride, inside)
        else:
            (top, _), (left, _) = (same_padding(side * layer.stride, layer.kernel, layer.stride) for side in size)
            self.pad = nn.Identity()
            self.conv = ops.ConvTranspose2d(inputs, outputs, layer.kernel, layer.stride, (top, left))
        self.uncropped, self.size = size, output_size(layer.model_copy(update={"upsample": False}), size)
        self.norm, self.activation = norm, activation

    def convolved(self, x: Tensor) -> Tensor:
        if self.doubled and isinstance(self.pad, nn.Identity):
            x = upsample_and_convolve(x, self.conv, self.doubled)
        else:
            x = self.conv(self.pad(upsample(x, self.doubled) if self.doubled else x))
        if x.shape[2:] != torch.Size(self.size):  # the far edges: padding of a transposed convolution, and `crop`
            x = x[:, :, : self.size[0], : self.size[1]]
        return x

    def kernel(self) -> tuple[Tensor, Geometry] | None:
        how = super().kernel() if self.size == self.uncropped else None
        if how is None or not self.doubled:
            return how
        conv = cast(ops.Conv2d, self.conv)
        return (ops.doubling_weight(conv), ops.DOUBLING) if ops.keeps_size(conv) else None


class DownStep(Step):
    """A layer of a stacked critic: [N, inputs, H, W] -> [N, width, ceil(H / stride), ceil(W / stride)]."""

    def __init__(self, layer: DownLayer, inputs: int, size: Size, norm: nn.Module) -> None:
        super().__init__()
        rows, columns = (same_padding(side, layer.kernel, layer.stride) for side in size)
        inside, self.pad = _inside_or_before(rows, columns)
        self.conv = ops.Conv2d(inputs, layer.width, layer.kernel, layer.stride, inside)
        self.norm, self.activation = norm, ops.leaky_relu
