"""Several sources as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources.source import Item, Rejected, Source

_PART = 44  # bits of a position that are the part's own


class Many:
    """The pictures of several sources, one after the other; classes of the same name are one.

    Args:
        path: for messages.
        parts: the sources.
        prefixes: of the names, one for each part, all different.
    """

    def __init__(self, path: str, parts: Sequence[Source], prefixes: Sequence[str]) -> None:
        self.path, self.parts, self.prefixes = path, list(parts), list(prefixes)
        self.exact = all(part.exact for part in parts)
        notes = [part.note for part in parts if part.note]
        self.note = notes[0] if len(set(notes)) == 1 else "; ".join(notes)

    def items(self) -> Iterator[Item | Rejected]:
        """Those of the first source, then those of the second ..., each in its own order."""
        for number, (part, prefix) in enumerate(zip(self.parts, self.prefixes, strict=True)):
            for entry in part.items():
                name = f"{prefix}/{entry.name}"
                if isinstance(entry, Item):
                    yield replace(entry, name=name, position=number << _PART | entry.position)
                else:
                    yield Rejected(name, entry.reason)

    def load(self, item: Item) -> bytes | NDArray[np.uint8] | NDArray[np.uint16]:
        """As its source loads it."""
        number, position = item.position >> _PART, item.position & ((1 << _PART) - 1)
        name = item.name.removeprefix(f"{self.prefixes[number]}/")
        return self.parts[number].load(replace(item, name=name, position=position))
