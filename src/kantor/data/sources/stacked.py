"""RGB images made of three grey images each: with digits, "stacked MNIST".

Three digits chosen at random, one a colour channel, give 10 x 10 x 10 known modes, all equally likely if the digits
are, so the modes that a generator has found can be counted (Metz et al. 2017, "Unrolled generative adversarial
networks"). Lin et al. 2018, "PacGAN", sample with replacement too: 128,000 images once to compare with VEEGAN, and
new ones in each step to compare with unrolled networks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kantor.data.decoding.decode import decode, probe
from kantor.data.decoding.formats import Colour, DecodeSettings
from kantor.data.reasons import Reason, Undecodable
from kantor.data.sources.source import Item, Loaded, Rejected, Source
from kantor.random import philox
from kantor.types import ImageSpec

WHITE = (255, 255, 255)
PACK_TO_ONE_SIZE = "pack them to one size first (kantor pack), and stack that dataset"
Grey = NDArray[np.uint8] | Reason  # uint8 [H, W], or why there is no image
_STREAM = 0x57AC
_LABELS_AT_ONCE = 1 << 16
_ROWS_AT_ONCE = 1 << 10


class Stacked(Source):
    """Images made of three inner images, sampled uniformly and independently of each other, with replacement.

    Image i is a function of (seed, i) and the inner source: a larger `count` begins with the same images. Colours
    become grey (ITU-R 601) first. Its class is the three classes with spaces between, "4 0 7", red first; spaces
    inside a class become "_".

    Args:
        entries: what `inner` lists.
        size: (height, width) of the inner images; those of another size cannot be used.
        seed: chooses the inner images.
        background: RGB behind transparent ones.
        grey: the inner images, if `inner` cannot be read in any order; else they are loaded when needed.
    """

    exact = True

    def __init__(
        self,
        inner: Source,
        entries: Sequence[Item | Rejected],
        count: int,
        size: tuple[int, int],
        *,
        seed: int = 0,
        background: Colour = WHITE,
        grey: Sequence[Grey] | None = None,
        note: str = "",
    ) -> None:
        self.path, self.local_only, self.note = inner.path, inner.local_only, note
        self.inner, self.parts, self.count, self.size, self.seed = inner, [inner], count, size, seed
        self._items = [entry for entry in entries if isinstance(entry, Item)]
        self._rejected = [entry for entry in entries if isinstance(entry, Rejected)]
        self._background, self._grey = background, grey
        self._cached_rows: tuple[int, list[list[int]]] | None = None  # of the images around the last one loaded

    def rows(self, start: int, stop: int) -> NDArray[np.int64]:
        """int64 [stop - start, 3]: which inner images are the channels of images `start` to `stop`."""
        counters = np.zeros((stop - start, 4), np.uint32)
        counters[:, 0], counters[:, 1] = np.arange(start, stop), _STREAM
        random = philox(counters, (self.seed & 0xFFFFFFFF, self.seed >> 32 & 0xFFFFFFFF))[:, :3]
        return (random.astype(np.uint64) * np.uint64(len(self._items)) >> np.uint64(32)).astype(np.int64)

    def items(self) -> Iterator[Item | Rejected]:
        """The files that the inner source rejects, then the images by number."""
        yield from self._rejected
        if not self._items:
            return
        labels = [None if item.label is None else item.label.replace(" ", "_") for item in self._items]
        states = [_state(item) for item in self._items]
        for start in range(0, self.count, _LABELS_AT_ONCE):
            rows = self.rows(start, min(start + _LABELS_AT_ONCE, self.count)).tolist()
            for i, (red, green, blue) in enumerate(rows, start):
                parts = [label for label in (labels[red], labels[green], labels[blue]) if label is not None]
                # in place of the time of change: it differs if one of the three has changed
                state = (states[red] + 3 * states[green] + 9 * states[blue]) & (1 << 62) - 1
                yield Item(str(i), i, 0, state, " ".join(parts) if len(parts) == 3 else None)

    def load(self, item: Item) -> NDArray[np.uint8]:
        """uint8 [H, W, 3]. Raises Undecodable if one of the three cannot be used."""
        start = item.position - item.position % _ROWS_AT_ONCE
        if self._cached_rows is None or self._cached_rows[0] != start:
            self._cached_rows = start, self.rows(start, start + _ROWS_AT_ONCE).tolist()
        return np.stack([self._channel(row) for row in self._cached_rows[1][item.position - start]], axis=2)

    def _channel(self, row: int) -> NDArray[np.uint8]:
        """uint8 [H, W]."""
        if self._grey is None:
            item = self._items[row]
            try:
                return to_grey(self.inner.load(item), self.size, self._background)
            except Undecodable as error:
                raise Undecodable(*named_reason(item, error)) from error
        grey = self._grey[row]
        if isinstance(grey, Reason):
            raise Undecodable(*grey)
        return grey


def to_grey(data: Loaded, size: tuple[int, int], background: Colour) -> NDArray[np.uint8]:
    """uint8 [H, W] of an image of this size. Raises Undecodable if it has another size or is damaged."""
    height, width = size
    if isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape == size:
        return data.astype(np.uint8, copy=False)
    own_size = probe(data)[:2]
    if own_size != size:
        detail = f"{own_size[0]}x{own_size[1]}, and others are {height}x{width}"
        raise Undecodable("content", detail, PACK_TO_ONE_SIZE)
    grey, _ = decode(data, DecodeSettings(ImageSpec(height, width, 1), 0, "stretch", background, 1))
    return grey.reshape(size)


def named_reason(item: Item, error: Undecodable) -> Reason:
    """The reason, with the inner image's name before it."""
    return error.reason._replace(kind="other", detail=f"{item.name}: {error.reason.detail}")


def _state(item: Item) -> int:
    """62 bits of a hash of what is listed of an inner image."""
    listed = json.dumps([item.name, item.size, item.mtime_ns]).encode()
    return int.from_bytes(hashlib.sha256(listed).digest()[:8], "little") >> 2
