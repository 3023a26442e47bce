"""Enlarges pictures, or the generated images of a run, with a model that has learned to."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kantor.app.class_names import class_numbers
from kantor.app.load_model import Note, load_generator, load_model
from kantor.app.output_paths import new_numbered, require_free_files, spare_sources, target
from kantor.app.sampling.image_files import into_folder
from kantor.app.sampling.options import UpscaleOptions
from kantor.app.sampling.pictures import Picture, find_pictures, read_if_usable
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, DataError, ModelError
from kantor.export.weights import Card
from kantor.progress import Progress, silent
from kantor.runs import directory
from kantor.sample.generate import generate_one_by_one
from kantor.sample.grid import png_bytes
from kantor.sample.upscale import enlarge
from kantor.types import Images

DEFAULT_COUNT = 64  # of generated images
MAX_PIXELS = 64_000_000
"""Of an enlarged picture."""
FOLDER = "upscaled"  # next to the model
_MOST_NOTES = 5


@dataclass(frozen=True)
class Upscaler:
    """A model that enlarges.

    Attributes:
        passes: how often the network is applied.
        home: the folder of the model, a run or another.
    """

    network: Any
    card: Card
    home: Path
    passes: int

    @property
    def times(self) -> int:
        """Factor of height and width."""
        times: int = self.network.times**self.passes
        return times

    def __call__(self, image: Images) -> Images:
        """uint8 [H, W, C] -> [times H, times W, C]."""
        return enlarge(self.network, self.card.spec.channels, image, self.passes)


@dataclass(frozen=True)
class Upscaled:
    """What was written."""

    folder: Path
    count: int


def load_upscaler(options: UpscaleOptions, note: Note = lambda line: None) -> Upscaler:
    """Raises ModelError if the model does not enlarge, ConfigError if it cannot do so by --times."""
    network, card, home = load_model(options.model, options.runs, options.raw, options.moment, note)
    passes = passes_of(options.model, card, options.times, "--times")
    return Upscaler(network.to(choose_device(options.device)), card, home, passes)


def passes_of(model: str, card: Card, times: int | None, where: str) -> int:
    """How often the network of a model is to be applied. where: what `times` is called."""
    if card.generator.kind != "upscale":
        do = "name a model that was trained with --preset upscale"
        raise ModelError(model, "this model does not enlarge pictures", do)
    own = card.generator.times
    if times is None or times == own:
        return 1
    if times not in (2, 4):
        raise ConfigError(f"{where} {times}", "is not a factor that models learn", "use 2 or 4")
    if times < own:
        what = f"this model enlarges {own} times"
        raise ConfigError(f"{where} {times}", what, "leave it out, or train one with --preset upscale")
    return 2


def upscale(options: UpscaleOptions, progress: Progress = silent, note: Note = lambda line: None) -> Upscaled:
    """Enlarges and writes pictures as PNG, each under the name of its file, or of its seed.

    Raises DataError if no picture can be used, or a single one that was named.
    """
    upscaler = load_upscaler(options, note)
    if not options.pictures:
        do = "name pictures, a folder of them, or a run; or add --measure for those held out of training"
        raise ConfigError("kantor upscale", "there is nothing to enlarge", do)
    pictures = [] if _is_run(options) else find_pictures(options.pictures)[: options.count]
    named, images = _read(pictures, progress) if pictures else _generated(options, progress, note)
    out = None if options.out is None else target(options.out, options.pictures)
    if out is not None:
        files = [out / f"{name}.png" for name in named]
        spare_sources(options.out or out, files, (path for path, _ in pictures))
        require_free_files(files, options.overwrite)
    with new_numbered(upscaler.home / FOLDER) if out is None else contextlib.nullcontext(out) as folder:
        return _write(upscaler, images, folder, note)


def _write(upscaler: Upscaler, images: Iterator[tuple[str, Images | DataError]], folder: Path, note: Note) -> Upscaled:
    """Enlarges and writes images one by one, so that many of them need little memory."""
    written, rejected = 0, list[DataError]()
    with into_folder(folder) as write:
        for name, image in images:
            if (
                not isinstance(image, DataError)
                and (larger := math.prod(image.shape[:2]) * upscaler.times**2) > MAX_PIXELS
            ):
                what = f"would have {larger:,} pixels, more than the limit of {MAX_PIXELS // 10**6} million"
                image = DataError(name, what, "enlarge a part of it, or a smaller version")
            if isinstance(image, DataError):
                rejected.append(image)
                continue
            write(f"{name}.png", png_bytes(upscaler(image)))
            written += 1
        if not written:
            raise rejected[0]
    tell_left_out(rejected, note)
    return Upscaled(folder, written)


def tell_left_out(rejected: Sequence[DataError], note: Note) -> None:
    """Says which pictures cannot be used, and why."""
    for error in rejected[:_MOST_NOTES]:
        note(f"left out: {error.where} {error.what}")
    if len(rejected) > _MOST_NOTES:
        note(f"left out: {len(rejected) - _MOST_NOTES:,} more")


def _is_run(options: UpscaleOptions) -> bool:
    """Whether what is to be enlarged are images of a generator. Raises ConfigError if only some of it is."""
    runs = [text for text in options.pictures if _names_a_model(text, options.runs)]
    if runs and len(options.pictures) > 1:
        raise ConfigError(runs[0], "is a run, and stands beside others", "enlarge one run at a time")
    if not runs and options.seeds is not None:
        raise ConfigError("--seeds", "chooses images of a run, and these are pictures", "leave it out, or name a run")
    return bool(runs)


def _names_a_model(text: str, runs: Path) -> bool:
    path = Path(text)
    if directory.names_a_run(text, runs) or directory.is_checkpoint(path) or path.suffix == ".safetensors":
        return True
    try:
        return (path / directory.CONFIG).is_file()
    except OSError:
        return False


def _generated(
    options: UpscaleOptions, progress: Progress, note: Note
) -> tuple[list[str], Iterator[tuple[str, Images | DataError]]]:
    """Names and images of the seeds of a run."""
    if options.seeds is not None and options.count is not None:
        raise ConfigError("--seeds", "cannot be combined with --count", "give one of them")
    network, card, _ = load_generator(options.pictures[0], options.runs, device=options.device, note=note)
    seeds = list(range(options.count or DEFAULT_COUNT) if options.seeds is None else dict.fromkeys(options.seeds))
    names = [f"seed-{seed:08d}" for seed in seeds]
    z = card.latents(seeds, options.truncation)
    images = generate_one_by_one(network, z, class_numbers((), card, seeds), progress)
    return names, zip(names, images, strict=True)


def _read(
    pictures: Sequence[Picture], progress: Progress
) -> tuple[list[str], Iterator[tuple[str, Images | DataError]]]:
    """Names and images of pictures."""

    def images() -> Iterator[tuple[str, Images | DataError]]:
        for done, (path, name) in enumerate(pictures, 1):
            yield name, read_if_usable(path)
            progress(done, len(pictures))

    return [name for _, name in pictures], images()
