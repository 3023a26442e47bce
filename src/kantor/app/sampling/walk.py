"""Animations and strips of walks through latent space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor import atomic
from kantor.app.load_model import load_generator
from kantor.app.output_paths import require_free_files
from kantor.app.sampling.generate import class_numbers, split_classes
from kantor.app.sampling.options import WalkOptions
from kantor.errors import ConfigError
from kantor.export.weights import Card
from kantor.progress import Progress
from kantor.sample.animation import COMFORTABLE_SIDE, animation_bytes, require_video, shown
from kantor.sample.generate import BATCH, generate_images, generate_one_by_one
from kantor.sample.grid import grid, png_bytes
from kantor.sample.walk import Easing, loop_of_four, walk

MAX_FRAMES = 10_000
MAX_WEBP_BYTES = 2_000_000_000
CANDIDATES, TRIAL_STEPS = 16, 5  # seeds to choose a walk from, and steps between two of them: 720 images
STRIP = ".png"
KINDS = (".gif", ".webp", ".mp4", STRIP)


def make_walk(options: WalkOptions, progress: Progress, note: Callable[[str], None]) -> tuple[Path, int]:
    """Generates the images of a walk and writes them; returns the file and the number of images in it.

    Args:
        note: called with the moment of the run, and with the chosen seeds if `options.seeds` is "smooth" or "rough".
    """
    kind = options.out.suffix.lower()
    _check(options, kind)
    network, card, _ = load_generator(options.model, options.runs, options.raw, options.moment, options.device, note)
    seeds = options.seeds
    if isinstance(seeds, str):
        seeds = choose_seeds(network, card, options, seeds == "rough")
        note(f"the {options.seeds} walk passes seeds {','.join(map(str, seeds))}")
    frames = options.columns - 1 if kind == STRIP else options.frames
    classes = split_classes(options.classes, card)
    z, labels = walk_inputs(
        card, seeds, classes, frames, options.straight, options.loop, options.easing, options.truncation
    )
    images = generate_one_by_one(network, z, labels, progress)
    if kind == STRIP:  # a row per leg, both ends included; the last image of a loop is the first one
        legs = len(seeds) - (not options.loop)
        order = [(leg * frames + i) % len(z) for leg in range(legs) for i in range(frames + 1)]
        data, count = png_bytes(grid(np.stack(list(images))[order], frames + 1)), legs * frames + 1
    else:
        if kind == ".webp":
            _require_webp_memory(len(z), card)
        enlarged = 2 * max(card.spec[:2]) <= COMFORTABLE_SIDE
        frames_shown = map(shown, images)
        data, count = animation_bytes(frames_shown, kind, options.fps, options.loop, dither=not enlarged), len(z)
    atomic.make_folder(options.out.absolute().parent)
    atomic.write_bytes(options.out, data)
    return options.out, count


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


def _check(options: WalkOptions, kind: str) -> None:
    """Raises ConfigError for impossible options, before a model is loaded."""
    stops = 4 if isinstance(options.seeds, str) else len(options.seeds)
    if stops < 2:
        raise ConfigError("--seeds", "a walk needs two or more seeds", "name them, such as 3,9")
    if kind not in KINDS:
        raise ConfigError(f"--out {options.out}", "unknown file type", f"choose one of: {', '.join(KINDS)}")
    per_leg, flag = (options.columns, "columns") if kind == STRIP else (options.frames, "frames")
    total = (stops - (not options.loop)) * per_leg
    if total > MAX_FRAMES:
        do = f"stay below {MAX_FRAMES:,}: fewer seeds, or a smaller --{flag}"
        raise ConfigError("--seeds", f"{total:,} images in all", do)
    require_free_files([options.out], options.overwrite)
    if kind == ".mp4":
        require_video()


def walk_inputs(
    card: Card, seeds: Sequence[int], classes: Sequence[str | int], frames: int, straight: bool, loop: bool,
    easing: Easing, truncation: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:  # fmt: skip
    """The latents of a walk, float32 [F, D], and the weight of each class in them, float32 [F, classes].

    Args:
        classes: names or numbers: none (all classes in turn), one for all, or one per seed.
    """
    straight = straight or card.generator.latent != "normal"
    z = walk(card.latents(seeds, truncation), frames, straight, loop, easing)
    numbers = class_numbers(classes, card, len(seeds))
    if numbers is None:
        return z, None
    return z, walk(np.eye(len(card.class_names), dtype=np.float32)[numbers], frames, True, loop, easing)


def _require_webp_memory(frames: int, card: Card) -> None:
    """Raises ConfigError if the WebP writer, which keeps all frames in memory twice, would need too much."""
    bytes_ = 2 * frames * math.prod(shown(np.zeros(card.spec, np.uint8)).shape)
    if bytes_ > MAX_WEBP_BYTES:
        what = f"{frames:,} images of this size would take {bytes_ / 1e9:.0f} GB of memory"
        raise ConfigError("--out", f"WebP: {what}", "name a .mp4 or .gif, or take fewer --frames")
