"""Selects the images to pack: all of a source, stacks of three of them, or some at random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kantor.config.data import DataConfig
from kantor.data.decoding.decode import probe
from kantor.data.decoding.edges import require_edges
from kantor.data.decoding.formats import Colour, rgb
from kantor.data.packing.looks import looked
from kantor.data.packing.pool import Pool, worker_count
from kantor.data.packing.scan import object_settings, sampled
from kantor.data.packing.worker import FindObjects, FindPieces, ReadHeader, load_here
from kantor.data.reasons import Reason, Undecodable
from kantor.data.sources.idx import Idx
from kantor.data.sources.objects import Objects, found_objects
from kantor.data.sources.packed import Packed
from kantor.data.sources.pieces import Pieces
from kantor.data.sources.random_subset import RandomSubset
from kantor.data.sources.recognise import open_source
from kantor.data.sources.source import Item, Source
from kantor.data.sources.stacked import PACK_TO_ONE_SIZE, WHITE, Grey, Stacked, named_reason, to_grey
from kantor.errors import ConfigError, DataError
from kantor.types import ObjectPlace

MAX_GREY_BYTES = 4 << 30  # of images in memory, if the source cannot be read in any order
_PACK_FIRST = "pack it first (kantor pack), and stack that dataset"
Size = tuple[int, int]


def open_images(config: DataConfig, looks: Path | None = None) -> Source:
    """Opens the source that `config` names, with its images selected. Raises as `open_source` and `stacked`.

    looks: the folder where what was found in its files is kept; None if it is not.
    """
    return selected(open_source(config), config, looks)


def selected(source: Source, config: DataConfig, looks: Path | None = None) -> Source:
    """Takes several images of each file, stacks them, or chooses some at random, as `config` says. looks: as for `open_images`."""
    if config.objects != "none":
        source = cut_objects(source, config, looks)
    elif config.tile or config.frames != "first":
        source = pieces(source, config, looks)
    if config.stack:
        source = stacked(source, config.stack, background=rgb(config.background))
    if config.choose == "random" and config.limit:
        return RandomSubset(source, config.limit, config.choose_seed)
    return source


def pieces(source: Source, config: DataConfig, looks: Path | None = None) -> Pieces:
    """The frames or tiles of the images of `source`. Raises DataError if none can be read."""
    if config.tile and config.frames != "first":
        raise ConfigError("data.tile", "cuts sheets, and data.frames takes frames", "leave one of the two out")
    entries = list(source.items())
    items = [entry for entry in entries if isinstance(entry, Item)]
    step = config.frames if isinstance(config.frames, int) else 1
    numbers = looked(source, items, FindPieces(step, config.tile), worker_count(len(items)), looks)
    if items and not any(found is None or found for found in numbers):
        what = f"none of its images holds a tile of {config.tile}x{config.tile} pixels that shows something"
        raise DataError(source.path, what, "choose a smaller data.tile")
    what = f"tiles of {config.tile}x{config.tile}" if config.tile else "frames"
    count = sum(1 if found is None else len(found) for found in numbers)
    note = f"{count:,} {what} of {len(items):,} file{'s' if len(items) != 1 else ''}"
    note += " (empty ones left out)" if config.tile else "" if step == 1 else f", one of every {step}"
    return Pieces(source, entries, numbers, config.tile, "; ".join(text for text in (source.note, note) if text))


def cut_objects(source: Source, config: DataConfig, looks: Path | None = None) -> Objects:
    """The objects in the images of `source`.

    Raises ResourceError without scikit-image, ConfigError beside settings that make other images, DataError if there are none.
    """
    require_edges("data.objects", "objects")
    others = {"tile": config.tile > 0, "frames": config.frames != "first", "stack": config.stack > 0}
    if other := next((name for name, is_set in others.items() if is_set), None):
        raise ConfigError("data.objects", f"does not go with data.{other}", "leave one of the two out")
    entries = list(source.items())
    items = [entry for entry in entries if isinstance(entry, Item)]
    settings = object_settings(config)
    workers = worker_count(len(items), sum(item.size for item in items))
    looked_at = looked(source, items, FindObjects(settings), workers, looks)
    found = [  # None for those that cannot be read: packing says what is wrong
        None if seen is None else found_objects(item.name, *seen) for item, seen in zip(items, looked_at, strict=True)
    ]
    if items and not any(places is None or places for places in found):
        what = f"no object is found in its {len(items):,} images"
        raise DataError(source.path, what, "lower data.objects_smallest, or leave data.objects out")
    note = "; ".join(text for text in (source.note, _objects_line(found, looked_at)) if text)
    return Objects(source, entries, found, settings, note)


def _objects_line(found: Sequence[list[ObjectPlace] | None], looked_at: Sequence[Any]) -> str:
    """ "12 objects in 5 images: 4 by parts, 1 by saliency; no object in 2 images"."""
    ways = Counter(seen[0] for seen in looked_at if seen is not None and seen[1])
    total, empty = sum(len(places or ()) for places in found), sum(places == [] for places in found)
    how = ", ".join(f"{count:,} by {way}" for way, count in ways.most_common())
    line = f"{total:,} objects in {ways.total():,} image{'s' if ways.total() != 1 else ''}: {how or 'none'}"
    return line + (f"; no object in {empty:,} image{'s' if empty != 1 else ''}" if empty else "")


def stacked(source: Source, count: int, *, seed: int = 0, background: Colour = WHITE) -> Stacked:
    """Makes `count` images, each of three of `source`.

    Workers probe files, and decode them when they are loaded. Of local sources only arrays are accepted; those that
    are read in order are kept in memory as grey images.

    Raises:
        DataError: the images are of several sizes, none can be read, or they cannot be read in any order.
    """
    entries = list(source.items())
    items = [entry for entry in entries if isinstance(entry, Item)]
    if not items:  # packing reports that
        return Stacked(source, entries, count, (0, 0), seed=seed, background=background, note=source.note)
    grey: list[Grey] | None = None
    if isinstance(source, Idx | Packed):
        height, width, kind = probe(source.load(items[0]))
        size, coloured = (height, width), kind != "gray"
    elif source.local_only:
        grey, size, coloured = _read_all(source, items, background)
    else:
        size, coloured = _probed(source, items)
    note = f"each image is three of {len(items):,}, one a colour channel"
    if coloured:
        note += "; their colours are turned into grey (ITU-R 601)"
    note = "; ".join(text for text in (source.note, note) if text)
    return Stacked(source, entries, count, size, seed=seed, background=background, grey=grey, note=note)


def _probed(source: Source, items: Sequence[Item]) -> tuple[Size, bool]:
    """(height, width) of the images, and whether some have colour, from some of them."""
    some = sampled(items)
    with Pool(source, ReadHeader(source.rules), workers=1) as pool:
        probed = [(item, header) for item, header in zip(some, pool.look(some), strict=True) if header]
    if not probed:
        what = f"none of the {len(some)} images looked at can be read"
        raise DataError(source.path, what, "run kantor pack --inspect to see what is wrong with each")
    first, (height, width, _) = probed[0]
    for item, header in probed:
        _require_size(source, first, (height, width), item, (header[0], header[1]))
    return (height, width), any(kind != "gray" for _, (_, _, kind) in probed)


def _read_all(source: Source, items: Sequence[Item], background: Colour) -> tuple[list[Grey], Size, bool]:
    """All images as grey ones, their size, and whether some have colour."""
    grey: list[Grey] = []
    coloured, first, size = False, None, (0, 0)
    for item in items:
        data = load_here(source, item)
        if isinstance(data, bytes):  # files are not decoded in this process
            what = "it holds encoded images and cannot be read in any order, as stacking them needs"
            raise DataError(source.path, what, _PACK_FIRST)
        try:
            if isinstance(data, Reason):
                raise Undecodable(*data)
            height, width, kind = probe(data)
            if first is None:
                first, size = item, (height, width)
                if len(items) * height * width > MAX_GREY_BYTES:
                    what = "it cannot be read in any order, and its images take more than "
                    raise DataError(source.path, f"{what}{MAX_GREY_BYTES >> 30} GB of memory", _PACK_FIRST)
            _require_size(source, first, size, item, (height, width))
            grey.append(to_grey(data, size, background))
            coloured = coloured or kind != "gray"
        except Undecodable as error:
            grey.append(named_reason(item, error))
    source.release()
    if first is None:
        raise DataError(source.path, f"none of its images can be read: {grey[0]}", "fix them")
    return grey, size, coloured


def _require_size(source: Source, first: Item, size: Size, item: Item, other: Size) -> None:
    if other != size:
        what = f"{first.name} is {size[0]}x{size[1]} and {item.name} {other[0]}x{other[1]}"
        raise DataError(source.path, f"{what}: only images of one size can be stacked", PACK_TO_ONE_SIZE)
