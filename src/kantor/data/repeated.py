"""Finds repeated words among any number in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1 << 18

Words = NDArray[np.uint64]


def repeated(blocks: Callable[[], Iterable[Words]], count: int) -> Iterator[Words]:
    """The words that are equal to an earlier one, once for each time, in any order.

    Args:
        blocks: the words, evenly distributed as digests are; called several times.
        count: of all words.
    """
    parts = max(1, -(-count // _AT_ONCE))
    for part in range(parts):
        words = np.concatenate(
            [block[block % np.uint64(parts) == part] for block in blocks()] or [np.empty(0, np.uint64)]
        )
        words.sort()
        yield words[1:][words[1:] == words[:-1]]
