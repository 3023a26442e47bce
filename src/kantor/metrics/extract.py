"""One pass over images: what the scores need of each of them, in an order that depends on the images alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kantor.errors import DataError
from kantor.metrics.features import BATCH, Extractor, rebatched, resized, to_float
from kantor.types import Images

THUMBNAIL = 32
"""Pixels are compared at this height or width at most."""


@dataclass(frozen=True)
class Gathered:
    """N images as features, sorted by a hash of their pixels: the first n of them are a random choice, and the same
    one however the images came.

    Attributes:
        features: float32 [N, D].
        thumbs: uint8 [N, h, w, C], the images themselves where they are small.
        order: int64 [N]: which image of the stream each row is.
        logits: of each classifier of the extractor: float32 [N, K].
    """

    features: Tensor
    thumbs: Images
    order: NDArray[np.int64]
    logits: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.features)

    def first(self, count: int) -> Gathered:
        """The first `count` of them."""
        return self.rows(slice(0, count))

    def rows(self, rows: slice) -> Gathered:
        return Gathered(
            self.features[rows],
            self.thumbs[rows],
            self.order[rows],
            {name: one[rows] for name, one in self.logits.items()},
        )

    def tensors(self) -> dict[str, Tensor]:
        """As tensors by name, to be kept in a file."""
        kept = {
            "features": self.features,
            "thumbs": torch.from_numpy(self.thumbs),
            "order": torch.from_numpy(self.order),
        }
        return kept | {f"logits/{name}": one for name, one in self.logits.items()}

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> Gathered:
        """The opposite. Raises KeyError where one is missing."""
        logits = {name.removeprefix("logits/"): one for name, one in tensors.items() if name.startswith("logits/")}
        return Gathered(tensors["features"], tensors["thumbs"].numpy(), tensors["order"].numpy(), logits)


def gather(batches: Iterable[Images], extractor: Extractor) -> Gathered:
    """What the scores need of the images uint8 [n, H, W, C] in `batches`, of any sizes n.

    Raises:
        DataError: there are none.
    """
    features, thumbs, hashes, heads = [], [], [], []
    for images in rebatched(batches, BATCH):
        found = extractor(images)
        features.append(found.features)
        heads.append(found.logits)
        thumbs.append(thumbnails(images))
        hashes += [hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in images]
    if not features:
        raise DataError("pictures", "there are none to be scored", "give at least two")
    order = np.asarray(sorted(range(len(hashes)), key=hashes.__getitem__), np.int64)
    chosen = torch.from_numpy(order)
    logits = {name: torch.cat([one[name] for one in heads])[chosen] for name in heads[0]}
    return Gathered(torch.cat(features)[chosen], np.concatenate(thumbs)[order], order, logits)


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [N, H, W, C], brought to `THUMBNAIL` pixels of the longer side where they are larger."""
    longer = max(images.shape[1:3])
    if longer <= THUMBNAIL:
        return images
    height, width = (max(1, round(side * THUMBNAIL / longer)) for side in images.shape[1:3])
    small = resized(to_float(torch.from_numpy(images)), height, width)
    return small.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
