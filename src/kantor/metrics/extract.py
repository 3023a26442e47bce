"""One pass over images: what metrics need of each, in an order that depends on the images alone."""

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
"""Longer side of the images whose pixels are compared, at most."""


@dataclass(frozen=True)
class ImageFeatures:
    """Features of N images, sorted by a hash of their pixels.

    So the first n are a random sample, and the same one in whatever order the images came.

    Attributes:
        features: float32 [N, D].
        thumbs: uint8 [N, h, w, C], the images themselves if they are small.
        order: int64 [N], the index of each row in the stream of images.
        logits: of each classifier of the extractor: float32 [N, K].
    """

    features: Tensor
    thumbs: Images
    order: NDArray[np.int64]
    logits: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.features)

    def first(self, count: int) -> ImageFeatures:
        """The first `count` rows."""
        return self.rows(slice(0, count))

    def rows(self, rows: slice) -> ImageFeatures:
        logits = {name: values[rows] for name, values in self.logits.items()}
        return ImageFeatures(self.features[rows], self.thumbs[rows], self.order[rows], logits)

    def tensors(self) -> dict[str, Tensor]:
        """As tensors by name, for a file."""
        arrays = {"thumbs": torch.from_numpy(self.thumbs), "order": torch.from_numpy(self.order)}
        logits = {f"logits/{name}": values for name, values in self.logits.items()}
        return {"features": self.features, **arrays, **logits}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> ImageFeatures:
        """Inverse of `tensors`. Raises KeyError if one is missing."""
        logits = {name.removeprefix("logits/"): t for name, t in tensors.items() if name.startswith("logits/")}
        return ImageFeatures(tensors["features"], tensors["thumbs"].numpy(), tensors["order"].numpy(), logits)


def extract(batches: Iterable[Images], extractor: Extractor) -> ImageFeatures:
    """Features of the images uint8 [n, H, W, C] in `batches`, of any sizes n.

    Raises:
        DataError: there are no images.
    """
    features, thumbs, hashes, logits = [], [], [], []
    for images in rebatched(batches, BATCH):
        activations = extractor(images)
        features.append(activations.features)
        logits.append(activations.logits)
        thumbs.append(thumbnails(images))
        hashes += [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    if not features:
        raise DataError("images", "there are none to score", "give at least two")
    order = np.asarray(sorted(range(len(hashes)), key=hashes.__getitem__), np.int64)
    index = torch.from_numpy(order)
    sorted_logits = {name: torch.cat([batch[name] for batch in logits])[index] for name in logits[0]}
    return ImageFeatures(torch.cat(features)[index], np.concatenate(thumbs)[order], order, sorted_logits)


def thumbnails(images: Images) -> Images:
    """uint8 [N, H, W, C], shrunk to `THUMBNAIL` pixels of the longer side; smaller images stay as they are."""
    longer = max(images.shape[1:3])
    if longer <= THUMBNAIL:
        return images
    height, width = (max(1, round(side * THUMBNAIL / longer)) for side in images.shape[1:3])
    small = resized(to_float(torch.from_numpy(images)), height, width)
    return small.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
