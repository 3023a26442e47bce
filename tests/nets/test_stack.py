"""Networks of layers as listed: padding as TensorFlow does it, the seeds' and the paper's layers, and growing."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kantor.app.training.init_from import Weights, initialize_from
from kantor.config.networks import StackCritic, StackGenerator
from kantor.config.schema import Config
from kantor.engine.state import State
from kantor.errors import ConfigError
from kantor.export.weights import Card, read_generator, write_generator
from kantor.nets import build_critic, build_generator, fade, ops
from kantor.nets.layers import reseed_dropout
from kantor.nets.same_padding import DownStep, UpStep, same_padding, transposed_padding
from kantor.types import ImageSpec
from support.network_rules import bends, check_registry_rules, numbers, others_change, parameters
from support.stacks import COLOUR128, FISH32, FISH64, MNIST28, down, thin, up

CPU = torch.device("cpu")
SMALL, LARGE = ImageSpec(32, 32, 3), ImageSpec(64, 64, 3)


# --- padding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [
        (32, 4, 1, (1, 2)), (32, 5, 1, (2, 2)), (32, 4, 2, (1, 1)), (28, 5, 2, (1, 2)), (7, 5, 2, (2, 2)),
        (128, 3, 4, (0, 0)), (5, 2, 1, (0, 1)), (6, 1, 3, (0, 0)), (9, 4, 4, (1, 2)),
    ],
)  # fmt: skip
def test_same_padding(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == pads


def test_same_padding_is_the_least_that_gives_every_output() -> None:
    for size, kernel, stride in itertools.product(range(1, 20), range(1, 8), range(1, 5)):
        before, behind = same_padding(size, kernel, stride)
        assert 0 <= behind - before <= 1
        assert (size + before + behind - kernel) // stride + 1 == math.ceil(size / stride)
        if before + behind:
            assert (size + before + behind - 1 - kernel) // stride + 1 < math.ceil(size / stride)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(4, 1, (5, 6)), (5, 2, (7, 8)), (3, 4, (9, 8)), (4, 2, (6, 6))])
def test_a_layer_of_a_critic_against_sums(kernel: int, stride: int, size: tuple[int, int]) -> None:
    """out[i, j] = sum of x[i stride + a - before, j stride + b - before] w[a, b], where that is in the image."""
    layer = DownStep(down(3, kernel, stride), 2, size, nn.Identity()).double()
    x, weight = numbers(2, 2, *size).double(), layer.conv.weight.detach()
    got = layer(x).detach().numpy()
    tops = [same_padding(side, kernel, stride)[0] for side in size]
    expected = np.zeros((2, 3, *(math.ceil(side / stride) for side in size)))
    for i, j, a, b in itertools.product(*map(range, (*expected.shape[2:], kernel, kernel))):
        row, column = i * stride + a - tops[0], j * stride + b - tops[1]
        if 0 <= row < size[0] and 0 <= column < size[1]:
            expected[:, :, i, j] += x[:, :, row, column].numpy() @ weight[:, :, a, b].numpy().T
    expected += layer.conv.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(got, np.where(expected > 0, expected, 0.2 * expected), atol=1e-12)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_a_layer_that_keeps_the_size_is_a_transposed_convolution(kernel: int) -> None:
    """Of TensorFlow: cut at the near side by what its "SAME" convolution would pad there."""
    layer = UpStep(up(kernel=kernel), 2, 3, (6, 5), nn.Identity(), nn.Identity()).double()
    x = numbers(2, 2, 6, 5).double()
    turned = layer.conv.weight.transpose(0, 1).flip(2, 3)
    whole = nn.functional.conv_transpose2d(x, turned, layer.conv.bias)
    cut = (kernel - 1) // 2
    torch.testing.assert_close(layer(x), whole[:, :, cut : cut + 6, cut : cut + 5])
    if kernel == 4:
        assert transposed_padding(6, 4) == (2, 1)
        other = nn.functional.conv_transpose2d(x, turned, layer.conv.bias, padding=1)
        torch.testing.assert_close(layer(x), other[:, :, :-1, :-1])


@pytest.mark.parametrize(("kernel", "stride"), [(5, 2), (4, 2), (2, 2), (3, 2), (5, 3), (4, 4)])
def test_a_layer_that_enlarges_is_the_gradient_of_one_that_strides(kernel: int, stride: int) -> None:
    layer = UpStep(up(kernel=kernel, stride=stride), 2, 3, (4, 5), nn.Identity(), nn.Identity()).double()
    x = numbers(2, 2, 4, 5).double()
    large = torch.zeros(2, 3, 4 * stride, 5 * stride, dtype=torch.float64, requires_grad=True)
    rows, columns = (same_padding(side, kernel, stride) for side in large.shape[2:])
    small = nn.functional.conv2d(nn.functional.pad(large, (*columns, *rows)), layer.conv.weight, stride=stride)
    (expected,) = torch.autograd.grad(small, large, x)
    torch.testing.assert_close(layer(x), expected + layer.conv.bias[:, None, None])


# --- the networks that are described --------------------------------------------------------------------------------


def table(network: nn.Module, inputs: Tensor) -> list[tuple[tuple[int, ...], int]]:
    """(channels, height, width) and parameters of each layer but the dense ones."""
    shapes: list[tuple[int, ...]] = []
    hooks = [layer.register_forward_hook(lambda m, i, y: shapes.append(tuple(y.shape[1:]))) for layer in network.layers]
    network(inputs)
    for hook in hooks:
        hook.remove()
    return [(shape, parameters(layer.conv)) for shape, layer in zip(shapes, network.layers, strict=True)]


FIVE, FOUR, IMAGE = 409_728, 262_272, 9_603


def test_fish_generators() -> None:
    small = build_generator(FISH32[0], SMALL)
    assert parameters(small.base) == 2_105_344
    upward = [
        ((128, 8, 8), FIVE), ((128, 8, 8), FOUR), ((128, 16, 16), FIVE), ((128, 32, 32), FIVE),
    ]  # fmt: skip
    assert table(small, numbers(2, 256)) == [*upward, ((3, 32, 32), IMAGE)]
    assert parameters(small) == 3_606_403
    large = build_generator(FISH64[0], LARGE)
    more = [((128, 32, 32), FIVE), ((128, 64, 64), FIVE), ((3, 64, 64), IMAGE)]
    assert table(large, numbers(2, 256)) == [*upward, *more]
    assert parameters(large) == 4_425_859


def test_fish_critics() -> None:
    small = build_critic(FISH32[1], SMALL)
    below = [((256, 4, 4), 524_544), ((256, 4, 4), 590_080), ((256, 4, 4), 1_048_832)]
    first = [((128, 32, 32), 9_728), ((128, 16, 16), FOUR), ((128, 8, 8), FOUR)]
    assert table(small, numbers(2, *SMALL[::-1])) == [*first, *below]
    assert parameters(small.score) == 4_113
    assert parameters(small) == 2_701_841
    large = build_critic(FISH64[1], LARGE)
    above = [((128, 64, 64), 9_728), ((128, 32, 32), FOUR), ((128, 16, 16), FOUR), ((128, 16, 16), 147_584)]
    assert table(large, numbers(2, *LARGE[::-1])) == [*above, ((128, 8, 8), FOUR), *below]
    assert parameters(large) == 3_111_697


def test_colour_networks() -> None:
    spec = ImageSpec(128, 128, 3)
    generator, critic = build_generator(COLOUR128[0], spec), build_critic(COLOUR128[1], spec)
    sizes = [shape for shape, _ in table(generator, numbers(2, 100))]
    assert sizes == [(32, 8, 8), (64, 16, 16), (128, 32, 32), (512, 64, 64), (256, 128, 128), (3, 128, 128)]
    assert parameters(generator) == 1_932_451
    assert [shape for shape, _ in table(critic, numbers(2, 3, 128, 128))] == [
        (64, 128, 128), (128, 32, 32), (256, 8, 8),
    ]  # fmt: skip
    assert parameters(critic) == 388_097
    assert [type(layer.norm) for layer in critic.layers] == [nn.BatchNorm2d] * 3
    assert critic.traits.normalisation == "batch"


def test_the_papers_mnist_networks() -> None:
    spec = ImageSpec(28, 28, 1)
    generator, critic = build_generator(MNIST28[0], spec), build_critic(MNIST28[1], spec)
    assert [shape for shape, _ in table(generator, numbers(2, 128))] == [(128, 7, 7), (64, 14, 14), (1, 28, 28)]
    assert parameters(generator) == 1_554_177
    assert [shape for shape, _ in table(critic, numbers(2, 1, 28, 28))] == [(64, 14, 14), (128, 7, 7), (256, 4, 4)]
    assert parameters(critic) == 1_030_145


def test_the_papers_mnist_networks_step_by_step() -> None:
    """Sigmoid brought to [-1, 1], activation behind the dense layer, the image brought to [0, 1]."""
    spec, do = ImageSpec(28, 28, 1), nn.functional
    generator, critic = build_generator(thin(MNIST28[0]), spec), build_critic(thin(MNIST28[1]), spec)
    z = 3 * numbers(2, 6)
    x = generator.base(z).unflatten(1, (4, 4, 4)).relu()
    for step, layer in enumerate(generator.layers):
        side = 2 * x.shape[2]
        x = do.conv_transpose2d(x, layer.conv.weight, layer.conv.bias, 2, 1)[:, :, :side, :side]
        x = (x[:, :, :7, :7] if step == 0 else x).relu() if step < 2 else x
    torch.testing.assert_close(generator(z), 2 * x.sigmoid() - 1)
    image = generator(z).detach()
    x = (image + 1) / 2
    for layer in critic.layers:
        rows = same_padding(x.shape[2], 5, 2)
        x = do.leaky_relu(do.conv2d(do.pad(x, (*rows, *rows)), layer.conv.weight, layer.conv.bias, 2), 0.2)
    torch.testing.assert_close(critic(image), critic.score(x.flatten(1)).flatten())


def test_the_fish_generator_step_by_step() -> None:
    """Nothing behind the dense layer; pixel norm before each activation; a tanh."""
    network, z, do = build_generator(thin(FISH32[0]), SMALL), numbers(2, 6), nn.functional
    x = network.base(z).unflatten(1, (4, 8, 8))
    for step, (layer, pads) in enumerate(zip(network.layers, [(2, 2), (2, 1), (2, 2), (2, 2), (2, 2)], strict=True)):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if step in (2, 3) else x
        x = do.conv2d(do.pad(x, pads * 2), layer.conv.weight, layer.conv.bias)
        x = x if step == 4 else do.leaky_relu(x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt(), 0.2)
    torch.testing.assert_close(network(z), x.tanh())


# --- what holds for networks of all kinds ---------------------------------------------------------------------------

LABELS = torch.tensor([2, 0, 1])
PAIRS = {"fish": (FISH32, SMALL), "mnist": (MNIST28, ImageSpec(28, 28, 1))}


def with_init(config: Any, **more: Any) -> Any:
    return thin(config).model_copy(update={"init": "he", "dropout": 0.0, **more})


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("norm", ["batch", "pixel", "none"])
@pytest.mark.parametrize("equalised", [False, True])
def test_generator(kind: str, classes: int, norm: str, equalised: bool) -> None:
    pair, spec = PAIRS[kind]
    config = with_init(pair[0], norm=norm, equalised=equalised)
    z, labels = numbers(3, 6), LABELS if classes else None
    network = build_generator(config, spec, classes)
    assert network(z, labels).shape == (3, spec.channels, *spec[:2])
    check_registry_rules(lambda seed: build_generator(config, spec, classes, seed), z, labels)
    assert network.traits.normalisation == norm
    assert others_change(network, z, labels) == network.traits.mixes_batch == (norm == "batch")
    if classes:
        assert not torch.allclose(network(z, labels), network(z, (LABELS + 1) % 3), atol=1e-4)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("stddev", ["none", "batch"])
@pytest.mark.parametrize("equalised", [False, True])
def test_critic(kind: str, classes: int, norm: str, stddev: str, equalised: bool) -> None:
    pair, spec = PAIRS[kind]
    config = with_init(pair[1], norm=norm, minibatch_stddev=stddev, equalised=equalised)
    x, labels = numbers(3, spec.channels, *spec[:2]).tanh(), LABELS if classes else None
    network = build_critic(config, spec, classes)
    assert network(x, labels).shape == (3,)
    check_registry_rules(lambda seed: build_critic(config, spec, classes, seed), x, labels)
    assert network.traits.normalisation == norm
    assert network.traits.mixes_batch == (norm == "batch" or stddev != "none")
    if stddev == "none":
        assert others_change(network, x, labels) == network.traits.mixes_batch
    if norm != "batch":
        assert bends(network, x, labels) == (norm != "none" or stddev != "none")


def test_a_norm_that_no_layer_has_is_no_trait() -> None:
    spec = ImageSpec(8, 8, 1)
    bare = build_critic(StackCritic(norm="batch", layers=[down(4)]), spec)
    assert bare.traits.normalisation == "none"
    assert build_critic(StackCritic(norm="batch", norm_first=True, layers=[down(4)]), spec).traits.mixes_batch


def penalty_slopes(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Gradients of a gradient penalty with respect to the weights: a double backward pass."""
    points = x.clone(memory_format=torch.preserve_format).requires_grad_()
    (slope,) = torch.autograd.grad(network(points).sum(), points, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    kernels = [p for p in network.parameters() if p.ndim > 1]
    return list(torch.autograd.grad(penalty, kernels))


@pytest.mark.parametrize("fading", [0, 100])
def test_gradient_penalty_with_channels_last(fading: int) -> None:
    """The same as with plain memory and with torch's own operators, in double precision."""
    config = with_init(FISH64[1], fade_images=fading)
    x = numbers(2, 3, 64, 64).double().tanh()
    network = build_critic(config, LARGE).double()
    fade(network, 30)
    expected = penalty_slopes(network, x)
    other = build_critic(config, LARGE).double().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fade(other, 30)
    got = penalty_slopes(other, x.contiguous(memory_format=torch.channels_last))
    for a, b in zip(got, expected, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b)
    original = ops._differentiated
    try:
        ops._differentiated = lambda *tensors: False  # type: ignore[assignment]
        for a, b in zip(penalty_slopes(network, x), expected, strict=True):
            torch.testing.assert_close(a, b)
    finally:
        ops._differentiated = original


def test_dropout_is_behind_every_activation_but_the_last() -> None:
    network = build_critic(FISH32[1], SMALL)
    assert [getattr(layer, "rate", 0.0) for layer in network.dropouts] == [0.0, 0.5, 0.5, 0.5, 0.5, 0.5]
    reseed_dropout(network, 1)
    x = numbers(2, 3, 32, 32)
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ("layers", "spec", "where", "words"),
    [
        (FISH32[0].layers, ImageSpec(48, 48, 3), "generator.layers", "make images of 32x32, but data.size is 48"),
        (FISH32[0].layers, ImageSpec(32, 48, 3), "generator.layers", "but data.size is 32x48"),
        ([up(kernel=2, stride=3)], ImageSpec(24, 24, 3), "generator.layers.0", "leaves gaps"),
        ([up(), up(crop=9)], ImageSpec(8, 8, 3), "generator.layers.1", "crops 8x8 to 9"),
        ([up(stride=5, crop=8)] + [up(stride=5)] * 5, SMALL, "generator.layers.4", "outputs 5000x5000 pixels"),
    ],
)
def test_rejected_layers(layers: list[Any], spec: ImageSpec, where: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_generator(StackGenerator(base=(8, 8, 4), layers=layers), spec)
    assert caught.value.where == where
    assert words in caught.value.what
    assert "--size 32" in caught.value.do or "data.size" not in caught.value.what


# --- growing --------------------------------------------------------------------------------------------------------


def state(pair: tuple[Any, Any], spec: ImageSpec, seed: int, fading: int = 0, **more: Any) -> State:
    generator, critic = (with_init(c, fade_images=fading) for c in pair)
    critic = critic.model_copy(update=more)
    config = Config(generator=generator, critic=critic, train={"seed": seed})  # type: ignore[arg-type]
    grown = State(config, spec, 0, CPU)
    with torch.no_grad():  # biases start at zero, and so would hide what is wrong with them
        for p in itertools.chain(grown.generator.parameters(), grown.critic.parameters()):
            p.add_(0.02 * numbers(*p.shape, seed=seed))
    return grown


def weights_of(other: State) -> Weights:
    parts = {part: network.state_dict() for part, network in other.networks.items()}
    return Weights(Path("/there"), parts, (), "premultiplied", {})


@pytest.fixture
def grown() -> tuple[State, State]:
    """A small pair with batch norm in its critic, and the pair that has just grown from it."""
    more = {"norm": "batch", "norm_first": True, "minibatch_stddev": "batch"}
    small, large = state(FISH32, SMALL, 1, **more), state(FISH64, LARGE, 2, fading=1000, **more)
    for _ in range(3):  # running statistics that are not those of a new network
        small.critic(numbers(4, 3, 32, 32))
    taken = initialize_from(large, weights_of(small), ())
    assert [line.split(":")[0] for line in taken.lines[1:]] == ["new in the generator", "new in the critic"]
    assert taken.copies["average"].keys() == taken.copies["generator"].keys() < large.average.state_dict().keys()
    for network in (small.generator, small.critic, large.generator, large.critic):
        network.eval()
    return small, large


def test_just_grown_is_the_smaller_network(grown: tuple[State, State]) -> None:
    """Images with each pixel doubled, to the bit; scores of means of 2x2 pixels."""
    small, large = grown
    z, x = numbers(3, 6), numbers(3, 3, 64, 64).tanh()
    doubled = small.generator(z).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(large.generator(z), doubled)
    assert doubled.std() > 0.01
    means = x.unflatten(2, (32, 2)).unflatten(4, (32, 2)).mean((3, 5))
    torch.testing.assert_close(large.critic(x), small.critic(means), rtol=1e-4, atol=1e-6)
    assert small.critic(means).std() > 1e-3


def test_half_way_both_are_mixed(grown: tuple[State, State]) -> None:
    small, large = grown
    z = numbers(3, 6)
    outputs = {}
    for seen in (0, 500, 1000):
        fade(large.generator, seen)
        outputs[seen] = large.generator(z)
    fade(large.generator, 250)
    torch.testing.assert_close(large.generator.fade, torch.tensor(0.25))
    assert not torch.allclose(outputs[500], outputs[0], atol=1e-3)
    assert not torch.allclose(outputs[500], outputs[1000], atol=1e-3)
    fade(large.generator, 10**9)
    assert large.generator.fade == 1
    fade(small.generator, 5)  # nothing to fade
    assert "fade" not in small.generator.state_dict()


def test_in_the_end_it_is_the_plain_network(grown: tuple[State, State]) -> None:
    """And a plain network of the same size takes its weights, without what was there for fading."""
    large = grown[1]
    fade(large.generator, 1000)
    fade(large.critic, 1000)
    more = {"norm": "batch", "norm_first": True, "minibatch_stddev": "batch"}
    plain = state(FISH64, LARGE, 3, **more)
    initialize_from(plain, weights_of(large), ())
    assert large.generator.state_dict().keys() - plain.generator.state_dict().keys() == {
        "fade", "old_picture.conv.weight", "old_picture.conv.bias",
    }  # fmt: skip
    z, x = numbers(3, 6), numbers(3, 3, 64, 64).tanh()
    assert torch.equal(plain.generator.eval()(z), large.generator(z))
    assert torch.equal(plain.critic.eval()(x), large.critic(x))


def test_weights_are_inherited_by_name(grown: tuple[State, State]) -> None:
    small, large = (network.state_dict() for network in (grown[0].critic, grown[1].critic))
    heirs = {"old_first": 0, "layers.2": 1, "layers.4": 2, "layers.5": 3, "layers.6": 4, "layers.7": 5}
    for here, there in heirs.items():
        for name in ("conv.weight", "conv.bias", "norm.weight", "norm.running_mean", "norm.running_var"):
            assert torch.equal(large[f"{here}.{name}"], small[f"layers.{there}.{name}"])
    assert torch.equal(large["score.weight"], small["score.weight"])
    for new in (0, 1, 3):
        assert not any(large[f"layers.{new}.conv.bias"].equal(t) for t in small.values())


def test_a_grown_critic_with_one_layer_more_follows_the_generator() -> None:
    """One layer halves in place of the first: as many layers as before, so that their number says nothing."""
    grow = StackCritic(layers=[down(4, grown=True), down(4)], fade_images=100)
    small = StackCritic(layers=[down(4, stride=1), down(4)])
    generators = [
        StackGenerator(base=(8, 8, 4), latent_dim=6, layers=layers, fade_images=100)
        for layers in ([up(4), up()], [up(4), up(4, upsample=True, grown=True), up()])
    ]
    one = State(Config(generator=generators[0], critic=small), ImageSpec(8, 8, 3), 0, CPU)
    two = State(Config(generator=generators[1], critic=grow), ImageSpec(16, 16, 3), 0, CPU)
    initialize_from(two, weights_of(one), ())
    x = numbers(2, 3, 16, 16)
    torch.testing.assert_close(two.critic(x), one.critic(nn.functional.avg_pool2d(x, 2)))
    again = State(Config(generator=generators[1], critic=grow, train={"seed": 3}), ImageSpec(16, 16, 3), 0, CPU)  # type: ignore[arg-type]
    initialize_from(again, weights_of(two), ())
    assert torch.equal(again.critic.layers[0].conv.weight, two.critic.layers[0].conv.weight)


def test_a_grown_generator_survives_a_file(grown: tuple[State, State], tmp_path: Path) -> None:
    network, path = grown[1].generator, tmp_path / "generator.safetensors"
    fade(network, 250)
    card = Card(LARGE, with_init(FISH64[0], fade_images=1000), "wgan-gp", (), 250)
    write_generator(path, network, card)
    again, read = read_generator(path)
    assert read == card
    z = numbers(2, 6)
    again = again.to(memory_format=torch.channels_last)  # as in training: some processors round otherwise in another
    assert torch.equal(again(z), network(z))
    assert again.fade == 0.25


@pytest.mark.parametrize(
    ("layers", "where"),
    [
        ([up(4), up(6, grown=True), up(upsample=True)], "generator.layers.2"),  # the image's layer enlarges
        ([up(4), up(6, grown=True), up(4, upsample=True), up()], "generator.layers.1"),  # another width
        ([up(4), up(4, upsample=True, grown=True), up(4), up()], "generator.layers.2"),  # an old layer behind new ones
        ([up(4, upsample=True), up(grown=True)], "generator.layers.1"),
    ],
)
def test_generators_that_cannot_fade(layers: list[Any], where: str) -> None:
    config = StackGenerator(base=(8, 8, 4), latent_dim=4, layers=layers)
    spec = ImageSpec(16, 16, 3)
    build_generator(config, spec)
    with pytest.raises(ConfigError) as caught:
        build_generator(config.model_copy(update={"fade_images": 10}), spec)
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("layers", "size", "where"),
    [
        ([down(4, 4, 4, grown=True), down(4)], 16, "critic.layers.0"),
        ([down(4, 3, 1, grown=True), down(4)], 16, "critic.layers.0"),  # does not halve
        ([down(4, grown=True), down(4)], 17, "critic.layers.0"),
        ([down(4), down(4, grown=True)], 16, "critic.layers.1"),
        ([down(4), down(6, 3, 1, grown=True)], 16, "critic.layers.1"),
    ],
)
def test_critics_that_cannot_fade(layers: list[Any], size: int, where: str) -> None:
    config, spec = StackCritic(layers=layers), ImageSpec(size, size, 3)
    build_critic(config, spec)
    with pytest.raises(ConfigError) as caught:
        build_critic(config.model_copy(update={"fade_images": 10}), spec)
    assert caught.value.where == where
