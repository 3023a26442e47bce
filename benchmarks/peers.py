"""WGAN-GP as others train it: the plain published loop, and peers from their own source, on the same two networks.

Every peer gets images that are float and in memory already; ours reads bytes from its packed set. What the peers
import of torchvision is not used by their steps, and an empty module stands in for it.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

LATENT, CRITIC_STEPS, WEIGHT = 100, 5, 10.0
Cycle = Callable[[Tensor], None]


def generator(width: int, size: int = 64, channels: int = 3) -> nn.Module:
    """DCGAN at `size` x `size`, a power of two, of torch's own layers."""
    layers: list[nn.Module] = [nn.Unflatten(1, (LATENT, 1, 1))]
    widths = [LATENT, *reversed(_widths(width, size))]
    for i in range(len(widths) - 1):
        stride, padding = (1, 0) if i == 0 else (2, 1)
        layers += [
            nn.ConvTranspose2d(widths[i], widths[i + 1], 4, stride, padding),
            nn.BatchNorm2d(widths[i + 1]),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1), nn.Tanh())


def critic(width: int, size: int = 64, channels: int = 3) -> nn.Module:
    layers: list[nn.Module] = []
    widths = [channels, *_widths(width, size)]
    for i in range(len(widths) - 1):
        layers += [nn.Conv2d(widths[i], widths[i + 1], 4, 2, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4), nn.Flatten(0))


def _widths(width: int, size: int) -> list[int]:
    """Channels of the critic's layers, the last of which is 4x4."""
    return [width << i for i in range(size.bit_length() - 3)]


def adam(network: nn.Module, lr: float = 1e-4, betas: tuple[float, float] = (0.0, 0.9)) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr, betas)


def plain(width: int, device: torch.device, precision: str) -> Cycle:
    """The loop on these networks, which shows one batch to all critic steps of a cycle."""
    g, d = generator(width).to(device), critic(width).to(device)
    loop = wgan_gp(g, d, adam(g), adam(d), device, precision)
    return lambda real: loop(lambda: real)


def wgan_gp(
    g: nn.Module,
    d: nn.Module,
    g_adam: torch.optim.Optimizer,
    d_adam: torch.optim.Optimizer,
    device: torch.device,
    precision: str,
    critic_steps: int = CRITIC_STEPS,
) -> Callable[[Callable[[], Tensor]], None]:
    """Algorithm 1 of Gulrajani et al. 2017 written down as it stands, under autocast for bfloat16.

    Returns a cycle, which takes a function that gives the next real images.
    """

    def autocast() -> Any:
        return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")

    def cycle(next_real: Callable[[], Tensor]) -> None:
        for _ in range(critic_steps):
            real = next_real()
            count = len(real)
            d_adam.zero_grad()
            with autocast():
                with torch.no_grad():
                    fake = g(torch.randn(count, LATENT, device=device)).float()
                loss = d(fake).float().mean() - d(real).float().mean()
                alpha = torch.rand(count, 1, 1, 1, device=device)
                points = (alpha * real + (1 - alpha) * fake).requires_grad_()
                (slope,) = torch.autograd.grad(d(points).float().sum(), points, create_graph=True)
            loss = loss + WEIGHT * ((slope.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
            loss.backward()
            d_adam.step()
        g_adam.zero_grad()
        with autocast():
            loss = -d(g(torch.randn(count, LATENT, device=device))).float().mean()
        loss.backward()
        g_adam.step()

    return cycle


def emilien_dupont(path: Path, width: int, device: torch.device) -> Cycle:
    """The trainer of EmilienDupont/wgan-gp; `.data[0]`, which torch has removed, is read as `.item()`."""
    stand_in()
    sys.modules.setdefault("imageio", types.ModuleType("imageio"))
    module = types.ModuleType("emilien_dupont")
    exec((path / "training.py").read_text().replace(".data[0]", ".item()"), module.__dict__)
    g, d = generator(width), critic(width)
    g.sample_latent = lambda count: torch.randn(count, LATENT)  # type: ignore[assignment]
    trainer = module.Trainer(g, d, adam(g), adam(d), WEIGHT, CRITIC_STEPS, use_cuda=device.type == "cuda")

    def cycle(real: Tensor) -> None:
        for _ in range(CRITIC_STEPS):
            trainer._critic_train_iteration(real)
        trainer._generator_train_iteration(real)

    return cycle


def mimicry(path: Path, width: int, device: torch.device) -> Cycle:
    """The steps of torch-mimicry's WGAN-GP, with its penalty."""
    stand_in()
    sys.path.insert(0, str(path))
    for name in ("metrics", "datasets", "training"):  # which need TensorFlow and more; steps do not
        sys.modules[f"torch_mimicry.{name}"] = types.ModuleType(f"torch_mimicry.{name}")
    from torch_mimicry.nets.wgan_gp import wgan_gp_base as base

    class Generator(base.WGANGPBaseGenerator):
        def __init__(self) -> None:
            super().__init__(nz=LATENT, ngf=width, bottom_width=4)
            self.layers = generator(width)

        def forward(self, z: Tensor) -> Tensor:
            return self.layers(z)

    class Critic(base.WGANGPBaseDiscriminator):
        def __init__(self) -> None:
            super().__init__(ndf=width, gp_scale=WEIGHT)
            self.layers = critic(width)

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x)

    g, d = Generator().to(device), Critic().to(device)
    g_adam, d_adam = adam(g), adam(d)
    log = types.SimpleNamespace(add_metric=lambda name, value, group=None: float(value))  # as theirs: it reads each

    def cycle(real: Tensor) -> None:
        for _ in range(CRITIC_STEPS):
            d.train_step(real_batch=(real, None), netG=g, optD=d_adam, log_data=log, device=device)
        g.train_step(real_batch=(real, None), netD=d, optG=g_adam, log_data=log, device=device)

    return cycle


def torchgan(path: Path, width: int, device: torch.device) -> Cycle:
    """The losses of torchgan with their steps. Its penalty is an optimiser step of its own."""
    stand_in()
    sys.path.insert(0, str(path))
    for name in ("metrics", "logging", "trainer"):
        sys.modules[f"torchgan.{name}"] = types.ModuleType(f"torchgan.{name}")
    from torchgan.losses import WassersteinDiscriminatorLoss, WassersteinGeneratorLoss, WassersteinGradientPenalty

    g, d = generator(width).to(device), critic(width).to(device)
    g.label_type = d.label_type = "none"  # type: ignore[assignment]
    g.encoding_dims = LATENT  # type: ignore[assignment]
    g_adam, d_adam = adam(g), adam(d)
    on_critic, on_generator = (
        [WassersteinDiscriminatorLoss(), WassersteinGradientPenalty(lambd=WEIGHT)],
        WassersteinGeneratorLoss(),
    )

    def cycle(real: Tensor) -> None:
        for _ in range(CRITIC_STEPS):
            for loss in on_critic:
                loss.train_ops(g, d, d_adam, real, device)
        on_generator.train_ops(g, d, g_adam, device, len(real))

    return cycle


def keras(path: Path, width: int, device: torch.device) -> Cycle:
    """The model of keras.io's example of WGAN-GP (its class and its two losses), as a graph, which is what `fit` runs.

    Needs TensorFlow, and the example's source as FOLDER/wgan_gp.py; of it the definitions are used, not the training of
    Fashion-MNIST. Images are channels-last, as Keras has them; kernels of 4 and "same" padding are those of torch's
    layers with a padding of 1.
    """
    import ast

    import tensorflow as tf
    from tensorflow.keras import Model, Sequential, layers, optimizers

    wanted = {"WGAN", "discriminator_loss", "generator_loss"}
    parsed = ast.parse((path / "wgan_gp.py").read_text())
    parsed.body = [node for node in parsed.body if getattr(node, "name", None) in wanted]
    theirs: dict[str, Any] = {"tf": tf, "keras": tf.keras}
    exec(compile(parsed, "wgan_gp.py", "exec"), theirs)

    g = Sequential([layers.Input((LATENT,)), layers.Reshape((1, 1, LATENT))])
    for i, channels in enumerate((8 * width, 4 * width, 2 * width, width)):
        stride, padding = (1, "valid") if i == 0 else (2, "same")
        g.add(layers.Conv2DTranspose(channels, 4, stride, padding))
        g.add(layers.BatchNormalization())
        g.add(layers.ReLU())
    g.add(layers.Conv2DTranspose(3, 4, 2, "same", activation="tanh"))
    d = Sequential([layers.Input((64, 64, 3))])
    for channels in (width, 2 * width, 4 * width, 8 * width):
        d.add(layers.Conv2D(channels, 4, 2, "same"))
        d.add(layers.LeakyReLU(negative_slope=0.2))
    d.add(layers.Conv2D(1, 4))
    d.add(layers.Flatten())
    model: Model = theirs["WGAN"](d, g, LATENT, CRITIC_STEPS, WEIGHT)
    adams = [optimizers.Adam(1e-4, 0.0, 0.9) for _ in range(2)]
    model.compile(*adams, theirs["discriminator_loss"], theirs["generator_loss"])
    assert g.count_params() == _numbers(generator(width)) and d.count_params() == _numbers(critic(width))
    step = tf.function(model.train_step)
    images: list[Any] = []

    def cycle(real: Tensor) -> None:
        if not images:
            images.append(tf.constant(real.permute(0, 2, 3, 1).numpy()))
        float(step(images[0])["g_loss"])  # waits for it

    return cycle


def _numbers(network: nn.Module) -> int:
    """Weights, and the running statistics that Keras counts with them."""
    return sum(t.numel() for t in network.state_dict().values() if t.is_floating_point())


def stand_in() -> None:
    """For what they import of torchvision."""
    names = ("torchvision", "torchvision.utils", "torchvision.models")
    for name in names:
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["torchvision"].utils = sys.modules["torchvision.utils"]  # type: ignore[attr-defined]
    sys.modules["torchvision.utils"].make_grid = None  # type: ignore[attr-defined]


PEERS: dict[str, Callable[[Path, int, torch.device], Cycle]] = {
    "EmilienDupont/wgan-gp": emilien_dupont,
    "torch-mimicry": mimicry,
    "torchgan": torchgan,
    "keras": keras,
}
