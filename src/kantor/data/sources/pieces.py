"""The frames of animations, stacks and videos, or the tiles of sheets, as images of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kantor.data.decoding.pieces import Frame, Tile
from kantor.data.sources.source import Item, Loaded, Rejected, Source


class Pieces(Source):
    """Several images of each file of an inner source: NAME.gif gives NAME#0000.gif, NAME#0001.gif ...

    Args:
        entries: what `inner` lists.
        numbers: of the frames or tiles that are used, for each item of `entries`; None for a file that cannot be read, which keeps
            its name and is left to packing.
        tile: the side of tiles in pixels; 0 for frames.
    """

    def __init__(
        self, inner: Source, entries: Sequence[Item | Rejected], numbers: Sequence[Sequence[int] | None], tile: int,
        note: str,
    ) -> None:  # fmt: skip
        self.path, self.local_only, self.rules, self.note = inner.path, inner.local_only, inner.rules, note
        self.inner, self.parts, self.tile = inner, [inner], tile
        self._items = [entry for entry in entries if isinstance(entry, Item)]
        self._rejected = [entry for entry in entries if isinstance(entry, Rejected)]
        self._unread = [own is None for own in numbers]
        self._numbers = [[0] if own is None else list(own) for own in numbers]
        self._starts = [0]
        for own in self._numbers:
            self._starts.append(self._starts[-1] + len(own))
        self._loaded: tuple[int, Loaded] | None = None

    def items(self) -> Iterator[Item | Rejected]:
        """The files that the inner source rejects, then the pieces in order."""
        yield from self._rejected
        for row, (item, numbers) in enumerate(zip(self._items, self._numbers, strict=True)):
            stem, dot, ending = item.name.rpartition(".")
            if not dot or "/" in ending:
                stem, dot, ending = item.name, "", ""
            for place, number in enumerate(numbers):
                name = item.name if self._unread[row] else f"{stem}#{number:04d}{dot}{ending}"
                yield item.__class__(name, self._starts[row] + place, item.size, item.mtime_ns, item.label)

    def load(self, item: Item) -> Loaded:
        """The frame or tile. The file of the last one is kept."""
        row = self._row(item.position)
        number = self._numbers[row][item.position - self._starts[row]]
        if self._loaded is None or self._loaded[0] != row:
            self._loaded = row, self.inner.load(self._items[row])
        return self.piece(self._loaded[1], number, item)

    def piece(self, data: Loaded, number: int, item: Item) -> Loaded:
        """One piece of a file."""
        if self.tile:
            return Tile(data, number, self.tile)
        return Frame(data, number) if isinstance(data, bytes) else data

    def _row(self, position: int) -> int:
        from bisect import bisect_right

        return bisect_right(self._starts, position) - 1
