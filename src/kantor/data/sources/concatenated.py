"""Several sources as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources import labels as label_files
from kantor.data.sources.source import Item, Rejected, Source, prepare, read_here, release

_PART = 44  # bits of a position that are the part's own


class Many:
    """The images of several sources, one after the other; classes of the same name are one.

    At most a few of the parts have their files open at a time: there can be more parts than the system lets us open.

    Args:
        path: for messages.
        parts: the sources.
        prefixes: of the names, one for each part, all different.
        labels: a CSV or JSON file, in which the names have the prefixes; "" where the parts know their labels.
    """

    def __init__(self, path: str, parts: Sequence[Source], prefixes: Sequence[str], labels: str = "") -> None:
        self.path, self.parts, self.prefixes, self.labels = path, list(parts), list(prefixes), labels
        self.exact = all(part.exact for part in parts)
        self.here = any(read_here(part) for part in parts)
        self.note = "; ".join(dict.fromkeys(part.note for part in parts if part.note))
        self._loading: int | None = None

    def items(self) -> Iterator[Item | Rejected]:
        """Those of the first source, then those of the second ..., each in its own order."""
        if not self.labels:
            return self._entries()
        return label_files.attach(self._entries(), label_files.read_file(self.labels), self.labels)

    def load(self, item: Item) -> bytes | NDArray[np.uint8] | NDArray[np.uint16]:
        """As its source loads it."""
        number, position = item.position >> _PART, item.position & ((1 << _PART) - 1)
        if self._loading not in (None, number):
            release(self.parts[self._loading])
        self._loading = number
        name = item.name.removeprefix(f"{self.prefixes[number]}/")
        return self.parts[number].load(replace(item, name=name, position=position))

    def prepare(self) -> None:
        """Prepares the parts."""
        for part in self.parts:
            prepare(part)
            release(part)

    def release(self) -> None:
        """Closes what is open."""
        for part in self.parts:
            release(part)

    def _entries(self) -> Iterator[Item | Rejected]:
        for number, (part, prefix) in enumerate(zip(self.parts, self.prefixes, strict=True)):
            for entry in part.items():
                name = f"{prefix}/{entry.name}"
                if isinstance(entry, Rejected):
                    yield Rejected(name, entry.reason)
                    continue
                if entry.position >> _PART:  # it would be taken for one of another part
                    raise OverflowError(f"{part.path}: {entry.name} is at {entry.position}")
                yield replace(entry, name=name, position=number << _PART | entry.position)
            if number != self._loading:  # it may be in use again, to load what was listed before
                release(part)
