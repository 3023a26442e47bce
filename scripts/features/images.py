"""The images that kantor-small learns from: rendered glyphs, Fashion-MNIST and handwritten digits, with what is known of each."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kantor.data.sources.glyphs import BACKGROUNDS, HUES, LETTERS, TYPEFACES, GlyphParameters, Glyphs, render
from kantor.data.sources.idx import read
from kantor.errors import DataError
from kantor.metrics.features import resized
from kantor.metrics.small_network import GARMENTS, SIDE

HELD_OUT = 100  # handwritten digits of each class
UNKNOWN = -1  # a label that an image does not have


@dataclass
class LabelledImages:
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

    def at(self, index: Tensor) -> LabelledImages:
        return LabelledImages(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def joined(parts: list[LabelledImages]) -> LabelledImages:
    return LabelledImages(
        *(torch.cat([getattr(p, name) for p in parts]) for name in LabelledImages.__dataclass_fields__)
    )


def plain(images: Tensor, classes: Tensor) -> LabelledImages:
    """Of images of which only the class is known."""
    unknown = torch.full((len(images),), UNKNOWN)
    colours, pose = (torch.full((len(images), width), math.nan) for width in (12, 4))
    return LabelledImages(images, classes, unknown, unknown, unknown, colours, pose)


def rendered_glyphs(count: int, seed: int, finer: bool) -> LabelledImages:
    """Glyphs; with `finer`, a quarter of them rendered larger and shrunk, as an extractor shrinks larger images."""
    source = Glyphs(count, seed)
    shown = [source.parameters(i) for i in range(count)]
    images = torch.empty(count, 3, SIDE, SIDE, dtype=torch.uint8)
    for i, one in enumerate(shown):
        side = (28, 48, 64)[i // 4 % 3] if finer and i % 4 == 0 else SIDE
        image = torch.from_numpy(render(one, side, side)).permute(2, 0, 1)
        images[i] = image if side == SIDE else resized(image[None].float(), SIDE, SIDE)[0].round().byte()
    return LabelledImages(
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


def garments(folder: Path, part: str) -> LabelledImages:
    """Fashion-MNIST, grey, resized to 32x32: part "train" (60,000) or "t10k" (10,000)."""
    start = folder / "fashion-mnist" / part
    images, labels = (read(existing(f"{start}-{kind}-ubyte.gz")) for kind in ("images-idx3", "labels-idx1"))
    return plain(in_size(images), torch.from_numpy(labels.astype(np.int64)) + len(LETTERS))


def digits(folder: Path, held_out: bool) -> LabelledImages:
    """Handwritten digits, grey, those held out or the others (about 9,000)."""
    images, labels = [], []
    for digit in range(10):
        data = json.loads(existing(folder / "mnist" / f"{digit}.json").read_text())["data"]
        these = (np.asarray(data, np.float32).reshape(-1, 28, 28) * 255).round().astype(np.uint8)
        these = these[-HELD_OUT:] if held_out else these[:-HELD_OUT]
        images.append(these)
        labels += [len(LETTERS) + len(GARMENTS) + digit] * len(these)
    return plain(in_size(np.concatenate(images)), torch.tensor(labels))


def existing(path: Path | str) -> Path:
    if not Path(path).is_file():
        raise DataError(path, "no such file", "run: make data")
    return Path(path)


def in_size(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, 28, 28] -> uint8 [N, 1, 32, 32]."""
    x = torch.from_numpy(images)[:, None]
    return torch.cat([resized(part.float(), SIDE, SIDE).round().byte() for part in x.split(1000)])
