"""The range of values of a whole set: which values become black and white, found by looking at every image.

Images of plain 8 bits are looked at only if the first ones hold no value above 63.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from kantor.config.data import DataConfig
from kantor.data.decoding import numbers
from kantor.data.decoding.decode import DARKEST
from kantor.data.decoding.numbers import Extent, Range
from kantor.data.packing.pool import Pool, Row, worker_count
from kantor.data.packing.scan import Listing
from kantor.data.packing.worker import FindExtent
from kantor.data.sources.source import Item, Rejected, Source
from kantor.errors import DataError
from kantor.progress import Progress, silent

_DARK_ONES = 64  # so many of them, and no other, are enough to look at all
_FEWEST_BITS = 8
_OUTLIERS = 0.01  # fraction of the images whose percentiles may lie outside
_NO_VALUES = (-32768, -9999, -99999, -999)  # usual values of pixels that have none
_HOT = 8  # a range so many times as wide as nearly all values is set by a few pixels


@dataclass
class _Values:
    """Those of all images of one number type."""

    low: float = float("inf")
    high: float = float("-inf")
    core_low: list[float] = field(default_factory=list)
    core_high: list[float] = field(default_factory=list)

    def add(self, extent: Extent) -> None:
        self.low, self.high = min(self.low, extent.low), max(self.high, extent.high)
        self.core_low.append(extent.core_low)
        self.core_high.append(extent.core_high)

    @property
    def core(self) -> Range:
        """Where nearly all values lie."""
        low = np.quantile(self.core_low, _OUTLIERS, method="nearest")
        return float(low), float(np.quantile(self.core_high, 1 - _OUTLIERS, method="nearest"))


class ValueRanges(NamedTuple):
    """What was found."""

    ranges: dict[str, Range]  # by number type, where the limits of the type are not right
    all_looked_at: bool  # at every image; else at a few, and types that turn up later are not known
    held: dict[str, tuple[float, float, int]]  # smallest and largest value, and number of images, if all were looked at

    def lines(self) -> list[str]:
        """What was decided, for the user."""
        lines = [
            f"{_named(kind)} from {low:g} to {high:g} become black to white in all images (data.range)"
            for kind, (low, high) in self.ranges.items()
        ]
        for kind, (low, high, _) in self.held.items():
            if low in _NO_VALUES:
                say = f"the smallest value is {low:g}, which often means that a pixel has none"
                lines.append(f"{_named(kind)}: {say}; leave it out with --set data.nodata={low:g}")
            white = numbers.type_limits(kind)[1]
            if kind not in self.ranges and kind not in ("bool", "uint8") and high < white / 2:
                say = f"no value is above {high:g} of {white:g}, so that all images are dark"
                lines.append(f"{_named(kind)}: {say}; make {high:g} white with --set data.range=0..{high:g}")
        return lines


def not_yet_looked(config: DataConfig) -> ValueRanges:
    """What is known before any image is looked at: enough for plain 8-bit images that are no masks."""
    return ValueRanges({}, config.rules < 2 or config.range != "auto", {})


class UnlookedValues(Exception):
    """Raised when images hold values whose range must be found by looking at all of them."""


class FirstLook:
    """Watches the first packed images. Raises UnlookedValues if they are of a number type whose range is not known, or dark.

    Dark ones of 8 bits may be masks or numbers of classes. One that is not settles it.
    """

    def __init__(self, values: ValueRanges) -> None:
        self._settled, self._dark = values.all_looked_at, 0

    def __call__(self, outcomes: Iterable[object], last: bool = False) -> None:
        """last: there are no more."""
        for outcome in outcomes:
            if isinstance(outcome, Rejected) and outcome.reason.kind == "unlooked":
                raise UnlookedValues
            if isinstance(outcome, Row) and not self._settled:
                self._settled = not outcome.dark
                self._dark += not self._settled
        if not self._settled and self._dark and (last or self._dark >= _DARK_ONES):
            raise UnlookedValues


def look_at_all(source: Source, config: DataConfig, listing: Listing, progress: Progress = silent) -> ValueRanges:
    """Looks at every image."""
    most = config.limit if config.limit and config.choose == "first" else None
    items = itertools.islice((entry for entry in source.items() if isinstance(entry, Item)), most)
    values: dict[str, _Values] = {}
    for done, extent in enumerate(
        _extents(source, items, config, worker_count(listing.items, listing.encoded_bytes)), 1
    ):
        values.setdefault(extent.kind, _Values()).add(extent)
        progress(done, listing.items, 0)
    ranges = {kind: _range(kind, of_kind, source.path) for kind, of_kind in values.items()}
    found = {kind: ends for kind, ends in ranges.items() if ends != numbers.type_limits(kind)}
    held = {kind: (of_kind.low, of_kind.high, len(of_kind.core_low)) for kind, of_kind in values.items()}
    return ValueRanges(found, True, held)


def _extents(source: Source, items: Iterable[Item], config: DataConfig, workers: int) -> Iterator[Extent]:
    with Pool(source, FindExtent(config.nodata), workers) as pool:
        yield from (Extent(*found) for found in pool.look(items, 32) if found)
    source.release()


def _range(kind: str, values: _Values, where: str) -> Range:
    """The range of one type."""
    low, high = values.low, values.high
    if kind in ("bool", "uint8") and not (kind == "uint8" and 1 <= high <= DARKEST):
        return numbers.type_limits(kind)
    if low == high:
        what = f"all images hold the one value {low:g}"
        raise DataError(where, what, "check the files, or set what is black and white: --set data.range=0..255")
    whole = kind != "float"
    if whole and low >= 0 and high <= DARKEST:
        return 0.0, float(2 ** int(high).bit_length() - 1)
    core_low, core_high = values.core
    if whole and low >= 0 and high <= 65535:
        white = core_high if core_high > 0 and core_high * _HOT < _white(high) else high
        return 0.0, min(_white(white), numbers.type_limits(kind)[1])
    if kind == "float" and low >= -1 and high <= 1:
        return (0.0, 1.0) if low >= 0 else (-1.0, 1.0)
    if kind == "float" and low >= 0 and 128 <= high <= 255:
        return 0.0, 255.0
    width = core_high - core_low
    return (
        core_low if width and low < core_low - width else low,
        core_high if width and high > core_high + width else high,
    )


def _named(kind: str) -> str:
    return "fractions" if kind == "float" else f"{numbers.words(kind)} values"


def _white(high: float) -> float:
    """The largest value of the fewest bits that hold `high`.

    Any number of bits, not only those of sensors (10, 12, 14): processing leaves 13 and 15, and 12 bits whose noise
    passes 4095 would be shown at a quarter of their brightness as 14. So the brightest pixel is grey at least.
    """
    return float(2 ** max(_FEWEST_BITS, int(high).bit_length()) - 1)
