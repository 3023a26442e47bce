"""From what the user names as data to the images that a run trains on."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kantor import atomic
from kantor.app.dataset.cache import DatasetCache, Note, make_room, mark_used, wait_while_busy
from kantor.app.dataset.image_size import fill_from_images, fill_from_packed, packed_spec, spec_of
from kantor.app.dataset.pairs import check_condition, condition_data, outlined, paired, reduced
from kantor.app.dataset.same_bytes import packed_from_same_bytes
from kantor.app.dataset.smaller import Pixelated
from kantor.app.decisions import Decision
from kantor.config.data import DataConfig
from kantor.config.io import overridden
from kantor.config.schema import Config
from kantor.data.loading import layout
from kantor.data.loading.holdout import split
from kantor.data.loading.image_set import ImageSet, Subset
from kantor.data.loading.store import Store, is_packed
from kantor.data.packing.choose_size import choose_spec
from kantor.data.packing.max_bad import exceeds, too_many_bad
from kantor.data.packing.pack import pack
from kantor.data.packing.scan import Listing, cache_key, scan
from kantor.data.packing.selection import open_images, selected
from kantor.data.sources.concatenated import Concatenated
from kantor.data.sources.labels import split_column
from kantor.data.sources.python_object import PREFIX
from kantor.data.sources.recognise import GLYPHS, open_source, place, split_inner
from kantor.data.sources.source import Source
from kantor.errors import ConfigError, DataError
from kantor.random import random_rows
from kantor.types import ImageSpec

_FEW = 500
_LOOKED_AT = 4096  # images: whether any of them is transparent
ALL_OPAQUE = "no image has transparency; --channels rgb would train faster"


def absolute_source(config: Config) -> Config:
    """Makes paths in data.source, data.condition and data.labels absolute, so that a run can be resumed from any folder."""
    paths: dict[str, tuple[str, str]] = {}  # the path, and what follows it
    if config.data.labels not in ("auto", "none"):
        file, column = split_column(config.data.labels)
        paths["data.labels"] = file, "" if column is None else f":{column}"
    for name in ("source", "condition"):
        named = getattr(config.data, name)
        is_path = "/" in named if name == "condition" else named != GLYPHS and not named.startswith(PREFIX)
        if is_path:  # GLYPHS is none, even if there is a folder of that name
            path, inner = split_inner(named)
            paths[f"data.{name}"] = str(path), f":{inner}" if inner else ""
    absolute = {name: f"{place(p).resolve()}{more}" for name, (p, more) in paths.items() if place(p).exists()}
    return overridden(config, absolute)


def open_set(
    config: Config, side: int, cache: DatasetCache, training: bool = True
) -> tuple[ImageSet, Config, list[Decision]]:
    """Opens the images that a run trains on: `packed_set` without held-out images; pairs if there is a condition.

    training: whether they are to be enough for that.
    """
    finish = trained_on if training else chosen
    if config.data.condition == "none":
        store, config, filled = packed_set(config, side, cache)
        return finish(store, config, cache.note), config, filled
    check_condition(config)
    if reduced(config.data):
        store, config, filled = packed_set(config, side, cache)
        return finish(Pixelated(store, spec_of(config, store), config.data.smaller), config, cache.note), config, filled
    wanted = config.data
    if not outlined(wanted):  # pairs are limited, not each half
        config = config.model_copy(update={"data": wanted.model_copy(update={"limit": 0, "choose": "first"})})
    images, config, filled = packed_set(config, side, cache)
    conditions = config.model_copy(update={"data": condition_data(config.data)})
    word = "outlines" if outlined(wanted) else "conditions"
    others, _, _ = packed_set(
        conditions, side, replace(cache, news=None, note=lambda line: cache.note(f"{word}: {line}"))
    )
    kept = {"limit": wanted.limit, "choose": wanted.choose}
    config = config.model_copy(update={"data": config.data.model_copy(update=kept)})
    pairs = paired(images, others, config.data, cache.note)
    return finish(pairs, config, cache.note), config, filled


def packed_set(config: Config, side: int, cache: DatasetCache) -> tuple[Store, Config, list[Decision]]:
    """Opens the whole dataset that `config.data` describes; packs it into the cache first if it is not there.

    Returns the dataset, `config` with size and channels filled, and what was filled. side: of an image, where neither
    the user nor the images decide.
    """
    config = absolute_source(config)
    data = config.data
    if data.source != GLYPHS and is_packed(Path(data.source)) and not data.stack:
        store = Store.open(data.source)
        if data.objects != "none" and "objects" not in store.manifest["settings"]:
            what = f"{data.objects} requested, but {data.source} was packed whole"
            raise ConfigError("data.objects", what, "pack the images again with --objects, or leave it out")
        if data.edges == "none" or "edges" in store.manifest["settings"]:
            store.verify()
            return store, *fill_from_packed(config, store)
    plan = plan_pack(config, side, cache.note, looks=cache.looks)
    return packed_in_cache(plan, cache), plan.config, plan.filled


def packed_in_cache(plan: PackPlan, cache: DatasetCache) -> Store:
    """Opens the images of a plan in the cache; packs them there first, if need be."""
    key = cache_key(plan.source, plan.config.data, plan.spec, plan.listing)
    path = cache.packs / key
    if not path.exists():
        copied = packed_from_same_bytes(cache.packs, key, plan.source, plan.listing, cache.progress)
        path = copied or path
    if cache.news is not None and not path.exists():  # once, however long another process packs them
        cache.news.planned(plan.config, plan.spec)
    store = wait_while_busy(functools.partial(_packed_at, path, plan, cache), cache.note)
    mark_used(path)
    return store


def chosen(images: ImageSet, config: Config, note: Note) -> ImageSet:
    """Applies data.limit and data.holdout."""
    data = config.data
    if 0 < data.limit < images.count:  # packed earlier by the user; what is packed for this run is limited already
        random = data.choose == "random"
        rows = random_rows(images.count, data.limit, data.choose_seed) if random else np.arange(data.limit)
        note(f"{data.limit:,} of {images.count:,} images are used")
        images = Subset(images, rows)
    if data.holdout:
        images, held_out = split(images, data.holdout)
        note(f"{held_out.count:,} of {images.count + held_out.count:,} images are held out")
    return images


def trained_on(images: ImageSet, config: Config, note: Note) -> ImageSet:
    """As `chosen`. Raises DataError if fewer than two images are left; notes if few are."""
    images, data = chosen(images, config, note), config.data
    if images.count < 2:
        raise DataError(data.source, "one image is not enough to train on", "add more images")
    if (line := _opaque(images)) is not None:
        note(line)
    if images.count < config.train.batch:
        too_few = f"{data.source} has {images.count} images, fewer than the batch of {config.train.batch}"
        note(f"{too_few}: each batch shows some of them more than once; expect little variety")
    elif images.count < _FEW:
        remedy = "" if data.mirror else " (--mirror doubles the dataset)"
        note(f"only {images.count} images: expect the generator to memorize them after a few hundred epochs{remedy}")
    return images


def _opaque(images: ImageSet) -> str | None:
    """A line if a set with an alpha channel holds nothing transparent."""
    if images.spec.channels != 4:
        return None
    rows = np.unique(np.linspace(0, images.count - 1, min(images.count, _LOOKED_AT)).astype(np.int64))
    if any(images.images(part)[..., 3].min() < 255 for part in np.array_split(rows, math.ceil(len(rows) / 64))):
        return None
    return (
        ALL_OPAQUE
        if len(rows) == images.count
        else ALL_OPAQUE.replace("no image", f"none of {len(rows):,} images looked at")
    )


class PackPlan(NamedTuple):
    """What is to be packed; the size and channels of `config` are filled, as listed in `filled`."""

    config: Config
    spec: ImageSpec  # of the packed images
    source: Source
    listing: Listing
    filled: list[Decision]


def plan_pack(config: Config, side: int, note: Note, more: Sequence[str] = (), looks: Path | None = None) -> PackPlan:
    """Lists a source, and the images of `more` sources after it; fills size and channels from some of the images.

    looks: as for `open_images`.
    """
    source = _opened(config, more, looks)
    if source.note:
        note(source.note)
    listing = scan(source, config.data)
    for line in source.all_listing_notes:
        note(line)
    spec, reasons = choose_spec(source, config.data, side, listing)
    config, filled = fill_from_images(config, spec, reasons)
    if config.data.source == GLYPHS:
        source = _opened(config, more, looks)  # glyphs are drawn at their size, which is known only now
    return PackPlan(config, packed_spec(config, spec), source, listing, filled)


def _opened(config: Config, more: Sequence[str], looks: Path | None) -> Source:
    """Opens the source; several as one, with the source's name before those of its images, numbered if it is not unique."""
    if not more:
        return open_images(config.data, looks)
    paths = [config.data.source, *more]
    names = [Path(path).name for path in paths]
    prefixes = [f"{i}-{name}" if names.count(name) > 1 else name for i, name in enumerate(names)]
    plain = {"stack": 0, "choose": "first"}
    sources = [open_source(config.data.model_copy(update={"source": path, **plain})) for path in paths]
    return selected(Concatenated(", ".join(paths), sources, prefixes), config.data, looks)


def _packed_at(path: Path, plan: PackPlan, cache: DatasetCache) -> Store:
    """Opens the dataset at `path` in the cache; packs it first if needed. Raises BusyError if another process does."""
    data, listing = plan.config.data, plan.listing
    if (store := _from_cache(path, data, cache.note)) is not None:
        return store
    if path.parent.exists():
        count = min(data.limit or listing.items, listing.items)
        for line in make_room(path.parent, count * math.prod(plan.spec), path):
            cache.note(line)
    progress, watch = cache.progress, None
    if cache.news is not None:
        packing = cache.news.begin(plan.spec, Path(data.source).name, cache.progress)
        progress, watch = packing.progress, packing.rows
    try:
        report = pack(plan.source, data, plan.spec, path, progress=progress, listing=listing, watch=watch)
    except ConfigError:
        if (store := _from_cache(path, data, cache.note)) is not None:  # another process has just finished it
            return store
        raise
    for line in report.lines(str(path / layout.REJECTED)):
        cache.note(line)
    return Store.open(path)


def _from_cache(path: Path, data: DataConfig, note: Note) -> Store | None:
    """Opens the dataset packed earlier, or returns None. Deletes a damaged one, since it can be packed again.

    Raises DataError if more images were rejected than --max-bad allows now.
    """
    if not path.exists():
        return None
    try:
        store = Store.open(path)
        store.verify()
    except DataError as error:
        note(f"the packed images in the cache are damaged ({error.what}); packing them again")
        atomic.remove_folder(path)
        return None
    bad, rejected = store.manifest.get("bad", 0), store.manifest.get("rejected", 0)
    if exceeds(bad, store.count + bad, data.max_bad):
        raise too_many_bad(data.source, bad, store.count + bad, data.max_bad)
    if rejected:
        note(f"packed earlier; {rejected:,} files rejected then, listed with the reason in {path / layout.REJECTED}")
    return store
