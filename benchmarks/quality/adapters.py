"""The plain loop and peers in PyTorch: each trains with its own code, networks and settings, which options can change.

`FOLDER` holds a peer's source as it comes from its repository or package. Of torchvision and other packages that training does
not use, an empty module stands in. Where old code is no longer valid Python or PyTorch, words are replaced, as listed here.
"""

from __future__ import annotations

import re
import sys
import tempfile
import textwrap
import time
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peers
import torch
from torch import Tensor, nn

CPU = torch.device("cpu")
AT_ONCE = 250


class Batches:
    """Endless shuffled batches of images in memory, float32 [N, C, H, W].

    Args:
        images: uint8 [n, H, W, C]; grey ones get three channels if `colour`.
        low: of the range of values, up to 1: -1 or 0.
    """

    def __init__(self, images: np.ndarray, batch: int, low: float = -1.0, colour: bool = False) -> None:
        if colour and images.shape[3] == 1:
            images = images.repeat(3, 3)
        if colour and images.shape[3] != 3:
            raise SystemExit("this peer has networks for three channels only")
        n, height, width, channels = images.shape
        self.images = torch.empty(n, channels, height, width)  # contiguous() keeps the order of one-channel images
        self.images.copy_(torch.from_numpy(images).permute(0, 3, 1, 2)).div_(255).mul_(1 - low).add_(low)
        self.size, self.channels, self.batch = self.images.shape[2], self.images.shape[1], batch
        self._rows = torch.empty(0, dtype=torch.int64)

    def __call__(self) -> Tensor:
        while len(self._rows) < self.batch:
            self._rows = torch.cat([self._rows, torch.randperm(len(self.images))])
        rows, self._rows = self._rows[: self.batch], self._rows[self.batch :]
        return self.images[rows]


@dataclass
class Trainer:
    """A contestant ready to train.

    Attributes:
        cycle: trains a little; returns how many real images the critic saw.
        latents: (count) -> input of the generator.
        low: of the range of its images, as in `Batches`.
        evaluates: switches the generator to evaluation for generating, as its code does; else batch norm uses the batch.
    """

    generator: nn.Module
    cycle: Callable[[], int]
    latents: Callable[[int], Tensor]
    low: float = -1.0
    evaluates: bool = False

    def take(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.generator.state_dict().items()}

    @torch.no_grad()
    def generate(self, weights: dict[str, Tensor], count: int, channels: int) -> np.ndarray:
        """uint8 [count, H, W, channels]. A grey dataset's three channels are averaged."""
        self.generator.load_state_dict(weights)
        self.generator.train(not self.evaluates)
        parts = []
        for _ in range(-(-count // AT_ONCE)):
            x = self.generator(self.latents(AT_ONCE)).float()
            x = x.mean(1, keepdim=True) if x.shape[1] != channels else x
            scaled = x.sub(self.low).div(1 - self.low).mul(255).round().clamp(0, 255)
            parts.append(scaled.to(torch.uint8).permute(0, 2, 3, 1).numpy())
        return np.concatenate(parts)[:count]


class Settings:
    """Options of a contestant, with defaults."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options, self._used = options, set[str]()

    def __call__(self, name: str, default: Any) -> Any:
        """A number, of the default's type."""
        self._used.add(name)
        return type(default)(self._options.get(name, default))

    def adam(self, network: nn.Module, lr: float, beta1: float, beta2: float) -> torch.optim.Optimizer:
        return peers.adam(network, self("lr", lr), (self("beta1", beta1), self("beta2", beta2)))

    def require_used(self) -> None:
        if unknown := self._options.keys() - self._used:
            raise SystemExit(
                f"unknown options: {', '.join(sorted(unknown))}; this contestant takes {sorted(self._used)}"
            )


def plain(images: np.ndarray, settings: Settings, _folder: Path | None) -> Trainer:
    """The loop of the paper: DCGAN with batch norm in the generator, Adam 1e-4 (0, 0.9), five critic steps, batch 64, float32."""
    batches, width = Batches(images, settings("batch", 64)), settings("width", 64)
    g, d = (make(width, batches.size, batches.channels) for make in (peers.generator, peers.critic))
    steps = settings("critic_steps", peers.CRITIC_STEPS)
    loop = peers.wgan_gp(g, d, *(settings.adam(n, 1e-4, 0.0, 0.9) for n in (g, d)), CPU, "float32", steps)

    def cycle() -> int:
        loop(batches)
        return steps * batches.batch

    return Trainer(g, cycle, lambda count: torch.randn(count, peers.LATENT))


def emilien_dupont(images: np.ndarray, settings: Settings, folder: Path) -> Trainer:
    """main.py for MNIST: its networks of width 16, Adam 1e-4 (0.9, 0.99), batch 64.

    `/` between sizes is `//` now, `.data[0]` is `.item()`.
    """
    peers.stand_in()
    sys.modules.setdefault("imageio", types.ModuleType("imageio"))
    code = types.ModuleType("emilien_dupont")
    exec((folder / "models.py").read_text().replace(" / 16", " // 16"), code.__dict__)
    exec((folder / "training.py").read_text().replace(".data[0]", ".item()"), code.__dict__)
    batches, width = Batches(images, settings("batch", 64), low=0.0), settings("width", 16)
    shape = (batches.size, batches.size, batches.channels)
    g, d = code.Generator(shape, 100, width), code.Discriminator(shape, width)
    trainer = code.Trainer(
        g, d, settings.adam(g, 1e-4, 0.9, 0.99), settings.adam(d, 1e-4, 0.9, 0.99), print_every=1 << 60
    )

    def cycle() -> int:
        for _ in range(trainer.critic_iterations):
            real = batches()
            trainer._critic_train_iteration(real)
        trainer._generator_train_iteration(real)
        return trainer.critic_iterations * batches.batch

    return Trainer(g, cycle, g.sample_latent, low=0.0)


def caogang(images: np.ndarray, settings: Settings, folder: Path) -> Trainer:
    """gan_cifar10.py: networks of width 128 at 32x32, Adam 1e-4 (0.5, 0.9), batch 64; the body of its loop, without its logs.

    Python 2's `xrange`, `.next()` and `/` of sizes are replaced; batch norm of a matrix is BatchNorm1d; `volatile` is gone.
    """
    text = (folder / "gan_cifar10.py").read_text().replace("xrange", "range").replace("gen.next()", "next(gen)")
    text = text.replace(", volatile=True", "").replace("nelement()/", "nelement()//")
    text = text.replace("nn.BatchNorm2d(4 * 4 * 4 * DIM)", "nn.BatchNorm1d(4 * 4 * 4 * DIM)")
    networks = text[text.index("class Generator") : text.index("netG = Generator()")]
    penalty = text[text.index("def calc_gradient_penalty") : text.index("# For generating samples")]
    body = text[text.index("    start_time = time.time()") : text.index("    # Write logs and save samples")]
    batches = Batches(images, settings("batch", 64), colour=True)
    if batches.size != 32:
        raise SystemExit("caogang/wgan-gp has networks for 32x32 only")

    def rows() -> Any:
        while True:
            yield batches().numpy()

    one = torch.tensor(1.0)
    code = {"torch": torch, "nn": nn, "autograd": torch.autograd, "time": time, "use_cuda": False, "one": one, "mone": -one,
            "DIM": settings("width", 128), "BATCH_SIZE": batches.batch, "CRITIC_ITERS": 5, "LAMBDA": 10, "gen": rows(),
            "preprocess": lambda item: torch.from_numpy(item).permute(2, 0, 1)}  # fmt: skip
    exec(networks + penalty, code)
    g, d = code["Generator"](), code["Discriminator"]()  # type: ignore[operator]
    code |= {"netG": g, "netD": d, "optimizerG": settings.adam(g, 1e-4, 0.5, 0.9)}
    code["optimizerD"] = settings.adam(d, 1e-4, 0.5, 0.9)
    once = compile(textwrap.dedent(body), "gan_cifar10.py", "exec")

    def cycle() -> int:
        exec(once, code)
        return 5 * batches.batch

    return Trainer(g, cycle, lambda count: torch.randn(count, 128))


def mimicry(images: np.ndarray, settings: Settings, folder: Path) -> Trainer:
    """Its residual WGAN-GP of the size (32, 48, 64, 128): Adam 2e-4 (0, 0.9), five critic steps, batch 64, as its guide says."""
    peers.stand_in()
    sys.path.insert(0, str(folder))
    for name in ("metrics", "datasets", "training"):  # which need TensorFlow and more; steps do not
        sys.modules[f"torch_mimicry.{name}"] = types.ModuleType(f"torch_mimicry.{name}")
    from torch_mimicry.nets import wgan_gp

    batches, steps = Batches(images, settings("batch", 64), colour=True), settings("critic_steps", 5)
    g, d = (getattr(wgan_gp, f"WGANGP{kind}{batches.size}")() for kind in ("Generator", "Discriminator"))
    g_adam, d_adam = (settings.adam(network, 2e-4, 0.0, 0.9) for network in (g, d))
    log = types.SimpleNamespace(add_metric=lambda name, value, group=None: float(value))  # as theirs: it reads each

    def cycle() -> int:
        for _ in range(steps):
            real = (batches(), None)
            d.train_step(real_batch=real, netG=g, optD=d_adam, log_data=log, device=CPU)
        g.train_step(real_batch=real, netD=d, optG=g_adam, log_data=log, device=CPU)
        return steps * batches.batch

    return Trainer(g, cycle, lambda count: torch.randn(count, g.nz), evaluates=True)


def torchgan(images: np.ndarray, settings: Settings, folder: Path) -> Trainer:
    """Its DCGAN with its losses of WGAN-GP, Adam 2e-4 (0.5, 0.999) as in its examples, five critic steps, batch 64.

    Its penalty is an optimiser step of its own.
    """
    peers.stand_in()
    sys.path.insert(0, str(folder))
    for name in ("metrics", "logging", "trainer"):
        sys.modules[f"torchgan.{name}"] = types.ModuleType(f"torchgan.{name}")
    from torchgan import losses, models

    batches, width, steps = Batches(images, settings("batch", 64)), settings("width", 64), settings("critic_steps", 5)
    g = models.DCGANGenerator(out_size=batches.size, out_channels=batches.channels, step_channels=width)
    d = models.DCGANDiscriminator(in_size=batches.size, in_channels=batches.channels, step_channels=width)
    g_adam, d_adam = (settings.adam(network, 2e-4, 0.5, 0.999) for network in (g, d))
    on_critic = [losses.WassersteinDiscriminatorLoss(), losses.WassersteinGradientPenalty()]
    on_generator = losses.WassersteinGeneratorLoss()

    def cycle() -> int:
        for _ in range(steps):
            real = batches()
            for loss in on_critic:
                loss.train_ops(g, d, d_adam, real, CPU)
        on_generator.train_ops(g, d, g_adam, CPU, batches.batch)
        return steps * batches.batch

    return Trainer(g, cycle, lambda count: torch.randn(count, g.encoding_dims), evaluates=True)


def lightweight(images: np.ndarray, settings: Settings, folder: Path) -> Trainer:
    """`Trainer.train` of lightweight-gan with the defaults of its command: batch 10, four accumulated, Adam 2e-4 (0.5, 0.9).

    It insists on CUDA: its assertion goes, and what it moves to the GPU stays. Needs einops. Its EMA is a copy until step
    20,000, so the generator itself is used. The size must be a power of two; it is meant for 64 and more.
    """
    peers.stand_in()
    for name in ("torchvision.transforms", "kornia", "kornia.filters", "adabelief_pytorch", "lightweight_gan"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["torchvision"].transforms = None  # type: ignore[attr-defined]
    sys.modules["kornia.filters"].filter2d = None  # type: ignore[attr-defined]
    sys.modules["adabelief_pytorch"].AdaBelief = None  # type: ignore[attr-defined]
    sys.modules["lightweight_gan"].__path__ = [str(folder / "lightweight_gan")]
    text = (folder / "lightweight_gan" / "lightweight_gan.py").read_text()
    text = re.sub(r"^assert torch.cuda.is_available.*$", "", text, flags=re.MULTILINE)
    text = text.replace("f'cuda:{self.rank}'", "'cpu'").replace("self.cuda(rank)", "").replace(".cuda(self.rank)", "")
    code = types.ModuleType("lightweight_gan_cpu")
    exec(compile(text, "lightweight_gan.py", "exec"), code.__dict__)
    batches, every = Batches(images, settings("batch", 10), low=0.0), settings("accumulate", 4)
    folders = {
        "base_dir": tempfile.mkdtemp(prefix="time-to-quality-"),
        "save_every": 1 << 60,
        "evaluate_every": 1 << 60,
        "use_aim": False,
    }
    peer = code.Trainer(image_size=batches.size, batch_size=batches.batch, gradient_accumulate_every=every,
                        attn_res_layers=[32], disc_output_size=1, aug_types=["cutout", "translation"], num_workers=0,
                        lr=settings("lr", 2e-4), greyscale=batches.channels == 1,
                        transparent=batches.channels == 4, **folders)  # fmt: skip
    peer.aug_prob = min(0.5, max(0.0, (1e5 - len(images)) * 3e-6))  # as set_data_src chooses it
    peer.loader = iter(batches, None)  # endless
    peer.save = peer.evaluate = lambda *_, **__: None  # not training: its samples and checkpoints
    peer.init_GAN()

    def cycle() -> int:
        peer.train()
        return every * batches.batch

    generator = peer.GAN.G
    return Trainer(generator, cycle, lambda count: torch.randn(count, peer.latent_dim), low=0.0, evaluates=True)


ADAPTERS: dict[str, Callable[..., Trainer]] = {
    "plain": plain,
    "EmilienDupont/wgan-gp": emilien_dupont,
    "caogang/wgan-gp": caogang,
    "torch-mimicry": mimicry,
    "torchgan": torchgan,
    "lightweight-gan": lightweight,
}
