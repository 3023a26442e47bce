"""Critics of points in the plane: how much of the exact distance they see, and films of their value while a generator learns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kantor.config.io import overridden
from kantor.config.schema import Config
from kantor.engine.optimizers import apply, build_optimizer
from kantor.objectives.constraints import clip_weights
from kantor.objectives.objective import build_objective
from kantor.objectives.penalties import gradient_norm, input_gradient, points
from paper_parts.points import exact_critic, exact_w1, modes_hit, perceptron, real_points

BATCH = 256
CRITIC_STEPS = 5
JUDGED = 1000
"""Points of each side for the exact distance and the critic's."""
SIDE = 96
"""Of the grid on [-3, 3]^2 that values are drawn on."""

OBJECTIVES: dict[str, dict[str, Any]] = {
    "clipping": {
        "objective.kind": "wgan", "objective.constraint.kind": "weight-clipping", "objective.constraint.bound": 0.01,
        "optimizer": ("rmsprop", 5e-5, {}),
    },
    "penalty": {
        "objective.kind": "wgan-gp", "objective.penalties.gradient.weight": 10.0,
        "optimizer": ("adam", 1e-4, {"betas": [0.5, 0.9]}),
    },
    "penalty 0.1": {  # that of the authors' gan_toy.py
        "objective.kind": "wgan-gp", "objective.penalties.gradient.weight": 0.1,
        "optimizer": ("adam", 1e-4, {"betas": [0.5, 0.9]}),
    },
}  # fmt: skip


def configured(objective: str) -> Config:
    """Kantor's configuration of losses, penalty, clipping and optimizers, as the papers have them."""
    fields = dict(OBJECTIVES[objective])
    kind, lr, more = fields.pop("optimizer")
    for network in ("generator", "critic"):
        fields |= {f"optimizer.{network}.kind": kind, f"optimizer.{network}.lr": lr}
        fields |= {f"optimizer.{network}.{name}": value for name, value in more.items()}
    return overridden(Config(), fields)


class Player:
    """A critic with its optimizer, trained by Kantor's losses, penalties and clipping on points [N, 2]."""

    def __init__(self, objective: str, seed: int) -> None:
        torch.manual_seed(seed)
        self.config = configured(objective)
        self.objective = build_objective(self.config.objective)
        self.critic, self.generator = perceptron(1), perceptron(2)
        self._optimizers = [
            build_optimizer(options, network)
            for options, network in (
                (self.config.optimizer.critic, self.critic), (self.config.optimizer.generator, self.generator))
        ]  # fmt: skip
        self._random = torch.Generator().manual_seed(seed)

    def score(self, x: Tensor) -> Tensor:
        score: Tensor = self.critic(x)[:, 0]
        return score

    def generated(self, count: int) -> Tensor:
        image: Tensor = self.generator(torch.randn(count, 2, generator=self._random))
        return image

    def train_critic(self, real: Tensor, fake: Tensor) -> None:
        loss = self.objective.critic(self.score(real), self.score(fake)).mean()
        for penalty in self.objective.penalties.values():
            uniform = torch.rand(len(real), generator=self._random)
            at = points(penalty.at, real, fake, uniform).detach().requires_grad_()
            loss = loss + penalty.weight * penalty.of(input_gradient(self.score(at), at)).mean()
        self._step(0, self.critic, loss)
        if self.objective.constraint is not None:
            clip_weights(self.objective.constraint, list(self.critic.parameters()))

    def train_generator(self, count: int) -> None:
        fake = self.score(self.generated(count))
        self._step(1, self.generator, self.objective.generator(fake, fake).mean())

    def _step(self, number: int, network: nn.Module, loss: Tensor) -> None:
        apply(self._optimizers[number], torch.autograd.grad(loss, list(network.parameters())))

    def slopes(self, at: Tensor) -> Tensor:
        """Norms of the score's gradient [N]."""
        at = at.detach().requires_grad_()
        return gradient_norm(input_gradient(self.score(at), at)).detach()

    def value_grid(self) -> NDArray[np.float32]:
        """Scores on [-3, 3]^2: [SIDE, SIDE], rows from below."""
        line = torch.linspace(-3, 3, SIDE)
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
        with torch.no_grad():
            values: NDArray[np.float32] = self.score(grid).view(SIDE, SIDE).numpy()
        return values


@dataclass(frozen=True)
class Frame:
    """A moment of training: scores on the grid, points, the critic's distance and the exact one."""

    step: int
    values: NDArray[np.float32]
    real: NDArray[np.float32]
    fake: NDArray[np.float32]
    gap: float
    exact: float


def value(dataset: str, objective: str, seed: int, steps: int) -> dict[str, Any]:
    """Trains a critic alone: generated points are the real ones plus standard normal noise (figure 1a).

    `seen` is the share of the exact distance that the critic sees: its gap over the steepest slope that it has on the
    grid and between the points. By the duality of Kantorovich and Rubinstein it is at most 1, for any critic. `like_exact`
    is the correlation of its values with those of an exact optimal critic of the same points.
    """
    random = np.random.default_rng(seed)
    player = Player(objective, seed)
    began_s = time.monotonic()
    for _ in range(steps):
        real = real_points(dataset, BATCH, random)
        player.train_critic(real, noisy(real, random))
    seconds = time.monotonic() - began_s
    real = real_points(dataset, JUDGED, random)
    fake = noisy(real_points(dataset, JUDGED, random), random)
    with torch.no_grad():
        gap = float(player.score(real).mean() - player.score(fake).mean())
    between = torch.lerp(fake, real, torch.rand(JUDGED, 1))
    line = torch.linspace(-3, 3, SIDE)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
    slopes = player.slopes(between)
    steepest = float(torch.cat([slopes, player.slopes(grid), player.slopes(fake)]).max())
    exact = exact_w1(real, fake)
    best = np.concatenate(exact_critic(real, fake))
    with torch.no_grad():
        values = player.score(torch.cat([real, fake])).numpy()
    return {
        "dataset": dataset, "objective": objective, "seed": seed, "steps": steps, "exact_w1": round(exact, 4),
        "like_exact": round(float(np.corrcoef(values, best)[0, 1]), 3),
        "gap": round(gap, 5), "slope_mean": float(f"{slopes.mean():.4g}"), "slope_max": float(f"{steepest:.4g}"),
        "seen": round(gap / steepest / exact, 3), "linear_r2": round(linear_share(player, grid), 3),
        "seconds": round(seconds), "values": player.value_grid(), "real": real.numpy(),
    }  # fmt: skip


def noisy(real: Tensor, random: np.random.Generator) -> Tensor:
    return real + torch.from_numpy(random.standard_normal(tuple(real.shape)).astype(np.float32))


def linear_share(player: Player, grid: Tensor) -> float:
    """R^2 of the best linear fit to the value on the grid: near 1 for a critic that knows no more than a direction."""
    with torch.no_grad():
        values = player.score(grid).double()
    features = torch.cat([grid.double(), torch.ones(len(grid), 1, dtype=torch.float64)], 1)
    rest = values - features @ torch.linalg.lstsq(features, values[:, None]).solution[:, 0]
    return 1 - float(rest.var() / values.var())


def film(
    dataset: str, objective: str, seed: int, steps: int, frames: int, tell: Callable[[str], None]
) -> Iterator[Frame]:
    """Trains both networks, five critic steps to one of the generator; yields `frames` moments."""
    random = np.random.default_rng(seed)
    player = Player(objective, seed)
    at = set(np.unique(np.geomspace(1, steps, frames).astype(int))) | {0}
    for step in range(steps + 1):
        if step in at:
            yield _frame(step, player, dataset, random)
            tell(f"{dataset}, {objective}: {step:,} of {steps:,}")
        if step == steps:
            return
        for _ in range(CRITIC_STEPS):
            with torch.no_grad():
                fake = player.generated(BATCH)
            player.train_critic(real_points(dataset, BATCH, random), fake)
        player.train_generator(BATCH)


def _frame(step: int, player: Player, dataset: str, random: np.random.Generator) -> Frame:
    real = real_points(dataset, JUDGED, random)
    with torch.no_grad():
        fake = player.generated(JUDGED)
        gap = float(player.score(real).mean() - player.score(fake).mean())
    return Frame(step, player.value_grid(), real.numpy(), fake.numpy(), gap, exact_w1(real, fake))


def judged(dataset: str, objective: str, seed: int, last: Frame) -> dict[str, Any]:
    """The row of a finished film."""
    fake = torch.from_numpy(last.fake)
    row = {
        "dataset": dataset, "objective": objective, "seed": seed, "steps": last.step,
        "exact_w1": round(last.exact, 4), "gap": round(last.gap, 5),
    }  # fmt: skip
    if dataset != "swissroll":
        modes, near = modes_hit(dataset, fake)
        row |= {"modes": modes, "near": round(near, 3)}
    return row
