"""The stages of a painter's pipeline at work: each is opened and checked against those before it, then applied to seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kantor.app.class_names import class_numbers
from kantor.app.load_model import load_model, require_unconditional
from kantor.app.sampling.compose import Sprites, make_sprites, require_alpha
from kantor.app.sampling.drawings import find_drawings, read_drawings
from kantor.app.sampling.grounds import Ground, find_grounds
from kantor.app.sampling.layouts import Layout, make_layouts, require_layouts
from kantor.app.sampling.paint import check_models
from kantor.app.sampling.upscale import MAX_PIXELS, Upscaler, passes_of
from kantor.config import pipeline
from kantor.config.base import parse_size
from kantor.errors import ConfigError
from kantor.export.weights import Card
from kantor.runs import directory
from kantor.sample.compose import Placed, composed, premultiplied, resampled, rounded
from kantor.sample.generate import generate_images
from kantor.sample.strip import side_by_side
from kantor.types import Images

Size = tuple[int, int]
"""(height, width)"""


@dataclass(frozen=True)
class Work:
    """What the stages so far have made of some seeds: of each one item of each list, none before its stage.

    Attributes:
        lines: uint8 [N, H, W, K].
        shown: the images of the last stage.
    """

    seeds: Sequence[int]
    lines: Images | None = None
    pictures: Sequence[Images] = ()
    grounds: Sequence[Images] = ()
    layouts: Sequence[Layout] = ()
    sprites: Sequence[Sprites] = ()
    placed: Sequence[list[Placed]] = ()
    shown: Sequence[Images] = ()


Apply = Callable[[Work], Work]


@dataclass
class Opened:
    """What is known of the stages opened so far.

    Attributes:
        lines: name of the model of the lines, and its card; None of drawings.
        sizes: of the pictures so far, one or, by seed, several.
    """

    lines: tuple[str, Card] | None = None
    sizes: list[Size] = field(default_factory=list)


@dataclass(frozen=True)
class Workshop:
    """Where and how stages are opened. folder: that paths are relative to."""

    folder: Path
    runs: Path
    truncation: float
    device: torch.device
    seeds: Sequence[int]

    def load(self, text: str) -> tuple[Any, Card, str]:
        """Network, card and name of the model that a stage names: a path from the file's folder, or a run."""
        beside = self.folder / text
        is_there = beside.is_file() or directory.is_checkpoint(beside) or (beside / directory.CONFIG).is_file()
        is_path = beside.name != text or beside.suffix == ".safetensors"
        name = str(beside) if is_there or is_path else text
        network, card, _ = load_model(name, self.runs)
        return network.to(self.device), card, text

    def load_unconditional(self, text: str) -> tuple[Any, Card, str]:
        """The same, of a model that generates from seeds alone."""
        network, card, name = self.load(text)
        require_unconditional(name, card)
        return network, card, name

    def generate(self, network: Any, card: Card, seeds: Sequence[int], conditions: Images | None = None) -> Images:
        """The image of each seed."""
        return generate_images(
            network, card.latents(seeds, self.truncation), class_numbers((), card, seeds), conditions
        )


def open_stage(shop: Workshop, stages: Sequence[pipeline.Stage], number: int, known: Opened) -> Apply:
    """Opens one of the stages, after those before it; `known` learns of it. Raises UserError if it does not fit them."""
    match stages[number]:
        case pipeline.Lines(model=None, drawings=str(text)):
            return _drawings(shop, text, stages[number + 1 :], known)
        case pipeline.Lines(model=str(text)):
            return _lines(shop, text, known)
        case pipeline.Colours() as stage:
            return _colours(shop, stage, known)
        case pipeline.Ground() as stage:
            return _ground(shop, stage, known)
        case pipeline.Layout() as stage:
            return _layout(shop, stage)
        case pipeline.Objects() as stage:
            return _objects(shop, stage)
        case pipeline.Upscale() as stage:
            return _upscale(shop, stage, known)
    return _assemble


def _lines(shop: Workshop, text: str, known: Opened) -> Apply:
    network, card, name = shop.load_unconditional(text)
    known.lines, known.sizes = (name, card), [card.spec[:2]]

    def apply(work: Work) -> Work:
        lines = shop.generate(network, card, work.seeds)
        return replace(work, lines=lines, pictures=list(lines), shown=list(lines))

    return apply


def _drawings(shop: Workshop, text: str, after: Sequence[pipeline.Stage], known: Opened) -> Apply:
    """Drawings are brought to what the next model was trained on."""
    stage = next((stage for stage in after if isinstance(stage, pipeline.Colours)), None)
    if stage is None:
        raise ConfigError(text, "drawings are brought to the size of what colours them", "add a stage colours")
    _, card, name = shop.load(stage.model)
    check_models(text, name, card, None)
    files = find_drawings(str(shop.folder / text) + ("/" if (shop.folder / text).is_dir() else ""), shop.runs)
    if not files:
        raise ConfigError(text, "is a model, not drawings", f'write model = "{text}"')
    images = read_drawings(files, card, name)
    known.lines, known.sizes = None, [card.spec[:2]]

    def apply(work: Work) -> Work:
        lines = np.stack([images[seed % len(images)] for seed in work.seeds])
        return replace(work, lines=lines, pictures=list(lines), shown=list(lines))

    return apply


def _colours(shop: Workshop, stage: pipeline.Colours, known: Opened) -> Apply:
    network, card, name = shop.load(stage.model)
    lines, line_card = known.lines or ("drawings", None)
    check_models(lines, name, card, line_card)
    known.sizes = [card.spec[:2]]

    def apply(work: Work) -> Work:
        pictures = list(shop.generate(network, card, work.seeds, work.lines))
        return replace(work, pictures=pictures, shown=pictures)

    return apply


def _ground(shop: Workshop, stage: pipeline.Ground, known: Opened) -> Apply:
    size = None if stage.size is None else parse_size(stage.size)
    make: Callable[[Work], Sequence[Images]]
    if stage.model is not None:
        network, card, _ = shop.load_unconditional(stage.model)
        known.sizes, make = [card.spec[:2]], lambda work: list(shop.generate(network, card, work.seeds))
    elif stage.sources:
        words = [stage.pictures] if isinstance(stage.pictures, str) else stage.pictures or []
        named = [str(shop.folder / word) for word in words] or [str(stage.colour)]
        grounds = find_grounds(named, size if stage.colour else None)
        used = {seed % len(grounds) for seed in shop.seeds}
        known.sizes = [grounds[i].size if grounds[i].is_plain else _size(grounds[i].read()) for i in sorted(used)]
        make = partial(_read, grounds)
    else:
        make = lambda work: work.pictures  # noqa: E731
    if size is not None:
        known.sizes = [size]

    def apply(work: Work) -> Work:
        made = [image if size is None else _cut(image, size) for image in make(work)]
        return replace(work, grounds=made, pictures=made, shown=made)

    return apply


def _read(grounds: Sequence[Ground], work: Work) -> list[Images]:
    return [grounds[seed % len(grounds)].read() for seed in work.seeds]


def _size(image: Images) -> Size:
    return image.shape[0], image.shape[1]


def _cut(image: Images, size: Size) -> Images:
    """The middle of an image, of the shape of `size`, resized to it."""
    height, width = _size(image)
    scale = min(height / size[0], width / size[1])
    h, w = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    top, left = (height - h) // 2, (width - w) // 2
    part = resampled(premultiplied(image[top : top + h, left : left + w]), *size)
    return rounded(part)[:, :, : 4 if image.shape[2] == 4 else 3]


def _layout(shop: Workshop, stage: pipeline.Layout) -> Apply:
    network, card, name = shop.load_unconditional(stage.model)
    require_layouts(name, card)

    def apply(work: Work) -> Work:
        layouts = make_layouts(network, card, work.seeds, shop.truncation, stage.smallest)
        return replace(work, layouts=layouts, shown=[layout.image for layout in layouts])

    return apply


def _objects(shop: Workshop, stage: pipeline.Objects) -> Apply:
    network, card, name = shop.load_unconditional(stage.model)
    require_alpha(card, name)

    def apply(work: Work) -> Work:
        seeds = [seed for layout in work.layouts for seed in layout.sprite_seeds]
        every = make_sprites(network, card, seeds, (), shop.truncation, stage.haze)
        sprites, start = [], 0
        for layout in work.layouts:
            part = slice(start, start := start + len(layout.places))
            sprites.append(Sprites(every.images[part], seeds[part], every.classes and every.classes[part]))
        shown = [side_by_side(list(map(rounded, own.images)), *card.spec[:2]) for own in sprites]
        return replace(work, sprites=sprites, shown=shown)

    return apply


def _assemble(work: Work) -> Work:
    placed = [
        layout.stand(own.images, _size(ground))
        for layout, own, ground in zip(work.layouts, work.sprites, work.grounds, strict=True)
    ]
    all_ = zip(work.grounds, work.sprites, placed, strict=True)
    pictures = [composed(ground, own.images, places) for ground, own, places in all_]
    return replace(work, placed=placed, pictures=pictures, shown=pictures)


def _upscale(shop: Workshop, stage: pipeline.Upscale, known: Opened) -> Apply:
    network, card, name = shop.load(stage.model)
    upscaler = Upscaler(network, card, Path(), passes_of(name, card, stage.times, "times"))
    known.sizes = [(height * upscaler.times, width * upscaler.times) for height, width in known.sizes]
    if (largest := max(map(math.prod, known.sizes))) > MAX_PIXELS:
        what = f"its pictures would have {largest:,} pixels, more than the limit of {MAX_PIXELS // 10**6} million"
        raise ConfigError(name, what, "enlarge less, or name smaller grounds")

    def apply(work: Work) -> Work:
        pictures = list(map(upscaler, work.pictures))
        return replace(work, pictures=pictures, shown=pictures)

    return apply
