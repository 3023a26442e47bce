"""Where memory does not suffice: one line, with the setting that would fit, tried."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Callable, Iterator

import torch

from kantor.app.training.mixing import mixing_part
from kantor.app.training.run import Parts
from kantor.config.io import overridden
from kantor.config.schema import Config
from kantor.engine.device import return_memory
from kantor.errors import ResourceError, out_of_memory


@contextlib.contextmanager
def explained(parts: Parts) -> Iterator[None]:
    """Turns a lack of memory while training into an error that names what fits.

    Raises:
        ResourceError: saying so.
    """
    try:
        yield
        return
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold on to the networks that filled the memory
    release(parts.device)
    config, device = parts.config, parts.device
    if fits(lambda: _round_of_cycles(parts), parts.device):
        what = "does not suffice for what is done besides the steps, which fit (they were tried): sheets, scores, files"
        raise ResourceError("memory", what, "close other programs, or use a smaller --size or score.count")
    where = f"the memory of {'the GPU' if device.type != 'cpu' else 'this machine'}"
    what = f"does not suffice for {_at_once(config)} images of {parts.spec.height}x{parts.spec.width} at once"
    raise ResourceError(where, what, _what_fits(parts))


def release(device: torch.device) -> None:
    """Gives back what nobody holds any more, once an error has cut a backward pass short."""
    one = torch.ones((), requires_grad=True, device=device)
    # autograd keeps what it was about to do, with its tensors, until it is called again
    torch.autograd.grad(one * 2, one)
    gc.collect()
    return_memory()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _at_once(config: Config) -> int:
    most = max(config.train.batch, config.cycle.generator_batch)
    return min(config.train.micro_batch or most, most)


def _what_fits(parts: Parts) -> str:
    """The largest half, quarter, eighth ... that a few cycles get along with."""
    config = parts.config
    mixes = bool(mixing_part(config, parts.spec, parts.classes, parts.condition, parts.objective))
    field = "train.batch" if mixes else "train.micro_batch"
    count = _at_once(config) // 2
    while count >= (2 if mixes else 1):
        trial = parts.lasting(overridden(config, {field: count, "train.compile": False}))
        if fits(lambda trial=trial: _round_of_cycles(trial), parts.device):  # type: ignore[misc]
            if mixes:
                return f"--batch {count} fits (it was tried); the networks mix a batch, so it is another run"
            return f"--set train.micro_batch={count} fits (it was tried), and takes the same steps to rounding"
        count //= 2
    return "use a smaller --size or width"


def fits(trial: Callable[[], object], device: torch.device) -> bool:
    """Whether there is memory enough for it."""
    try:
        trial()
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
    else:
        return True
    release(device)
    return False


def _round_of_cycles(parts: Parts) -> None:
    """Every kind of step once: lazy penalties are due at the first critic step."""
    state, position = parts.state(), parts.feed.position
    steps = parts.steps()
    try:
        for _ in range(2):  # the optimisers' moments are there from the second on
            steps.cycle(state, parts.feed)
        state.tally.read()
    finally:
        parts.feed.position = position
