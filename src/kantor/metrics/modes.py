"""Which mode of a dataset an image shows, if the modes are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kantor.metrics.features import Activations, Extractor, ImageFeatures
from kantor.metrics.memorisation import nearest_rows

NEIGHBOURS = 5
CHANNEL_HEADS = tuple(f"digit of channel {i}" for i in range(3))
"""Names of the classifiers that `with_channel_classifiers` adds."""


@dataclass(frozen=True)
class Modes:
    """The modes of a dataset, and how to find that of an image.

    Attributes:
        kind: what they are: "letter x hue".
        expected: float64 [K], the fraction of each in the dataset.
        find: find(images, is_real) gives the mode of each image, int64 [N]; with is_real, the images are the first
            rows of the real images themselves.
    """

    kind: str
    names: tuple[str, ...]
    expected: NDArray[np.float64]
    find: Callable[[ImageFeatures, bool], NDArray[np.int64]]


def modes_by_classifiers(extractor: Extractor, heads: Sequence[str], kind: str) -> Modes:
    """All combinations of the classes of some classifiers, equally likely."""
    class_names = [extractor.classes[head] for head in heads]
    names = tuple(" ".join(combination) for combination in itertools.product(*class_names))

    def find(images: ImageFeatures, is_real: bool = False) -> NDArray[np.int64]:
        modes = np.zeros(len(images), np.int64)
        for head, classes in zip(heads, class_names, strict=True):
            modes = modes * len(classes) + images.logits[head].argmax(1).numpy()
        return modes

    return Modes(kind, names, np.full(len(names), 1 / len(names)), find)


def modes_by_neighbours(
    real: ImageFeatures, labels: NDArray[np.int64], names: Sequence[str], expected: NDArray[np.float64]
) -> Modes:
    """The labels of a dataset: an image has the label of most of its 5 nearest real images, in features.

    Args:
        labels: int64 [m], of the rows of `real`.
        expected: float64 [K], the fraction of each label in the whole dataset, all above 0.
    """

    def find(images: ImageFeatures, is_real: bool = False) -> NDArray[np.int64]:
        _, rows = nearest_rows(images.features, real.features, NEIGHBOURS, skip_self=is_real)
        votes = np.zeros((len(images), len(names)))
        for rank, column in enumerate(rows.T):
            has_neighbour = np.flatnonzero(column >= 0)
            votes[has_neighbour, labels[column[has_neighbour]]] += 1 - 1e-3 * rank  # the nearest breaks ties
        winners: NDArray[np.int64] = votes.argmax(1)
        return winners

    return Modes("class", tuple(names), expected, find)


def with_channel_classifiers(extractor: Extractor) -> Extractor:
    """The extractor with one more classifier per colour channel: the digit that this channel alone shows, as grey."""

    def network(x: Tensor) -> Activations:
        whole = extractor.network(x)
        per_channel = {
            head: extractor.network(x[:, i : i + 1].expand(-1, 3, -1, -1)).logits["digit"]
            for i, head in enumerate(CHANNEL_HEADS)
        }
        return Activations(whole.features, {**whole.logits, **per_channel})

    classes = {**extractor.classes, **dict.fromkeys(CHANNEL_HEADS, extractor.classes["digit"])}
    return replace(extractor, network=network, classes=classes)
