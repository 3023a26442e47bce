"""Chooses the size and channels of a packed dataset, where the user leaves them "auto"."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from kantor.config.base import parse_size
from kantor.config.data import DataConfig
from kantor.data.decoding.decode import Header
from kantor.data.packing.pool import Pool
from kantor.data.packing.scan import Listing, require_images, sampled
from kantor.data.packing.worker import ReadHeader
from kantor.data.sources.arrangement import HALVES
from kantor.data.sources.source import Item, Source
from kantor.types import ImageSpec

_LARGEST_KEPT_SIDE = 128
_CHANNELS = {"gray": 1, "rgb": 3, "rgba": 4}


def choose_spec(source: Source, config: DataConfig, side: int, listing: Listing) -> tuple[ImageSpec, dict[str, str]]:
    """Fills "auto" in size and channels from up to 64 images; large ones get `side` x `side`.

    Returns the spec, and a reason for each field that was "auto". Raises DataError if there are no images.
    """
    probed: list[Header] = []
    if "auto" in (config.size, config.channels):
        require_images(source, listing)
        probed = headers(source, sampled(listing.sample), config.rules)
        if config.condition in HALVES:
            probed = [(height, width // 2, kind) for height, width, kind in probed]
    reasons: dict[str, str] = {}
    if config.size == "auto":
        height, width, reasons["size"] = _choose_size(source.exact, config.crop, side, probed)
    else:
        height, width = parse_size(config.size)
    channels = _CHANNELS.get(config.channels, 3)
    if config.channels == "auto" and config.edges != "none":
        channels, reasons["channels"] = 1, "outlines are grey"
    elif config.channels == "auto" and config.objects == "layout":
        channels, reasons["channels"] = 1, "silhouettes are grey"
    elif config.channels == "auto" and config.objects != "none":
        channels, reasons["channels"] = 4, "objects are cut out of their ground"
    elif config.channels == "auto":
        channels, reasons["channels"] = _choose_channels(probed)
    return ImageSpec(height, width, channels), reasons


def headers(source: Source, items: Sequence[Item], rules: int, workers: int = 1) -> list[Header]:
    """Those of the items that can be read."""
    with Pool(source, ReadHeader(rules), workers) as pool:
        return [(found[0], found[1], found[2]) for found in pool.look(items) if found]


def _choose_size(exact: bool, crop: int, default_side: int, probed: list[Header]) -> tuple[int, int, str]:
    if not probed:
        return default_side, default_side, "none of the sampled images can be read"
    height, width, _ = probed[0]
    same = exact and all(image[:2] == (height, width) for image in probed)
    if same and not crop and min(height, width) >= 8 and max(height, width) <= _LARGEST_KEPT_SIDE:
        return height, width, f"all images have this size: {height}x{width}"
    shorts = [min(height, width, crop or height) for height, width, _ in probed]
    if (short := statistics.median_low(shorts)) < default_side:
        side = max(8, short)
        return side, side, f"the images are small (shorter side {short}, the median of {len(probed)})"
    longs = [max(height, width) for height, width, _ in probed]
    sides = f"sides from {min(shorts)} to {max(longs)}"
    return default_side, default_side, f"the default; {len(probed)} sampled images have {sides}"


def _choose_channels(probed: list[Header]) -> tuple[int, str]:
    if not probed:
        return 3, "none of the sampled images can be read"
    kinds = [kind for _, _, kind in probed]
    if set(kinds) == {"gray"}:
        return 1, f"all {len(probed)} sampled images are grey"
    reason = f"{len(probed) - kinds.count('gray')} of {len(probed)} sampled images have colour"
    if transparent := kinds.count("rgba"):
        reason += f", {transparent} transparency, which becomes the background colour unless you add --channels rgba"
    return 3, reason
