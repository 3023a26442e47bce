"""How users name the classes of a conditional model, and which class a seed has."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kantor.errors import ConfigError, nearest
from kantor.export.weights import Card
from kantor.sample.latents import class_of_seed


def split_classes(names: Sequence[str], card: Card) -> list[str]:
    """ "A,B" names two classes, unless it is the name of one, also without its blanks: "A, B"."""
    known = {_parts(name): name for name in card.class_names}
    longest = max(map(len, known), default=1)
    classes: list[str] = []
    for name in names:
        if name in card.class_names:
            classes.append(name)
            continue
        parts = _parts(name)
        while parts:
            size = next((n for n in range(longest, 0, -1) if parts[:n] in known), 1)
            classes.append(known.get(parts[:size], parts[0]))
            parts = parts[size:]
    return classes


def _parts(name: str) -> tuple[str, ...]:
    """The texts between commas, without blanks around them."""
    return tuple(part.strip() for part in name.split(","))


def class_numbers(classes: Sequence[str | int], card: Card, seeds: Sequence[int]) -> list[int] | None:
    """The label of each seed's image; None for a model without classes.

    Args:
        classes: names or numbers: none (each seed has its own, see `class_of_seed`), one for all, or one per seed.
    """
    if not len(classes):
        count = len(card.class_names)
        return [class_of_seed(seed, count) for seed in seeds] if count else None
    if len(classes) not in (1, len(seeds)):
        what = f"{len(classes)} classes for {len(seeds)} seeds"
        raise ConfigError("--class", what, "give one for all, or one per seed")
    numbers = [class_number(name, card) for name in classes]
    return numbers * len(seeds) if len(numbers) == 1 else numbers


def class_number(name: str | int, card: Card) -> int:
    """The label of a class, by its name or number. A number that is the name of a class counts as the name."""
    if not card.class_names:
        what = "this model was trained without classes"
        raise ConfigError(f"--class {name}", what, "leave --class out, or train with --conditional")
    if isinstance(name, str) and name in card.class_names:
        return card.class_names.index(name)
    if re.fullmatch("[0-9]{1,9}", str(name)) and int(name) < len(card.class_names):
        return int(name)
    where = f"--class {name}" if name != "" else '--class ""'
    raise ConfigError(where, "there is no such class", nearest(str(name), card.class_names))
