"""The objects in the images of another source, as images of their own; or their silhouettes, one image of each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from kantor.data.decoding.objects import Cut, ObjectSettings
from kantor.data.sources.pieces import Pieces
from kantor.data.sources.source import Item, Loaded, Rejected, Source
from kantor.types import ObjectPlace

_NOWHERE = (0.0, 0.0, 1.0, 1.0)


class Objects(Pieces):
    """The objects of each image of an inner source, with their places: NAME.png gives NAME#0000.png, the largest, NAME#0001.png ...

    Settings of the kind "layout" give one image for each that has objects, NAME#0000.png, without a place.

    Args:
        entries: what `inner` lists.
        places: of the objects, for each item of `entries`; None for one that cannot be read, which is left to packing.
    """

    def __init__(
        self, inner: Source, entries: Sequence[Item | Rejected], places: Sequence[list[ObjectPlace] | None],
        settings: ObjectSettings, note: str,
    ) -> None:  # fmt: skip
        if settings.kind == "layout":
            places = [None if own is None or own else [] for own in places]
        numbers = [None if own is None else range(len(own)) for own in places]
        super().__init__(inner, entries, numbers, 0, note)
        self.settings = settings
        self._places = [place for own in places for place in ([None] if own is None else own)]

    def items(self) -> Iterator[Item | Rejected]:
        """As for `Pieces`, with places."""
        for entry in super().items():
            yield replace(entry, place=self._places[entry.position]) if isinstance(entry, Item) else entry

    def piece(self, data: Loaded, number: int, item: Item) -> Loaded:
        """One object."""
        place = self._places[item.position]
        return Cut(data, number, self.settings, _NOWHERE if place is None else place.box)


def found_objects(picture: str, method: str, spots: Sequence[Sequence[Any]]) -> list[ObjectPlace]:
    """The places of what was found in a picture; numbers rounded to a millionth."""

    def short(values: Sequence[float]) -> tuple[Any, ...]:
        return tuple(round(value, 6) for value in values)

    return [ObjectPlace(picture, short(box), short(middle), round(extent, 6), method) for box, middle, extent in spots]
