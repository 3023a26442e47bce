"""Networks: one set of questions asked of every kind, size, number of channels, norm and label."""

from __future__ import annotations

import io
import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from kantor.config.networks import (
    ChannelsCritic,
    ChannelsGenerator,
    DcganCritic,
    DcganGenerator,
    ResnetCritic,
    ResnetGenerator,
    UpsamplingCritic,
    UpsamplingGenerator,
)
from kantor.config.schema import Config
from kantor.errors import ConfigError
from kantor.nets import CRITICS, GENERATORS, build_critic, build_generator
from kantor.nets.layers import Dropout, reseed_dropout
from kantor.types import ImageSpec
from support.network_rules import bends, check_registry_rules, numbers, others_change, parameters

CONFIGS = {
    "dcgan": (DcganGenerator, DcganCritic),
    "upsampling": (UpsamplingGenerator, UpsamplingCritic),
    "resnet": (ResnetGenerator, ResnetCritic),
    "channels": (ChannelsGenerator, ChannelsCritic),
}
OPTIONS = [
    {"minibatch_stddev": "batch"},
    {"minibatch_stddev": 2, "norm": "layer"},
    {"equalised": True},
    {"dropout": 0.3},
    {"dropout": 0.3, "minibatch_stddev": 4, "equalised": True},
]
RESNET_OPTIONS = [
    {"first": "block"},
    {"first": "block", "halvings": 2, "flat_blocks": 2, "head": "mean", "norm": "none"},
    {"halvings": 1, "head": "mean", "minibatch_stddev": "batch"},
]
SPECS = [
    ImageSpec(8, 8, 1),
    ImageSpec(8, 8, 3),
    ImageSpec(9, 16, 4),
    ImageSpec(15, 8, 3),
    ImageSpec(28, 28, 1),
    ImageSpec(27, 33, 3),
    ImageSpec(27, 33, 4),
    ImageSpec(48, 96, 3),
    ImageSpec(64, 64, 3),
    ImageSpec(8, 130, 1),
]
GENERATOR_CASES = list(itertools.product(CONFIGS, SPECS, ("batch", "pixel", "none"), (0, 3)))
CRITIC_CASES = list(itertools.product(CONFIGS, SPECS, ("batch", "layer", "none"), (0, 3)))
LABELS = torch.tensor([2, 0, 1])
LATENT = 5


def named(case: tuple[str, ImageSpec, str, int]) -> str:
    kind, spec, norm, classes = case
    return f"{kind}-{spec.height}x{spec.width}x{spec.channels}-{norm}-{classes}"


def generator(case: tuple[str, ImageSpec, str, int], seed: int = 0, **more: object) -> nn.Module:
    kind, spec, norm, classes = case
    config = CONFIGS[kind][0](**{"width": 4, "max_width": 8, "latent_dim": LATENT, "norm": norm, **more})
    return build_generator(config, spec, classes, seed)


def critic(case: tuple[str, ImageSpec, str, int], seed: int = 0, **more: object) -> nn.Module:
    kind, spec, norm, classes = case
    return build_critic(CONFIGS[kind][1](**{"width": 4, "max_width": 8, "norm": norm, **more}), spec, classes, seed)


def test_every_kind_has_a_case() -> None:
    assert (
        set(CONFIGS) == set(GENERATORS) - {"stack", "unet", "upscale"} == set(CRITICS) - {"stack"}
    )  # stack, unet and upscale have their own files


@pytest.mark.parametrize("kind", GENERATORS)
def test_the_documentation_counts_parameters(kind: str) -> None:
    """Of colour images of 32x32, with every field at its default."""
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{kind}` |")]
    parts, spec = ["generator", "critic"][: 2 if kind in CRITICS else 1], ImageSpec(32, 32, 3)
    config = Config.model_validate({part: {"kind": kind} for part in parts})
    condition = {"unet": 1, "upscale": 3}.get(kind, 0)
    counts = [parameters(build_generator(config.generator, spec, condition=condition))]
    if kind in CRITICS:
        counts.append(parameters(build_critic(config.critic, spec)))
    assert row.split(" | ")[3] == " and ".join(f"{count:,}" for count in counts)


@pytest.mark.parametrize("case", GENERATOR_CASES, ids=named)
def test_generator(case: tuple[str, ImageSpec, str, int]) -> None:
    _, spec, norm, classes = case
    z, labels = numbers(3, LATENT), LABELS if classes else None
    network = generator(case, init="he")
    images = network(z, labels)
    assert images.shape == (3, spec.channels, spec.height, spec.width)
    assert images.abs().max() <= 1
    assert images.flatten(1).std(dim=1).min() > 1e-3
    assert (network(100 * z, labels).abs() <= 1).all()
    check_registry_rules(lambda seed: generator(case, seed, init="he"), z, labels)
    assert network.traits.normalisation == norm
    assert others_change(network, z, labels) == network.traits.mixes_batch == (norm == "batch")
    if classes:
        assert not torch.allclose(network(z, labels), network(z, (LABELS + 1) % 3), atol=1e-4)


@pytest.mark.parametrize("case", CRITIC_CASES, ids=named)
def test_critic(case: tuple[str, ImageSpec, str, int]) -> None:
    _, spec, norm, classes = case
    x, labels = numbers(3, spec.channels, spec.height, spec.width).tanh(), LABELS if classes else None
    network = critic(case, init="he")
    assert network(x, labels).shape == (3,)
    check_registry_rules(lambda seed: critic(case, seed, init="he"), x, labels)
    norms = [m for m in network.modules() if type(m).__name__ in ("BatchNorm2d", "LayerNorm")]
    norm = norm if norms else "none"  # a critic of small images has no layer between its first and its last
    assert norms or (case[0] == "dcgan" and max(spec[:2]) <= 15) or case[2] == "none"
    assert network.traits.normalisation == norm
    assert others_change(network, x, labels) == network.traits.mixes_batch == (norm == "batch")
    if classes:
        assert not torch.allclose(network(x, labels), network(x, (LABELS + 1) % 3), atol=1e-4)
    points = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(network(points, labels).sum(), points, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    moved = torch.autograd.grad(penalty, list(network.parameters()), allow_unused=True)
    kernels = [g for p, g in zip(network.parameters(), moved, strict=True) if p.ndim == 4]
    assert all(g is not None and torch.isfinite(g).all() and g.abs().max() > 0 for g in kernels)
    if norm != "batch":  # in evaluation mode batch norm bends nothing, and in training it has the batch to bend with
        assert bends(network, x, labels) == (norm != "none" or case[0] == "channels")  # whose blocks weigh channels


@pytest.mark.parametrize("spec", [ImageSpec(15, 8, 3), ImageSpec(32, 32, 1)], ids=str)
@pytest.mark.parametrize(
    ("kind", "options"), [*itertools.product(CONFIGS, OPTIONS), *(("resnet", o) for o in RESNET_OPTIONS)], ids=str
)
def test_critic_with_options(kind: str, options: dict[str, object], spec: ImageSpec) -> None:
    """The same questions of every option: 6 images, so that groups of 4 have to become groups of 3."""
    x = numbers(6, spec.channels, spec.height, spec.width).tanh()

    def make(seed: int) -> nn.Module:
        network = critic((kind, spec, "none", 0), seed, **{"init": "he", **options})
        reseed_dropout(network, 7)
        return network

    check_registry_rules(lambda seed: make(seed).eval(), x, None)
    network = make(0)
    stddev = options.get("minibatch_stddev", "none")
    assert network.traits.mixes_batch == (stddev != "none")
    quiet = make(0)
    for layer in quiet.modules():
        if isinstance(layer, Dropout):
            layer.eval()
    quiet.eval()  # the masks of dropout differ from pass to pass, which is no mixing
    before, changed = quiet(x), x.clone()
    changed[0] = numbers(*x.shape[1:], seed=99)
    gap = (before - quiet(changed))[1:].abs().max()
    assert (gap > 1e-4 * before.abs().max()) == network.traits.mixes_batch
    points = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(network(points).sum(), points, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    moved = torch.autograd.grad(penalty, list(network.parameters()), allow_unused=True)
    kernels = [g for p, g in zip(network.parameters(), moved, strict=True) if p.ndim == 4]
    assert all(g is not None and torch.isfinite(g).all() and g.abs().max() > 0 for g in kernels)
    if stddev != "none":
        assert bends(quiet, x, None)


def conv_count(inputs: int, outputs: int, side: int = 3) -> int:
    return inputs * outputs * side * side + outputs


def test_resnet_has_the_papers_layers_at_64() -> None:
    """gan_64x64 of the paper's code, dim 64: widths 512-512-256-128-64 up, the same down; layer norm in the critic."""
    spec, widths = ImageSpec(64, 64, 3), [64, 128, 256, 512, 512]
    network = build_generator(ResnetGenerator(block_bias=False), spec)
    up = sum(
        conv_count(a, b) - b + conv_count(b, b) + conv_count(a, b, 1) + 2 * a + 2 * b  # the first has no bias
        for a, b in itertools.pairwise(widths[::-1])
    )
    assert parameters(network) == 128 * 8192 + 8192 + up + 2 * 64 + conv_count(64, 3)
    down = sum(
        conv_count(a, a) - a + conv_count(a, b) + conv_count(a, b, 1) + 4 * a for a, b in itertools.pairwise(widths)
    )
    assert parameters(build_critic(ResnetCritic(block_bias=False), spec)) == conv_count(3, 64) + down + 4 * 4 * 512 + 1


def test_resnet_has_the_papers_layers_for_cifar() -> None:
    """128 channels throughout; a first block of its own, one more halving, two flat blocks, the mean, one number."""
    spec = ImageSpec(32, 32, 3)
    network = build_generator(ResnetGenerator(width=128, max_width=128), spec)
    block = 2 * conv_count(128, 128) + conv_count(128, 128, 1)
    assert parameters(network) == 128 * 2048 + 2048 + 3 * (block + 4 * 128) + 2 * 128 + conv_count(128, 3)
    forms = {"first": "block", "halvings": 2, "flat_blocks": 2, "head": "mean"}
    config = ResnetCritic(width=128, max_width=128, norm="none", **forms)
    critic_network = build_critic(config, spec)
    first = conv_count(3, 128) + conv_count(128, 128) + conv_count(3, 128, 1)
    assert parameters(critic_network) == first + block + 2 * 2 * conv_count(128, 128) + 128 + 1
    assert [b.size for b in critic_network.blocks] == [(8, 8), None, None]


@pytest.mark.parametrize(("channels", "count"), [(1, 3_575_617), (3, 3_577_667)])
def test_dcgan_generator_has_the_papers_size(channels: int, count: int) -> None:
    """Parameters of Oh-My-GAN's generator at 64x64, width 64 and 100 numbers in a latent."""
    network = build_generator(DcganGenerator(), ImageSpec(64, 64, channels))
    kernels = [m for m in network.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [k.out_channels for k in kernels] == [512, 256, 128, 64, channels]
    assert {k.kernel_size for k in kernels} == {(4, 4)}
    assert [k.stride for k in kernels[1:]] == [(2, 2)] * 4
    assert sum(p.numel() for p in network.parameters()) == count


def test_dcgan_critic_has_the_papers_layers() -> None:
    network = build_critic(DcganCritic(norm="batch"), ImageSpec(64, 64, 3))
    kernels = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [k.out_channels for k in kernels] == [64, 128, 256, 512, 1]
    assert {k.kernel_size for k in kernels} == {(4, 4)}
    assert [m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d)] == [128, 256, 512]


def test_dcgan_as_in_a_seed() -> None:
    """Twice the width up to 1024; no biases in the generator; with norm and leaky ReLU on the score, or without."""
    spec, wide = ImageSpec(64, 64, 3), {"width": 128, "max_width": 1024}
    network = build_generator(DcganGenerator(**wide, bias=False), spec)
    assert parameters(network) == 12_658_432
    assert all(layer.bias is None for layer in network.layers)
    assert parameters(build_critic(DcganCritic(**wide), spec)) == 11_034_497
    assert parameters(build_critic(DcganCritic(**wide, norm="batch"), spec)) == 11_038_081
    activated = build_critic(DcganCritic(**wide, norm="batch", activated_score=True, bare_first=True), spec)
    assert parameters(activated) == 11_038_083


@pytest.mark.parametrize(("channels", "count"), [(1, 2_764_481), (3, 2_766_529)])
def test_dcgan_critic_has_the_papers_size(channels: int, count: int) -> None:
    assert parameters(build_critic(DcganCritic(norm="batch"), ImageSpec(64, 64, channels))) == count


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("bare_first", [False, True])
@pytest.mark.parametrize("activated", [False, True])
def test_dcgan_critic_with_quirks_step_by_step(norm: str, bare_first: bool, activated: bool) -> None:
    config = DcganCritic(width=4, max_width=8, init="he", norm=norm, bare_first=bare_first, activated_score=activated)
    x, do = numbers(5, 3, 32, 32).tanh(), nn.functional
    network = build_critic(config, ImageSpec(32, 32, 3))
    y = do.conv2d(x, network.layers[0].weight, network.layers[0].bias, 2, 1)
    y = y if bare_first else do.leaky_relu(y, 0.2)
    for layer in network.layers[1:]:
        y = do.conv2d(y, layer.weight, layer.bias, 2, 1)
        y = do.batch_norm(y, None, None, training=True) if norm == "batch" else y
        y = do.leaky_relu(y, 0.2)
    y = do.conv2d(y, network.score.weight, network.score.bias)
    plain = y.flatten()
    if activated and norm == "batch":
        y = do.batch_norm(y, None, None, training=True)
    expected = (do.leaky_relu(y, 0.2) if activated else y).flatten()
    assert plain.min() < 0 < plain.max()
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)
    assert network.traits.mixes_batch == (norm == "batch")


def test_dcgan_critic_with_a_norm_on_the_score_alone() -> None:
    """Small images leave no layer between first and last, and the score's norm mixes the batch all the same."""
    network = build_critic(DcganCritic(norm="batch", activated_score=True), ImageSpec(8, 8, 1))
    assert network.traits.mixes_batch
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 1
    with pytest.raises(ConfigError, match="layer norm makes every score 0"):
        build_critic(DcganCritic(norm="layer", activated_score=True), ImageSpec(32, 32, 1))


@pytest.mark.parametrize("kind", CONFIGS)
def test_batch_norm_is_as_configured(kind: str) -> None:
    how = {"decay": 0.75, "scale": False, "eps": 0.01}
    case = (kind, ImageSpec(32, 32, 3), "batch", 0)
    for make in (generator, critic):
        norms = [m for m in make(case, batch_norm=how).modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms
        assert all((m.eps, m.momentum) == (0.01, 0.25) for m in norms)
        assert all([name for name, _ in m.named_parameters()] == ["bias"] for m in norms)
        plain = [m for m in make(case).modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(plain) == len(norms)
        assert all((m.eps, m.momentum) == (nn.BatchNorm2d(1).eps, nn.BatchNorm2d(1).momentum) for m in plain)
        assert parameters(make(case)) - parameters(make(case, batch_norm=how)) == sum(m.num_features for m in norms)


def test_upsampling_changes_size_without_kernels_of_even_side() -> None:
    network = build_generator(UpsamplingGenerator(width=4, latent_dim=LATENT), ImageSpec(32, 32, 3))
    assert network.sizes == [(4, 4), (8, 8), (16, 16), (32, 32)]
    kernels = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(k.in_channels, k.out_channels) for k in kernels] == [(16, 16), (16, 8), (8, 4), (4, 3)]
    assert {(k.kernel_size, k.stride, k.padding) for k in kernels} == {((3, 3), (1, 1), (1, 1))}
    assert not any(isinstance(m, nn.ConvTranspose2d) for m in network.modules())


@pytest.mark.parametrize("norm", ["batch", "pixel", "none"])
@pytest.mark.parametrize("classes", [0, 3])
def test_modulation_step_by_step(norm: str, classes: int) -> None:
    case = ("upsampling", ImageSpec(16, 16, 3), norm, classes)
    network = generator(case, init="he", modulation=True)
    z, labels = numbers(3, LATENT), LABELS if classes else None
    latent = network.latent(z, labels)
    numbers_of_layers = network.modulation.linear(latent)
    x, first = network.base(latent).view(3, -1, *network.sizes[0]), 0
    for rung in range(len(network.sizes)):
        if rung:
            grown = nn.functional.interpolate(x, scale_factor=2)
            x = network.layers[rung - 1](grown)
        count = x.shape[1]
        scale, shift = numbers_of_layers[:, first : first + 2 * count, None, None].split(count, dim=1)
        x = nn.functional.leaky_relu(network.norms[rung](x) * (1 + scale) + shift, 0.2)
        first += 2 * count
    assert first == numbers_of_layers.shape[1]
    torch.testing.assert_close(network(z, labels), torch.tanh(network.picture(x)), rtol=1e-4, atol=1e-5)
    check_registry_rules(lambda seed: generator(case, seed, init="he", modulation=True), z, labels)
    assert others_change(network, z, labels) == (norm == "batch")


def test_upsampling_doubles_pixels() -> None:
    """With kernels that copy their middle, a generator is nothing but nearest-neighbour upsampling."""
    network = build_generator(
        UpsamplingGenerator(width=4, max_width=4, latent_dim=4, norm="none"), ImageSpec(14, 10, 1)
    )
    assert network.sizes == [(7, 5), (14, 10)]
    state = network.state_dict()
    for value in state.values():
        value.zero_()
        if value.ndim == 4:
            value[0, 0, 1, 1] = 1
    state["base.weight"][:35, 0] = torch.linspace(0.1, 0.9, 35)
    network.load_state_dict(state)
    small = torch.linspace(0.1, 0.9, 35).view(7, 5)
    large = small.repeat_interleave(2, 0).repeat_interleave(2, 1)
    z = torch.tensor([[1.0, 0, 0, 0]])
    torch.testing.assert_close(network(z)[0, 0], torch.tanh(large))


def strided_fans(module: nn.Conv2d | nn.ConvTranspose2d) -> float:
    """Inputs and outputs that meet, as the code of WGAN-GP counts them: a stride thins one of the two."""
    kernel, area = module.kernel_size[0] * module.kernel_size[1], module.stride[0] * module.stride[1]
    fans = {"in": module.in_channels * kernel / module.groups, "out": module.out_channels * kernel / module.groups}
    fans["in" if isinstance(module, nn.ConvTranspose2d) else "out"] /= area
    return sum(fans.values())


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("init", ["normal", "truncated-normal", "he", "glorot", "tflib"])
def test_initial_weights(kind: str, init: str) -> None:
    """Deviations as the papers have them, within 5 standard errors, and the largest weight. Biases are zero."""
    spec = ImageSpec(16, 16, 3)
    networks = [
        generator((kind, spec, "batch", 3), width=32, max_width=64, latent_dim=64, init=init),
        critic((kind, spec, "batch", 3), width=32, max_width=64, init=init),
    ]
    for network in networks:
        for name, module in network.named_modules():
            if not isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                continue
            weight = module.weight
            fan_in = weight[0].numel()
            if isinstance(module, nn.ConvTranspose2d):  # of k x k inputs, one in stride x stride meets an output
                overlap = 16 / 4 if module.stride == (2, 2) else 1
                fan_in = weight.shape[0] * overlap
            groups = 1 if isinstance(module, nn.Linear) else module.groups
            fans = (weight.shape[0] / groups + weight.shape[1]) * weight[0, 0].numel()
            expected = {
                "normal": 0.02,
                "truncated-normal": 0.02 * 0.87962566,  # of a normal cut at two deviations
                "he": math.sqrt(2 / fan_in),
                "glorot": math.sqrt(2 / fans),  # of a uniform in +-sqrt(6 / fans)
                "tflib": math.sqrt(2 / fans if isinstance(module, nn.Linear) else 4 / strided_fans(module)),
            }[init]
            bound = {"truncated-normal": 0.04, "glorot": math.sqrt(6 / fans), "tflib": math.sqrt(3) * expected}.get(
                init
            )
            assert bound is None or 0.9 * bound < weight.abs().max() <= bound * 1.0001 or weight.numel() < 100
            assert abs(weight.std().item() / expected - 1) < 5 / math.sqrt(2 * weight.numel()), name
            assert abs(weight.mean().item()) < 5 * expected / math.sqrt(weight.numel()), name
            assert module.bias is None or not module.bias.any(), name
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert (module.weight == 1).all()
                assert not module.bias.any()
            elif isinstance(module, nn.Embedding):
                # of the latent, and of the score
                expected = 1.0 if module in list(networks[0].modules()) else 0.02
                assert abs(module.weight.std().item() / expected - 1) < 5 / math.sqrt(2 * module.weight.numel())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", CONFIGS)
def test_generators_can_be_traced_and_saved(kind: str) -> None:
    network = build_generator(CONFIGS[kind][0](width=4, latent_dim=LATENT), ImageSpec(16, 16, 3)).eval()
    network.requires_grad_(False)
    z, saved = torch.randn(3, LATENT), io.BytesIO()
    torch.jit.save(torch.jit.trace(network, z), saved)
    saved.seek(0)
    torch.testing.assert_close(torch.jit.load(saved)(z), network(z))
