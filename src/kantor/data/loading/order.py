"""The order of data: which image comes at which position of a run's endless stream.

A two-level permutation, first of the shards, then within windows of the stream that the shards make up. It is a
pure function of (seed, epoch, index): nothing is kept, so a run goes on anywhere at once, on any number of machines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kantor.random import derive, permute


class Order:
    """A random order of a set's rows, epoch after epoch; each epoch has every row once.

    Args:
        shard_sizes: rows of each shard, each at least 1.
        seed: chooses the order.
        window: rows within this many neighbours are mixed, so that few shards need to be at hand. None mixes the
            whole set: then the order depends on the number of rows alone, not on how they are cut into shards.
    """

    def __init__(self, shard_sizes: Sequence[int], seed: int, window: int | None = None) -> None:
        if not shard_sizes or min(shard_sizes) < 1:
            raise ValueError("a set needs at least one shard, and each shard at least one row")
        if window is not None and window < 1:
            raise ValueError("a window holds at least one row")
        self._sizes = np.asarray(shard_sizes, np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._seed = seed
        self.count = int(self._sizes.sum())
        self._window = None if window is None or window >= self.count else window

    def rows(self, start: int, count: int) -> NDArray[np.int64]:
        """Rows of the set at positions start .. start + count of the stream over all epochs.

        Returns:
            int64 [count]; any split of a range into several calls gives the same rows.
        """
        pieces, end = [np.empty(0, np.int64)], start + count
        while start < end:
            epoch, first = divmod(start, self.count)
            last = min(self.count, first + end - start)
            pieces.append(self._within(epoch, first, last))
            start += last - first
        return np.concatenate(pieces)

    def _within(self, epoch: int, first: int, last: int) -> NDArray[np.int64]:
        """Rows at indices first .. last of one epoch."""
        if self._window is None:
            return permute(np.arange(first, last), self.count, derive(self._seed, "order", epoch))
        pieces = []
        while first < last:
            number, inside = divmod(first, self._window)
            base = number * self._window
            size = min(self._window, self.count - base)
            end = min(size, inside + last - first)
            seed = derive(self._seed, "order/window", epoch, number)
            pieces.append(base + permute(np.arange(inside, end), size, seed))
            first += end - inside
        return self._through_shards(np.concatenate(pieces), epoch)

    def _through_shards(self, places: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Rows of the set at `places` of the shards laid in a ring in this epoch's order.

        The ring is turned by a random angle each epoch: else the windows would cut each shard at the same rows, and
        a row would always meet the same neighbours.
        """
        shards = permute(np.arange(len(self._sizes)), len(self._sizes), derive(self._seed, "order/shards", epoch))
        ends = np.cumsum(self._sizes[shards])
        places = (places + derive(self._seed, "order/turn", epoch) % self.count) % self.count
        nth = np.searchsorted(ends, places, side="right")
        shard = shards[nth]
        return self._starts[shard] + places - (ends[nth] - self._sizes[shard])
