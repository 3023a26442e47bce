"""Pairs of images that are files of their own: the condition of an image is found by its name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from kantor.app.dataset.cache import Note
from kantor.config.data import AugmentConfig, DataConfig
from kantor.config.schema import Config
from kantor.data.decoding.edges import require_edges
from kantor.data.loading.image_set import PairedImages, Subset
from kantor.data.loading.store import Store, is_packed
from kantor.data.packing.max_bad import exceeds, too_many_bad
from kantor.data.sources.arrangement import ALL, AUTO, HALVES
from kantor.data.sources.python_object import PREFIX
from kantor.data.sources.recognise import GLYPHS, place, split_inner
from kantor.data.sources.samples import last_key
from kantor.errors import ConfigError, DataError

_PARTS = (AUTO, ALL, "train", "val", "test", "other")  # that conditions have as images do
_SEPARATORS = "_-. "


def outlined(data: DataConfig) -> bool:
    """Whether the conditions are outlines of the images."""
    return data.condition == "edges"


def reduced(data: DataConfig) -> bool:
    """Whether the conditions are the images themselves, reduced."""
    return data.condition == "smaller"


def check_condition(config: Config) -> None:
    """Raises ConfigError if images and conditions cannot be paired; ResourceError if scikit-image is needed and missing."""
    data = config.data
    if outlined(data):
        require_edges()
    if data.edges != "none":
        what = "replaces the images by outlines, and data.condition needs both"
        raise ConfigError(f"data.edges = {data.edges}", what, "leave one of the two out")
    if data.augment != AugmentConfig():
        what = "changes images but not their outlines" if outlined(data) else "changes images but not their conditions"
        raise ConfigError("data.augment", what, "leave it out; --mirror flips both")
    if reduced(data):
        return
    packed = data.source != GLYPHS and is_packed(place(data.source))
    if outlined(data):
        if packed:
            what = "a packed dataset, whose outlines cannot be paired with it"
            raise ConfigError(data.source, what, "name the images themselves: they are packed twice, into the cache")
        return
    where = f"data.condition = {data.condition}"
    if data.rules < 2:
        raise ConfigError(where, "needs data.rules = 2, and data.rules is 1", "add --set data.rules=2")
    if data.source == GLYPHS or data.source.startswith(PREFIX):
        what = "names images of a folder or file, and this source is none"
        raise ConfigError(where, what, "use --set data.condition=edges, or name a folder as DATA")
    if packed and "/" not in data.condition:
        what = f"names a part of the source, and the packed dataset {data.source} has none"
        raise ConfigError(where, what, "name the packed conditions by their path: data.condition=./CONDITIONS")
    for field, unlike in (("tile", data.tile > 0), ("stack", data.stack > 0), ("objects", data.objects != "none")):
        if unlike:
            what = "makes other images of conditions than of their images"
            raise ConfigError(f"data.{field}", what, "leave it or data.condition out")


def condition_data(data: DataConfig) -> DataConfig:
    """[data] of the conditions alone, as images. `data`: with the size that was chosen for the images."""
    if outlined(data):
        return data.model_copy(update={"edges": "canny", "channels": "gray", "condition": "none"})
    own: dict[str, Any] = {"range": "auto", "channels": "auto", "labels": "none", "condition": "none"}
    own |= {"limit": 0, "choose": "first"}  # of pairs, see `open_set`
    if data.condition in HALVES:
        own["condition"] = HALVES[data.condition]
    elif "/" in data.condition:
        own["source"] = data.condition
        own["split"] = "/".join(part for part in data.split.split("/") if part in _PARTS) or AUTO
    else:
        own["source"] = f"{split_inner(data.source)[0]}:{data.condition}"
    return data.model_copy(update=own)


def pairs_line(names: Sequence[str], others: Sequence[str], data: DataConfig) -> str:
    """How many images and conditions of these names make pairs, for the user."""
    keys, other_keys = _keys(names, others, data.condition)
    known = set(other_keys)
    alone = [name for name, key in zip(names, keys, strict=True) if key not in known]
    line = (
        f"{len(names) - len(alone):,} pairs of {len(names):,} images and {len(others):,} conditions ({data.condition})"
    )
    return f"{line}; without a condition: {alone[0]}" if alone else line


def paired(images: Store, conditions: Store, data: DataConfig, note: Note) -> PairedImages:
    """Each image with its condition: both in the same row if they are of the same files, else found by name.

    Raises DataError if more images than --max-bad allows have no condition, or one has two.
    """
    if outlined(data):
        return PairedImages(images, conditions)
    names, others = images.names(), conditions.names()
    keys, other_keys = _keys(names, others, data.condition)
    rows = dict(zip(other_keys, range(len(others)), strict=True))
    if len(rows) < len(others):
        first, second = _alike(others, other_keys)
        raise DataError(
            f"data.condition = {data.condition}", f"{first} and {second} have the same name", "remove one of them"
        )
    partner = np.array([rows.get(key, -1) for key in keys])
    alone = np.flatnonzero(partner < 0)
    if len(alone) == len(keys):
        what = f"no image has a condition of the same name: {names[0]} and {others[0]} are the first of each"
        raise DataError(data.source, what, "give an image and its condition the same name")
    if len(alone):
        if exceeds(len(alone), len(keys), data.max_bad):
            shown = f"no usable condition in {data.condition} has the name of {names[alone[0]]}"
            raise too_many_bad(data.source, len(alone), len(keys), data.max_bad, shown)
        note(
            f"{len(alone):,} of {len(keys):,} images have no usable condition and are left out, such as {names[alone[0]]}"
        )
    if unused := len(others) - len({*partner.tolist()} - {-1}):
        note(f"{unused:,} of {len(others):,} conditions have no image")
    used = np.flatnonzero(partner >= 0)
    settings = {**conditions.manifest["settings"], "ranges": conditions.manifest.get("ranges", {})}
    return PairedImages(Subset(images, used), Subset(conditions, partner[used]), settings)


def _keys(names: Sequence[str], others: Sequence[str], condition: str) -> tuple[list[str], list[str]]:
    """What an image and its condition have in common, for the names of both.

    That is the path without the folder that tells them apart and without the ending. Where no two are equal, an end that all
    names of a side share goes, too: "_mask", ".input"; then the folders that they share.
    """
    if condition in HALVES:  # of the same files
        return list(names), list(others)
    folders = others[0].split("/")[:-1]
    depth = next((i for i, folder in enumerate(folders) if condition in (folder, last_key(folder))), None)

    def key(name: str) -> str:
        return "/".join(part for i, part in enumerate(last_key(name).split("/")) if i != depth)

    keys, other_keys = [key(name) for name in names], [key(name) for name in others]
    ways = [*_ways(keys, other_keys), *_ways(_below_shared_folders(keys), _below_shared_folders(other_keys))]
    return next((way for way in ways if not set(way[0]).isdisjoint(way[1])), ways[0])


def _ways(keys: list[str], others: list[str]) -> list[tuple[list[str], list[str]]]:
    """The keys of both sides, with and without the end that all of a side share."""
    shorter, other_shorter = _without_shared_end(keys), _without_shared_end(others)
    return [(keys, others), (keys, other_shorter), (shorter, others), (shorter, other_shorter)]


def _without_shared_end(keys: Sequence[str]) -> list[str]:
    """The keys without the end that all have, from a separator on; as they are if some would be equal."""
    end = os.path.commonprefix([key[::-1] for key in keys])[::-1]  # noqa: RUF071 - of texts
    start = min((end.index(separator) for separator in _SEPARATORS if separator in end), default=len(end))
    shorter = [key[: len(key) - len(end) + start] for key in keys]
    return shorter if len(set(shorter)) == len(set(keys)) else list(keys)


def _below_shared_folders(keys: Sequence[str]) -> list[str]:
    """The keys without the folders that all are in."""
    start = os.path.commonprefix(keys).rfind("/") + 1  # noqa: RUF071 - of texts
    return [key[start:] for key in keys]


def _alike(names: Sequence[str], keys: Sequence[str]) -> list[str]:
    counts = Counter(keys)
    key = next(key for key in keys if counts[key] > 1)
    return [name for name, own in zip(names, keys, strict=True) if own == key][:2]
