"""Films and strips of the way from picture to picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor import atomic
from kantor.app.generate import class_number, load_model
from kantor.engine.device import choose_device
from kantor.errors import ConfigError
from kantor.export.weights import Card
from kantor.sample.draw import BATCH, draw
from kantor.sample.film import film_bytes, require_video, shown
from kantor.sample.grid import grid, png_bytes
from kantor.sample.latents import latents, parse_seeds
from kantor.sample.walk import Easing, walk

MOST_FRAMES = 10_000
KINDS = (".gif", ".webp", ".mp4", ".png")


@dataclass(frozen=True)
class WalkOptions:
    """What the user asked for; the fields are those of `kantor walk`."""

    model: str
    seeds: str
    out: Path
    classes: Sequence[str] = ()
    frames: int = 60
    straight: bool = False
    loop: bool = False
    easing: Easing = "linear"
    fps: float = 25.0
    columns: int = 9
    truncation: float = 1.0
    raw: bool = False
    checkpoint: int | None = None
    device: str = "auto"
    runs: Path = Path("runs")
    overwrite: bool = False


def make_walk(options: WalkOptions, progress: Callable[[int, int], None] = lambda *_: None) -> tuple[Path, int]:
    """Draws the walk and writes it.

    Args:
        progress: called with (frames drawn, of how many) of a film.
    Returns:
        The file, and the number of pictures in it.
    """
    seeds, kind = parse_seeds(options.seeds), options.out.suffix.lower()
    _check(options, seeds, kind)
    network, card, _ = load_model(options.model, options.runs, options.raw, options.checkpoint)
    network.to(choose_device(options.device))
    strip = kind == ".png"
    frames = options.columns - 1 if strip else options.frames
    straight = options.straight or card.generator.latent == "uniform"
    points = latents(seeds, card.generator.latent_dim, card.generator.latent, options.truncation)
    z = walk(points, frames, straight, options.loop, options.easing)
    shares = class_shares(options.classes, card, len(seeds))
    labels = None if shares is None else walk(shares, frames, True, options.loop, options.easing)
    if strip:
        if options.loop:
            z, labels = _closed(z), None if labels is None else _closed(labels)
        pictures = draw(network, z, labels)
        data, count = png_bytes(_rows(pictures, frames)), len(pictures)
    else:
        data, count = film_bytes(_drawn(network, z, labels, progress), kind, options.fps, options.loop), len(z)
    atomic.make_folder(options.out.absolute().parent)
    atomic.write_bytes(options.out, data)
    return options.out, count


def _check(options: WalkOptions, seeds: list[int], kind: str) -> None:
    """Refuses what cannot be done, before a model is loaded."""
    if len(seeds) < 2:
        raise ConfigError("--seeds", "a walk leads from one seed to another", "name two or more, such as 3,9")
    if kind not in KINDS:
        raise ConfigError(f"--out {options.out}", "the ending says what is made", f"choose one of: {', '.join(KINDS)}")
    total = (len(seeds) - (not options.loop)) * options.frames
    if kind != ".png" and total > MOST_FRAMES:
        raise ConfigError(f"--frames {options.frames}", f"{total:,} pictures in all", f"stay below {MOST_FRAMES:,}")
    if options.out.exists() and not options.overwrite:
        raise ConfigError(options.out, "exists already", "choose another --out, or add --overwrite")
    if kind == ".mp4":
        require_video()


def class_shares(names: Sequence[str], card: Card, count: int) -> NDArray[np.float32] | None:
    """Which class each point shows: float32 [count, classes], a one in each row; None without classes.

    Args:
        names: none (the classes in turn), one for all, or one for each point; "A,B" is two, unless a class is so called.
    """
    if not card.class_names and not names:
        return None
    names = [part for name in names for part in ([name] if name in card.class_names else name.split(","))]
    if len(names) not in (0, 1, count):
        raise ConfigError("--class", f"{len(names)} classes for {count} seeds", "give one for all, or one a seed")
    numbers = [class_number(name, card) for name in names] or [i % len(card.class_names) for i in range(count)]
    shares = np.zeros((count, len(card.class_names)), np.float32)
    shares[np.arange(count), numbers * count if len(numbers) == 1 else numbers] = 1
    return shares


def _drawn(
    network: Any, z: NDArray[np.float32], labels: NDArray[np.float32] | None, progress: Callable[[int, int], None]
) -> Iterator[NDArray[np.uint8]]:
    """Frames one by one, so that a long film needs little memory."""
    for start in range(0, len(z), BATCH):
        part = None if labels is None else labels[start : start + BATCH]
        for picture in draw(network, z[start : start + BATCH], part):
            yield shown(picture)
        progress(min(start + BATCH, len(z)), len(z))


def _closed(path: NDArray[np.float32]) -> NDArray[np.float32]:
    """With the first point again at the end, which a strip shows and a film does not."""
    return np.concatenate([path, path[:1]])


def _rows(pictures: NDArray[np.uint8], frames: int) -> NDArray[np.uint8]:
    """A row a leg, both of its ends in it."""
    legs = (len(pictures) - 1) // frames
    order = [leg * frames + i for leg in range(legs) for i in range(frames + 1)]
    return grid(pictures[order], frames + 1)
