"""Leaner derivatives against torch's own: the same numbers, of first and second order, with less work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from kantor.nets import double_backward, layers, ops
from support.dispatch import MultiplyAdds

GEOMETRIES: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 4, "stride": 2, "padding": 1},
    {"kernel_size": (4, 3), "stride": (2, 1), "padding": (1, 0), "bias": False},
    {"kernel_size": 3, "dilation": 2, "groups": 2},
    {"kernel_size": 1},
]
KINDS = {"conv": (ops.Conv2d, nn.Conv2d), "transposed": (ops.ConvTranspose2d, nn.ConvTranspose2d)}


def twins(kind: str, geometry: dict[str, Any], dtype: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Module]:
    """Ours and torch's, with the same weights."""
    ours, stock = (cls(4, 6, **geometry).to(dtype) for cls in KINDS[kind])
    stock.load_state_dict(ours.state_dict())
    return ours, stock


def image(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0, last: bool = True) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def derivatives(layer: Callable[[Tensor], Tensor], parameters: list[Tensor], x: Tensor) -> list[Tensor]:
    """Output, gradients of first order, and those of a penalty on the input gradient."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    pull = torch.cos(torch.arange(y.numel(), dtype=torch.float64)).reshape(y.shape).to(y.dtype)
    (slope,) = torch.autograd.grad((y * pull * y).sum(), x, create_graph=True)  # y twice: second order in x too
    first = torch.autograd.grad((y * pull).sum(), [x, *parameters], retain_graph=True)
    second = torch.autograd.grad((slope**2).sum(), [x, *parameters])
    return [y.detach(), slope.detach(), *first, *second]


def assert_same(ours: list[Tensor], stock: list[Tensor], rtol: float = 1e-9, atol: float = 1e-9) -> None:
    for a, b in zip(ours, stock, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("last", [True, False], ids=["channels-last", "contiguous"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_have_the_derivatives_of_torch(kind: str, geometry: dict[str, Any], last: bool) -> None:
    ours, stock = twins(kind, geometry)
    memory = torch.channels_last if last else torch.contiguous_format
    ours, stock = (layer.to(memory_format=memory) for layer in (ours, stock))  # type: ignore[call-overload]
    x = image(3, 4, 9, 8, last=last)
    assert_same(derivatives(ours, list(ours.parameters()), x), derivatives(stock, list(stock.parameters()), x))


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    sizes=st.tuples(st.integers(1, 3), st.integers(5, 9), st.integers(5, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
)
def test_convolutions_of_any_shape(
    kind: str, sizes: Any, kernel: Any, stride: Any, padding: Any, dilation: int, groups: int, bias: bool
) -> None:
    count, height, width = sizes
    padding = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=True))
    if any((k - 1) * dilation + 1 > n for k, n in zip(kernel, (height, width), strict=True)):
        dilation = 1
    geometry = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    ours, stock = twins(kind, geometry | {"bias": bias})
    x = image(count, 4, height, width)
    assert_same(derivatives(ours, list(ours.parameters()), x), derivatives(stock, list(stock.parameters()), x))


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_of_first_and_second_order(kind: str) -> None:
    layer, _ = twins(kind, {"kernel_size": (3, 2), "stride": 2, "padding": 1})
    x = image(2, 4, 5, 4).requires_grad_()

    def call(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))
        return out

    inputs = (x, *(p.detach().clone().requires_grad_() for p in layer.parameters()))
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def pooled(x: Tensor) -> Tensor:
    return ops.average_pool(x, (2, 1))


def test_pooling_equals_torch() -> None:
    for last in (True, False):
        x = image(2, 3, 7, 6, last=last)
        assert_same(derivatives(pooled, [], x), derivatives(lambda t: nn.functional.avg_pool2d(t, (2, 1)), [], x))


@pytest.mark.parametrize("activation", [ops.relu, ops.leaky_relu, ops.pixel_norm, pooled])
def test_gradcheck_of_activations(activation: Callable[[Tensor], Tensor]) -> None:
    x = image(2, 3, 4, 4)
    x = (x + x.sign() * 0.1).requires_grad_()  # away from the kink
    assert torch.autograd.gradcheck(activation, (x,))
    assert torch.autograd.gradgradcheck(activation, (x,))


@pytest.mark.parametrize("last", [True, False], ids=["channels-last", "contiguous"])
@pytest.mark.parametrize("sides", [(4, 4), (3, 5), (1, 1)])
def test_upsampling_and_convolving_at_once_equals_one_after_the_other(sides: tuple[int, int], last: bool) -> None:
    layer = ops.conv3x3(4, 6).to(torch.float64)
    if last:
        layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x, size = image(3, 4, *sides, last=last), (2 * sides[0], 2 * sides[1])
    at_once = derivatives(lambda x: layers.upsample_and_convolve(x, layer, size), list(layer.parameters()), x)
    stock = derivatives(lambda x: layer(layers.upsample(x, size)), list(layer.parameters()), x)
    assert_same(at_once, stock)
    with torch.no_grad():
        torch.testing.assert_close(layers.upsample_and_convolve(x, layer, size), stock[0])


def test_upsampling_and_convolving_at_once_takes_four_ninths_of_the_work() -> None:
    layer, x = ops.conv3x3(8, 6), image(2, 8, 4, 4, dtype=torch.float32).requires_grad_()

    def work(call: Callable[[Tensor, nn.Conv2d, tuple[int, int]], Tensor]) -> int:
        with MultiplyAdds() as counted:
            torch.autograd.grad(call(x, layer, (8, 8)).sum(), [x, layer.weight])
        return counted.total

    assert 9 * work(layers.upsample_and_convolve) == 4 * work(lambda x, layer, size: layer(layers.upsample(x, size)))


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (ops.conv3x3(4, 6), (7, 8)),  # cropped: the kernel must not see what is beyond
        (ops.conv3x3(4, 6), (8, 4)),
        (ops.Conv2d(4, 6, 3, padding=1, stride=2), (8, 8)),
        (ops.Conv2d(4, 6, 3, padding=1, groups=2), (8, 8)),
        (ops.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (8, 8)),
        (ops.Conv2d(4, 6, 3, padding="same"), (8, 8)),
        (ops.Conv2d(4, 6, 5, padding=2), (8, 8)),
    ],
)
def test_other_layers_and_sizes_are_upsampled_first(layer: ops.Conv2d, size: tuple[int, int]) -> None:
    layer, x = layer.to(torch.float64), image(2, 4, 4, 4)
    assert torch.equal(layers.upsample_and_convolve(x, layer, size), layer(layers.upsample(x, size)))


@pytest.mark.parametrize("last", [True, False], ids=["channels-last", "contiguous"])
@pytest.mark.parametrize("channels", [4, 5, 128], ids=["a matrix product", "a mean", "a mean of many"])
def test_pixel_norm_has_the_derivatives_of_its_formula(channels: int, last: bool) -> None:
    x = image(3, channels, 4, 5, last=last)

    def formula(x: Tensor) -> Tensor:
        return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()

    assert_same(derivatives(ops.pixel_norm, [], x), derivatives(formula, [], x))
    with torch.no_grad():
        torch.testing.assert_close(ops.pixel_norm(x), formula(x))


@pytest.mark.parametrize("last", [True, False], ids=["channels-last", "contiguous"])
@pytest.mark.parametrize("channels", [4, 5, 128])
def test_modulated_pixel_norm_has_the_derivatives_of_its_formula(channels: int, last: bool) -> None:
    x, scale, shift = image(3, channels, 4, 5, last=last), *image(2, 3, channels, 1, last=False)[..., 0]
    parameters = [part.clone().requires_grad_() for part in (scale, shift)]

    def ours(x: Tensor) -> Tensor:
        return ops.modulated_pixel_norm(x, *parameters)

    def formula(x: Tensor) -> Tensor:
        factor, addend = (part[:, :, None, None] for part in parameters)
        return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt() * factor + addend

    assert_same(derivatives(ours, parameters, x), derivatives(formula, parameters, x))
    frozen = [(f(x), *torch.autograd.grad(f(x).square().sum(), parameters)) for f in (ours, formula)]
    assert_same(*map(list, frozen))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), formula(x))


def test_activations_equal_torch_at_zero_and_nan() -> None:
    x = torch.tensor([-2.0, -0.0, 0.0, 3.0, float("inf"), float("nan")], requires_grad=True)
    for ours, stock in ((ops.relu, torch.relu), (ops.leaky_relu, lambda t: nn.functional.leaky_relu(t, 0.2))):
        assert torch.equal(ours(x)[:5], stock(x)[:5])
        mine, theirs = (torch.autograd.grad(f(x)[:5].sum(), x)[0] for f in (ours, stock))
        assert torch.equal(mine, theirs)
        assert ours(x)[5].isnan()


def critic(conv: type[nn.Conv2d], activation: Callable[[Tensor], Tensor]) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([conv(3, 8, 4, 2, 1), conv(8, 16, 4, 2, 1), conv(16, 1, 4)])

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers[:-1]:
                x = activation(layer(x))
            out: Tensor = self.layers[-1](x).flatten()
            return out

    torch.manual_seed(3)
    return Net().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def penalised(network: nn.Module, x: Tensor, precision: torch.dtype | None) -> list[Tensor]:
    with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
        points = x.clone(memory_format=torch.preserve_format).requires_grad_()
        (slope,) = torch.autograd.grad(network(points).float().sum(), points, create_graph=True)
        loss = (slope.float().flatten(1).norm(dim=1) - 1).square().mean() + network(x).float().mean()
    return list(torch.autograd.grad(loss, list(network.parameters())))


def test_autocast_gradients_are_as_close_to_float32_as_in_torch() -> None:
    ours = critic(ops.Conv2d, ops.leaky_relu)
    stock = critic(nn.Conv2d, lambda t: nn.functional.leaky_relu(t, 0.2))
    x = image(8, 3, 16, 16, dtype=torch.float32)
    exact = penalised(stock, x, None)
    assert_same(penalised(ours, x, None), exact, 1e-4, 1e-6)
    for mine, theirs, true in zip(
        penalised(ours, x, torch.bfloat16), penalised(stock, x, torch.bfloat16), exact, strict=True
    ):
        assert mine.dtype == torch.float32
        error, theirs_error = ((g - true).norm() / true.norm().clamp(min=1e-12) for g in (mine, theirs))
        assert error < max(1.5 * theirs_error, 0.01)


def test_unusual_cases_equal_torch() -> None:
    x = image(2, 4, 8, 8)
    for geometry in (
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    ):
        ours, stock = twins("conv", geometry)
        assert torch.equal(ours(x), stock(x))
    ours, stock = twins("conv", GEOMETRIES[0])
    assert torch.equal(ours(x[0]), stock(x[0]))  # without a batch
    ours, stock = twins("transposed", {"kernel_size": 3, "stride": 2})
    assert torch.equal(ours(x, [18, 17]), stock(x, [18, 17]))
    with torch.no_grad():
        assert torch.equal(ours(x), stock(x))


def test_a_frozen_layer_passes_gradients_on() -> None:
    layer, stock = twins("conv", GEOMETRIES[1])
    layer.requires_grad_(False)
    x = image(2, 4, 8, 8)
    assert layer(image(2, 4, 8, 8)).grad_fn is None
    stock.requires_grad_(False)
    assert_same(derivatives(layer, [], x), derivatives(stock, [], x))


def test_equalised_layers() -> None:
    """Their weights are not leaves."""
    ours, stock = twins("conv", GEOMETRIES[1])
    x = image(2, 4, 8, 8)
    for layer in (ours, stock):
        ops.equalise(nn.Sequential(layer))
    assert_same(derivatives(ours, list(ours.parameters()), x), derivatives(stock, list(stock.parameters()), x))


def test_backward_fills_grad() -> None:
    ours, stock = twins("conv", GEOMETRIES[1])
    x = image(2, 4, 8, 8)
    for layer in (ours, stock):
        layer(x).square().sum().backward()
    assert_same([p.grad for p in ours.parameters()], [p.grad for p in stock.parameters()])  # type: ignore[misc]


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    sizes=st.tuples(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.integers(0, 1),
    last=st.booleans(),
)
def test_weight_gradients_as_products(
    kind: str, sizes: Any, kernel: Any, stride: Any, padding: int, last: bool
) -> None:
    """Against those of float64 on the same, rounded numbers; also where the step would take a convolution."""
    geometry = {"kernel_size": kernel, "stride": stride, "padding": tuple(min(padding, k // 2) for k in kernel)}
    count, height, width = sizes
    ours, stock = twins(kind, geometry, torch.bfloat16)
    x = image(count, 4, height, width, dtype=torch.bfloat16, last=last)
    y = ours(x)
    pull = image(*y.shape, dtype=torch.bfloat16, seed=1, last=last)
    how = double_backward.Geometry(ours.stride, ours.padding, ours.dilation, kind == "transposed", (0, 0), 1)
    mine = double_backward._weight_product(pull, x, ours.weight.shape, how)
    exact = stock.double()
    (theirs,) = torch.autograd.grad((exact(x.double()) * pull.double()).sum(), exact.weight)
    assert (mine.double() - theirs).norm() < 0.01 * theirs.norm() + 1e-6


def test_a_bfloat16_critic_takes_products_on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.Size] = []
    inner = double_backward._weight_product
    monkeypatch.setattr(double_backward, "_weight_product", lambda *args: (taken.append(args[2]), inner(*args))[1])
    x = image(8, 3, 16, 16, dtype=torch.float32)
    penalised(critic(ops.Conv2d, ops.leaky_relu), x, None)
    assert taken == []
    penalised(critic(ops.Conv2d, ops.leaky_relu), x, torch.bfloat16)
    assert (16, 8, 4, 4) in taken


@pytest.mark.parametrize("last", [True, False], ids=["channels-last", "contiguous"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((4, 4), (2, 2), (1, 1)), ((2, 6), (1, 3), (0, 2)), ((3, 4), (3, 4), (0, 0)), ((6, 4), (2, 2), (3, 0))],
    ids=str,
)
def test_images_by_blocks(kernel: Any, stride: Any, padding: Any, last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions between many channels and an image's three, both ways round, and without gradients."""
    calls: list[torch.Size] = []
    whole = double_backward._transposed_by_blocks

    def by_blocks(x: Tensor, *more: Any) -> Tensor:
        calls.append(x.shape)
        return whole(x, *more)

    monkeypatch.setattr(double_backward, "_transposed_by_blocks", by_blocks)
    geometry = {"kernel_size": kernel, "stride": stride, "padding": padding}
    for make, stock_make, channels in (
        (ops.ConvTranspose2d, nn.ConvTranspose2d, (5, 3)),
        (ops.Conv2d, nn.Conv2d, (3, 5)),
    ):
        ours, stock = (cls(*channels, **geometry).double() for cls in (make, stock_make))  # type: ignore[operator]
        stock.load_state_dict(ours.state_dict())
        x = image(2, channels[0], 12, 12, last=last)
        assert_same(derivatives(ours, list(ours.parameters()), x), derivatives(stock, list(stock.parameters()), x))
        assert calls, make
        calls.clear()
        with torch.no_grad():
            torch.testing.assert_close(ours(x), stock(x))
        assert bool(calls) == (make is ops.ConvTranspose2d)
        calls.clear()


@pytest.mark.parametrize(("padding", "sides"), [(0, (9, 11)), (1, (9, 8)), (1, (8, 11)), ((0, 1), (5, 5))], ids=str)
@pytest.mark.parametrize("kernel", [(4, 4), (2, 2)], ids=str)
def test_kernels_that_do_not_reach_the_last_rows(kernel: Any, padding: Any, sides: Any) -> None:
    geometry = {"kernel_size": kernel, "stride": 2, "padding": padding}
    ours, stock = (cls(3, 5, **geometry).double() for cls in (ops.Conv2d, nn.Conv2d))  # type: ignore[arg-type]
    stock.load_state_dict(ours.state_dict())
    x = image(2, 3, *sides)
    assert_same(derivatives(ours, list(ours.parameters()), x), derivatives(stock, list(stock.parameters()), x))
