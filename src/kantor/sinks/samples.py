"""Grids of samples, and the animations made of them."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kantor import atomic
from kantor.disk_errors import resource_errors
from kantor.engine.events import Event, Finished, Listener, Request, Sampled, Saved, Started
from kantor.sample import gif
from kantor.sample.grid import grid, png_bytes
from kantor.sinks.timing import Throttle

KINDS = ("fixed", "random")
MAX_PIXELS = 1 << 26
"""Of a grid: 64 images of 1024x1024."""
_NUMBER = re.compile("[0-9]{1,18}")


class SampleGrids(Listener):
    """Writes samples/ and the two animations in the folder of a run.

    - Started: samples/reals.png.
    - Sampled: samples/fixed/000012800.png and samples/random/000012800.png.
    - Saved, as often as the throttle allows, and Finished: animation-fixed.gif and animation-random.gif, made of the
      grids on disk. Later grids (of a run that was killed, or rolled back) are left out until they are written again.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path, throttle: Throttle | None = None) -> None:
        self.folder, self._throttle = folder, throttle or Throttle()
        self._frames: dict[Path, Image.Image] = {}
        self._shown: dict[str, list[Path]] = {}

    def on(self, event: Event) -> Iterable[Event | Request] | None:
        match event:
            case Started():
                if not event.resumed:
                    self._write("reals.png", event.reals, "real images")
            case Sampled():
                name = grid_name(event.images_seen)
                caption = f"{event.images_seen:,} images seen · epoch {event.epoch:.1f}"
                self._write(f"fixed/{name}", event.fixed, caption)
                self._write(f"random/{name}", event.random, caption)
            case Saved() | Finished() if isinstance(event, Finished) or self._throttle.due():
                with self._throttle.doing():
                    for kind in KINDS:
                        self._animate(kind, event.images_seen)
        return None

    def _write(self, name: str, images: NDArray[np.uint8], caption: str) -> None:
        if not len(images):
            return
        path = self.folder / "samples" / name
        with resource_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        image = grid(images, caption=caption)
        atomic.write_bytes(path, png_bytes(image))
        if path.parent.name in KINDS:  # reading it back later would cost as much again
            self._frames[path] = gif.indexed(image)
        self._shown.clear()

    def _animate(self, kind: str, images_seen: int) -> None:
        paths = [p for p in grid_paths(self.folder, kind) if int(p.stem) <= images_seen]
        chosen = [paths[i] for i in gif.choose(len(paths))]
        path = self.folder / f"animation-{kind}.gif"
        if self._shown.get(kind) == chosen and path.exists():
            return
        frames = [frame for p in chosen if (frame := self._frame(p))]
        if not frames:
            return
        atomic.write_bytes(path, gif.gif_bytes(frames))
        self._shown[kind] = chosen
        # with more than 200 grids the choice thins out in steps: what it dropped never comes back
        dropped = set(paths) - set(chosen)
        self._frames = {p: frame for p, frame in self._frames.items() if p not in dropped}

    def _frame(self, path: Path) -> Image.Image | None:
        """The grid at `path` in 256 colours; None if it is gone or damaged."""
        if path not in self._frames and (image := read_grid(path)):
            self._frames[path] = gif.indexed(np.asarray(image))
        return self._frames.get(path)


def grid_name(images_seen: int) -> str:
    """12800 -> "000012800.png"; names sort by number."""
    return f"{images_seen:09d}.png"


def grid_paths(folder: Path, kind: str) -> list[Path]:
    """The grids in samples/KIND of the run `folder`, in order of images seen."""
    paths = (path for path in (folder / "samples" / kind).glob("*.png") if _NUMBER.fullmatch(path.stem))
    return sorted(paths, key=lambda path: int(path.stem))


def read_grid(path: Path) -> Image.Image | None:
    """The image at `path`, as RGB; None if it is gone, damaged, or larger than any grid."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about large images, which are refused below
            with Image.open(path, formats=("PNG",)) as image:
                if image.width * image.height > MAX_PIXELS:
                    return None
                return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError):
        return None
