"""Turns a lack of memory while training into one line with a setting that fits, tried."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

from kantor.app.training.parts import Parts, mixing
from kantor.app.training.trial import Trial, release_memory
from kantor.config.io import overridden
from kantor.config.schema import Config
from kantor.errors import ResourceError, out_of_memory


@contextlib.contextmanager
def explain_out_of_memory(parts: Parts) -> Iterator[None]:
    """Raises ResourceError with a setting that fits if memory runs out within the context."""
    try:
        yield
        return
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they refer to the networks that filled the memory
    release_memory(parts.device)
    if _fits(parts):
        what = "out of memory outside the training step (the step itself fits): grids, scores, files"
        raise ResourceError("memory", what, "close other programs, or use a smaller --size or score.count")
    where = f"the memory of {'the GPU' if parts.device.type != 'cpu' else 'this machine'}"
    what = f"too small for {_images_at_once(parts.config)} images of {parts.spec.height}x{parts.spec.width} at once"
    raise ResourceError(where, what, _what_fits(parts))


def _fits(parts: Parts) -> bool:
    with Trial(parts) as trial:
        return trial.fits_in_memory()


def _images_at_once(config: Config) -> int:
    largest = max(config.train.batch, config.cycle.generator_batch)
    return min(config.train.micro_batch or largest, largest)


def _what_fits(parts: Parts) -> str:
    """Names the largest half, quarter, eighth ... of the batch that fits in memory."""
    config, mixes = parts.config, bool(mixing(parts))
    field = "train.batch" if mixes else "train.micro_batch"
    count = _images_at_once(config) // 2
    while count >= (2 if mixes else 1):
        if _fits(parts.with_config(overridden(config, {field: count, "train.compile": False}))):
            if mixes:
                return f"use --batch {count}, which fits (tried); the networks mix a batch, so this changes the run"
            return f"add --set train.micro_batch={count}, which fits (tried): the same steps, to rounding"
        count //= 2
    return "use a smaller --size or width"
