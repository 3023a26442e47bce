"""Lists a source: number of images, classes, whether it has changed; choose_size.py chooses the size of images."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kantor.config.data import DataConfig
from kantor.data.decoding.objects import ObjectSettings
from kantor.data.loading import layout
from kantor.data.sources import labels as label_files
from kantor.data.sources import names
from kantor.data.sources.arrangement import HALVES
from kantor.data.sources.python_object import PREFIX
from kantor.data.sources.recognise import split_inner
from kantor.data.sources.source import Item, Rejected, Source
from kantor.errors import DataError
from kantor.types import ImageSpec

_SAMPLED = 64
_DIGITS = 32  # of a digest, in a cache key
ClassIds = dict[str, int] | None  # class name -> label; None for no labels


@dataclass
class Listing:
    """A summary of what a source lists."""

    digest: str = ""  # changes when an image is added, removed, renamed or written
    undated_digest: str = ""  # the same without times of change, which a copy need not keep
    items: int = 0  # number of images to decode
    dated: bool = True  # every image has a time of change: `digest` tells these images from others wherever they lie
    encoded_bytes: int = 0  # size of these
    bad: int = 0  # number of images that the source itself rejects
    first_bad: list[Rejected] = field(default_factory=list)  # ten of these
    reasons: Counter[str] = field(default_factory=Counter)  # why they are rejected, at most 50 kinds
    others: Counter[str] = field(default_factory=Counter)  # files of each extension that are not images
    labels: set[str] = field(default_factory=set)  # the class names
    unlabelled: int = 0  # number of images without a class
    first_unlabelled: list[str] = field(default_factory=list)  # names of the first three of these
    sample: list[Item] = field(default_factory=list)  # at most 128, spread evenly

    def class_ids(self, source: Source, config: DataConfig) -> ClassIds:
        """Returns class name -> label, in the order of the names, or of the numbers if all are numbers.

        Returns None for no labels: the user wants none, or under "auto" some images lack one. Raises DataError if the
        user requests labels and some images have none, or if there are too many classes.
        """
        if config.labels == "none" or not self.labels:
            return None
        if self.unlabelled:
            if config.labels == "auto":
                return None
            first = ", ".join(self.first_unlabelled)
            what = f"{self.unlabelled} images of {source.path} have no label, the first are {first}"
            raise DataError(config.labels, what, "label them, remove them, or use --labels none")
        label_files.require_few_classes(len(self.labels), source.path)
        parts = {name: name.split(" ") if config.stack else [name] for name in self.labels}  # "4 0 7" is 4, 0, 7
        numbers = all(part.isascii() and part.isdecimal() for numerals in parts.values() for part in numerals)
        ordered = sorted(self.labels, key=lambda name: ([int(part) for part in parts[name]] if numbers else [], name))
        return {name: number for number, name in enumerate(ordered)}


def entries_hashed(source: Source, digest: hashlib._Hash) -> Iterator[Item | Rejected]:
    """Yields the source's entries, each added to `digest` first."""
    for entry in source.items():
        fields: tuple[object, ...] = (entry.name, Rejected.__name__)
        if isinstance(entry, Item):
            fields = (entry.name, entry.size, entry.mtime_ns, entry.label)
        digest.update(json.dumps(fields).encode() + b"\n")
        yield entry


def is_bad(outcome: object, rules: int = 2) -> bool:
    """Whether `outcome` is a rejected image. A readme next to the images is rejected too, but is not one.

    Bytes that are not an image count only under an image's name.
    """
    if not isinstance(outcome, Rejected) or outcome.reason.kind == "sheet":
        return False
    if names.extension(outcome.name) == "":
        return outcome.reason.kind != "not_image"
    by_name = names.not_image(outcome.name, rules)
    return by_name is None or by_name.kind != "not_image"


def scan(source: Source, config: DataConfig) -> Listing:
    """Iterates over the source's entries once, in constant memory."""
    digest, plain, listing, step = hashlib.sha256(), hashlib.sha256(), Listing(), 1
    for entry in entries_hashed(source, digest):
        if isinstance(entry, Rejected):
            if is_bad(entry, config.rules):
                listing.bad += 1
                listing.first_bad += [entry] if len(listing.first_bad) < 10 else []
                count_reason(listing.reasons, entry)
            else:
                suffix = names.extension(entry.name) or "no extension"
                if suffix in listing.others or len(listing.others) < 50:
                    listing.others[suffix] += 1
            continue
        if not (config.limit and listing.items >= config.limit) and listing.items % step == 0:
            listing.sample.append(entry)
            if len(listing.sample) > 2 * _SAMPLED:
                listing.sample, step = listing.sample[::2], 2 * step
        listing.items += 1
        listing.dated &= entry.mtime_ns != 0
        plain.update(json.dumps((entry.name, entry.size, entry.label)).encode() + b"\n")
        listing.encoded_bytes += entry.size
        if entry.label is not None:
            listing.labels.add(entry.label)
        else:
            listing.unlabelled += 1
            if len(listing.first_unlabelled) < 3:
                listing.first_unlabelled.append(entry.name)
    listing.digest, listing.undated_digest = digest.hexdigest(), plain.hexdigest()
    return listing


def count_reason(reasons: Counter[str] | dict[str, int], rejected: Rejected) -> None:
    """Counts why an image is rejected; reasons that differ in numbers alone are one."""
    reason = re.sub(r"[0-9][0-9,.x]*", "N", rejected.reason.detail)
    if reason in reasons or len(reasons) < 50:
        reasons[reason] = reasons.get(reason, 0) + 1


def sampled(items: Sequence[Item]) -> list[Item]:
    """At most 64 items, spread evenly: those that are looked at to choose a size."""
    count = min(_SAMPLED, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def require_images(source: Source, listing: Listing) -> None:
    """Raises DataError if there is nothing to decode; names what is there instead."""
    if listing.items:
        return
    contents = []
    if listing.first_bad:
        bad = listing.first_bad[0]
        contents.append(f"{listing.bad} unusable images, such as {bad.name}: {bad.reason}")
    if listing.others:
        contents.append(", ".join(f"{n} {suffix}" for suffix, n in listing.others.most_common(5)))
    what = "no images here" + (f" (found {'; '.join(contents)})" if contents else "")
    remedy = "name a folder with images, such as PNG or JPEG"
    raise DataError(source.path, what, "fix what it returns" if source.path.startswith(PREFIX) else remedy)


def pixel_settings(config: DataConfig) -> dict[str, Any]:
    """Returns the settings, other than the size, that change a packed image or which images are included."""
    return {
        "crop": config.crop,
        "fit": config.fit,
        "background": config.background.lower(),
        "min_size": config.min_size,
        # only where set, so that fingerprints of datasets packed without them stay
        **({"rules": config.rules} if config.rules > 1 else {}),
        **({"range": config.range} if config.range != "auto" else {}),
        **({"nodata": config.nodata} if config.nodata != "reject" else {}),
        **({"frames": config.frames} if config.frames != "first" else {}),
        **({"tile": config.tile} if config.tile else {}),
        **({"objects": list(object_settings(config))} if config.objects != "none" else {}),
        **({"transpose": True} if config.transpose else {}),
        **({"half": HALVES[config.condition]} if config.condition in HALVES else {}),
        **({"stack": config.stack} if config.stack else {}),
        **({"pad": config.pad} if config.pad else {}),
        **({"edges": [config.edges, config.edges_sigma]} if config.edges != "none" else {}),
    }


def object_settings(config: DataConfig) -> ObjectSettings:
    """How the objects of pictures are found; `config.objects` is not "none"."""
    assert config.objects != "none"
    return ObjectSettings(config.objects, config.objects_smallest, config.objects_largest, config.objects_margin)


def cache_key(source: Source, config: DataConfig, spec: ImageSpec, listing: Listing) -> str:
    """Returns a name for the listing (name, size, time of change) and all settings of a packed dataset: two digests, see `undated`.

    It is the same wherever the images lie, so that a folder or file is found again under another name. Images without a time of
    change, such as those from memory, are known by their place.
    """
    path, inner = Path(source.path), split_inner(config.source)[1]
    place: list[Any] = [inner] if inner else []
    times: list[Any] = [listing.digest]
    if path.is_file():  # the items of an array have no time of their own
        place.append(path.stat().st_size)
        times.append(path.stat().st_mtime_ns)
    elif not (path.exists() and listing.dated):
        place.insert(0, str(path.resolve()) if path.exists() else source.path)
    glyphs = config.glyphs.model_dump() if config.source == "glyphs" else None
    labels = config.labels
    file, column = label_files.split_column(labels)
    if labels not in ("auto", "none") and Path(file).is_file():
        labels = hashlib.sha256(Path(file).read_bytes()).hexdigest() + (f":{column}" if column is not None else "")
    values = [
        layout.VERSION,
        listing.undated_digest,
        place,
        list(spec),
        pixel_settings(config),
        labels,
        config.limit,
        glyphs,
    ]
    if config.choose == "random" and config.limit:
        values.append([config.choose, config.choose_seed])
    return "".join(
        hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:_DIGITS] for part in (values, times)
    )


def undated(key: str) -> str:
    """The part of a cache key that does not depend on times of change."""
    return key[:_DIGITS]
