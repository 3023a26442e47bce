"""Some images of a source, by chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kantor.data.sources.source import Item, Rejected, Source, prepare, read_here, release
from kantor.random import permute


class Chosen:
    """`count` images of an inner source, drawn without repetition, in the source's order.

    Which ones is a function of `seed` and of how many there are. What the source itself leaves out is not listed; what
    is drawn and turns out to be unreadable is left out, and none is drawn in its place.

    Args:
        count: how many; all, where there are no more.
    """

    def __init__(self, inner: Source, count: int, seed: int) -> None:
        self.path, self.exact, self.inner, self.count, self.seed = inner.path, inner.exact, inner, count, seed
        self.here = read_here(inner)
        note = f"{count:,} images are drawn at random"
        self.note = "; ".join(text for text in (inner.note, note) if text)

    def items(self) -> Iterator[Item | Rejected]:
        """Those drawn. What may have changed is listed anew: all are counted first."""
        total = sum(isinstance(entry, Item) for entry in self.inner.items())
        if not total:
            yield from self.inner.items()  # what is there instead
        wanted = iter(drawn(total, self.count, self.seed).tolist())
        number, following = 0, next(wanted, None)
        for entry in self.inner.items():
            if not isinstance(entry, Item):
                continue
            if number == following:
                yield entry
                following = next(wanted, None)
            number += 1

    def load(self, item: Item) -> bytes | NDArray[np.uint8] | NDArray[np.uint16]:
        """As the source loads it."""
        return self.inner.load(item)

    def prepare(self) -> None:
        """Prepares the source."""
        prepare(self.inner)

    def release(self) -> None:
        """Closes what is open."""
        release(self.inner)


def drawn(total: int, count: int, seed: int) -> NDArray[np.int64]:
    """Which of `total` are among the `count` drawn: int64, rising."""
    return np.sort(permute(np.arange(min(count, total)), total, seed))
