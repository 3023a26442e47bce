"""Where the objects of a packed dataset were in their pictures."""

from __future__ import annotations

from kantor.data.loading.store import Store
from kantor.types import ObjectPlace


def object_places(store: Store) -> dict[str, list[ObjectPlace]]:
    """The places of the objects by the name of their picture, the largest first; {} if the images are no objects.

    Raises DataError if the file that lists them is damaged.
    """
    found: dict[str, list[ObjectPlace]] = {}
    for source in store.sources():
        if (about := source.get("object")) is not None:
            box, centroid = tuple(about["box"]), tuple(about["centroid"])
            place = ObjectPlace(about["picture"], box, centroid, about["extent"], about["method"])
            found.setdefault(place.picture, []).append(place)
    return found
