"""What surrounds the steps: start-up, feed, listeners, packing, generating.

    python benchmarks/around.py [--only start,feed,run,pack,draw]

start  seconds from nothing to the help text, and to the first row of a run (`import torch` alone for scale)
feed   seconds to hand out a batch of 64, for sets of 1e3 to 1e6 images of 32x32, read from a memory map (of zeros)
run    shares of a run's wall time: the feed, the listeners, grids, scores, checkpoints
pack   images a second of `kantor pack` and of a plain loop with Pillow (the same filter), on JPEGs of 256x256 brought to 64x64
draw   images a second that a trained generator draws
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import kantor
from kantor.config.io import resolve
from kantor.data.loading.feed import Feed
from kantor.engine.device import keep_memory
from kantor.engine.events import Bus
from kantor.engine.loop import Loop
from kantor.nets import build_generator
from kantor.sample.generate import generate_images
from kantor.sample.latents import latents
from kantor.types import ImageSpec


def timed(call: Callable[[], object], repeats: int = 5) -> float:
    """Median seconds."""
    spent = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began_s)
    return statistics.median(spent)


def start() -> None:
    def process(*words: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True)

    with tempfile.TemporaryDirectory() as folder:
        train = ["-m", "kantor", "train", "--runs", folder, "--cache", folder, "--set", "data.glyphs.count=200"]
        cases = {
            "kantor --help": process("-m", "kantor", "--help"),
            "python -c 'import torch'": process("-c", "import torch"),
            "kantor train, packed set in the cache, one step": process(*train, "--images", "32"),
        }
        for name, call in cases.items():
            call()
            print(f"start: {name}: {timed(call, 3):.2f} s")


class OnDisk:
    """Images in a memory map, as in a packed dataset."""

    def __init__(self, folder: Path, count: int) -> None:
        self.spec, self.count, self.condition_channels = ImageSpec(32, 32, 3), count, 0
        path = folder / f"{count}.npy"
        np.lib.format.open_memmap(path, "w+", np.uint8, (count, *self.spec)).flush()
        self._pixels = np.load(path, mmap_mode="r")

    def images(self, rows: np.ndarray) -> np.ndarray:
        return self._pixels[rows]

    def conditions(self, rows: np.ndarray) -> None:
        return None


def feed() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for count in (1_000, 10_000, 100_000, 1_000_000):
            stream = Feed(OnDisk(Path(folder), count), 0, torch.device("cpu"))  # type: ignore[arg-type]
            stream.take(64)
            print(f"feed: {count:>9,} images: {timed(lambda stream=stream: stream.take(64), 200) * 1e3:.2f} ms a batch")


@contextmanager
def watched(spent: dict[str, float], *methods: tuple[type, str]) -> Iterator[None]:
    """Adds up the seconds that methods take."""
    before = [(cls, name, getattr(cls, name)) for cls, name in methods]

    def clock(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            began_s = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - began_s

        return run

    for cls, name, call in before:
        setattr(cls, name, clock(f"{cls.__name__}.{name}", call))
    try:
        yield
    finally:
        for cls, name, call in before:
            setattr(cls, name, call)


def run() -> None:
    for preset, fields in (("default", {}), ("wgan-gp", {"generator.width": 32, "critic.width": 32})):
        spent: dict[str, float] = {}
        methods = [(Feed, "take"), (Bus, "emit"), (Loop, "run"), (Loop, "_sample"), (Loop, "_score"), (Loop, "_save")]
        with tempfile.TemporaryDirectory() as folder, watched(spent, *methods):
            kantor.train(preset=preset, overrides=fields, time_budget="90s", runs=folder, quiet=True)
        total = spent.pop("Loop.run")
        shares = ", ".join(f"{name} {part / total:.2%}" for name, part in spent.items())
        print(f"run: {preset}, {total:.0f} s: {shares} (emit is part of sample and save too)")


def pack(count: int = 6000) -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "in").mkdir()
        for i in range(count):
            small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
            small.resize((256, 256), Image.Resampling.BICUBIC).save(folder / "in" / f"{i:05d}.jpg", quality=90)

        def plainly() -> None:
            images = np.empty((count, 64, 64, 3), np.uint8)
            for i, path in enumerate(sorted((folder / "in").iterdir())):
                with Image.open(path) as image:
                    images[i] = image.convert("RGB").resize((64, 64), Image.Resampling.LANCZOS)
            np.save(folder / "plain.npy", images)

        def ours() -> None:
            kantor.pack(folder / "in", folder / "out", size="64", overwrite=True)

        for name, call in (
            ("a plain loop", plainly),
            ("kantor pack", ours),
            ("a plain loop", plainly),
            ("kantor pack", ours),
        ):
            print(f"pack: {name}: {count / timed(call, 1):,.0f} images a second")


def sampled() -> None:
    keep_memory()
    for preset, size in (("default", 32), ("default", 64), ("wgan-gp", 64)):
        config = resolve(preset)
        generator = build_generator(config.generator, ImageSpec(size, size, 3)).eval()
        z = latents(range(512), config.generator.latent_dim, config.generator.latent)
        generate_images(generator, z[:64])
        print(
            f"draw: {preset} at {size}x{size}: {512 / timed(lambda g=generator, z=z: generate_images(g, z), 3):,.0f} images a second"
        )


def main() -> None:
    parts: dict[str, Callable[[], None]] = {"start": start, "feed": feed, "run": run, "pack": pack, "draw": sampled}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(parts))
    names = parser.parse_args().only.split(",")
    if unknown := set(names) - parts.keys():
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; choose from {', '.join(parts)}")
    for name in names:
        parts[name]()


if __name__ == "__main__":
    main()
