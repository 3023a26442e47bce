"""The order of data: which image comes at which position of a run's stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kantor.random import derive, permute


class Order:
    """A random order of a dataset's rows, epoch after epoch; each epoch has every row once.

    A pure function of (seed, epoch, index): nothing is stored, so a run can resume at any position at once.

    Raises ValueError if `count`, the rows of the dataset, is 0.
    """

    def __init__(self, count: int, seed: int) -> None:
        if count < 1:
            raise ValueError("an image set needs at least one image")
        self.count, self._seed = count, seed

    def rows(self, start: int, count: int) -> NDArray[np.int64]:
        """Returns int64 [count]: the rows at positions start .. start + count of the stream over all epochs."""
        pieces, end = [np.empty(0, np.int64)], start + count
        while start < end:
            epoch, first = divmod(start, self.count)
            last = min(self.count, first + end - start)
            pieces.append(permute(np.arange(first, last), self.count, derive(self._seed, "order", epoch)))
            start += last - first
        return np.concatenate(pieces)
