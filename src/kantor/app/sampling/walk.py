"""Animations, strips and frames of walks through latent space."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor import atomic
from kantor.app.asked import paths_of
from kantor.app.class_names import class_numbers, split_classes
from kantor.app.load_model import load_generator
from kantor.app.output_paths import new_numbered, require_free_files
from kantor.app.sampling.image_files import refuse_other_images, write_images
from kantor.app.sampling.options import WalkOptions
from kantor.errors import ConfigError
from kantor.export.weights import Card
from kantor.progress import Progress
from kantor.sample.animation import COMFORTABLE_SIDE, animation_bytes, require_video, shown
from kantor.sample.enlarge import enlarged
from kantor.sample.generate import BATCH, generate_images, generate_one_by_one
from kantor.sample.gif import MAX_SIDE
from kantor.sample.grid import grid, png_bytes
from kantor.sample.guided import follow
from kantor.sample.walk import Easing, loop_of_four, walk
from kantor.types import Images

MAX_FRAMES, MAX_IMAGES = 10_000, 100_000
MAX_BYTES = 2_000_000_000
CANDIDATES, TRIAL_STEPS = 16, 5  # seeds to choose a walk from, and steps between two of them: 720 images
STRIP, FRAMES = ".png", "frames"
KINDS = (".gif", ".webp", ".mp4", STRIP)
_FRAME_FILES = re.compile(r"[0-9]{5}\.png")
_GUTTER = 2


@dataclass(frozen=True)
class Film:
    """What is walked through: one walk, or one in each cell of a grid.

    Attributes:
        walks: the seeds of each walk; labels: their classes, None for a model without.
        frames: images from one seed to the next.
    """

    walks: Sequence[Sequence[int]]
    labels: Sequence[Sequence[int]] | None
    class_names: Sequence[str]
    frames: int
    loop: bool

    def captions(self, cell: int) -> list[str]:
        """A text for each image of a walk: "seed 3 → 9" on the way from 3 to 9, "seed 9" at its end; classes behind."""
        stops = self.stops(cell)
        texts = [_leg(a, b) for a, b in itertools.pairwise(stops) for _ in range(self.frames)]
        return texts if self.loop else [*texts, _leg(stops[-1], stops[-1])]

    def stops(self, cell: int) -> list[tuple[int, str]]:
        """Seed and class of each stop of a walk; the first one again at the end of a loop."""
        names = [""] * len(self.walks[cell])
        if self.labels is not None:
            names = [self.class_names[label] for label in self.labels[cell]]
        stops = list(zip(self.walks[cell], names, strict=True))
        return [*stops, stops[0]] if self.loop else stops


def _leg(first: tuple[int, str], second: tuple[int, str]) -> str:
    """ "seed 3 → 9, cat → dog", of the seed and the class at both ends; what is equal is said once."""
    seed, name = (str(a) if a == b else f"{a} → {b}" for a, b in zip(first, second, strict=True))
    return f"seed {seed}, {name}" if name else f"seed {seed}"


def make_walk(options: WalkOptions, progress: Progress, note: Callable[[str], None]) -> tuple[Path, int]:
    """Generates the images of a walk and writes them; returns the file or folder and the number of images in it.

    Args:
        note: called with the moment of the run, and with the chosen seeds if `options.seeds` is "smooth" or "rough".
    """
    kind = _kind(options.out)
    _check(options, kind)
    network, card, home = load_generator(options.model, options.runs, options.raw, options.moment, options.device, note)
    seeds = options.seeds
    if isinstance(seeds, str):
        seeds = choose_seeds(network, card, options, seeds == "rough")
        note(f"the {options.seeds} walk passes seeds {','.join(map(str, seeds))}")
    film = _film(options, card, seeds, options.columns - 1 if kind == STRIP else options.frames)
    paths = paths_of(card, options.colour, options.place, options.extent, note)
    inputs = [
        walk_inputs(
            card, stops, [] if film.labels is None else film.labels[cell], film.frames, options.straight,
            options.loop, options.easing, options.truncation, paths,
        )
        for cell, stops in enumerate(film.walks)
    ]  # fmt: skip
    z = np.stack([z for z, _ in inputs], axis=1).reshape(-1, inputs[0][0].shape[1])  # frame by frame, cell by cell
    shares = [y for _, y in inputs if y is not None]
    labels = np.stack(shares, axis=1).reshape(len(z), -1) if shares else None
    count = len(z) // len(film.walks)
    scale = _scale(options, card, len(film.walks))
    _require_memory(options, kind, count, card, scale)
    images = generate_one_by_one(network, z, labels, progress)
    with ExitStack() as folders:
        if options.out is None:
            out = folders.enter_context(new_numbered(home / "walks")) / "walk.gif"
        else:
            out = Path(options.out)
        if kind == FRAMES:
            write_images([out / f"{i:05d}.png" for i in range(count)], _frames(options, film, images, scale, True))
            if (out / f"{count:05d}.png").exists():
                note(f"{out} also holds frames of a longer walk, from {count:05d}.png on")
            return out, count
        if kind == STRIP:
            data, count = _strip(options, film, images)
        else:
            frames = _frames(options, film, images, scale, kind == ".webp")
            soft = options.smooth or 2 * max(card.spec[:2]) > COMFORTABLE_SIDE
            whole = options.scale is not None
            data = animation_bytes(frames, kind, options.fps, options.loop, dither=soft, whole=whole)
        atomic.make_folder(out.absolute().parent)
        atomic.write_bytes(out, data)
    return out, count


def _film(options: WalkOptions, card: Card, seeds: Sequence[int], frames: int) -> Film:
    """The seeds and their classes, shared out over the cells of --grid in order."""
    labels = class_numbers(split_classes(options.classes, card), card, seeds)
    each = len(seeds) // math.prod(options.grid or (1, 1))
    parts = [slice(at, at + each) for at in range(0, len(seeds), each)]
    of_labels = None if labels is None else [labels[part] for part in parts]
    return Film([seeds[part] for part in parts], of_labels, card.class_names, frames, options.loop)


def _frames(
    options: WalkOptions, film: Film, images: Iterator[Images], scale: int, with_alpha: bool
) -> Iterator[Images]:
    """The frames as they are shown: RGB, or `with_alpha` with the channels of the images; a grid lies on paper."""
    cells = len(film.walks)
    captions = zip(*(film.captions(cell) for cell in range(cells)), strict=True) if options.captions else None
    while some := list(itertools.islice(images, cells)):
        if captions is not None or options.grid is not None:
            columns, texts = (options.grid or (1, 1))[0], next(captions) if captions is not None else ()
            yield grid(np.stack(some), columns, _GUTTER, scale=scale, smooth=options.smooth, captions=texts)
        elif with_alpha:
            yield enlarged(some[0], scale, options.smooth)
        else:
            yield shown(some[0], scale, options.smooth)


def _strip(options: WalkOptions, film: Film, images: Iterator[Images]) -> tuple[bytes, int]:
    """A row per leg, both ends included; a loop ends with its first image. Returns a PNG and the images in it."""
    all_images, frames, stops = np.stack(list(images)), film.frames, film.stops(0)
    legs = len(stops) - 1
    order = [(leg * frames + i) % len(all_images) for leg in range(legs) for i in range(frames + 1)]
    captions = []
    if options.captions:
        texts = [f"seed {seed}\n{name}" if name else f"seed {seed}" for seed, name in stops]
        between = [""] * (frames - 1)
        captions = [text for a, b in itertools.pairwise(texts) for text in (a, *between, b)]
    page = grid(all_images[order], frames + 1, scale=options.scale, smooth=options.smooth, captions=captions)
    return png_bytes(page), legs * frames + 1


def _scale(options: WalkOptions, card: Card, cells: int) -> int:
    """The factor by which images are enlarged: small ones to a comfortable size, unless --scale says otherwise."""
    if options.scale is not None:
        return options.scale
    height, width = card.spec[:2]
    columns, rows = options.grid or (1, 1)
    room = min((MAX_SIDE - _GUTTER) // columns // width, (MAX_SIDE - _GUTTER) // rows // height) if cells > 1 else 64
    return max(1, min(COMFORTABLE_SIDE // max(height, width), room))


def choose_seeds(network: Any, card: Card, options: WalkOptions, rough: bool) -> list[int]:
    """Four of the first seeds whose round trip changes the images least; most if `rough`.

    The distance between two seeds is the sum of root mean square pixel changes over `TRIAL_STEPS` equal steps.
    """
    if card.class_names and len(options.classes) != 1:
        raise ConfigError("--seeds", "a model with classes needs one class for this", "name a --class")
    lengths = np.zeros((CANDIDATES, CANDIDATES))
    pairs = list(itertools.combinations(range(CANDIDATES), 2))
    for start in range(0, len(pairs), BATCH // (TRIAL_STEPS + 1)):  # as many as fit a batch
        some = pairs[start : start + BATCH // (TRIAL_STEPS + 1)]
        trips = [
            walk_inputs(card, pair, options.classes, TRIAL_STEPS, options.straight, False, "linear", options.truncation)
            for pair in some
        ]
        z = np.concatenate([z for z, _ in trips])
        labels = None if trips[0][1] is None else np.concatenate([y for _, y in trips if y is not None])
        images = generate_images(network, z, labels).astype(np.float32).reshape(len(some), TRIAL_STEPS + 1, -1)
        steps = np.sqrt(np.square(np.diff(images, axis=1)).mean(axis=2)).sum(axis=1)
        for (a, b), length in zip(some, steps, strict=True):
            lengths[a, b] = lengths[b, a] = length
    return list(loop_of_four(lengths, rough))


def _kind(out: str | None) -> str:
    """What to write: the ending of a file, or FRAMES for a folder, which exists or is named with a slash at its end."""
    if out is None:
        return ".gif"
    slashes = tuple(filter(None, ("/", os.sep, os.altsep)))
    return FRAMES if out.endswith(slashes) or Path(out).is_dir() else Path(out).suffix.lower()


def _check(options: WalkOptions, kind: str) -> None:
    """Raises ConfigError for impossible options, before a model is loaded."""
    stops = 4 if isinstance(options.seeds, str) else len(options.seeds)
    if options.grid is None and stops < 2:
        raise ConfigError("--seeds", "a walk needs two or more seeds", "name them, such as 3,9")
    if kind not in (*KINDS, FRAMES):
        do = f"choose one of: {', '.join(KINDS)}; or end it with / for a folder of frames"
        raise ConfigError(f"--out {options.out}", "unknown file type", do)
    cells = 1
    if options.grid is not None:
        cells = math.prod(options.grid)
        _check_grid(options, kind, cells, stops)
    per_leg, flag = (options.columns, "columns") if kind == STRIP else (options.frames, "frames")
    total = (stops // cells - (not options.loop)) * per_leg
    if total > MAX_FRAMES or total * cells > MAX_IMAGES:
        most = MAX_FRAMES if total > MAX_FRAMES else MAX_IMAGES
        do = f"stay below {most:,}: fewer seeds, or a smaller --{flag}"
        raise ConfigError("--seeds", f"{total if total > MAX_FRAMES else total * cells:,} images in all", do)
    if kind == FRAMES:
        out = Path(str(options.out))
        refuse_other_images(out, _FRAME_FILES)
        count = total if options.loop else total + 1
        require_free_files((out / f"{i:05d}.png" for i in range(count)), options.overwrite)
    elif options.out is not None:
        require_free_files([Path(options.out)], options.overwrite)
    if kind == ".mp4":
        require_video()


def _check_grid(options: WalkOptions, kind: str, cells: int, stops: int) -> None:
    """Raises ConfigError if the seeds cannot be shared out over the cells."""
    where = "--grid {}x{}".format(*(options.grid or ()))
    if kind == STRIP:
        raise ConfigError(where, "a strip has a row for each walk from seed to seed", "leave it out, or write a .gif")
    if isinstance(options.seeds, str):
        raise ConfigError(where, f"{options.seeds} picks the seeds of one walk", "name the seeds")
    if stops % cells or stops < 2 * cells:
        what = f"{stops:,} seeds cannot be shared out over {cells:,} walks of two or more seeds each"
        enough = max(2, -(-stops // cells)) * cells
        raise ConfigError(where, what, f"name {enough:,} seeds, such as --seeds 0-{enough - 1}")


def walk_inputs(
    card: Card, seeds: Sequence[int], classes: Sequence[str | int], frames: int, straight: bool, loop: bool,
    easing: Easing, truncation: float, paths: Mapping[str, Sequence[float]] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:  # fmt: skip
    """The latents of a walk, float32 [F, D], and the weight of each class in them, float32 [F, classes].

    Args:
        classes: names or numbers: none (each seed has its own class), one for all, or one per seed.
        paths: of controls, by name: the numbers that a walk passes, see `kantor.sample.guided.follow`.
    """
    straight = straight or card.generator.latent != "normal"
    paths = paths or {}
    points = card.latents(seeds, truncation, {name: stops[0] for name, stops in paths.items()})
    dim = card.generator.latent_dim
    z = walk(points[:, :dim], frames, straight, loop, easing)
    if card.guide is not None:
        controls = walk(points[:, dim:], frames, True, loop, easing)
        z = np.concatenate([z, follow(card.guide, controls, paths, loop)], axis=1)
    numbers = class_numbers(classes, card, seeds)
    if numbers is None:
        return z, None
    return z, walk(np.eye(len(card.class_names), dtype=np.float32)[numbers], frames, True, loop, easing)


def _require_memory(options: WalkOptions, kind: str, frames: int, card: Card, scale: int) -> None:
    """Raises ConfigError if the frames, which a GIF keeps in memory, and a WebP twice, would need too much."""
    if kind not in (".gif", ".webp"):
        return
    pixels = math.prod(card.spec[:2]) * scale * scale * math.prod(options.grid or (1, 1))
    if kind == ".gif" and options.scale is None:
        pixels = min(pixels, MAX_SIDE * MAX_SIDE)
    bytes_ = frames * pixels * (1 if kind == ".gif" else 2 * max(3, card.spec.channels))
    if bytes_ > MAX_BYTES:
        name = "GIF" if kind == ".gif" else "WebP"
        what = f"{name}: {frames:,} images of this size would take {bytes_ / 1e9:.0f} GB of memory"
        raise ConfigError("--out", what, "name a .mp4 or a folder of frames, or take fewer --frames")
