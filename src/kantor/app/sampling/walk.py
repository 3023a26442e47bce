"""Films and strips of the way from image to image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor import atomic
from kantor.app.load_model import load_model, refuse_colourist
from kantor.app.output_paths import require_free_files
from kantor.app.sampling.generate import class_numbers, split_classes
from kantor.app.sampling.options import WalkOptions
from kantor.engine.device import choose_device
from kantor.errors import ConfigError
from kantor.export.weights import Card
from kantor.progress import Progress, silent
from kantor.sample.animation import COMFORTABLE_SIDE, film_bytes, require_video, shown
from kantor.sample.generate import BATCH, draw
from kantor.sample.grid import grid, png_bytes
from kantor.sample.latents import latents
from kantor.sample.walk import Easing, loop_of_four, walk

MOST_FRAMES = 10_000
MOST_WEBP_BYTES = 2_000_000_000
CANDIDATES, LEG = 16, 5  # seeds that a way is looked for among, and steps of a trial leg: 720 images
KINDS = (".gif", ".webp", ".mp4", ".png")


def make_walk(
    options: WalkOptions,
    progress: Progress = silent,
    note: Callable[[str], None] = lambda line: None,
) -> tuple[Path, int]:
    """Draws the walk and writes it.

    Args:
        progress: of the images.
        note: is told which seeds were chosen, where they are to be found.
    Returns:
        The file, and the number of images in it.
    """
    kind = options.out.suffix.lower()
    seeds = [0, 1, 2, 3] if isinstance(options.seeds, str) else list(options.seeds)
    _check(options, seeds, kind)
    network, card, _ = load_model(options.model, options.runs, options.raw, options.checkpoint)
    refuse_colourist(options.model, card)
    network.to(choose_device(options.device))
    if isinstance(options.seeds, str):
        seeds = found_seeds(network, card, options, options.seeds == "rough")
        note(f"the {options.seeds} way leads along seeds {','.join(map(str, seeds))}")
    strip = kind == ".png"
    frames = options.columns - 1 if strip else options.frames
    classes = split_classes(options.classes, card)
    z, labels = way(card, seeds, classes, frames, options.straight, options.loop, options.easing, options.truncation)
    if kind == ".webp":
        _require_room(len(z), card)
    if strip:
        if options.loop:
            z, labels = _closed(z), None if labels is None else _closed(labels)
        images = np.stack(list(_drawn(network, z, labels, progress)))
        data, count = png_bytes(_rows(images, frames)), len(images)
    else:
        drawn = map(shown, _drawn(network, z, labels, progress))
        enlarged = 2 * max(card.spec[:2]) <= COMFORTABLE_SIDE
        data, count = film_bytes(drawn, kind, options.fps, options.loop, dither=not enlarged), len(z)
    atomic.make_folder(options.out.absolute().parent)
    atomic.write_bytes(options.out, data)
    return options.out, count


def found_seeds(network: Any, card: Card, options: WalkOptions, rough: bool) -> list[int]:
    """Four of the first seeds between which images change least on a round trip, or most.

    How far it is from one to another: the sum of root mean square changes of pixels over `LEG` equal steps.
    """
    if card.class_names and len(options.classes) != 1:
        raise ConfigError("--seeds", "in a model with classes the way is looked for in one of them", "name a --class")
    lengths = np.zeros((CANDIDATES, CANDIDATES))
    pairs = list(itertools.combinations(range(CANDIDATES), 2))
    for start in range(0, len(pairs), BATCH // (LEG + 1)):  # as many as are drawn at once
        some = pairs[start : start + BATCH // (LEG + 1)]
        trips = [
            way(card, pair, options.classes, LEG, options.straight, False, "linear", options.truncation)
            for pair in some
        ]
        z = np.concatenate([z for z, _ in trips])
        labels = None if trips[0][1] is None else np.concatenate([one for _, one in trips if one is not None])
        images = draw(network, z, labels).astype(np.float32).reshape(len(some), LEG + 1, -1)
        steps = np.sqrt(np.square(np.diff(images, axis=1)).mean(axis=2)).sum(axis=1)
        for (a, b), length in zip(some, steps, strict=True):
            lengths[a, b] = lengths[b, a] = length
    return list(loop_of_four(lengths, rough))


def _check(options: WalkOptions, seeds: list[int], kind: str) -> None:
    """Refuses what cannot be done, before a model is loaded."""
    if len(seeds) < 2:
        raise ConfigError("--seeds", "a walk leads from one seed to another", "name two or more, such as 3,9")
    if kind not in KINDS:
        raise ConfigError(f"--out {options.out}", "the ending says what is made", f"choose one of: {', '.join(KINDS)}")
    each, flag = (options.columns, "columns") if kind == ".png" else (options.frames, "frames")
    total = (len(seeds) - (not options.loop)) * each
    if total > MOST_FRAMES:
        do = f"stay below {MOST_FRAMES:,}: fewer seeds, or a smaller --{flag}"
        raise ConfigError("--seeds", f"{total:,} images in all", do)
    require_free_files([options.out], options.overwrite)
    if kind == ".mp4":
        require_video()


def way(
    card: Card, seeds: Sequence[int], classes: Sequence[str | int], frames: int, straight: bool, loop: bool,
    easing: Easing, truncation: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:  # fmt: skip
    """The latents of a walk, float32 [F, D], and what share of each class they show, float32 [F, classes].

    Args:
        classes: names or numbers: none (the classes in turn), one for all, or one a seed.
    """
    dim, kind = card.generator.latent_dim, card.generator.latent
    z = walk(latents(seeds, dim, kind, truncation), frames, straight or kind != "normal", loop, easing)
    numbers = class_numbers(classes, card, len(seeds))
    if numbers is None:
        return z, None
    return z, walk(np.eye(len(card.class_names), dtype=np.float32)[numbers], frames, True, loop, easing)


def _require_room(frames: int, card: Card) -> None:
    """The writer of WebP holds all frames of a film, twice."""
    bytes_ = 2 * frames * math.prod(shown(np.zeros(card.spec, np.uint8)).shape)
    if bytes_ > MOST_WEBP_BYTES:
        what = f"a film of {frames:,} images of this size would take {bytes_ / 1e9:.0f} GB of memory"
        raise ConfigError("--out", f"WebP: {what}", "name a .mp4 or .gif, or take fewer --frames")


def _drawn(
    network: Any, z: NDArray[np.float32], labels: NDArray[np.float32] | None, progress: Progress
) -> Iterator[NDArray[np.uint8]]:
    """Images one by one, so that a long film needs little memory."""
    for start in range(0, len(z), BATCH):
        part = None if labels is None else labels[start : start + BATCH]
        yield from draw(network, z[start : start + BATCH], part)
        progress(min(start + BATCH, len(z)), len(z))


def _closed(path: NDArray[np.float32]) -> NDArray[np.float32]:
    """With the first point again at the end, which a strip shows and a film does not."""
    return np.concatenate([path, path[:1]])


def _rows(images: NDArray[np.uint8], frames: int) -> NDArray[np.uint8]:
    """A row a leg, both of its ends in it."""
    legs = (len(images) - 1) // frames
    order = [leg * frames + i for leg in range(legs) for i in range(frames + 1)]
    return grid(images[order], frames + 1)
