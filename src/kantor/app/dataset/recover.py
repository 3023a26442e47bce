"""The images of an earlier run, or their packed copy in the cache if they are gone."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

from kantor.app.dataset.cache import DatasetCache
from kantor.app.dataset.prepare import open_set
from kantor.config.schema import Config
from kantor.data.loading.holdout import training_set
from kantor.data.loading.image_set import ImageSet, PairedImages, paired_fingerprint
from kantor.data.loading.store import Store
from kantor.data.sources import GLYPHS
from kantor.data.sources.python_object import PREFIX, REGISTERED
from kantor.errors import DataError


def open_again(config: Config, expected: str | None, cache: DatasetCache) -> ImageSet:
    """Opens the images that a run was started with; if its source is gone, their packed copy in the cache.

    Raises DataError if the images have changed, or are gone. expected: fingerprint of the images trained on; None if
    there is no record of it, before the first checkpoint.
    """
    source, paired = config.data.source, config.data.condition != "none"
    if copies := copies_in_cache(config, expected, cache, paired):
        parts = [training_set(store, config.data.holdout) for store in copies]
        return PairedImages(*parts) if paired else parts[0]
    if _is_gone(source) and not source.startswith(PREFIX):
        remedy = "restore them, or name their new place: --resume RUN with that folder or file as DATA"
        raise DataError(source, "the images of the run are no longer there", remedy)
    images, _, _ = open_set(config, 32, cache)
    if expected is not None and images.fingerprint != expected:
        what = f"the images have changed since the run was started ({images.count:,} now)"
        raise DataError(source, what, "restore them, or start a new run")
    return images


def copies_in_cache(
    config: Config, expected: str | None, cache: DatasetCache, paired: bool = False
) -> tuple[Store, ...]:
    """Returns the packed copy of a run's images, if `paired` also of their conditions, if the images are gone.

    expected: fingerprint of the images trained on.
    """
    if not _is_gone(config.data.source):
        return ()
    stores: list[Store] = []
    for path in sorted(cache.packs.glob("[0-9a-f]*")):
        with contextlib.suppress(DataError):
            stores.append(Store.open(path))
    for copies in itertools.product(stores, repeat=2 if paired else 1):
        fingerprints = [store.fingerprint for store in copies]
        if (paired_fingerprint(*fingerprints) if paired else fingerprints[0]) == expected:
            with contextlib.suppress(DataError):
                for store in copies:
                    store.verify()
                noun = "copies" if paired else "copy"
                cache.note(f"{config.data.source} is no longer there; using its packed {noun} in the cache")
                return copies
    return ()


def _is_gone(source: str) -> bool:
    if source.startswith(PREFIX):
        return source.removeprefix(PREFIX) not in REGISTERED
    return source != GLYPHS and not Path(source).exists()
