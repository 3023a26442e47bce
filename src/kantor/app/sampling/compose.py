"""`kantor compose`: sprites of a generator in pictures, or on a sheet for game tools."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from kantor.app.class_names import class_numbers, split_classes
from kantor.app.load_model import Note, load_generator
from kantor.app.output_paths import new_numbered, require_free_files, spare_sources
from kantor.app.sampling.classes import file_names
from kantor.app.sampling.grounds import Ground, find_grounds
from kantor.app.sampling.image_files import into_folder, refuse_other_images
from kantor.app.sampling.layouts import Layout, find_layouts
from kantor.app.sampling.options import ComposeOptions
from kantor.errors import ConfigError, DataError, ModelError
from kantor.export.weights import Card
from kantor.progress import Progress, silent
from kantor.sample.atlas import atlas, shelves
from kantor.sample.compose import Floats, Placed, cleaned, composed, place_sprites, premultiplied, rounded, visible_box
from kantor.sample.generate import generate_images
from kantor.sample.grid import png_bytes
from kantor.types import Images

DEFAULT_COUNT, DEFAULT_ATLAS = 5, 64
PLACES, ATLAS = "places.json", "atlas"
_LARGEST_SHEET = 16384  # pixels a side: what graphics cards take


@dataclass(frozen=True)
class Composed:
    """What was written. images: how many; sprites: in all of them."""

    place: Path
    images: int
    sprites: int


@dataclass(frozen=True)
class Sprites:
    """Sprites in order, premultiplied, with seed and class of each; classes is None for a model without."""

    images: list[Floats]
    seeds: list[int]
    classes: list[str] | None

    def named(self) -> Iterator[tuple[Floats, int, str | None]]:
        """Image, seed, class."""
        classes: Sequence[str | None] = self.classes or [None] * len(self.seeds)
        return zip(self.images, self.seeds, classes, strict=True)


def compose(options: ComposeOptions, progress: Progress = silent, note: Note = lambda line: None) -> Composed:
    """Puts generated sprites into each background, or all onto one sheet, and writes both pictures and places.

    note: called with lines for the user. Raises ModelError if the model's images have no transparency, DataError if a
    background that is named cannot be used; one of a folder is left out with a line.
    """
    _check(options)
    grounds = find_grounds(options.backgrounds, options.size)
    network, card, home = load_generator(options.model, options.runs, options.raw, options.moment, options.device, note)
    require_alpha(card, options.model)
    layouts = find_layouts(options, len(grounds), note)
    per_picture = _seeds(options, len(grounds)) if layouts is None else [layout.sprite_seeds for layout in layouts]
    classes = split_classes(options.classes, card)
    if per_picture[0]:  # before anything is generated
        class_numbers(classes, card, per_picture[0])
    names = [ATLAS] if options.atlas else [ground.name for ground in grounds]
    table = f"{ATLAS}.json" if options.atlas else PLACES
    if options.out is not None:
        files = [options.out / file for file in (*(f"{name}.png" for name in names), table)]
        spare_sources(options.out, files, (Path(ground.word) for ground in grounds if not ground.is_plain))
        refuse_other_images(options.out, re.compile("|".join(re.escape(f"{name}.png") for name in names)))
        require_free_files(files, options.overwrite)

    def sprites(seeds: Sequence[int]) -> Sprites:
        return make_sprites(network, card, seeds, classes, options.truncation, options.haze)

    folder = contextlib.nullcontext(options.out) if options.out is not None else new_numbered(home / "composed")
    with folder as place, into_folder(place) as write:
        if options.atlas:
            image, frames = _atlas(sprites(per_picture[0]), card, note)
            write(f"{ATLAS}.png", png_bytes(image))
            write(table, _json(frames))
            return Composed(place, 1, len(frames["frames"]))
        written: list[dict[str, Any]] = []
        of_each = zip(grounds, per_picture, [None] * len(grounds) if layouts is None else layouts, strict=True)
        for number, (ground, seeds, layout) in enumerate(of_each):
            try:
                background = ground.read()
            except DataError as error:
                if ground.named or (number == len(grounds) - 1 and not written):
                    raise
                note(f"left out: {error.where} {error.what}")
                continue
            image, entry = _composed(ground, background, sprites(seeds), options, layout, note)
            write(entry["file"], png_bytes(image))
            written.append(entry)
            progress(number + 1, len(grounds))
        write(table, _json({"pictures": written}))
    return Composed(place, len(written), sum(len(entry["sprites"]) for entry in written))


def require_alpha(card: Card, model: object) -> None:
    """Raises ModelError if the images of a model have no transparency."""
    if card.spec.channels != 4:
        what = f"generates {card.spec} images, which have no transparency"
        raise ModelError(model, what, "train one with --channels rgba, or --objects auto")


def _check(options: ComposeOptions) -> None:
    """Raises ConfigError for options that do not go together."""
    if options.layout is not None:
        with_layout = {"--place": options.places, "--count": options.count, "--atlas": options.atlas}
        if wrong := next((flag for flag, value in with_layout.items() if value), None):
            raise ConfigError(wrong, "does not go with --layout, which says where and how many", "leave one out")
        if len(options.seeds or ()) > 1:
            what = f"{len(options.seeds or ())} seeds are named, and with --layout one seed says all"
            raise ConfigError("--seeds", what, "name the first one: each picture takes the next")
    if options.atlas:
        given = {"BACKGROUND": options.backgrounds, "--place": options.places, "--size": options.size}
        if wrong := next((flag for flag, value in given.items() if value), None):
            raise ConfigError(wrong, "does not go with --atlas, a sheet of all sprites side by side", "leave one out")
    elif not options.backgrounds:
        do = 'name a picture, a folder, transparent or a colour such as "#88aacc"; or add --atlas'
        raise ConfigError("kantor compose", "a BACKGROUND is missing", do)
    count, seeds = options.count, options.seeds or ()
    if count is not None and len(seeds) > 1 and count != len(seeds):
        do = "leave --count out, or name only the first seed"
        raise ConfigError(f"--count {count}", f"{len(seeds)} seeds are named", do)
    sprites = count or (len(seeds) if len(seeds) > 1 else math.inf)
    if len(options.places) > sprites:
        what = f"{len(options.places)} places for {sprites} sprite{'s' if sprites != 1 else ''}"
        raise ConfigError("--place", what, "name fewer places, or raise --count")


def _seeds(options: ComposeOptions, grounds: int) -> list[list[int]]:
    """The seeds of the sprites in each picture: those listed in every one; from one seed on, other ones in each."""
    seeds = list(options.seeds or (0,))
    if len(seeds) > 1:
        return [seeds] * (1 if options.atlas else grounds)
    default = DEFAULT_ATLAS if options.atlas else max(DEFAULT_COUNT, len(options.places))
    count = options.count or (len(options.places) or default)
    pictures = 1 if options.atlas else grounds
    return [list(range(seeds[0] + i * count, seeds[0] + (i + 1) * count)) for i in range(pictures)]


def make_sprites(
    network: nn.Module, card: Card, seeds: Sequence[int], classes: Sequence[str | int], truncation: float, haze: float
) -> Sprites:
    """The images of `kantor generate`, without haze."""
    if not seeds:
        return Sprites([], [], None)
    labels = class_numbers(classes, card, seeds)
    images = generate_images(network, card.latents(seeds, truncation), labels)
    clean = [cleaned(premultiplied(image), haze) for image in images]
    return Sprites(clean, list(seeds), None if labels is None else [card.class_names[n] for n in labels])


def _composed(
    ground: Ground, background: Images, sprites: Sprites, options: ComposeOptions, layout: Layout | None, note: Note
) -> tuple[Images, dict[str, Any]]:
    """The picture, and its entry in places.json."""
    size = background.shape[0], background.shape[1]
    if layout is None:
        placed = place_sprites(sprites.images, sprites.seeds, size, options.extent, options.places)
    else:
        placed = layout.stand(sprites.images, size)
    unseen = [str(seed) for image, seed, _ in sprites.named() if not image[:, :, 3].any()]
    if unseen:
        note(f"{ground.name}.png: nothing is to be seen of seed {', '.join(unseen)}, whose image is transparent")
    entry = {
        "file": f"{ground.name}.png",
        "background": ground.word,
        "height": size[0],
        "width": size[1],
        **({} if layout is None else {"layout": layout.seed}),
        "sprites": entries(sprites, placed, size),
    }
    return composed(background, sprites.images, placed), entry


def entries(sprites: Sprites, placed: Sequence[Placed], size: tuple[int, int]) -> list[dict[str, Any]]:
    """What places.json says of each sprite in a picture of (height, width), from back to front."""
    both = zip(sprites.named(), placed, strict=True)
    return [_entry(*named, place, order, size) for order, (named, place) in enumerate(both)]


def _entry(
    image: Floats, seed: int, name: str | None, place: Placed, order: int, size: tuple[int, int]
) -> dict[str, Any]:
    x, y = place.centre(*size)
    box = {"left": place.left, "top": place.top, "width": place.width, "height": place.height}
    return {"seed": seed, "class": name, "order": order, "centre": [round(x, 5), round(y, 5)], **box}


def _atlas(sprites: Sprites, card: Card, note: Note) -> tuple[Images, dict[str, Any]]:
    """The sheet of all sprites, each once, and its table. note: called with the names of sprites that show nothing."""
    suffix = dict(zip(card.class_names, file_names(card.class_names), strict=True))
    by_name = {}
    for image, seed, name in sprites.named():
        by_name[f"seed-{seed:08d}{'' if name is None else '-' + suffix[name]}.png"] = rounded(image)
    if empty := [name for name, image in by_name.items() if not image[:, :, 3].any()]:
        more = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
        note(f"nothing is visible of {empty[0]}{more}: one transparent pixel each on the sheet")
    boxes = [visible_box(image, faintest=1) for image in by_name.values()]
    _, (width, height) = shelves([(right - left, bottom - top) for left, top, right, bottom in boxes])
    if max(width, height) > _LARGEST_SHEET:
        what = f"a sheet of {len(by_name):,} sprites would have {width:,}x{height:,} pixels"
        raise ConfigError("--count", what, f"ask for fewer: graphics cards take {_LARGEST_SHEET:,} a side")
    return atlas(by_name, f"{ATLAS}.png")


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
