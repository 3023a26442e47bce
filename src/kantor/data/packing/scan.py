"""What a source lists: how many images, which classes, whether it has changed, and which size suits them."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kantor.config.base import parse_size
from kantor.config.data import DataConfig
from kantor.data.loading import layout
from kantor.data.packing.pool import Pool
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.python_object import PREFIX
from kantor.data.sources.source import Item, Rejected, Source
from kantor.errors import DataError
from kantor.types import ImageSpec

_LOOK_AT = 64
_LARGEST_OWN_SIDE = 128
_CHANNELS = {"gray": 1, "rgb": 3, "rgba": 4}


@dataclass
class Listing:
    """A source's listing, in brief.

    Attributes:
        digest: changes when an image is added, removed, renamed or written.
        items: images to decode.
        bad: images that the source itself rejects, and the first of them.
        others: how many files of each extension are no images.
        labels: images of each class.
        unlabelled: images without one, and the first three of them.
        sample: items spread evenly, at most 128.
    """

    digest: str = ""
    items: int = 0
    bad: int = 0
    first_bad: Rejected | None = None
    others: dict[str, int] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    unlabelled: int = 0
    first_unlabelled: list[str] = field(default_factory=list)
    sample: list[Item] = field(default_factory=list)

    def class_ids(self, source: Source, config: DataConfig) -> dict[str, int] | None:
        """Class name -> label, in the order of the names (of the numbers, where all are numbers).

        None where the set is to have no labels: none asked for, or under "auto" some images lack one.

        Raises:
            DataError: labels were asked for, and some images have none; or there are too many classes.
        """
        if config.labels == "none" or not self.labels:
            return None
        if self.unlabelled:
            if config.labels == "auto":
                return None
            first = ", ".join(self.first_unlabelled)
            raise DataError(
                config.labels,
                f"{self.unlabelled} images of {source.path} have no label, the first are {first}",
                "label them, remove them, or use --labels none",
            )
        label_files.require_few_classes(len(self.labels), source.path)
        parts = {name: name.split(" ") if config.stack else [name] for name in self.labels}  # "4 0 7" is 4, 0, 7
        numbers = all(part.isascii() and part.isdecimal() for found in parts.values() for part in found)
        ordered = sorted(self.labels, key=lambda name: ([int(part) for part in parts[name]] if numbers else [], name))
        return {name: number for number, name in enumerate(ordered)}


class Watched:
    """Iterates over a source's entries and keeps the digest of what has passed."""

    def __init__(self, source: Source) -> None:
        self._source, self._hash = source, hashlib.sha256()

    def __iter__(self) -> Iterator[Item | Rejected]:
        for entry in self._source.items():
            fields: tuple[object, ...] = (entry.name, Rejected.__name__)
            if isinstance(entry, Item):
                fields = (entry.name, entry.size, entry.mtime_ns, entry.label)
            self._hash.update(json.dumps(fields).encode() + b"\n")
            yield entry

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def is_bad(outcome: object) -> bool:
    """Whether `outcome` is a rejected image. A readme next to the images is rejected too, but is not one.

    Bytes that are not an image count only under an image's name.
    """
    if not isinstance(outcome, Rejected) or outcome.reason.kind == "sheet":
        return False
    if names.extension(outcome.name) == "":
        return outcome.reason.kind != "not_image"
    by_name = names.not_image(outcome.name)
    return by_name is None or by_name.kind != "not_image"


def scan(source: Source, config: DataConfig) -> Listing:
    """Goes through the listing once, in constant memory."""
    watched, listing, step = Watched(source), Listing(), 1
    for entry in watched:
        if isinstance(entry, Rejected):
            if is_bad(entry):
                listing.bad += 1
                listing.first_bad = listing.first_bad or entry
            else:
                suffix = names.extension(entry.name) or "no extension"
                if suffix in listing.others or len(listing.others) < 50:
                    listing.others[suffix] = listing.others.get(suffix, 0) + 1
            continue
        if not (config.limit and listing.items >= config.limit) and listing.items % step == 0:
            listing.sample.append(entry)
            if len(listing.sample) > 2 * _LOOK_AT:
                listing.sample, step = listing.sample[::2], 2 * step
        listing.items += 1
        if entry.label is not None:
            listing.labels.add(entry.label)
        else:
            listing.unlabelled += 1
            if len(listing.first_unlabelled) < 3:
                listing.first_unlabelled.append(entry.name)
    listing.digest = watched.digest
    return listing


def require_images(source: Source, listing: Listing) -> None:
    """Raises DataError where there is nothing to decode, with what was found instead."""
    if listing.items:
        return
    found = ", ".join(f"{n} {suffix}" for suffix, n in sorted(listing.others.items(), key=lambda x: -x[1])[:5])
    if listing.first_bad:
        unusable = f"{listing.bad} unusable images, such as {listing.first_bad.name}: {listing.first_bad.reason}"
        found = f"{unusable}; {found}" if found else unusable
    what = f"no images here (found {found})" if found else "no images here"
    do = "name a folder with PNG, JPEG, WebP, BMP, GIF or TIFF images"
    raise DataError(source.path, what, "mend what it gives" if source.path.startswith(PREFIX) else do)


def pixel_settings(config: DataConfig) -> dict[str, Any]:
    """Those settings, beside the size, that change what a packed image looks like or which are in."""
    return {
        "crop": config.crop,
        "fit": config.fit,
        "background": config.background.lower(),
        "min_size": config.min_size,
        # sets packed without these stay as they were
        **({"stack": config.stack} if config.stack else {}),
        **({"pad": config.pad} if config.pad else {}),
        **({"edges": [config.edges, config.edges_sigma]} if config.edges != "none" else {}),
    }


def cache_key(source: Source, config: DataConfig, spec: ImageSpec, listing: Listing | None = None) -> str:
    """SHA-256 over the listing (name, size, time of change), its place, and all settings that shape a packed set.

    Args:
        listing: of the source, where it is known already.
    """
    listing = listing or scan(source, config)
    path = Path(source.path)
    place: list[Any] = [source.path]
    if path.exists():
        place = [str(path.resolve())]
        if path.is_file():  # the items of an array have no time of their own
            place += [path.stat().st_size, path.stat().st_mtime_ns]
    glyphs = config.glyphs.model_dump() if config.source == "glyphs" else None
    labels = config.labels
    if labels not in ("auto", "none") and Path(labels).is_file():
        labels = hashlib.sha256(Path(labels).read_bytes()).hexdigest()
    values = [layout.VERSION, listing.digest, place, list(spec), pixel_settings(config), labels, config.limit, glyphs]
    if config.choose == "random" and config.limit:
        values.append([config.choose, config.choose_seed])
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def choose_spec(
    source: Source, config: DataConfig, default_side: int, listing: Listing | None = None
) -> tuple[ImageSpec, dict[str, str]]:
    """Fills "auto" in size and channels after a look at up to 64 images.

    Args:
        default_side: what the preset would like.
    Returns:
        the spec, and for each field that was "auto" the reason in plain words.
    Raises:
        DataError: there are no images.
    """
    seen: list[tuple[int, int, str]] = []
    if "auto" in (config.size, config.channels):
        listing = listing or scan(source, config)
        require_images(source, listing)
        count = min(_LOOK_AT, len(listing.sample))
        items = [listing.sample[i * len(listing.sample) // count] for i in range(count)]
        with Pool(source, None, row_bytes=1, workers=1) as pool:
            seen = pool.probe(items)
    reasons: dict[str, str] = {}
    height, width = parse_size(config.size) if config.size != "auto" else (0, 0)
    if config.size == "auto":
        height, width, reasons["size"] = _choose_size(source.exact, config.crop, default_side, seen)
    channels = _CHANNELS.get(config.channels, 3)
    if config.channels == "auto" and config.edges != "none":
        channels, reasons["channels"] = 1, "outlines are grey"
    elif config.channels == "auto":
        channels, reasons["channels"] = _choose_channels(seen)
    return ImageSpec(height, width, channels), reasons


def _choose_size(exact: bool, crop: int, default_side: int, seen: list[tuple[int, int, str]]) -> tuple[int, int, str]:
    if not seen:
        return default_side, default_side, "none of the images looked at can be read"
    height, width, _ = seen[0]
    same = exact and all(found[:2] == (height, width) for found in seen)
    if same and not crop and min(height, width) >= 8 and max(height, width) <= _LARGEST_OWN_SIDE:
        return height, width, f"all images have this size: {height}x{width}"
    shorts = [min(height, width, crop or height) for height, width, _ in seen]
    short = int(statistics.median_low(shorts))
    if short < default_side:
        side = max(8, short)
        return side, side, f"the images are small (shorter side {short}, the median of {len(seen)})"
    longs = [max(height, width) for height, width, _ in seen]
    sides = f"sides from {min(shorts)} to {max(longs)}"
    return default_side, default_side, f"the usual size; {len(seen)} images looked at have {sides}"


def _choose_channels(seen: list[tuple[int, int, str]]) -> tuple[int, str]:
    if not seen:
        return 3, "none of the images looked at can be read"
    kinds = [kind for _, _, kind in seen]
    if all(kind == "gray" for kind in kinds):
        return 1, f"all {len(seen)} images looked at are grey"
    transparent = kinds.count("rgba")
    reason = f"{len(seen) - kinds.count('gray')} of {len(seen)} images looked at have colour"
    if transparent:
        reason += f", {transparent} transparency, which is put on the background"
    return 3, reason
