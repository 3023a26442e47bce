"""`--batch auto`: which batch is fastest here."""

from __future__ import annotations

import time
from collections.abc import Callable

from kantor.app.decisions import Filled, fill
from kantor.app.training.memory import fits
from kantor.app.training.mixing import mixing_layer
from kantor.app.training.run import Parts
from kantor.app.training.trial import images_per_second
from kantor.config.io import overridden
from kantor.config.schema import Config
from kantor.errors import ConfigError, ResourceError

LONGEST_SEARCH_S = 30.0
BATCHES = (16, 32, 64, 128, 256, 512, 1024)
_NEARLY = 0.95  # a batch twice as large for a twentieth more speed means fewer steps on the same images


def batch_for(parts: Parts, limit_s: float) -> tuple[Config, list[Filled]]:
    """The configuration with the batch that is fastest here.

    Args:
        limit_s: about how long measuring may take.
    Raises:
        ConfigError: a network mixes the images of a batch, so that the batch is part of what it computes.
    """
    if mixes := mixing_layer(parts.config, parts.spec, parts.classes, parts.condition):
        what = f"{mixes}, so another batch is another network"
        raise ConfigError("--batch auto", what, "give a number, or a network without that layer")

    def rate_of(batch: int) -> float:
        trial = parts.lasting(overridden(parts.config, {"train.batch": batch, "train.compile": False}))
        rates: list[float] = []

        def measure() -> None:
            rates.append(images_per_second(trial.state(), trial.feed, trial.steps(), 1.0))

        if not fits(measure, parts.device):
            raise MemoryError
        return rates[0]

    batch, why = fastest_batch(rate_of, parts.store.count, limit_s)
    return fill(parts.config, {"train.batch": (batch, why)})


def fastest_batch(
    rate_of: Callable[[int], float], most: int, limit_s: float, clock: Callable[[], float] = time.monotonic
) -> tuple[int, str]:
    """The smallest batch within 5 % of the fastest, and why.

    Args:
        rate_of: images a second with a batch of this size; raises MemoryError where it does not fit.
        most: no batch gets larger.
        limit_s: none is tried that would take the measuring past this.
    """
    rates: dict[int, float] = {}
    full, untried = 0, False
    began_s = before_s = clock()
    for batch in [b for b in BATCHES if b <= max(most, BATCHES[0])]:
        now_s = clock()
        if rates and (untried := now_s - began_s + 2 * (now_s - before_s) > limit_s):
            break  # a trial of twice the batch takes up to twice as long
        before_s = now_s
        try:
            rates[batch] = rate_of(batch)
        except MemoryError:
            full = batch
            break
        best = max(rates.values())
        if len(rates) > 2 and max(list(rates.values())[-2:]) < _NEARLY * best:
            break  # past the top
    if not rates:
        raise ResourceError("--batch auto", f"even a batch of {full} does not fit", "use a smaller --size or width")
    best = max(rates.values())
    chosen = next(batch for batch, rate in rates.items() if rate >= _NEARLY * best)
    found = ", ".join(f"{rate:,.0f} images a second at {batch}" for batch, rate in rates.items())
    found += f"; {full} does not fit" if full else "; larger ones would have taken too long" if untried else ""
    return chosen, f"measured {found}; learning rates stay as they are"
