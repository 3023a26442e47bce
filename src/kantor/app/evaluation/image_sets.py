"""Images on both sides of a score: real ones of a packed set, and those that a generator draws."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from kantor import atomic
from kantor.app.dataset import cache as caching
from kantor.app.images import at_size
from kantor.data.loading.image_set import ImageSet
from kantor.errors import ModelError, ResourceError
from kantor.metrics.extract import Gathered, gather
from kantor.metrics.features import Extractor
from kantor.progress import Progress, silent
from kantor.random import derive
from kantor.runs.checkpoint import from_bytes, to_bytes
from kantor.sample.generate import draw
from kantor.sample.latents import latents
from kantor.types import Images, ImageSpec

SEED_BLOCK = 1_000_000
"""--seed 1 draws other images than --seed 0: each has so many seeds of its own."""
TRAINING_SEED = 1 << 62
"""The first of those that scores are measured with while training: others, or the best moment would flatter itself."""
CHUNK = 512
_VERSION = 1  # of what is kept in the cache


@dataclass(frozen=True)
class Reals:
    """Some rows of a packed set, as images of the size that a generator makes.

    Attributes:
        rows: int64 [n], of the set.
    """

    store: ImageSet
    rows: NDArray[np.int64]
    spec: ImageSpec

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, places: NDArray[np.int64]) -> Images:
        """uint8 [n, H, W, C] of some of the rows, by their place among these."""
        return at_size(self.store.images(self.rows[places]), self.spec)

    def labels(self, places: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return self.store.labels(self.rows[places])

    def conditions(self, places: NDArray[np.int64]) -> Images | None:
        """uint8 [n, H, W, K] of some of the rows, or None without conditions."""
        conditions = self.store.conditions(self.rows[places])
        return None if conditions is None else at_size(conditions, self.spec)

    def digest(self) -> str:
        """Of the set, the rows and the size."""
        told = hashlib.sha256(np.sort(self.rows).tobytes()).hexdigest()
        return hashlib.sha256(f"{self.store.fingerprint}/{told}/{list(self.spec)}".encode()).hexdigest()


@dataclass(frozen=True)
class Drawn:
    """Images of a generator, by seeds of their own.

    Attributes:
        network: in evaluation mode, on its device.
        config: of the generator: latent_dim and latent.
        first: the first seed.
        classes: the label of each image; None where the model has none.
        conditions: the first seed's image is made of the first one's condition, and so on, again and again.
    """

    network: nn.Module
    config: Any
    count: int
    first: int = 0
    classes: NDArray[np.int64] | None = None
    truncation: float = 1.0
    conditions: Reals | None = None

    def __len__(self) -> int:
        return self.count

    def pick(self, places: NDArray[np.int64]) -> Images:
        """uint8 [n, H, W, C] of some of the seeds, by their place."""
        seeds = [self.first + int(place) for place in places]
        z = latents(seeds, self.config.latent_dim, self.config.latent, self.truncation)
        labels = None if self.classes is None else self.classes[places].tolist()
        given = None if self.conditions is None else self.conditions.conditions(places % len(self.conditions))
        return draw(self.network, z, labels, given)

    def labels(self, places: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return None if self.classes is None else self.classes[places]


def chosen(store: ImageSet, count: int, spec: ImageSpec) -> Reals:
    """At most `count` images of a set, chosen by their own bytes: in whatever order they lie, they are the same."""
    if count >= store.count:
        return Reals(store, np.arange(store.count), spec)
    first = np.ascontiguousarray(store.digests()[:, 8:16]).view(">u8")[:, 0]  # others than those that hold out
    return Reals(store, np.sort(np.argsort(first, kind="stable")[:count]), spec)


def classes_like(reals: Reals, names: tuple[str, ...], count: int, seed: int) -> NDArray[np.int64] | None:
    """Labels for `count` images to be drawn, with the shares that the classes have among the reals.

    Where these have other classes, or none, all of the model's in turn; None where the model has none.
    """
    if not names:
        return None
    labels = reals.labels(np.arange(len(reals)))
    theirs = {name: i for i, name in enumerate(reals.store.class_names)}
    if labels is None or not set(names) >= {*reals.store.class_names}:
        return np.arange(count) % len(names)
    places = np.random.Generator(np.random.PCG64(derive(seed, "classes"))).integers(len(labels), size=count)
    ours = np.asarray([names.index(name) for name in theirs], np.int64)
    return ours[labels[places]]


def gathered(
    images: Reals | Drawn, extractor: Extractor, progress: Progress = silent, cache: Path | None = None
) -> Gathered:
    """What the scores need of all these images.

    Args:
        progress: of the images.
        cache: where the features of real images are kept; they are taken from there where they are there already.
    """
    path = _kept(images, extractor, cache) if isinstance(images, Reals) and cache and extractor.kept else None
    if path is not None and (found := _read(path, len(images))) is not None:
        caching.mark_used(path)
        return found
    found = gather(_batches(images, progress), extractor)
    if path is not None and cache is not None:
        with contextlib.suppress(OSError, ResourceError):  # a cache that cannot be written costs time only
            data = to_bytes(found.tensors())
            atomic.make_folder(path.parent)
            if (cache / "packs").is_dir():
                caching.make_room(cache / "packs", len(data), path)
            atomic.write_bytes(path, data)
    return found


def _batches(images: Reals | Drawn, progress: Progress) -> Iterator[Images]:
    for start in range(0, len(images), CHUNK):
        yield images.pick(np.arange(start, min(start + CHUNK, len(images))))
        progress(min(start + CHUNK, len(images)), len(images))


def _kept(reals: Reals, extractor: Extractor, cache: Path) -> Path:
    heads = sorted(extractor.classes)
    network = [extractor.name, extractor.digest, extractor.size, extractor.channels]
    told = json.dumps([_VERSION, reals.digest(), *network, heads])
    return cache / caching.FEATURES / f"features-{hashlib.sha256(told.encode()).hexdigest()[:16]}.safetensors"


def _read(path: Path, count: int) -> Gathered | None:
    """Features kept earlier; None where there are none, or they are damaged."""
    try:
        found = Gathered.of(from_bytes(path, path.read_bytes()))
    except (OSError, ModelError, KeyError):
        return None
    return found if len(found) == count else None
