"""The images of an earlier run, or their packed copy in the cache if they are gone."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
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

    Args:
        expected: fingerprint of the images trained on; None if there is no record of it, before the first checkpoint.
    Raises:
        DataError: the images have changed, or are gone.
    """
    source = config.data.source
    if config.data.condition != "none":
        pairs = _pairs_in_cache(config, expected, cache)
        if pairs is not None:
            return pairs
    elif (copy := copy_in_cache(config, expected, cache)) is not None:
        return training_set(copy, config.data.holdout)
    if _is_gone(source) and not source.startswith(PREFIX):
        remedy = "restore them, or name their new place: --resume RUN with that folder or file as DATA"
        raise DataError(source, "the images of the run are no longer there", remedy)
    images, _, _ = open_set(config, 32, cache)
    if expected is not None and images.fingerprint != expected:
        what = f"the images have changed since the run was started ({images.count:,} now)"
        raise DataError(source, what, "restore them, or start a new run")
    return images


def copy_in_cache(config: Config, expected: str | None, cache: DatasetCache) -> Store | None:
    """Returns the packed copy of a run's images if these are gone, else None; also None if there is no copy.

    Args:
        expected: fingerprint of the images trained on.
    """
    if not _is_gone(config.data.source):
        return None
    for store in _packed_sets(cache):
        with contextlib.suppress(DataError):
            if store.fingerprint == expected:
                store.verify()
                cache.note(f"{config.data.source} is no longer there; using its packed copy in the cache")
                return store
    return None


def _pairs_in_cache(config: Config, expected: str | None, cache: DatasetCache) -> PairedImages | None:
    """As `copy_in_cache`, for images and conditions, which are two packed datasets."""
    if not _is_gone(config.data.source):
        return None
    stores = list(_packed_sets(cache))
    for images, conditions in itertools.product(stores, stores):
        if paired_fingerprint(images.fingerprint, conditions.fingerprint) == expected:
            with contextlib.suppress(DataError):
                images.verify()
                conditions.verify()
                cache.note(f"{config.data.source} is no longer there; using its packed copies in the cache")
                return PairedImages(*(training_set(store, config.data.holdout) for store in (images, conditions)))
    return None


def _packed_sets(cache: DatasetCache) -> Iterator[Store]:
    for path in sorted(cache.packs.glob("[0-9a-f]*")):
        with contextlib.suppress(DataError):
            yield Store.open(path)


def _is_gone(source: str) -> bool:
    if source.startswith(PREFIX):
        return source.removeprefix(PREFIX) not in REGISTERED
    return source != GLYPHS and not Path(source).exists()
