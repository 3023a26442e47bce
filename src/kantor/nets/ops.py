"""The operators that networks consist of, and initialization.

Convolutions, average pooling and (leaky) ReLU have the derivatives of `nets.double_backward`. PyTorch's operators run if
nothing is differentiated (except in layers that output images), and in unusual cases.

`initialise` sets the starting weights from the run's seed on the CPU, so that they are the same on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from kantor.nets.double_backward import AveragePool, Convolution, Geometry, Rectifier, better_as_blocks, convolved, run
from kantor.nets.pixel_norm import ModulatedPixelNorm, PixelNorm, inverse_norm, modulated

DOUBLING = Geometry((2, 2), (1, 1), (1, 1), True, (0, 0), 1)
"""A transposed convolution with a 4x4 kernel that doubles an image."""


class Conv2d(nn.Conv2d):
    """PyTorch's layer with the derivatives of `nets.double_backward`."""

    def forward(self, x: Tensor) -> Tensor:
        if self.padding_mode != "zeros" or isinstance(self.padding, str):
            return super().forward(x)
        y = _convolved(self, x, geometry(self))
        return super().forward(x) if y is None else y


class ConvTranspose2d(nn.ConvTranspose2d):
    """PyTorch's layer with the derivatives of `nets.double_backward`."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None:
            return super().forward(x, output_size)
        y = _convolved(self, x, geometry(self))
        return super().forward(x) if y is None else y


def geometry(layer: nn.Conv2d | nn.ConvTranspose2d) -> Geometry:
    """How a layer convolves, its padding in numbers."""
    assert not isinstance(layer.padding, str)
    transposed = isinstance(layer, nn.ConvTranspose2d)
    return Geometry(layer.stride, layer.padding, layer.dilation, transposed, layer.output_padding, layer.groups)


def keeps_size(layer: nn.Conv2d) -> bool:
    """Whether a convolution has a 3x3 kernel, reaches every pixel, and keeps the size of its input."""
    plain = (layer.stride, layer.dilation, layer.groups) == ((1, 1), (1, 1), 1)
    return plain and (layer.kernel_size, layer.padding, layer.padding_mode) == ((3, 3), (1, 1), "zeros")


def doubled(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """layer(x with each pixel repeated 2x2), [N, C, H, W] -> [N, K, 2H, 2W], for a layer that `keeps_size`."""
    return _applied(_cast(x, doubling_weight(layer), layer.bias), DOUBLING)


def doubling_weight(layer: nn.Conv2d) -> Tensor:
    """The weights of the transposed convolution `DOUBLING` that `doubled` consists of, [C, K, 4, 4].

    Of the nine pixels that the kernel covers at most four differ: the sums of its weights for each make a transposed
    convolution of stride 2 with a 4x4 kernel, which is the kernel convolved with 2x2 ones and turned by 180 degrees.
    """
    pad = nn.functional.pad
    weights = layer.weight  # which may be scaled, in each reading
    kernel = weights.flip(2, 3)
    rows = pad(kernel, (0, 0, 0, 1)) + pad(kernel, (0, 0, 1, 0))
    weight = (pad(rows, (0, 1, 0, 0)) + pad(rows, (1, 0, 0, 0))).transpose(0, 1)
    if weights.is_contiguous(memory_format=torch.channels_last):
        weight = weight.contiguous(memory_format=torch.channels_last)
    return weight


def _convolved(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, how: Geometry) -> Tensor | None:
    """The layer's output with the derivatives of `nets.double_backward`; None if PyTorch's operator has to be used."""
    if x.ndim != 4 or torch.compiler.is_compiling():
        return None
    blocks = how.transposed and better_as_blocks(x, layer.out_channels, layer.kernel_size, how)
    # check the parameters, not `layer.weight`, which may be scaled from them
    if not blocks and not _differentiated(x, *layer.parameters()):
        return None
    return _applied(_cast(x, layer.weight, layer.bias), how)


def _applied(tensors: list[Tensor | None], how: Geometry) -> Tensor:
    """The convolution of x, weight and bias; in PyTorch's operators alone, which can be traced, if nothing is differentiated."""
    x, weight, bias = tensors
    assert x is not None and weight is not None
    if _differentiated(x, weight, *(() if bias is None else (bias,))):
        return run(Convolution, x, weight, bias, how)
    return convolved(x, weight, bias, how)


def _cast(x: Tensor, *parameters: Tensor | None) -> list[Tensor | None]:
    """x and parameters in the precision of autocast, if it is enabled, and none of them a leaf."""
    tensors = [x, *parameters]
    if torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
        # cast once for this pass and its derivatives: gradients of several passes add up in the precision of the weights
        dtype = torch.get_autocast_dtype(x.device.type)
        tensors = [None if t is None else t.to(dtype) for t in tensors]
    return [None if t is None else _not_a_leaf(t) for t in tensors]


def _differentiated(*tensors: Tensor) -> bool:
    """Whether autograd will differentiate with respect to one of the tensors."""
    enabled = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return enabled and any(t.requires_grad for t in tensors)


def _not_a_leaf(tensor: Tensor) -> Tensor:
    """A view of a leaf: `torch.autograd.grad` cannot tell whether it will execute a leaf itself."""
    return tensor.view_as(tensor) if tensor.is_leaf and tensor.requires_grad else tensor


def conv3x3(inputs: int, outputs: int, bias: bool = True) -> Conv2d:
    """A 3x3 convolution that keeps the size."""
    return Conv2d(inputs, outputs, 3, padding=1, bias=bias)


def average_pool(x: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Means over patches of `kernel` pixels; incomplete patches at the far edges are dropped."""
    if not _differentiated(x):
        return nn.functional.avg_pool2d(x, kernel)
    return run(AveragePool, x, kernel, None)


def leaky_relu(x: Tensor, slope: float = 0.2) -> Tensor:
    """max(x, slope x); the default slope is that of Radford et al. 2016."""
    if not _differentiated(x):
        return nn.functional.leaky_relu(x, slope) if slope else x.relu()
    return run(Rectifier, x, slope)


def relu(x: Tensor) -> Tensor:
    return leaky_relu(x, 0.0)


SLOPES: dict[Callable[[Tensor], Tensor], float] = {relu: 0.0, leaky_relu: 0.2}
"""Slope of each rectifier for negative values."""


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """x / sqrt(mean over channels of x^2 + eps), [N, C, H, W] -> the same (Karras et al. 2018, section 4.2)."""
    return run(PixelNorm, x, eps) if _differentiated(x) else x * inverse_norm(x, eps)


def modulated_pixel_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float = 1e-8) -> Tensor:
    """pixel_norm(x) * scale + shift, [N, C, H, W] and two [N, C] -> [N, C, H, W]."""
    if _differentiated(x):
        return run(ModulatedPixelNorm, x, scale, shift, eps)
    return modulated(x * inverse_norm(x, eps), scale, shift)


class NarrowLinear(nn.Linear):
    """A linear layer that starts near zero, whatever initializes the others."""

    std = 0.02


class ZeroConv2d(Conv2d):
    """A convolution that starts at zero, whatever initializes the others."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


@torch.no_grad()
def initialise(network: nn.Module, seed: int, init: str, std: float = 0.02) -> None:
    """Initializes all weights; biases become zero, embeddings and narrow layers normal with their `std`.

    Weights without memory, on the meta device, stay as they are: `normal_` there imports torch's compiler, which takes seconds.

    Args:
        init: "normal": deviation `std` (DCGAN: 0.02); "truncated-normal": the same, truncated at two deviations, as in
            TensorFlow; "he": normal, deviation sqrt(2 / inputs) (He et al. 2015, equation 10); "glorot": uniform in
            +-sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010, equation 16); "tflib": as in the code of Gulrajani et
            al. 2017, see `tflib_limit`; "one": normal, deviation 1.
    """
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if not isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding) or module.weight.is_meta:
            continue
        if isinstance(module, ZeroConv2d):
            continue
        if isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, float(getattr(module, "std", 1.0)), generator=rng)
        else:
            how, deviation = ("normal", module.std) if isinstance(module, NarrowLinear) else (init, std)
            match how:
                case "normal":
                    module.weight.normal_(0.0, deviation, generator=rng)
                case "truncated-normal":
                    nn.init.trunc_normal_(module.weight, 0.0, std, -2 * std, 2 * std, generator=rng)
                case "he":
                    module.weight.normal_(0.0, math.sqrt(2.0 / fan_in(module)), generator=rng)
                case "glorot":
                    nn.init.xavier_uniform_(module.weight, glorot_gain(module), generator=rng)
                case "tflib":
                    limit = tflib_limit(module)
                    module.weight.uniform_(-limit, limit, generator=rng)
                case "one":
                    module.weight.normal_(0.0, 1.0, generator=rng)
                case _:
                    raise ValueError(f"unknown initializer {init!r}")
            if module.bias is not None:
                module.bias.zero_()


def fan_in(module: nn.Module) -> float:
    """Number of inputs of one output. In a transposed convolution, kernel / stride inputs overlap along each axis.

    One that neither strides nor pads is the first layer of a generator: its input is a single pixel.
    """
    weight = module.weight
    assert isinstance(weight, Tensor)
    if not isinstance(module, nn.ConvTranspose2d):
        return weight[0].numel()
    overlap = math.prod(module.kernel_size) / math.prod(module.stride)
    single_pixel = module.stride == (1, 1) and module.padding == (0, 0)
    return module.in_channels / module.groups * (1.0 if single_pixel else overlap)


def glorot_gain(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> float:
    """What corrects PyTorch's Glorot initialization, which takes the groups of a convolution for one; 1 without groups."""
    groups = 1 if isinstance(module, nn.Linear) else module.groups
    across, within = module.weight.shape[:2]
    return 1.0 if groups == 1 else math.sqrt((across + within) / (across / groups + within))


def tflib_limit(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> float:
    """Limit of the uniform distribution that initializes weights in the code of Gulrajani et al. 2017 (tflib/ops).

    Convolutions: deviation sqrt(4 / (inputs + outputs)), after He; the area of the stride divides the outputs of a strided
    convolution and the inputs of a transposed one. Dense layers: Glorot.
    """
    if isinstance(module, nn.Linear):
        return math.sqrt(6.0 / (module.in_features + module.out_features))
    area, stride = math.prod(module.kernel_size), math.prod(module.stride)
    inputs, outputs = module.in_channels * area / module.groups, module.out_channels * area / module.groups
    if isinstance(module, nn.ConvTranspose2d):
        inputs /= stride
    else:
        outputs /= stride
    return math.sqrt(3.0) * math.sqrt(4.0 / (inputs + outputs))


class _Scaled(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale


def equalise(network: nn.Module) -> None:
    """Scales the weights of each layer by sqrt(2 / inputs) in each pass: equalized learning rate (Karras et al. 2018, 4.1).

    The stored weights, which the optimiser, the EMA and clipping see, stay unscaled.
    """
    for layer in [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]:
        if not isinstance(layer, NarrowLinear):
            register_parametrization(layer, "weight", _Scaled(math.sqrt(2.0 / fan_in(layer))))
