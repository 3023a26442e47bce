"""Classes of a conditional model: how files are named after them, and how many images each had."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kantor.app import environment
from kantor.app.load_model import load_model
from kantor.app.output_paths import distinct_name
from kantor.runs import directory

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_MOST_BYTES = 100


@dataclass(frozen=True)
class ModelClass:
    """A class of a model. images: of it in training; None if the run does not say."""

    number: int
    name: str
    images: int | None


def list_classes(model: str, runs: Path) -> list[ModelClass]:
    """The classes of a model by number; none if it was trained without. Raises ModelError if there is no such model."""
    _, card, home = load_model(model, runs)
    counts = environment.read(home / directory.ENVIRONMENT).get("class_counts", {})
    return [ModelClass(number, name, counts.get(name)) for number, name in enumerate(card.class_names)]


def file_names(class_names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """A name of a file or folder for each class, which every system can hold; no two are equal, nor one of `taken`.

    It is the name of the class, but for characters that stand for something else in paths.
    """
    seen, names = {name.casefold() for name in taken}, []
    for class_name in class_names:
        safe = _UNSAFE.sub("-", class_name).strip(" .").encode()[:_MOST_BYTES].decode("utf-8", "ignore").strip(" .")
        base = f"{safe}-" if _DEVICES.fullmatch(safe) else safe or "class"
        names.append(distinct_name(base, seen))
    return names
