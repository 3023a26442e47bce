"""Random networks, each trained with every objective: with which does an arbitrary network learn? (Gulrajani et al. 2017, 5.1)

As in the paper's table 1, each network draws its nonlinearity, depth, normalisation and width; here depths and widths are
smaller, images are digits of 16x16, and the score is that of a classifier of digits (at most 10).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

import kantor
from kantor.config.io import resolve
from kantor.config.schema import Config
from kantor.data.loading.feed import Feed
from kantor.data.loading.image_set import ArrayImages
from kantor.engine.precision import choose_precision
from kantor.engine.state import State
from kantor.engine.steps import Steps
from kantor.objectives.objective import build_objective
from kantor.sample.generate import generate_images
from kantor.sample.latents import latents
from kantor.types import Images, ImageSpec
from paper_parts.digits import Classifier, inception_score, read, trained_classifier

SIDE, STEPS, BATCH, JUDGED = 16, 600, 32, 1000
FASTER = 5
"""Times the papers' learning rates: they take 100,000 generator steps, and these runs `STEPS`."""
NONLINEARITIES = ("relu", "leaky", "softplus", "tanh")
DEPTHS, WIDTHS = (2, 4, 6), (4, 8, 16)
THRESHOLDS = (2.0, 4.0, 6.0, 8.0)
OBJECTIVES: dict[str, dict[str, Any]] = {
    "dcgan": {"cycle.critic_steps": 1, "rate": 2e-4, "betas": [0.5, 0.999]},
    "wgan": {"cycle.critic_steps": 5, "rate": 5e-5},
    "wgan-gp": {"cycle.critic_steps": 5, "rate": 1e-4, "betas": [0.0, 0.9]},
}


class Table(Protocol):
    rows: list[dict[str, Any]]

    def add(self, row: dict[str, Any]) -> None: ...

    def __contains__(self, row: dict[str, Any]) -> bool: ...


class Nonlinearity(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        match self.name:
            case "relu":
                return torch.relu(x)
            case "leaky":
                return nn.functional.leaky_relu(x, 0.2)
            case "tanh":
                return torch.tanh(x)
        return nn.functional.softplus(2 * x + 2) / 2 - 1  # appendix D: softplus with mean 0


def _norm(name: str, width: int) -> nn.Module:
    match name:
        case "batch":
            return nn.BatchNorm2d(width)
        case "layer":
            return nn.GroupNorm(1, width)
    return nn.Identity()


@kantor.generator("random-architecture")
class RandomGenerator(nn.Module):
    """A dense layer of 4x4, `depth` convolutions, two of which double the size before, and tanh."""

    def __init__(self, config: Any, spec: ImageSpec, classes: int) -> None:
        super().__init__()
        width, depth = int(config.width), int(config.options["depth"])
        self.traits = kantor.Traits(mixes_batch=config.norm == "batch", normalisation=config.norm)
        self.base, self.width = nn.Linear(config.latent_dim, 16 * 4 * width), 4 * width
        layers: list[nn.Module] = []
        inputs = 4 * width
        for number in range(depth):
            outputs = width * (4, 2, 1)[min(2, 3 * number // depth)]
            if number in (depth // 3, 2 * depth // 3):
                layers.append(nn.Upsample(scale_factor=2))
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), _norm(config.norm, outputs),
                       Nonlinearity(config.options["nonlinearity"])]  # fmt: skip
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, spec.channels, 3, padding=1))

    def forward(self, z: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        return torch.tanh(self.layers(self.base(z).view(-1, self.width, 4, 4)))


@kantor.critic("random-architecture")
class RandomCritic(nn.Module):
    """`depth` convolutions, two of which halve the size, and a dense layer."""

    def __init__(self, config: Any, spec: ImageSpec, classes: int) -> None:
        super().__init__()
        width, depth = int(config.width), int(config.options["depth"])
        self.traits = kantor.Traits(mixes_batch=config.norm == "batch", normalisation=config.norm)
        layers: list[nn.Module] = []
        inputs = spec.channels
        for number in range(depth):
            outputs = width * (1, 2, 4)[min(2, 3 * number // depth)]
            stride = 2 if number in (depth // 3, 2 * depth // 3) else 1
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), _norm(config.norm if number else "none", outputs),
                       Nonlinearity(config.options["nonlinearity"])]  # fmt: skip
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * inputs, 1))

    def forward(self, x: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        score: Tensor = self.layers(x.contiguous())[:, 0]
        return score


def drawn(number: int) -> dict[str, Any]:
    """The random choices of network `number`, always the same."""
    chance = random.Random(number)
    choices: dict[str, Any] = {}
    for part in ("generator", "critic"):
        choices[f"{part}_nonlinearity"] = chance.choice(NONLINEARITIES)
        choices[f"{part}_depth"] = chance.choice(DEPTHS)
        choices[f"{part}_width"] = chance.choice(WIDTHS)
        choices[f"{part}_normalised"] = chance.random() < 0.5
    return choices


def configured(choices: dict[str, Any], objective: str) -> Config:
    """The paper's settings of an objective: batch norm in the critic becomes layer norm under a penalty."""
    settings = dict(OBJECTIVES[objective])
    rate, betas = FASTER * settings.pop("rate"), settings.pop("betas", None)
    normalised = "layer" if objective == "wgan-gp" else "batch"
    fields = {**settings, "train.batch": BATCH, "generator.latent_dim": 64, "ema.kind": "none"}
    for part, norm in (("generator", "batch"), ("critic", normalised)):
        fields |= {f"{part}.kind": "custom", f"{part}.name": "random-architecture", f"{part}.init": "he",
                   f"{part}.width": choices[f"{part}_width"], f"{part}.options.depth": choices[f"{part}_depth"],
                   f"{part}.options.nonlinearity": choices[f"{part}_nonlinearity"],
                   f"{part}.norm": norm if choices[f"{part}_normalised"] else "none",
                   f"optimizer.{part}.lr": rate}  # fmt: skip
        if betas is not None:
            fields[f"optimizer.{part}.betas"] = betas
    return resolve(objective, overrides=fields)


def study(table: Table, data: Path, count: int) -> Iterator[str]:
    """Trains `count` networks with each objective; yields the paper's table and the verdict."""
    images, labels = read(data, SIDE)
    classifier: Classifier | None = None
    for number in range(count):
        choices = drawn(number)
        for objective in OBJECTIVES:
            if {"number": number, "objective": objective} in table:
                continue
            if classifier is None:
                classifier, accuracy = trained_classifier(images, labels)
                print(f"classifier: {accuracy:.1%} of held-out digits right", flush=True)
            row = _trained(configured(choices, objective), images, classifier)
            table.add({"number": number, "objective": objective, **choices, **row})
    return verdict(table.rows)


def verdict(rows: list[dict[str, Any]]) -> Iterator[str]:
    """How many networks reach each score with only one of GAN and WGAN-GP, both or neither; and each objective's share."""
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        scores.setdefault(str(row["number"]), {})[row["objective"]] = float(row["score"])
    complete = [own for own in scores.values() if own.keys() >= OBJECTIVES.keys()]
    yield f"{len(complete)} networks; score: only GAN / only WGAN-GP / both / neither; clipping reaches it in"
    wins = []
    for least in THRESHOLDS:
        gan, gp = (np.array([own[name] >= least for own in complete]) for name in ("dcgan", "wgan-gp"))
        clipped = sum(own["wgan"] >= least for own in complete)
        yield f"{least}: {(gan & ~gp).sum()} / {(gp & ~gan).sum()} / {(gan & gp).sum()} / {(~gan & ~gp).sum()}; {clipped}"
        wins.append((gp & ~gan).sum() >= (gan & ~gp).sum())
    holds = "holds" if all(wins) else "does not hold at every score"
    yield f"Gulrajani et al. 2017, 5.1, WGAN-GP trains many networks that a GAN does not: {holds} here"


def _trained(config: Config, images: Images, classifier: Classifier) -> dict[str, Any]:
    device = torch.device("cpu")
    store = ArrayImages(images)
    state, feed = State(config, store.spec, 0, device), Feed(store, 0, device)
    horizon = STEPS * config.cycle.critic_steps * BATCH
    work = Steps(config, build_objective(config.objective), choose_precision("auto", device)[0], horizon)
    began_s = time.monotonic()
    for _ in range(STEPS):
        work.cycle(state, feed)
    network = state.generator.eval()
    generated = generate_images(network, latents(range(JUDGED), config.generator.latent_dim, config.generator.latent))
    score = inception_score(classifier, generated)
    return {"score": round(score, 3), "seconds": round(time.monotonic() - began_s)}
