"""The network with all heads, its batches, losses and training."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kantor.data.sources.glyphs import BACKGROUNDS, TYPEFACES
from kantor.metrics.small_network import FEATURES, Network
from kantor.random import derive
from scripts.features.damage import BLENDED, DAMAGES, damaged
from scripts.features.images import UNKNOWN, LabelledImages, digits, garments, joined, rendered_glyphs
from scripts.features.variations import greyed, moved, tinted, uniform

SEED = 20
GLYPHS_SEED = 1_000_003  # far from the seeds that people train on, and from those measured here
SHARES = {"glyphs": 128, "garments": 72, "digits": 56}  # images of a batch of 256


def generator(purpose: str, *counters: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(SEED, purpose, *counters))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Learner(nn.Module):
    """The network with batch norm, and all heads, those that are not shipped among them."""

    def __init__(self, g: torch.Generator) -> None:
        super().__init__()
        self.network = Network(norm=True)
        self.whiten = nn.BatchNorm1d(FEATURES, affine=False)
        self.heads = nn.ModuleDict({
            "classes": self.network.classes,
            "hue": self.network.hue,
            "typeface": nn.Linear(FEATURES, len(TYPEFACES)),
            "background": nn.Linear(FEATURES, len(BACKGROUNDS)),
            "colours": nn.Linear(FEATURES, 12),
            "pose": nn.Linear(FEATURES, 4),
            "damage": nn.Linear(FEATURES, len(DAMAGES) + 1),
            "strength": nn.Linear(FEATURES, len(DAMAGES)),
        })  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=g)
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.03, generator=g)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Features of unit variance [N, 128], and what the heads say."""
        with torch.autocast("cpu", torch.bfloat16):
            pooled = self.network.pooled(x)
        features = self.whiten(pooled.float())
        return features, {name: head(features) for name, head in self.heads.items()}


class Feed:
    """Training batches; each is a function of its number."""

    def __init__(self, folder: Path, count: int) -> None:
        self.glyphs = rendered_glyphs(count, GLYPHS_SEED, finer=True)
        self.garments, self.digits = garments(folder, "train"), digits(folder, held_out=False)

    def clean(self, number: int, shares: dict[str, int] = SHARES) -> LabelledImages:
        g = generator("clean", number)
        parts = []
        for name, share in shares.items():
            pool: LabelledImages = getattr(self, name)
            part = pool.at(torch.randint(len(pool), (share,), generator=g))
            if name == "glyphs":
                parts.append(greyed(part, g))
                continue
            x = part.images.float()
            if name == "digits":
                x = torch.where(uniform(g, share, 1, 1, 1) < 0.6, moved(x, g), x)
            else:
                x = torch.where(uniform(g, share, 1, 1, 1) < 0.5, x.flip(3), x)
                x = torch.where(uniform(g, share, 1, 1, 1) < 0.3, moved(x, g), x)
            part.images = x
            parts.append(tinted(part, g))
        return joined(parts)

    def reference(self, count: int) -> Tensor:
        """float [3 count, 3, 32, 32]: a third each of glyphs, garments and digits, as they are."""
        g = generator("reference")
        parts = []
        for pool in (self.glyphs, self.garments, self.digits):
            x = pool.images[torch.randint(len(pool), (count,), generator=g)].float()
            parts.append(x.expand(-1, 3, -1, -1))
        return torch.cat(parts)


def loss_of(
    learner: Learner, shown: LabelledImages, kind: Tensor, strengths: Tensor
) -> tuple[Tensor, dict[str, float]]:
    features, predictions = learner(shown.images)
    share = torch.where(kind >= 0, 0.5 * (1 - strengths.sum(1)), 1.0)  # a badly damaged image need not be named
    share = torch.where(kind == BLENDED, 0.0, share)
    # To be recognised at any strength, the faintest damage would have to move features as far as the gravest.
    grave = torch.where(kind >= 0, strengths.sum(1), 0.5)
    parts = {
        "classes": (F.cross_entropy(predictions["classes"], shown.classes, reduction="none") * share).mean(),
        "hue": known(predictions["hue"], shown.hue) * 0.5,
        "typeface": known(predictions["typeface"], shown.typeface) * 0.4,
        "background": known(predictions["background"], shown.background) * 0.25,
        "colours": near(predictions["colours"], shown.colours) * 8,
        "pose": near(predictions["pose"], shown.pose) * 0.1,
        "damage": (F.cross_entropy(predictions["damage"], kind + 1, reduction="none") * grave).mean() * 0.4,
        "strength": F.mse_loss(predictions["strength"], strengths) * 10,
        "decorrelation": decorrelation(features) * 0.01,
    }
    return torch.stack(list(parts.values())).sum(), {name: float(part.detach()) for name, part in parts.items()}


def known(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy over the images that have a label, as a mean over all of them."""
    return F.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="sum") / len(labels)


def near(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error where the target is known, as a mean over all."""
    return torch.where(target.isnan(), 0.0, (prediction - target.nan_to_num()) ** 2).mean()


def decorrelation(features: Tensor) -> Tensor:
    """Squared correlations between features, summed and divided by their number (Bardes et al. 2022, VICReg)."""
    centred = features - features.mean(0)
    correlation = centred.T @ centred / len(features)
    return (correlation**2).fill_diagonal_(0).sum() / features.shape[1]


def train(feed: Feed, steps: int) -> Learner:
    learner = Learner(generator("weights")).to(memory_format=torch.channels_last)
    decayed = [p for p in learner.parameters() if p.ndim > 1]
    others = [p for p in learner.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]
    peak = 3e-3
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.99))
    started = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = peak * min((step + 1) / 200, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        g = generator("damage", step)
        loss, parts = loss_of(learner, *damaged(feed.clean(step), g))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(learner.parameters(), 5.0)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            each = ", ".join(f"{name} {value:.3f}" for name, value in parts.items())
            say(f"step {step} of {steps}, {time.monotonic() - started:.0f} s: {each}")
    settle(learner, feed, steps)
    return learner.eval()


@torch.no_grad()
def settle(learner: Learner, feed: Feed, start: int, batches: int = 60) -> None:
    """Statistics of batch norm, over the training images, of the final weights."""
    norms = [m for m in learner.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    for number in range(start, start + batches):
        learner(damaged(feed.clean(number), generator("damage", number))[0].images)
