"""Finds a packed copy of images that were copied: their times are new, and only their bytes tell that they are the same.

Reading and hashing files is many times as fast as decoding and resizing them.
"""

from __future__ import annotations

from pathlib import Path

from kantor.data.loading.store import Store
from kantor.data.packing.scan import Listing, undated
from kantor.data.reasons import Undecodable
from kantor.data.sources.source import Item, Source, sha256
from kantor.errors import DataError
from kantor.progress import Progress


def packed_from_same_bytes(packs: Path, key: str, source: Source, listing: Listing, progress: Progress) -> Path | None:
    """The dataset in `packs` that was packed with the same settings from the same bytes under the same names, if there is one.

    One with images missing, because they could not be used or for a limit, does not count. key: of the cache.
    """
    for path in sorted(packs.glob(f"{undated(key)}*")):
        try:
            if path.name != key and _same(Store.open(path), source, listing, progress):
                return path
        except (DataError, Undecodable, OSError):  # the copy is damaged, or an image: packing says so
            continue
    return None


def _same(store: Store, source: Source, listing: Listing, progress: Progress) -> bool:
    if store.count != listing.items:
        return False
    items = (entry for entry in source.items() if isinstance(entry, Item))
    source.prepare()
    try:
        for number, (item, name, digest) in enumerate(zip(items, store.names(), store.digests(), strict=True)):
            if item.name != name or sha256(source.load(item)) != digest.tobytes():
                return False
            if number % 1000 == 999:
                progress(number + 1, store.count, 0)
    finally:
        source.release()
    return True
