"""Where memory does not suffice: one line, with the setting that would fit, tried."""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Callable, Iterator

import torch

from kantor.app.run import Parts
from kantor.config.io import overridden
from kantor.config.schema import Config
from kantor.engine.device import return_memory
from kantor.errors import ConfigError, ResourceError, out_of_memory
from kantor.nets import build_critic, build_generator, traits_of


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
    what = f"does not suffice for {_at_once(config)} pictures of {parts.spec.height}x{parts.spec.width} at once"
    raise ResourceError(where, what, _what_fits(parts))


def release(device: torch.device) -> None:
    """Gives back what nobody holds any more, once an error has cut a backward pass short."""
    one = torch.ones((), requires_grad=True, device=device)
    torch.autograd.grad(
        one * 2, one
    )  # autograd keeps what it was about to do, with its tensors, until it is called again
    gc.collect()
    return_memory()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def mixing_layer(config: Config, parts: Parts) -> str:
    """ "the critic mixes the pictures of a batch (batch norm)", or "" where no network does."""
    networks = {
        "generator": build_generator(config.generator, parts.spec, parts.classes),
        "critic": build_critic(config.critic, parts.spec, parts.classes),
    }
    for name, network in networks.items():
        traits = traits_of(network)
        if traits.mixes_batch:
            layer = "batch norm" if traits.normalisation == "batch" else "minibatch stddev"
            return f"the {name} mixes the pictures of a batch ({layer})"
    return ""


def refuse_parts_of_batches(parts: Parts) -> None:
    """Raises ConfigError where `train.micro_batch` would change what is computed."""
    if parts.config.train.micro_batch and (mixes := _mixes(parts)):
        what = f"{mixes}, so a part of a batch is not a part of the step"
        raise ConfigError("train.micro_batch", what, "use a smaller --batch in its place")


def _mixes(parts: Parts) -> str:
    """What computes something else on a part of a batch; "" where nothing does."""
    real, fake = torch.linspace(-1, 1, 4), torch.linspace(0.5, -2, 4)
    for name, loss in (("critic", parts.objective.critic), ("generator", parts.objective.generator)):
        if not torch.allclose(loss(real, fake)[:2], loss(real[:2], fake[:2])):  # of the user's own: ours never do
            return f"the {name}'s loss mixes the pictures of a batch"
    return mixing_layer(parts.config, parts)


def _at_once(config: Config) -> int:
    return min(config.train.micro_batch or config.train.batch, config.train.batch)


def _what_fits(parts: Parts) -> str:
    """The largest half, quarter, eighth ... that a few cycles get along with."""
    config, mixes = parts.config, bool(_mixes(parts))
    field = "train.batch" if mixes else "train.micro_batch"
    count = _at_once(config) // 2
    while count >= (2 if mixes else 1):
        trial = parts.lasting(overridden(config, {field: count}))
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
