"""Some images of a source, chosen at random."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from kantor.data.sources.source import Item, Loaded, Rejected, Source
from kantor.random import random_rows


class RandomSubset(Source):
    """`count` images of an inner source, or all if it has no more, sampled without replacement, in the source's order.

    The choice is a function of `seed` and of the number of images. Files that the source itself rejects are not
    listed; a chosen image that turns out to be unreadable is rejected and not replaced.
    """

    def __init__(self, inner: Source, count: int, seed: int) -> None:
        self.path, self.exact, self.local_only = inner.path, inner.exact, inner.local_only
        self.inner, self.parts, self.count, self.seed = inner, [inner], count, seed
        self.note = "; ".join(text for text in (inner.note, f"{count:,} images are chosen at random") if text)

    def items(self) -> Iterator[Item | Rejected]:
        """The chosen images. Lists the source twice, since all are counted first."""
        total = sum(isinstance(entry, Item) for entry in self.inner.items())
        if not total:
            yield from self.inner.items()  # for a message that says what is there instead
        items = (entry for entry in self.inner.items() if isinstance(entry, Item))
        start = 0
        for row in random_rows(total, self.count, self.seed).tolist():
            yield from islice(items, row - start, row - start + 1)
            start = row + 1

    def load(self, item: Item) -> Loaded:
        """As the inner source loads it."""
        return self.inner.load(item)
