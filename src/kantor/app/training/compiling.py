"""Compiled steps, decided before a run begins: whether they can be had and, for `--compile`, whether they are faster."""

from __future__ import annotations

from collections.abc import Callable

from kantor.app.decisions import Filled, fill
from kantor.app.training.run import Parts
from kantor.app.training.trial import CALIBRATION_S, images_per_second
from kantor.config.io import overridden
from kantor.config.schema import Config

SHORTEST_S = 120.0  # of what is left of a budget: in less, compiling is not repaid
_WORTH_IT = 1.05
_TURNS = 2


def compiled_or_not(parts: Parts, note: Callable[[str], None], left_s: float) -> tuple[Config, list[Filled]]:
    """The configuration with `train.compile` true or false, where it was not false to begin with.

    It is decided on fresh networks, so that a run that goes on decides as it did when it began. What is compiled for it
    serves the run too.

    Args:
        left_s: seconds that the run may take; "auto" compiles nothing where they are few.
    """
    asked = parts.config.train.compile
    if asked is False:
        return parts.config, []
    decided, why = _decided(parts, note, left_s)
    return fill(parts.config, {"train.compile": (decided, why)}) if decided != asked else (parts.config, [])


def _decided(parts: Parts, note: Callable[[str], None], left_s: float) -> tuple[bool, str]:
    automatic = parts.config.train.compile == "auto"
    if parts.own:
        return False, "networks and losses of your own are not compiled"
    plain, compiled = (
        parts.lasting(overridden(parts.config, {"train.compile": way})).steps(note) for way in (False, True)
    )
    state, feed, position = parts.state(), parts.feed, parts.feed.position
    if not compiled.compilable(state):
        return False, "networks with dropout are not compiled"
    if automatic and left_s < SHORTEST_S:
        return (
            False,
            "less than two minutes are left, too few to gain by it; --set train.compile=true compiles in any case",
        )
    then = "; then both ways are measured" if automatic else ""
    note("compiling the steps: half a minute to some minutes, the first time" + then)
    for _ in range(1 + parts.objective.round_of_penalties):
        compiled.cycle(state, feed)  # every kind of step
    feed.position = position
    if not compiled.compiler.compiles:
        return False, "it cannot be done here"
    if not automatic:
        return True, "as asked for"
    rates = [0.0, 0.0]
    for _ in range(_TURNS):
        for i, way in enumerate((plain, compiled)):
            rates[i] += images_per_second(state, feed, way, CALIBRATION_S / 2) / _TURNS
    found = f"measured {rates[1]:,.0f} images a second compiled and {rates[0]:,.0f} otherwise"
    return rates[1] > _WORTH_IT * rates[0], found
