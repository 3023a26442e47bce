"""Trains kantor-small, the network that scores are measured with, and writes its weights into the package.

    make data && make features

The network has to see what goes wrong in generated images, so it learns several things of each image at once:

- what it shows: one of 36 letters (glyphs, rendered here), 10 garments (Fashion-MNIST) or 10 handwritten digits;
- of glyphs also the typeface, the ground and how the letter lies (turn, size, place);
- colours: the hue's name, and ink and paper as RGB; grey images are shown as they are, inverted, and in two tints;
- damage: half of the images are damaged in one of ten ways, at a strength from barely to badly; which and how much
  must be read from the features by a linear map, so that features move in proportion to the damage.

Correlations between features are discouraged, so that their covariance is well-conditioned. Batch norm is folded into
the convolutions and weights are rounded to float16 before the accuracies are measured: on 2,000 glyphs of another seed,
on Fashion-MNIST's test images, and on the last 100 of each handwritten digit, which training never sees.
Arithmetic is bfloat16 where it is safe: on processors without it the training is several times slower. The seed fixes
all draws; weights differ in rounding between machines and numbers of threads, and so does their digest.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from kantor import atomic
from kantor.data.sources.glyphs import BACKGROUNDS, HUES, LETTERS, TYPEFACES, GlyphParameters, Glyphs, draw
from kantor.data.sources.idx import read
from kantor.errors import DataError, UserError
from kantor.metrics.features import Extractor, resized
from kantor.metrics.small_network import (  # fmt: skip
    FEATURES,
    GARMENTS,
    NAME,
    SIDE,
    WEIGHTS,
    Network,
    Unit,
    kantor_small,
)
from kantor.random import derive

RECIPE = "1"
SEED = 20
GLYPHS_SEED = 1_000_003  # far from the seeds that people train on, and from those measured here
TEST_GLYPHS_SEED = 1
BATCH = 256
SHARES = {"glyphs": 128, "garments": 72, "digits": 56}  # of a batch
HELD_OUT = 100  # handwritten digits of each class
UNKNOWN = -1  # a label that an image does not have
PALETTE = tuple(HUES.values())


def generator(purpose: str, *counters: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(SEED, purpose, *counters))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# ---------------------------------------------------------------------------------------------------------- images


@dataclass
class Shown:
    """Images and what is known of them, as tensors with N rows.

    Attributes:
        images: uint8 or float32 [N, C, 32, 32] in [0, 255].
        classes, hue, typeface, background: int64 [N], UNKNOWN where there is none.
        colours: float32 [N, 12], RGB of ink and of paper in [0, 1], and how the paper's changes across and down; NaN where
            unknown.
        pose: float32 [N, 4], turn, size and offset, each of about unit spread; NaN where unknown.
    """

    images: Tensor
    classes: Tensor
    hue: Tensor
    typeface: Tensor
    background: Tensor
    colours: Tensor
    pose: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def at(self, index: Tensor) -> Shown:
        return Shown(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def joined(parts: list[Shown]) -> Shown:
    return Shown(*(torch.cat([getattr(p, name) for p in parts]) for name in Shown.__dataclass_fields__))


def plain(images: Tensor, classes: Tensor) -> Shown:
    """Of images of which only the class is known."""
    unknown = torch.full((len(images),), UNKNOWN)
    colours, pose = (torch.full((len(images), width), math.nan) for width in (12, 4))
    return Shown(images, classes, unknown, unknown, unknown, colours, pose)


def rendered_glyphs(count: int, seed: int, finer: bool) -> Shown:
    """Glyphs; with `finer`, a quarter of them rendered larger and shrunk, as an extractor shrinks larger images."""
    source = Glyphs(count, seed)
    shown = [source.parameters(i) for i in range(count)]
    images = torch.empty(count, 3, SIDE, SIDE, dtype=torch.uint8)
    for i, one in enumerate(shown):
        side = (28, 48, 64)[i // 4 % 3] if finer and i % 4 == 0 else SIDE
        image = torch.from_numpy(draw(one, side, side)).permute(2, 0, 1)
        images[i] = image if side == SIDE else resized(image[None].float(), SIDE, SIDE)[0].round().byte()
    return Shown(
        images,
        classes=torch.tensor([LETTERS.index(one.letter) for one in shown]),
        hue=torch.tensor([list(HUES).index(one.hue) for one in shown]),
        typeface=torch.tensor([TYPEFACES.index(one.typeface) for one in shown]),
        background=torch.tensor([BACKGROUNDS.index(one.background) for one in shown]),
        colours=torch.tensor([colours(one) for one in shown], dtype=torch.float32),
        pose=torch.tensor([pose(one) for one in shown], dtype=torch.float32),
    )


def colours(one: GlyphParameters) -> list[float]:
    start, end = np.asarray(one.paper)
    across, down = (end - start) * math.cos(one.slope), (end - start) * math.sin(one.slope)
    return [*one.ink, *((start + end) / 2), *across, *down]


def pose(one: GlyphParameters) -> tuple[float, float, float, float]:
    return one.rotation / 6, (one.size - 0.8) / 0.06, one.offset[0] / 0.017, one.offset[1] / 0.017


def garments(folder: Path, part: str) -> Shown:
    """Fashion-MNIST, grey, resized to 32x32: part "train" (60,000) or "t10k" (10,000)."""
    start = folder / "fashion-mnist" / part
    images, labels = (read(there(f"{start}-{kind}-ubyte.gz")) for kind in ("images-idx3", "labels-idx1"))
    return plain(in_size(images), torch.from_numpy(labels.astype(np.int64)) + len(LETTERS))


def digits(folder: Path, held_out: bool) -> Shown:
    """Handwritten digits, grey, those held out or the others (about 9,000)."""
    images, labels = [], []
    for digit in range(10):
        data = json.loads(there(folder / "mnist" / f"{digit}.json").read_text())["data"]
        these = (np.asarray(data, np.float32).reshape(-1, 28, 28) * 255).round().astype(np.uint8)
        these = these[-HELD_OUT:] if held_out else these[:-HELD_OUT]
        images.append(these)
        labels += [len(LETTERS) + len(GARMENTS) + digit] * len(these)
    return plain(in_size(np.concatenate(images)), torch.tensor(labels))


def there(path: Path | str) -> Path:
    if not Path(path).is_file():
        raise DataError(path, "is not there", "run: make data")
    return Path(path)


def in_size(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, 28, 28] -> uint8 [N, 1, 32, 32]."""
    x = torch.from_numpy(images)[:, None]
    return torch.cat([resized(part.float(), SIDE, SIDE).round().byte() for part in x.split(1000)])


# -------------------------------------------------------------------------------------------------------- variations


def uniform(g: torch.Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.rand(shape, generator=g) * (high - low) + low


def moved(x: Tensor, g: torch.Generator) -> Tensor:
    """float [N, C, 32, 32], slightly turned, scaled and shifted; black comes in at the borders."""
    count = len(x)
    turn, size = uniform(g, count, low=-0.15, high=0.15), uniform(g, count, low=0.9, high=1.25)
    shift = uniform(g, count, 2, low=-0.1, high=0.1)
    cos, sin = turn.cos() * size, turn.sin() * size
    affine = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(affine, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, "bicubic", "zeros", align_corners=False).clamp(0, 255)


def hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """[N] each in [0, 1] -> RGB [N, 3] in [0, 1]."""
    k = (hue[:, None] * 6 + torch.tensor([5.0, 3.0, 1.0])) % 6
    return value[:, None] * (1 - saturation[:, None] * torch.minimum(k, 4 - k).clamp(0, 1))


def tinted(grey: Shown, g: torch.Generator) -> Shown:
    """Grey images, 1 channel -> 3: 45 % as they are, 15 % inverted, 40 % between two colours."""
    count = len(grey)
    luma = torch.tensor([0.299, 0.587, 0.114])
    which = uniform(g, count)
    name = torch.randint(len(PALETTE), (count,), generator=g)
    angle = (torch.tensor(PALETTE)[name] + uniform(g, count, low=-4, high=4)) / 360 % 1
    ink = hsv(angle, uniform(g, count, low=0.65), uniform(g, count, low=0.6))
    paper = hsv(uniform(g, count), uniform(g, count, low=0.0, high=0.6), uniform(g, count).sqrt())
    close = ((ink - paper) @ luma).abs() < 0.25
    paper[close] = (((ink @ luma) < 0.5).float()[:, None] * torch.ones(3))[close]
    tint, inverted = which < 0.4, (which >= 0.4) & (which < 0.55)
    white, black = torch.ones(count, 3), torch.zeros(count, 3)
    ink = torch.where(tint[:, None], ink, torch.where(inverted[:, None], black, white))
    paper = torch.where(tint[:, None], paper, torch.where(inverted[:, None], white, black))
    cover = grey.images.float() / 255
    images = 255 * (paper[:, :, None, None] + (ink - paper)[:, :, None, None] * cover)
    colours = torch.cat([ink, paper, torch.zeros(count, 6)], 1)
    return replace(grey, images=images, hue=torch.where(tint, name, UNKNOWN), colours=colours)


def greyed(shown: Shown, g: torch.Generator, share: float = 0.15) -> Shown:
    """Some coloured images without their colours."""
    some = uniform(g, len(shown)) < share
    x = shown.images.float()
    luma = torch.tensor([0.299, 0.587, 0.114])
    x = torch.where(some[:, None, None, None], (x * luma.view(1, 3, 1, 1)).sum(1, keepdim=True), x)
    grey = (shown.colours.unflatten(1, (4, 3)) @ luma).repeat_interleave(3, 1)
    colours = torch.where(some[:, None], grey, shown.colours)
    hue = torch.where(some, UNKNOWN, shown.hue)
    return replace(shown, images=x, hue=hue, colours=colours)


# ------------------------------------------------------------------------------------------------------------ damage
# Each takes float [N, 3, 32, 32] in [0, 255], strengths [N] in (0, 1], other images like the first, and a generator.

Damage = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]


def blurred(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """By a Gaussian of 0.4 to 2 pixels."""
    sigma = (0.4 + 1.6 * s)[:, None]
    kernel = torch.exp(-((torch.arange(-4.0, 5.0) / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    y = F.pad(x, (4, 4, 4, 4), mode="replicate").reshape(1, -1, SIDE + 8, SIDE + 8)
    y = F.conv2d(y, kernel[:, None, :, None], groups=len(kernel))
    return F.conv2d(y, kernel[:, None, None, :], groups=len(kernel)).reshape(x.shape)


def noisy(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """White noise of 3 to 53 levels, a third of it grey."""
    noise = torch.randn(x.shape, generator=g)
    grey = uniform(g, len(x), 1, 1, 1) < 1 / 3
    return x + torch.where(grey, noise[:, :1], noise) * (3 + 50 * s).view(-1, 1, 1, 1)


def coarse(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """Shrunk to 24, 18, 12 or 8 pixels a side and grown again, half of it to blocks."""
    out = x.clone()
    for level, side in enumerate((24, 18, 12, 8)):
        for mode in ("nearest", "bilinear"):
            mine = ((s * 4).ceil() - 1 == level) & (torch.arange(len(x)) % 2 == (mode == "nearest"))
            if mine.any():
                out[mine] = F.interpolate(resized(x[mine], side, side), (SIDE, SIDE), mode=mode)
    return out


def cut(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """A rectangle of 4 to 18 pixels a side in one colour, or in that of the image's corner."""
    sides = (4 + 14 * s)[:, None] * uniform(g, len(x), 2, low=0.75, high=1.25)
    centre = uniform(g, len(x), 2, low=6, high=SIDE - 6)
    place = torch.arange(SIDE) + 0.5
    inside = (place - centre[:, :, None]).abs() < sides[:, :, None] / 2
    colour = torch.where(uniform(g, len(x), 1) < 0.5, uniform(g, len(x), 3, high=255.0), x[:, :, 0, 0])
    return torch.where((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], colour[:, :, None, None], x)


def flat(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """Contrast lowered to as little as 0.2 or raised to 2.5, brightness changed by up to 60 levels."""
    lower = uniform(g, len(x)) < 0.6
    gain = torch.where(lower, 1 - 0.8 * s, 1 + 1.5 * s).view(-1, 1, 1, 1)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * gain + (s * uniform(g, len(x), low=-60, high=60)).view(-1, 1, 1, 1)


def cast(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """A colour cast: channels moved apart by up to 120 levels."""
    way = torch.randn(len(x), 3, generator=g)
    way = F.normalize(way - way.mean(1, keepdim=True), dim=1)
    return x + (way * (8 + 112 * s)[:, None])[:, :, None, None]


def blended(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """With 8 to 50 % of another image."""
    share = (0.08 + 0.42 * s).view(-1, 1, 1, 1)
    return x + (other - x) * share


def warped(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """Pixels moved by a smooth random field, 0.4 to 2.4 of them."""
    field = torch.randn(len(x), 2, 6, 6, generator=g) * ((0.5 + 2.5 * s) * 2 / SIDE).view(-1, 1, 1, 1)
    field = F.interpolate(field, (SIDE, SIDE), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    still = F.affine_grid(torch.eye(2, 3).expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, still + field, "bicubic", "border", align_corners=False)


def chequered(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """A pattern of 2 or 4 pixels' period, as transposed convolutions leave it, of 4 to 44 levels."""
    place = torch.arange(SIDE)
    period = torch.where(uniform(g, len(x), 1) < 0.5, 1, 2)
    stripes = (place // period % 2 * 2 - 1).float()
    across, down = stripes[:, None, :], stripes[:, :, None]
    kind = torch.randint(3, (len(x), 1, 1), generator=g)
    pattern = torch.where(kind == 0, across * down, torch.where(kind == 1, across, down).expand(-1, SIDE, SIDE))
    tint = 1 + 0.5 * uniform(g, len(x), 3, 1, 1, low=-1)
    return x + pattern[:, None] * tint * (4 + 40 * s).view(-1, 1, 1, 1)


def shuffled(x: Tensor, s: Tensor, other: Tensor, g: torch.Generator) -> Tensor:
    """Some cells of 8x8, up to half of them, show what another cell shows."""
    cells = x.reshape(-1, 3, 4, 8, 4, 8).permute(0, 2, 4, 1, 3, 5).reshape(len(x), 16, 3, 8, 8)
    source = torch.arange(16).expand(len(x), 16)
    there = torch.randint(16, (len(x), 16), generator=g)
    rank = uniform(g, len(x), 16).argsort(1).argsort(1)
    source = torch.where(rank < (8 * s).ceil()[:, None], there, source)
    cells = cells.gather(1, source[:, :, None, None, None].expand_as(cells))
    return cells.reshape(-1, 4, 4, 3, 8, 8).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


DAMAGES: tuple[Damage, ...] = (blurred, noisy, coarse, cut, flat, cast, blended, warped, chequered, shuffled)
SPOILS_COLOUR = torch.tensor([damage in (flat, cast, blended) for damage in DAMAGES])
BLENDED = DAMAGES.index(blended)


def damaged(shown: Shown, g: torch.Generator) -> tuple[Shown, Tensor, Tensor]:
    """Half of the images damaged: the images, the kind of damage [N] (UNKNOWN: none), strengths [N, kinds]."""
    count, kinds = len(shown), len(DAMAGES)
    kind = torch.randint(2 * kinds, (count,), generator=g)
    kind = torch.where(kind < kinds, kind, UNKNOWN)
    strength = uniform(g, count).clamp(min=0.02)
    images = shown.images.clone()
    others = shown.images[torch.randperm(count, generator=g)]
    for index, damage in enumerate(DAMAGES):
        mine = kind == index
        if mine.any():
            images[mine] = damage(shown.images[mine], strength[mine], others[mine], g)
    images = images.clamp(0, 255).round()
    spoilt = (kind >= 0) & SPOILS_COLOUR[kind]
    hue = torch.where(spoilt, UNKNOWN, shown.hue)
    colours = torch.where(spoilt[:, None], math.nan, shown.colours)
    strengths = F.one_hot(kind.clamp(min=0), kinds) * torch.where(kind >= 0, strength, 0.0)[:, None]
    return replace(shown, images=images, hue=hue, colours=colours), kind, strengths


# ---------------------------------------------------------------------------------------------------------- training


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

    def clean(self, number: int, shares: dict[str, int] = SHARES) -> Shown:
        g = generator("clean", number)
        parts = []
        for name, share in shares.items():
            pool: Shown = getattr(self, name)
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


def loss_of(learner: Learner, shown: Shown, kind: Tensor, strengths: Tensor) -> tuple[Tensor, dict[str, float]]:
    features, said = learner(shown.images)
    share = torch.where(kind >= 0, 0.5 * (1 - strengths.sum(1)), 1.0)  # a badly damaged image need not be named
    share = torch.where(kind == BLENDED, 0.0, share)
    # To be recognised at any strength, the faintest damage would have to move features as far as the gravest.
    grave = torch.where(kind >= 0, strengths.sum(1), 0.5)
    parts = {
        "classes": (F.cross_entropy(said["classes"], shown.classes, reduction="none") * share).mean(),
        "hue": known(said["hue"], shown.hue) * 0.5,
        "typeface": known(said["typeface"], shown.typeface) * 0.4,
        "background": known(said["background"], shown.background) * 0.25,
        "colours": near(said["colours"], shown.colours) * 8,
        "pose": near(said["pose"], shown.pose) * 0.1,
        "damage": (F.cross_entropy(said["damage"], kind + 1, reduction="none") * grave).mean() * 0.4,
        "strength": F.mse_loss(said["strength"], strengths) * 10,
        "decorrelation": decorrelation(features) * 0.01,
    }
    return torch.stack(list(parts.values())).sum(), {name: float(part.detach()) for name, part in parts.items()}


def known(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy over the images that have a label, as a mean over all of them."""
    return F.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="sum") / len(labels)


def near(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared error where the target is known, as a mean over all."""
    return torch.where(wanted.isnan(), 0.0, (found - wanted.nan_to_num()) ** 2).mean()


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


# ---------------------------------------------------------------------------------------------------------- shipping


@torch.no_grad()
def folded(learner: Learner, reference: Tensor) -> Network:
    """The network as shipped: without batch norm, features scaled as `Network` says, rounded to float16."""
    trained, out = learner.network, Network().eval()
    for (name, here), there in zip(units(trained), (unit for _, unit in units(out)), strict=True):
        norm = here.norm
        assert isinstance(norm, nn.BatchNorm2d), name
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        there.conv.weight.copy_(here.conv.weight * gain[:, None, None, None])
        there.conv.bias.copy_(norm.bias - norm.running_mean * gain)
    for name in ("classes", "hue"):
        getattr(out, name).load_state_dict(getattr(trained, name).state_dict())
    for value in out.trunk.state_dict().values():
        value.copy_(value.half().float())
    pooled = torch.cat([out.pooled(part) for part in reference.split(500)])
    spread = (learner.whiten.running_var + learner.whiten.eps).sqrt()
    common = (pooled / spread).var(0).mean().sqrt()
    out.shift.copy_(pooled.mean(0))
    out.scale.copy_(1 / (spread * common))
    for head in (out.classes, out.hue):  # they were trained on (pooled - running mean) / spread
        head.bias += head.weight @ ((out.shift - learner.whiten.running_mean) / spread)
        head.weight *= common
    for value in out.state_dict().values():
        value.copy_(value.half().float())
    return out


def units(network: Network) -> list[tuple[str, Unit]]:
    return [(name, module) for name, module in network.named_modules() if isinstance(module, Unit)]


@torch.no_grad()
def measured(learner: Learner, network: Network, folder: Path) -> dict[str, str]:
    """Accuracies on held-out images, in percent."""
    extractor = Extractor(NAME, "", network, (SIDE, SIDE))
    found = {}

    def share(name: str, logits: Tensor, labels: Tensor) -> None:
        found[name] = f"{100 * (logits.argmax(1) == labels).float().mean():.2f}"

    def logits(shown: Shown) -> dict[str, Tensor]:
        images = shown.images.permute(0, 2, 3, 1).contiguous().numpy()
        return dict(extractor(images).logits)

    glyphs = rendered_glyphs(2000, TEST_GLYPHS_SEED, finer=False)
    said = logits(glyphs)
    share("glyphs: class of 56", said["classes"], glyphs.classes)
    share("glyphs: letter", said["letter"], glyphs.classes)
    share("glyphs: hue", said["hue"], glyphs.hue)
    inner = learner(glyphs.images.float())[1]
    share("glyphs: typeface (not shipped)", inner["typeface"], glyphs.typeface)
    share("glyphs: background (not shipped)", inner["background"], glyphs.background)
    clothes, written = garments(folder, "t10k"), digits(folder, held_out=True)
    said = logits(clothes)
    share("Fashion-MNIST test: class of 56", said["classes"], clothes.classes)
    share("Fashion-MNIST test: garment", said["garment"], clothes.classes - len(LETTERS))
    said = logits(written)
    share("digits held out: class of 56", said["classes"], written.classes)
    share("digits held out: digit", said["digit"], written.classes - len(LETTERS) - len(GARMENTS))
    mixed = joined(
        [greyed(glyphs, generator("test"), 0.0), *(tinted(one, generator("test")) for one in (clothes, written))]
    )
    mixed = mixed.at(torch.randperm(len(mixed), generator=generator("test"))[:4000])
    mixed, kind, _ = damaged(mixed, generator("test"))
    share("damage of 11 (not shipped)", learner(mixed.images)[1]["damage"], kind + 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that `make data` filled")
    parser.add_argument("--glyphs", type=int, default=100_000, help="glyphs rendered to train on")
    parser.add_argument("--steps", type=int, default=2000, help=f"batches of {BATCH}")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the weights")
    parser.add_argument("--threads", type=int, default=2, help="of the processor")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    feed = Feed(options.data, options.glyphs)
    counts = {"glyphs": len(feed.glyphs), "garments": len(feed.garments), "digits": len(feed.digits)}
    say(f"learning from {counts}")
    learner = train(feed, options.steps)
    network = folded(learner, feed.reference(3000))
    metadata = {f"accuracy, {name}": value for name, value in measured(learner, network, options.data).items()}
    metadata |= {f"images, {name}": str(count) for name, count in counts.items()}
    metadata |= {"recipe": RECIPE, "steps": str(options.steps)}
    atomic.make_folder(options.out.parent)
    state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    atomic.write_bytes(options.out, save(state, metadata))
    for name, value in sorted(metadata.items()):
        say(f"{name}: {value}")
    parameters = sum(value.numel() for value in state.values())
    say(f"{parameters:,} parameters, {options.out.stat().st_size:,} bytes")
    if options.out == WEIGHTS:
        kantor_small.cache_clear()
        say(f"digest {kantor_small().digest}")
    say(f"Results: {options.out}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
