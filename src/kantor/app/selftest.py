"""Proofs of the maths on this device: each compares a function that training uses with its closed form."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kantor.config.io import resolve
from kantor.config.networks import ChannelsCritic, CriticConfig, DcganCritic, ResnetCritic, UpsamplingCritic
from kantor.config.objective import InterpolatesProbe, PerturbedProbe, SquaredDrift, WeightClipping
from kantor.config.optimizer import AdamConfig
from kantor.config.schema import Config
from kantor.config.training import EmaConfig
from kantor.engine import ema, optimizers
from kantor.export.weights import Card, read_generator, write_generator
from kantor.metrics.extractors import extractor
from kantor.metrics.features import resized
from kantor.metrics.frechet import frechet
from kantor.metrics.kernel import kid
from kantor.metrics.mind import mind
from kantor.metrics.precision_recall import neighbourhoods
from kantor.metrics.transport import exact_w2
from kantor.nets import build_critic, build_generator
from kantor.nets.layers import MinibatchStddev
from kantor.objectives import losses, penalties
from kantor.objectives.constraints import clip_weights, drift
from kantor.objectives.objective import build_objective
from kantor.random import permute
from kantor.sample.latents import latents
from kantor.types import ImageSpec

SHAPE = (8, 3, 6, 5)  # several images, and no two sides equal
Errors = Iterator[tuple[str, float, float]]


@dataclass(frozen=True)
class Proof:
    """A statement with its measured error and the largest error allowed."""

    name: str
    error: float
    bound: float

    @property
    def holds(self) -> bool:
        return self.error <= self.bound  # false for NaN


def prove(device: torch.device) -> Iterator[Proof]:
    """Runs all proofs, one by one; one that raises has an infinite error."""
    for part in (_penalties, _losses, _second_derivatives, _updates, _layers, _numbers, _scores):
        try:
            for name, error, bound in part(device):
                yield Proof(name, error, bound)
        except Exception as error:
            yield Proof(f"{part.__name__.strip('_').replace('_', ' ')}: {type(error).__name__}: {error}", np.inf, 0.0)


def _random(device: torch.device, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def _error(actual: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest expected value if that is above 1."""
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    if actual.shape != expected.shape:
        raise ValueError(f"shape {list(actual.shape)} instead of {list(expected.shape)}")
    return float((actual - expected).abs().max() / max(1.0, float(expected.abs().max())))


def _penalties(device: torch.device) -> Errors:
    w, x = _random(device, *SHAPE[1:]), _random(device, *SHAPE, seed=1).requires_grad_()
    slope = penalties.input_gradient((x * w).flatten(1).sum(1), x)
    norm = w.double().norm()
    claim = "gradient penalty of a linear critic is (|w| - 1)^2 for each image"
    yield claim, _error(penalties.two_sided(slope), ((norm - 1) ** 2).expand(SHAPE[0])), 1e-5
    slope = penalties.input_gradient(x.flatten(1).square().sum(1) / 2, x)
    norms = x.detach().double().flatten(1).norm(dim=1)
    claim = "gradient penalty of |x|^2 / 2 is (|x| - 1)^2 for each image"
    yield claim, _error(penalties.two_sided(slope), (norms - 1) ** 2), 1e-5
    yield "R1 and R2 of |x|^2 / 2 are |x|^2", _error(penalties.zero_centred(slope), norms**2), 1e-5
    lengths = torch.linspace(0.5, 3, SHAPE[0], dtype=torch.float64)
    scaled = slope * (lengths / norms.cpu()).to(slope).view(-1, 1, 1, 1)
    claim = "the one-sided penalty is max(0, |gradient| - 1)^2"
    yield claim, _error(penalties.one_sided(scaled), (lengths - 1).relu() ** 2), 1e-5
    real, fake = x.detach(), _random(device, *SHAPE, seed=2)
    u = torch.linspace(0, 1, SHAPE[0], device=device)
    points = penalties.points(InterpolatesProbe(), real, fake, u)
    expected = torch.stack([u[i] * real[i] + (1 - u[i]) * fake[i] for i in range(SHAPE[0])])
    claim = "interpolates lie between real and generated images, at one position for each pair"
    yield claim, _error(points, expected), 1e-6
    noise = torch.rand(SHAPE, generator=torch.Generator().manual_seed(8)).to(device)
    actual = penalties.points(PerturbedProbe(std=0.5), real, fake, u, noise)
    spread = 0.5 * real.double().var(correction=0).sqrt()
    expected = torch.stack([real[i] + u[i] * spread * noise[i] for i in range(SHAPE[0])])
    claim = "perturbed points lie half a deviation of the batch away, at one position for each image"
    yield claim, _error(actual, expected), 1e-6


def _losses(device: torch.device) -> Errors:
    real, fake = _random(device, 64, seed=3), _random(device, 64, seed=4)
    r, f = real.double().cpu(), fake.double().cpu()
    soft = nn.functional.softplus
    closed = {
        "Wasserstein loss of the critic": (losses.wasserstein_critic(real, fake), f - r),
        "Wasserstein and hinge loss of the generator": (losses.wasserstein_generator(real, fake), -f),
        "non-saturating loss of the critic": (losses.non_saturating_critic(real, fake), soft(-r) + soft(f)),
        "non-saturating loss of the generator": (losses.non_saturating_generator(real, fake), soft(-f)),
        "least-squares loss of the critic": (losses.least_squares_critic(real, fake), ((r - 1) ** 2 + f**2) / 2),
        "least-squares loss of the generator": (losses.least_squares_generator(real, fake), (f - 1) ** 2 / 2),
        "hinge loss of the critic": (losses.hinge_critic(real, fake), (1 - r).relu() + (1 + f).relu()),
        "relativistic loss of the critic": (losses.relativistic_critic(real, fake), soft(f - r)),
        "relativistic loss of the generator": (losses.relativistic_generator(real, fake), soft(r - f)),
        "drift": (drift(SquaredDrift(weight=0.001), real, fake), 0.001 * r**2),
    }
    for name, (actual, expected) in closed.items():
        yield f"{name} equals its formula", _error(actual, expected), 1e-6
    kinds = ("dcgan", "wgan", "wgan-gp", "wgan-lp", "dragan", "lsgan", "hinge", "relativistic")
    wrong = 0
    for kind in kinds:
        objective = build_objective(resolve(overrides={"objective.kind": kind}).objective)
        near = 0.5 * torch.ones(4, device=device)
        up = objective.critic(near + 0.1, near - 0.6).mean() < objective.critic(near, near - 0.6).mean()
        better = objective.generator(near, near - 0.5).mean() < objective.generator(near, near - 0.6).mean()
        wrong += not (up and better)
    claim = "the critic raises real scores, the generator raises those of generated images"
    yield f"all {len(kinds)} objectives: {claim}", wrong, 0.0


def _second_derivatives(device: torch.device) -> Errors:
    """The penalty's gradient with respect to weights, compared with finite differences, in float64 on the CPU."""
    spec = ImageSpec(8, 8, 1)
    critics: dict[str, CriticConfig] = {
        "dcgan": DcganCritic(width=4, max_width=8, init="he"),
        "dcgan with layer norm": DcganCritic(width=4, max_width=8, init="he", norm="layer"),
        "upsampling with minibatch stddev": UpsamplingCritic(width=4, max_width=8, minibatch_stddev="batch"),
        "resnet with layer norm": ResnetCritic(width=4, max_width=8),
        "channels": ChannelsCritic(width=4, max_width=8),
    }
    for name, config in critics.items():
        critic = build_critic(config, spec, 0, 1).double()
        x = _random(torch.device("cpu"), 4, 1, 8, 8, seed=5).double().requires_grad_()

        def penalty(critic: nn.Module = critic, x: Tensor = x) -> Tensor:
            return penalties.two_sided(penalties.input_gradient(critic(x), x)).mean()

        weight = next(p for p in critic.parameters() if p.ndim == 4)
        (slope,) = torch.autograd.grad(penalty(), weight)
        direction, step = torch.sign(slope), 1e-6
        weight.data += step * direction
        above = penalty().item()
        weight.data -= 2 * step * direction
        actual, expected = float((slope * direction).sum()), (above - penalty().item()) / (2 * step)
        claim = f"second derivative of the critic {name} equals finite differences"
        yield claim, abs(actual - expected) / abs(expected), 1e-4


def _updates(device: torch.device) -> Errors:
    layer = nn.Conv2d(3, 5, 3).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = layer.weight.detach().clone()
    optimizer = optimizers.build_optimizer(AdamConfig(lr=0.01, betas=(0.0, 0.9)), layer)
    gradients = [_random(device, *p.shape, seed=6).contiguous() for p in layer.parameters()]
    optimizers.set_rate(optimizer, 0.01)
    optimizers.apply(optimizer, gradients)
    claim = "the first step of Adam moves each weight by the learning rate, against the sign of its gradient"
    yield claim, _error(before - layer.weight, 0.01 * torch.sign(gradients[0])), 1e-6
    clip_weights(WeightClipping(bound=0.05), list(layer.parameters()))
    largest = max(float(p.detach().abs().max()) for p in layer.parameters())
    yield "weight clipping keeps all weights within the bound", max(0.0, largest - 0.05), 1e-8
    half = ema.decay(EmaConfig(half_life_images=1000, warmup=0), 1000, 5000)
    yield "after a half-life, an old weight of the EMA counts half", abs(half - 0.5), 1e-12
    old, new = nn.Linear(3, 2).to(device), nn.Linear(3, 2).to(device)
    expected = 0.25 * old.weight.detach() + 0.75 * new.weight.detach()
    ema.update(old, new, 0.25)
    yield "the EMA moves by one minus its decay", _error(old.weight, expected), 1e-6


def _layers(device: torch.device) -> Errors:
    x = _random(device, 6, 3, 2, 5, seed=7)
    spread = x.double().cpu().var(dim=0, correction=0).add(1e-8).sqrt().mean()
    actual = MinibatchStddev("batch")(x)[:, 3]
    claim = "minibatch stddev is the mean of the standard deviations over the batch"
    yield claim, _error(actual, spread.expand(6, 2, 5)), 1e-6
    parts = [x[i::2].double().cpu().var(dim=0, correction=0).add(1e-8).sqrt().mean() for i in (0, 1)]
    expected = torch.stack([parts[i % 2] for i in range(6)]).view(6, 1, 1).expand(6, 2, 5)
    claim = "minibatch stddev of groups of three has a value for each group"
    yield claim, _error(MinibatchStddev(3)(x)[:, 3], expected), 1e-6


def _numbers(device: torch.device) -> Errors:
    z = latents(range(20_000), 8)
    claim = "latents have mean 0 and standard deviation 1 (20,000 seeds, 8 dimensions)"
    yield claim, max(abs(float(z.mean())), abs(float(z.std()) - 1)), 0.02
    alone = np.abs(latents([17], 8)[0] - z[17]).max()
    yield "a seed has the same latent alone and in a list", float(alone), 0.0
    shuffled = np.sort(permute(np.arange(10_007), 10_007, seed=3))
    yield "the order of data contains each image once", float(np.abs(shuffled - np.arange(10_007)).max()), 0.0
    config, spec = Config().generator.model_copy(update={"width": 4}), ImageSpec(16, 16, 3)
    network = build_generator(config, spec, 0, 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.safetensors"
        write_generator(path, network, Card(spec, config, "wgan-gp", (), 0))
        again, _ = read_generator(path)
    pairs = zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    yield "a model is the same after saving and loading", max(_error(a, b) for a, b in pairs), 0.0


def _scores(device: torch.device) -> Errors:
    x = _random(torch.device("cpu"), 300, 6, seed=8).double()
    expected = float(x.mean(0).square().sum() + x.var(0).sum())
    claim = "the Fréchet distance of features x and 2x equals its closed form"
    yield claim, abs(frechet(2 * x, x, replicates=1)[0] / expected - 1), 1e-9
    yield "the Fréchet distance of features to themselves is 0", frechet(x, x, replicates=1)[0], 1e-6
    kernel = (x @ x.T / 6 + 1) ** 3
    among = (kernel.sum() - kernel.trace()) / (300 * 299)
    claim = "KID equals its sum over pairs of images"
    yield claim, abs(kid(x, x, replicates=1)[0] - float(2 * among - 2 * kernel.mean())), 1e-4
    shift = torch.tensor([3.0, 0, 0, 4.0, 0, 0], dtype=torch.float64)
    moved = exact_w2(x[:100].numpy(), (x[:100] + shift).numpy())[0]
    yield "the Wasserstein distance of points to the same points shifted by 5 is 5", abs(moved - 5), 1e-9
    yield "MIND of features shifted by 5 is 3 x 5^2", abs(mind(x, x + shift, directions=1002)[0] / 75 - 1), 1e-9
    same = neighbourhoods(x, x)
    claim = "precision, recall and coverage of features with themselves are 1"
    yield claim, 3 - float(same.precision.mean() + same.recall.mean() + same.coverage.mean()), 0.0
    stripes = torch.zeros(1, 1, 64, 64, device=device)
    stripes[..., ::2] = 255
    claim = "stripes finer than a pixel are resized to grey"
    yield claim, float((resized(stripes, 16, 16)[..., 2:-2] - 127.5).abs().max()), 3.0
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), np.uint8)
    network = extractor("kantor-small", device)
    claim = "an image has the same features alone and in a batch"
    yield claim, _error(network(images[66:67]).features, network(images).features[66:67]), 0.0
