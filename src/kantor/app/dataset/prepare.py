"""From what the user calls data to a packed set."""

from __future__ import annotations

import functools
import itertools
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kantor import atomic
from kantor.app.dataset import cache as caching
from kantor.app.decisions import Filled, fill
from kantor.config.base import parse_size
from kantor.config.data import AugmentConfig
from kantor.config.schema import Config
from kantor.data.decoding.edges import require_edges
from kantor.data.loading import layout
from kantor.data.loading.holdout import split, training_set
from kantor.data.loading.image_set import ImageSet, PairedImages, Subset
from kantor.data.loading.store import Store, is_packed
from kantor.data.packing.pack import PackReport, cache_key, pack
from kantor.data.packing.scan import Listing, choose_spec, scan
from kantor.data.packing.selection import open_images, selected
from kantor.data.packing.verdict import too_many
from kantor.data.sources import GLYPHS, Concatenated, Source, open_source, place
from kantor.data.sources.random_subset import random_rows
from kantor.errors import ConfigError, DataError
from kantor.progress import Progress
from kantor.types import ImageSpec


def default_side(device_type: str) -> int:
    """Side of an image where neither the user nor the data say: a processor takes four times as long for 64."""
    return 32 if device_type == "cpu" else 64


FEW = 500
MOST_NAMED = 3


def cache_folder(option: str | Path | None) -> Path:
    """Where implicit packs lie: --cache, else KANTOR_CACHE, else the platform's cache folder."""
    caching.limit_bytes()  # said before anything is packed where it is no size
    if option is not None:
        return Path(option)
    if os.environ.get("KANTOR_CACHE"):
        return Path(os.environ["KANTOR_CACHE"]).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("kantor"))


def absolute_source(config: Config) -> Config:
    """Source and labels as absolute paths, where they are paths, so that a run can be resumed from anywhere."""
    paths = {} if config.data.labels in ("auto", "none") else {"data.labels": config.data.labels}
    if config.data.source != GLYPHS:  # the built-in set, even where a folder of that name lies here
        paths["data.source"] = config.data.source
    return fill(config, {name: (str(place(p).resolve()), "") for name, p in paths.items() if place(p).exists()})[0]


def open_set(
    config: Config, side: int, cache: Path, progress: Progress, note: Callable[[str], None]
) -> tuple[ImageSet, Config, list[Filled]]:
    """The set that a run trains on: `packed_set` without what is held out of it; `PairedImages` where there is a condition."""
    if config.data.condition != "none":
        _check_condition(config)
    store, config, filled = packed_set(config, side, cache, progress, note)
    part = trained_on(store, config, note)
    if config.data.condition != "none":
        part = PairedImages(part, _conditions(config, side, cache, progress, note))
    return part, config, filled


def condition_channels(config: Config) -> int:
    """Of what networks are given beside latent and image: outlines have one; 0 where there is nothing."""
    return 1 if config.data.condition == "edges" else 0


def _check_condition(config: Config) -> None:
    """Raises ConfigError where images and outlines cannot be had, or would not stay together; ResourceError where what
    finds outlines is not installed."""
    data = config.data
    require_edges()
    if data.edges != "none":
        what = "makes outlines of the images, and data.condition wants both"
        raise ConfigError(f"data.edges = {data.edges}", what, "leave one of the two out")
    if data.augment != AugmentConfig():
        what = "changes images, and their outlines would stay as they were"
        raise ConfigError("data.augment", what, "leave it out; --mirror turns both")
    if data.source != GLYPHS and is_packed(place(data.source)):
        what = "is a packed set, of which no outlines can be made in step with it"
        raise ConfigError(data.source, what, "name the images themselves: they are packed twice, into the cache")


def _conditions(config: Config, side: int, cache: Path, progress: Progress, note: Callable[[str], None]) -> ImageSet:
    """The outlines of the same images, without those held out: a set of its own in the cache."""
    outlines = {"edges": "canny", "channels": "gray", "condition": "none"}
    config = config.model_copy(update={"data": config.data.model_copy(update=outlines)})
    store, _, _ = packed_set(config, side, cache, progress, lambda line: note(f"outlines: {line}"))
    return training_set(store, config.data.holdout)


def packed_set(
    config: Config, side: int, cache: Path, progress: Progress, note: Callable[[str], None]
) -> tuple[Store, Config, list[Filled]]:
    """The whole set that `config.data` describes, packed into the cache first where that has not been done before.

    Args:
        side: of an image where neither the user nor the data say.
        progress: of packing.
        note: called with a line for the user.
    Returns:
        The set, the configuration with size and channels filled, and what was filled.
    """
    config = absolute_source(config)
    if _ready(config):
        store = Store.open(Path(config.data.source))
        store.verify()
        config, filled = _as_packed(config, store)
    else:
        config, spec, source, listing, filled = look(config, side, note)
        path = cache / "packs" / cache_key(source, config.data, spec, listing)
        packing = functools.partial(_packed_into, path, source, config, spec, listing, progress, note)
        store = caching.alone(packing, note)
        caching.mark_used(path)
    return store, config, filled


def _ready(config: Config) -> bool:
    """Whether the source is a packed set whose images are the ones asked for: not to be stacked or outlined."""
    path = Path(config.data.source)
    if config.data.source == GLYPHS or config.data.stack or not is_packed(path):
        return False
    return config.data.edges == "none" or "edges" in Store.open(path).manifest["settings"]


def trained_on(store: Store, config: Config, note: Callable[[str], None]) -> ImageSet:
    """The set without what is held out of it. Too few images are an error, few are worth a word."""
    part: ImageSet = store
    data = config.data
    if 0 < data.limit < store.count:  # a set packed earlier; one packed for this run has no more
        few = (
            random_rows(store.count, data.limit, data.choose_seed) if data.choose == "random" else np.arange(data.limit)
        )
        part = Subset(store, few)
        note(f"{data.limit:,} of {store.count:,} images are used")
    if config.data.holdout:
        part, held = split(part, config.data.holdout)
        note(f"{held.count:,} of {part.count + held.count:,} images are held out")
    _enough(part, config, note)
    return part


def _enough(store: ImageSet, config: Config, note: Callable[[str], None]) -> None:
    if store.count < 2:
        raise DataError(config.data.source, "one image is not enough to train on", "add more images")
    if store.count < config.train.batch:
        note(
            f"{config.data.source} has {store.count} images, fewer than the batch of {config.train.batch}: each batch "
            "shows some of them more than once; expect little variety"
        )
    elif store.count < FEW:
        more = "" if config.data.mirror else " (--mirror doubles them)"
        note(f"{store.count} images are few: after some hundred epochs expect copies of them{more}")


def _packed_into(
    path: Path, source: Source, config: Config, spec: ImageSpec, listing: Listing, progress: Progress,
    note: Callable[[str], None],
) -> Store:  # fmt: skip
    """The set at `path` in the cache, packed now where it is not there. Raises BusyError while another packs it."""
    kept = _from_cache(path, note)
    if kept is not None:
        _tell_left_out(kept, config, note)
        return kept
    if path.parent.exists():
        for line in caching.make_room(
            path.parent, min(config.data.limit or listing.items, listing.items) * math.prod(spec), path
        ):
            note(line)
    try:
        report = pack(source, config.data, spec, path, progress=progress, listing=listing)
    except ConfigError:
        if (kept := _from_cache(path, note)) is not None:  # another has finished it in this moment
            return kept
        raise
    for line in report_lines(report, "rejected.jsonl in the run directory"):
        note(line)
    return Store.open(path)


def _from_cache(path: Path, note: Callable[[str], None]) -> Store | None:
    """The set packed earlier, None where there is none; a damaged one is thrown away, since it can be made again."""
    if not path.exists():
        return None
    try:
        store = Store.open(path)
        store.verify()
    except DataError as error:
        note(f"the packed images in the cache are damaged ({error.what}); they are packed again")
        atomic.remove_folder(path)
        return None
    return store


def _tell_left_out(store: Store, config: Config, note: Callable[[str], None]) -> None:
    """Of a set packed earlier, perhaps with another --max-bad.

    Raises:
        DataError: more was left out than is allowed now.
    """
    bad, rejected = store.manifest.get("bad", 0), store.manifest.get("rejected", 0)
    if too_many(bad, store.count + bad, config.data.max_bad):
        what = (
            f"{bad} of {store.count + bad} images cannot be used, more than the {config.data.max_bad * 100:g}% allowed"
        )
        do = f"mend or remove them, or leave them out with --max-bad {math.ceil(1000 * bad / (store.count + bad)) / 10:g}%"
        raise DataError(config.data.source, what, do)
    if rejected:
        note(f"packed before; files left out then: {rejected:,}, listed in rejected.jsonl in the run directory")


def look(
    config: Config, side: int, note: Callable[[str], None], more: Sequence[str] = ()
) -> tuple[Config, ImageSpec, Source, Listing, list[Filled]]:
    """Lists a source and fills size and channels after a look at some of its images.

    Args:
        more: further sources, whose images come after those of `config.data.source`.
    Returns:
        The configuration, what is to be packed (of data.pack_size), the source, its listing, and what was filled.
    """
    source = _opened(config, more)
    if source.note:
        note(source.note)
    listing = scan(source, config.data)
    spec, reasons = choose_spec(source, config.data, side, listing)
    config, filled = _as_chosen(config, spec, reasons)
    spec = _packed_spec(config, spec)
    if config.data.source == GLYPHS:
        source = _opened(config, more)  # they are drawn at their size
    return config, spec, source, listing, filled


def _opened(config: Config, more: Sequence[str]) -> Source:
    """The source; several as one, the names in each behind the source's own, with a number where two are alike."""
    if not more:
        return open_images(config.data)
    paths = [config.data.source, *more]
    names = [Path(path).name for path in paths]
    prefixes = [f"{i}-{name}" if names.count(name) > 1 else name for i, name in enumerate(names)]
    plain = {"stack": 0, "choose": "first"}
    parts = [open_source(config.data.model_copy(update={"source": path, **plain})) for path in paths]
    return selected(Concatenated(", ".join(paths), parts, prefixes), config.data)


def report_lines(report: PackReport, listed: str) -> list[str]:
    """What a pack did, in plain words. listed: where the files are listed that were left out."""
    rate = report.count / max(report.elapsed_s, 1e-9)
    lines = [f"packed {_images(report.count)}, {report.spec}, in {report.elapsed_s:.1f} s ({rate:,.0f} a second)"]
    if report.resumed_from:
        lines.append(f"it went on after the {report.resumed_from:,} images of an earlier attempt")
    if report.rejected:
        word = "file" if report.rejected == 1 else "files"
        lines.append(f"left out {report.rejected:,} {word}, listed with the reason in {listed}")
        lines += [f"  {name}: {reason}" for name, reason in _first_rejected(report.path)]
        lines += ["  ..."] if report.rejected > MOST_NAMED else []
    lines += [f"{_images(count)}: {what}" for what, count in sorted(report.notes.items())]
    if report.duplicates:
        lines.append(f"exact copies of other images: {report.duplicates:,}")
    if report.near_constant:
        lines.append(f"images that show next to nothing (one colour): {report.near_constant:,}")
    return lines


def _first_rejected(path: Path) -> list[tuple[str, str]]:
    """Name and reason of some files that were left out, of images rather than of other files."""
    with (path / layout.REJECTED).open(encoding="utf-8", errors="surrogateescape") as file:
        entries = [json.loads(line) for line in itertools.islice(file, 1000)]
    entries.sort(key=lambda entry: bool(entry.get("kind") == "not_image"))
    return [(str(entry["name"]), str(entry["reason"])) for entry in entries[:MOST_NAMED]]


def _images(count: int) -> str:
    return f"{count:,} image{'s' if count != 1 else ''}"


def size_text(spec: ImageSpec) -> str:
    return str(spec.height) if spec.height == spec.width else f"{spec.height}x{spec.width}"


def spec_of(config: Config, store: ImageSet) -> ImageSpec:
    """Of the images that networks see; the set may hold larger ones."""
    return ImageSpec(*parse_size(config.data.size), store.spec.channels)


CHANNELS = {1: "gray", 3: "rgb", 4: "rgba"}


def _as_chosen(config: Config, spec: ImageSpec, reasons: dict[str, str]) -> tuple[Config, list[Filled]]:
    values = {"size": size_text(spec), "channels": CHANNELS[spec.channels]}
    return fill(config, {f"data.{name}": (values[name], reason) for name, reason in reasons.items() if name in values})


def _packed_spec(config: Config, spec: ImageSpec) -> ImageSpec:
    """Of the packed images, which the feed brings down to `spec`.

    Raises:
        ConfigError: these cannot be brought down to `spec`.
    """
    if config.data.pack_size == "auto":
        return spec
    packed = ImageSpec(*parse_size(config.data.pack_size), spec.channels)
    if packed.height < spec.height or packed.width < spec.width:
        what = f"{config.data.pack_size} is smaller than data.size, {size_text(spec)}"
        raise ConfigError("data.pack_size", what, "make it larger, or leave it out")
    if packed.height * spec.width != packed.width * spec.height:
        what = f"{config.data.pack_size} has another shape than data.size, {size_text(spec)}"
        twice = ImageSpec(2 * spec.height, 2 * spec.width, spec.channels)
        raise ConfigError("data.pack_size", what, f"choose a multiple of that, such as {size_text(twice)}")
    return packed


def _as_packed(config: Config, store: Store) -> tuple[Config, list[Filled]]:
    """Fills size and channels from a packed set; where the user asked for others, that is an error naming both.

    A set of larger images serves where data.pack_size names their size.
    """
    side, channels = size_text(store.spec), CHANNELS[store.spec.channels]
    have = {"channels": channels, "size" if config.data.pack_size == "auto" else "pack_size": side}
    for name, value in have.items():
        asked = getattr(config.data, name)
        if asked not in ("auto", value):
            flag = "--size" if name == "pack_size" else f"--{name}"
            do = f"pack the images again with {flag} {asked}, or leave that out"
            if name == "size":
                do += f"; images packed larger are brought down with --set data.pack_size={value}"
            what = f"{asked} is asked for, but {config.data.source} was packed with {value}"
            raise ConfigError(f"data.{name}", what, do)
    auto = {n: v for n, v in (("size", side), ("channels", channels)) if getattr(config.data, n) == "auto"}
    config, filled = fill(config, {f"data.{name}": (value, "as packed") for name, value in auto.items()})
    _packed_spec(config, ImageSpec(*parse_size(config.data.size), store.spec.channels))
    return config, filled
