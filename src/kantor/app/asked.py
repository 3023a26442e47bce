"""What users ask of a guided model: --colour, --place and --extent, as numbers of its controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kantor.app import units
from kantor.controls import CONTROLS, Guide
from kantor.errors import ConfigError, ModelError
from kantor.export.weights import Card

_GREY = (0.299, 0.587, 0.114)  # as images are converted to grey
_NEAR = 0.01


@dataclass(frozen=True)
class Wishes:
    """What is asked for; None where nothing is.

    Attributes:
        colour: red, green and blue, 0 to 255.
        place: of the subject's centre, x and y in [0, 1] from the top left.
        extent: in (0, 1], see `kantor.controls`.
    """

    colour: tuple[int, int, int] | None = None
    place: tuple[float, float] | None = None
    extent: float | None = None


def asked_of(card: Card, wishes: Wishes, note: Callable[[str], None] = lambda line: None) -> dict[str, float]:
    """The controls asked for, by name: {"x": 0.3, "y": 0.6}.

    Args:
        note: called with a line for each number that no training image comes near.
    Raises:
        ModelError: the model was trained without one of them.
    """
    wanted = [control for control in CONTROLS if getattr(wishes, control) is not None]
    offered = card.guide.controls if card.guide else ()
    if missing := [control for control in wanted if control not in offered]:
        has = f"; it has {' and '.join(offered)}" if offered else ""
        what = f"this model was not guided by {missing[0]}{has}"
        guide = ",".join(control for control in CONTROLS if control in (*offered, *wanted))
        raise ModelError(f"--{missing[0]}", what, f"leave it out, or train with --guide {guide}")
    if card.guide is None:
        return {}
    asked = _numbers(card.guide, wishes)
    for name, (low, high) in card.guide.ranges().items():
        if name in asked and not low - _NEAR <= asked[name] <= high + _NEAR:
            note(f"{name} {asked[name]:.2f} is asked for; training images have {low:.2f} to {high:.2f}, so expect less")
    return asked


def _numbers(guide: Guide, wishes: Wishes) -> dict[str, float]:
    asked: dict[str, float] = {}
    if wishes.colour is not None:
        red, green, blue = (value / 255 for value in wishes.colour)
        grey = sum(share * value for share, value in zip(_GREY, (red, green, blue), strict=True))
        known = {"red": red, "green": green, "blue": blue, "grey": grey}
        asked |= {name: known[name] for name in guide.names if name in known}
    if wishes.place is not None:
        asked |= dict(zip("xy", wishes.place, strict=True))
    return asked if wishes.extent is None else asked | {"extent": wishes.extent}


def guided_line(guide: Guide) -> str:
    """ "guided by place; training images have x 0.30 to 0.70, y 0.25 to 0.75"; names those in which all are alike."""
    known = guide.ranges()
    ranges = ", ".join(f"{name} {low:.2f} to {high:.2f}" for name, (low, high) in known.items())
    line = f"guided by {', '.join(guide.controls)}; training images have {ranges}"
    alike = [name for name, (low, high) in known.items() if high - low < _NEAR]
    return f"{line}; they are alike in {' and '.join(alike)}, so nothing can be learned of it" if alike else line


def wishes_of(
    colour: str | Sequence[int] | None, place: str | Sequence[float] | None, extent: str | float | None
) -> Wishes:
    """Wishes as users of Python write them: "#cc3311" or (204, 51, 17), "0.3,0.6" or (0.3, 0.6), 0.5. Raises ConfigError."""
    return Wishes(
        None if colour is None else _colour(colour),
        None if place is None else units.place(place, "place"),
        None if extent is None else units.extent(extent, "extent"),
    )


def _colour(colour: str | Sequence[int]) -> tuple[int, int, int]:
    if isinstance(colour, str):
        return units.colour(colour, "colour")
    try:
        red, green, blue = colour
        if all(0 <= value <= 255 for value in colour):
            return int(red), int(green), int(blue)
    except (TypeError, ValueError):  # not three numbers
        pass
    raise ConfigError("colour", f"{colour!r} is not a colour", "give (red, green, blue), each from 0 to 255")


def paths_of(
    card: Card,
    colours: Sequence[tuple[int, int, int]],
    places: Sequence[tuple[float, float]],
    extents: Sequence[float],
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, list[float]]:
    """What is asked for on a walk, by name: one number, or the numbers that it passes. Raises ModelError as `asked_of`."""
    wishes = [Wishes(colour=colour) for colour in colours] + [Wishes(place=place) for place in places]
    paths: dict[str, list[float]] = {}
    for wish in [*wishes, *(Wishes(extent=extent) for extent in extents)]:
        for name, value in asked_of(card, wish, note).items():
            paths.setdefault(name, []).append(value)
    return paths


def passed(
    card: Card,
    colour: str | Sequence[Any] | None = None,
    place: str | Sequence[Any] | None = None,
    extent: str | float | Sequence[Any] | None = None,
) -> dict[str, list[float]]:
    """`paths_of` what users of Python write: one wish as `wishes_of` takes it, a list of them, or a text: "0.3:0.8"."""
    colours = [wishes_of(stop, None, None).colour for stop in _stops(colour, True)]
    places = [wishes_of(None, stop, None).place for stop in _stops(place, True)]
    extents = [wishes_of(None, None, stop).extent for stop in _stops(extent, False)]
    return paths_of(
        card,
        [stop for stop in colours if stop is not None],
        [stop for stop in places if stop is not None],
        [stop for stop in extents if stop is not None],
    )


def _stops(value: Any, numbers: bool) -> list[Any]:
    """The wishes in one value; `numbers` if one wish is a sequence of numbers."""
    if value is None:
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.split(":")]
    if not isinstance(value, Iterable):
        return [value]
    listed = list(value)
    return listed if not numbers or any(isinstance(part, Iterable) for part in listed) else [listed]
