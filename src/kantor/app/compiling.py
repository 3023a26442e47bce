"""`--compile`: whether compiled steps are faster here."""

from __future__ import annotations

import copy
from collections.abc import Callable

from kantor.app.plan import CALIBRATION_S, Filled, fill, pictures_per_second
from kantor.app.run import Parts
from kantor.config.io import overridden
from kantor.config.schema import Config

_WORTH_IT = 1.02
_TURNS = 2


def compiled_where_faster(parts: Parts, note: Callable[[str], None]) -> tuple[Config, list[Filled]]:
    """The configuration with `train.compile` decided where it is "auto": both ways are measured, in turn.

    What is compiled for it serves the run too.
    """
    if parts.config.train.compile != "auto":
        return parts.config, []
    wins, why = _faster(parts, note)
    return fill(parts.config, {"train.compile": (wins, why)})


def _faster(parts: Parts, note: Callable[[str], None]) -> tuple[bool, str]:
    if parts.own:
        return False, "networks and losses of your own are not compiled"
    ways = {
        compiled: parts.lasting(overridden(parts.config, {"train.compile": compiled})) for compiled in (False, True)
    }
    state, feed, position = parts.state(), parts.feed, parts.feed.position
    steps = {compiled: way.steps(note) for compiled, way in ways.items()}
    if not steps[True].compilable(state):
        return False, "networks with dropout are not compiled"
    note("compiling the steps, for half a minute or so; then both ways are measured")
    trial = copy.deepcopy(state)
    for _ in range(1 + max((p.every for p in parts.objective.penalties.values()), default=1)):
        steps[True].cycle(trial, feed)  # every kind of step
    feed.position = position
    if not steps[True].compiler.compiles:
        return False, "it cannot be done here"
    rates: dict[bool, float] = dict.fromkeys(steps, 0.0)
    for _ in range(_TURNS):
        for compiled, way in steps.items():
            rates[compiled] += pictures_per_second(state, feed, way, CALIBRATION_S / 2) / _TURNS
    found = f"measured {rates[True]:,.0f} pictures a second compiled and {rates[False]:,.0f} otherwise"
    return rates[True] > _WORTH_IT * rates[False], found
