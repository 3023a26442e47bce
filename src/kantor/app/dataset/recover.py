"""The images of an earlier run, or their packed copy in the cache if they are gone."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable

from kantor.app.dataset.cache import DatasetCache, no_notes
from kantor.app.dataset.image_size import spec_of
from kantor.app.dataset.pairs import paired
from kantor.app.dataset.prepare import open_set, trained_on
from kantor.app.dataset.smaller import Pixelated, pixelated_fingerprint
from kantor.config.schema import Config
from kantor.data.loading.image_set import ImageSet, paired_fingerprint
from kantor.data.loading.store import Store
from kantor.data.sources.python_object import PREFIX, REGISTERED
from kantor.data.sources.recognise import GLYPHS, split_inner
from kantor.errors import DataError


def open_again(
    config: Config, expected: str | None, cache: DatasetCache, otherwise: Callable[[], str] = lambda: "start a new run"
) -> ImageSet:
    """Opens the images that a run was started with; if its source is gone, their packed copy in the cache.

    Raises DataError if the images have changed, or are gone. expected: fingerprint of the images trained on; None if
    there is no record of it, before the first checkpoint. otherwise: what else the user can do if they have changed.
    """
    source, condition = config.data.source, config.data.condition
    if copies := copies_in_cache(config, expected, cache, condition not in ("none", "smaller")):
        images: ImageSet = copies[0]
        if condition == "smaller":
            images = Pixelated(images, spec_of(config, images), config.data.smaller)
        elif condition != "none":
            images = paired(copies[0], copies[1], config.data, no_notes)
        return trained_on(images, config, no_notes)
    gone = _gone(config)
    if gone and gone != source:
        raise DataError(gone, "the conditions of the run are no longer there", "restore them")
    if gone and not source.startswith(PREFIX):
        remedy = "restore them, or name their new place: --resume RUN with that folder or file as DATA"
        raise DataError(source, "the images of the run are no longer there", remedy)
    opened, _, _ = open_set(config, 32, cache)
    if expected is not None and opened.fingerprint != expected:
        what = f"the images have changed since the run was started ({opened.count:,} now)"
        raise DataError(source, what, f"restore them, or {otherwise()}")
    return opened


def copies_in_cache(
    config: Config, expected: str | None, cache: DatasetCache, has_condition: bool = False
) -> tuple[Store, ...]:
    """Returns the packed copy of a run's images, if `has_condition` also of their conditions, if the images are gone.

    expected: fingerprint of the images trained on.
    """
    gone = _gone(config)
    if not gone:
        return ()
    stores: list[Store] = []
    for path in sorted(cache.packs.glob("[0-9a-f]*")):
        with contextlib.suppress(DataError):
            stores.append(Store.open(path))
    for copies in itertools.product(stores, repeat=2 if has_condition else 1):
        fingerprints = [store.fingerprint for store in copies]
        if config.data.condition == "smaller":
            fingerprints = [pixelated_fingerprint(fingerprints[0], config.data.smaller)]
        if (paired_fingerprint(*fingerprints) if has_condition else fingerprints[0]) == expected:
            with contextlib.suppress(DataError):
                for store in copies:
                    store.verify()
                noun = "copies" if has_condition else "copy"
                cache.note(f"{gone} is no longer there; using its packed {noun} in the cache")
                return copies
    return ()


def _gone(config: Config) -> str:
    """The source of the images, or one of conditions alone, that is no longer there; else ""."""
    source, condition = config.data.source, config.data.condition
    if source.startswith(PREFIX):
        is_gone = source.removeprefix(PREFIX) not in REGISTERED
    else:
        is_gone = source != GLYPHS and not split_inner(source)[0].exists()
    if is_gone:
        return source
    return condition if "/" in condition and not split_inner(condition)[0].exists() else ""
