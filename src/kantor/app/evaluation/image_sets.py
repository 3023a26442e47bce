"""Images that are compared: real ones of a packed dataset, and those that a generator makes."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from kantor import atomic
from kantor.app.dataset import cache as caching
from kantor.app.images import at_size
from kantor.controls import guide_of
from kantor.data.loading.image_set import ImageSet
from kantor.errors import ModelError, ResourceError
from kantor.metrics.features import BATCH, Extractor, ImageFeatures, extract
from kantor.progress import Progress, silent
from kantor.random import derive
from kantor.runs.checkpoint import from_bytes, to_bytes
from kantor.sample.generate import generate_images
from kantor.sample.guided import guided_latents
from kantor.types import Images, ImageSpec

SEED_BLOCK = 1_000_000
"""Latent seeds reserved for each --seed, so that --seed 1 generates other images than --seed 0."""
FIRST_TRAINING_SEED = 1 << 62
"""First latent seed of scores during training. `kantor evaluate` never uses these: the best checkpoint was chosen by them."""
MAX_KEPT_BYTES = 256 << 20
"""Generated images in memory: metrics look at them several times."""
_VERSION = 3  # of cached features


@dataclass(frozen=True)
class RealImages:
    """Some rows of a packed dataset, as images of the size that a generator makes.

    Attributes:
        rows: int64 [n], of the dataset.
    """

    store: ImageSet
    rows: NDArray[np.int64]
    spec: ImageSpec

    def __len__(self) -> int:
        return len(self.rows)

    def images(self, indices: NDArray[np.int64]) -> Images:
        """uint8 [n, H, W, C]; indices count these images, not rows of the dataset."""
        return at_size(self.store.images(self.rows[indices]), self.spec)

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return self.store.labels(self.rows[indices])

    def conditions(self, indices: NDArray[np.int64]) -> Images | None:
        conditions = self.store.conditions(self.rows[indices])
        return None if conditions is None else at_size(conditions, self.spec)

    def digest(self) -> str:
        """SHA-256 of the dataset, the rows (in any order) and the size."""
        rows = hashlib.sha256(np.sort(self.rows).tobytes()).hexdigest()
        return hashlib.sha256(f"{self.store.fingerprint}/{rows}/{list(self.spec)}".encode()).hexdigest()


class KeptImages:
    """Images by index, those made first, as many as `MAX_KEPT_BYTES` have room for."""

    def __init__(self) -> None:
        self._images: dict[int, Images] = {}

    def images(self, indices: NDArray[np.int64], make: Callable[[NDArray[np.int64]], Images]) -> Images:
        """uint8 [n, H, W, C]; `make` makes those that are not kept."""
        wanted = indices.tolist()
        new = [i for i in dict.fromkeys(wanted) if i not in self._images]
        made = dict(zip(new, make(np.asarray(new, np.int64)), strict=True)) if new else {}
        result = np.stack([made[i] if i in made else self._images[i] for i in wanted])
        if (len(self._images) + len(made)) * result[0].nbytes <= MAX_KEPT_BYTES:
            self._images.update(made)
        return result


@dataclass(frozen=True)
class GeneratedImages:
    """Images of a generator, made when they are read.

    Attributes:
        network: in evaluation mode, on its device.
        config: of the generator: latent_dim and latent.
        classes: the label of each image; None for a model without classes.
        conditions: image i is made from condition i modulo their number.
    """

    network: nn.Module
    config: Any
    count: int
    first_seed: int = 0
    classes: NDArray[np.int64] | None = None
    truncation: float = 1.0
    conditions: RealImages | None = None
    _kept: KeptImages = field(default_factory=lambda: KeptImages(), repr=False, compare=False)

    def __len__(self) -> int:
        return self.count

    def images(self, indices: NDArray[np.int64]) -> Images:
        """uint8 [n, H, W, C]: the images of seeds `first_seed` + indices. Most are generated once, and kept."""
        return self._kept.images(indices, self._generate)

    def _generate(self, indices: NDArray[np.int64]) -> Images:
        seeds = [self.first_seed + int(i) for i in indices]
        z = guided_latents(seeds, self.config, guide_of(self.network), self.truncation)
        labels = None if self.classes is None else self.classes[indices].tolist()
        conditions = None if self.conditions is None else self.conditions.conditions(indices % len(self.conditions))
        return generate_images(self.network, z, labels, conditions)

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return None if self.classes is None else self.classes[indices]


ImagesT = TypeVar("ImagesT", RealImages, GeneratedImages, RealImages | GeneratedImages)


def choose_images(store: ImageSet, count: int, spec: ImageSpec) -> RealImages:
    """At most `count` images of a dataset, chosen by the digests of their sources: the same whatever their order."""
    if count >= store.count:
        return RealImages(store, np.arange(store.count), spec)
    rank = np.ascontiguousarray(store.digests()[:, 8:16]).view(">u8")[:, 0]  # not the bytes that `split` holds out by
    return RealImages(store, np.sort(np.argsort(rank, kind="stable")[:count]), spec)


def first_images(images: ImagesT, count: int) -> ImagesT:
    """At most `count` of them: the same ones in every evaluation."""
    if count >= len(images):
        return images
    if isinstance(images, RealImages):
        return choose_images(images.store, count, images.spec)
    return replace(images, count=count, classes=None if images.classes is None else images.classes[:count])


def sample_labels(
    real: RealImages, class_names: Sequence[str], count: int, seed: int, classes: Sequence[str] = ()
) -> NDArray[np.int64] | None:
    """Labels of a conditional model for `count` images, sampled with the class frequencies of the real images.

    Takes all classes in turn, or `classes` alone, if the real images have no classes of the model. Returns None for a
    model without classes.
    """
    if not class_names:
        return None
    real_labels = real.labels(np.arange(len(real)))
    if real_labels is None or not has_classes_of(real, class_names):
        numbers = np.asarray([class_names.index(name) for name in classes or class_names], np.int64)
        return numbers[np.arange(count) % len(numbers)]
    indices = np.random.Generator(np.random.PCG64(derive(seed, "classes"))).integers(len(real_labels), size=count)
    label_of_model = np.asarray([class_names.index(name) for name in real.store.class_names], np.int64)
    return label_of_model[real_labels[indices]]


def has_classes_of(real: RealImages, class_names: Sequence[str]) -> bool:
    """Whether all classes of the real images are classes of the model."""
    return bool(real.store.class_names) and {*class_names} >= {*real.store.class_names}


def extract_features(
    images: RealImages | GeneratedImages, extractor: Extractor, progress: Progress = silent, cache: Path | None = None
) -> ImageFeatures:
    """Features of all these images; those of real images are read from `cache` and written to it."""
    if not isinstance(images, RealImages) or not extractor.cacheable or cache is None:
        return extract(_batches(images, progress), extractor)
    network = [extractor.name, extractor.digest, extractor.size, extractor.channels]
    key = json.dumps([_VERSION, images.digest(), *network, sorted(extractor.classes)])
    path = cache / caching.FEATURES / f"features-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    with contextlib.suppress(OSError, ModelError, KeyError):  # missing or damaged
        cached = ImageFeatures.from_tensors(from_bytes(path, path.read_bytes()))
        if len(cached) == len(images):
            caching.mark_used(path)
            return cached
    features = extract(_batches(images, progress), extractor)
    with contextlib.suppress(OSError, ResourceError):  # a cache that cannot be written costs time only
        data = to_bytes(features.tensors())
        atomic.make_folder(path.parent)
        if (cache / "packs").is_dir():
            caching.make_room(cache / "packs", len(data), path)
        atomic.write_bytes(path, data)
    return features


class RealScores(dict[str, Any]):
    """What real images score, by name: read from the cache, and written to it by `keep`.

    Args:
        origin: all that decides about them.
    """

    def __init__(self, origin: Sequence[Any], cache: Path) -> None:
        super().__init__()
        key = hashlib.sha256(json.dumps([_VERSION, *origin]).encode()).hexdigest()[:16]
        self._path = cache / caching.FEATURES / f"features-{key}.json"
        with contextlib.suppress(OSError, ValueError, TypeError):  # missing or damaged
            self.update(json.loads(self._path.read_bytes()))
        self._known = set(self)

    def keep(self) -> None:
        """Writes what has been added."""
        if self.keys() == self._known:
            return
        with contextlib.suppress(OSError, ResourceError):  # a cache that cannot be written costs time only
            atomic.make_folder(self._path.parent)
            atomic.write_text(self._path, json.dumps(self))
        self._known = set(self)


def _batches(images: RealImages | GeneratedImages, progress: Progress) -> Iterator[Images]:
    for start in range(0, len(images), BATCH):
        yield images.images(np.arange(start, min(start + BATCH, len(images))))
        progress(min(start + BATCH, len(images)), len(images))
