"""The images of an earlier run, or their packed copy where they are gone."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from kantor.app.dataset.prepare import open_set
from kantor.config.schema import Config
from kantor.data.loading.holdout import training_set
from kantor.data.loading.image_set import ImageSet, PairedImages, paired_fingerprint
from kantor.data.loading.store import Store
from kantor.data.sources import GLYPHS
from kantor.data.sources.python_object import PREFIX, REGISTERED
from kantor.errors import DataError
from kantor.progress import Progress


def open_again(
    config: Config, expected: str | None, cache: Path, progress: Progress, note: Callable[[str], None]
) -> ImageSet:
    """The set that the run began with. Where its source is gone, its packed copy in the cache serves.

    Args:
        expected: fingerprint of what the run was trained on; None where nobody knows, and nothing was learnt yet.
    Raises:
        DataError: the images are others, or gone.
    """
    source = config.data.source
    if config.data.condition != "none":
        kept_pairs = _pairs_of_gone(config, expected, cache, note)
        if kept_pairs is not None:
            return kept_pairs
    elif (kept := copy_of_gone(config, expected, cache, note)) is not None:
        return training_set(kept, config.data.holdout)
    if _is_gone(source) and not source.startswith(PREFIX):
        do = "bring them back, or say where they lie now: --resume RUN with that folder or file as DATA"
        raise DataError(source, "the images of the run are no longer there", do)
    store, _, _ = open_set(config, 32, cache, progress, note)
    if expected is not None and store.fingerprint != expected:
        what = f"the images are not those that the run began with ({store.count:,} now)"
        raise DataError(source, what, "bring them back as they were, or start a new run")
    return store


def _is_gone(source: str) -> bool:
    if source.startswith(PREFIX):
        return source.removeprefix(PREFIX) not in REGISTERED
    return source != GLYPHS and not Path(source).exists()


def copy_of_gone(config: Config, expected: str | None, cache: Path, note: Callable[[str], None]) -> Store | None:
    """Where the images of a run are gone, the whole set in the cache whose training part has the fingerprint
    `expected`; None where they are not gone, or there is no copy."""
    if not _is_gone(config.data.source):
        return None
    for store in _kept(cache):
        found = training_set(store, config.data.holdout)
        with contextlib.suppress(DataError):
            if found.fingerprint == expected:
                store.verify()
                note(f"{config.data.source} is no longer there; its packed copy in the cache serves")
                return store
    return None


def _kept(cache: Path) -> Iterator[Store]:
    """The packed sets in the cache."""
    for path in sorted((cache / "packs").glob("[0-9a-f]*")):
        with contextlib.suppress(DataError):
            yield Store.open(path)


def _pairs_of_gone(
    config: Config, expected: str | None, cache: Path, note: Callable[[str], None]
) -> PairedImages | None:
    """As `copy_of_gone`, of images and their conditions, which lie in two packed sets."""
    if not _is_gone(config.data.source):
        return None
    stores = list(_kept(cache))
    for images, conditions in itertools.product(stores, stores):
        if paired_fingerprint(images.fingerprint, conditions.fingerprint) == expected:
            sides = (images, conditions)
            with contextlib.suppress(DataError):
                for store in sides:
                    store.verify()
                note(f"{config.data.source} is no longer there; its packed copies in the cache serve")
                return PairedImages(*(training_set(store, config.data.holdout) for store in sides))
    return None
