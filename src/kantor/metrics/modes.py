"""Which modes of a set the drawn images show, where the modes are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kantor.metrics.extract import Gathered
from kantor.metrics.features import Activations, Extractor
from kantor.metrics.memorisation import nearest

NEIGHBOURS = 5
CHANNEL = "digit of channel {}"


@dataclass(frozen=True)
class Modes:
    """The modes of a set, and how an image's is told.

    Attributes:
        kind: what they are: "letter x hue".
        names: of each mode.
        expected: float64 [K], the share of each in the set.
        find: the mode of each image: int64 [N]; `own`: the images are the first rows of the reals themselves.
    """

    kind: str
    names: tuple[str, ...]
    expected: NDArray[np.float64]
    find: Callable[[Gathered, bool], NDArray[np.int64]]


def by_classifiers(extractor: Extractor, heads: Sequence[str], kind: str) -> Modes:
    """All combinations of the classes of some classifiers, each as likely as the others."""
    parts = [extractor.classes[head] for head in heads]
    names = tuple(" ".join(combination) for combination in itertools.product(*parts))

    def find(images: Gathered, own: bool = False) -> NDArray[np.int64]:
        found = np.zeros(len(images), np.int64)
        for head, classes in zip(heads, parts, strict=True):
            found = found * len(classes) + images.logits[head].argmax(1).numpy()
        return found

    return Modes(kind, names, np.full(len(names), 1 / len(names)), find)


def by_neighbours(
    reals: Gathered, labels: NDArray[np.int64], names: Sequence[str], expected: NDArray[np.float64]
) -> Modes:
    """The labels of a set: an image's is what most of its 5 nearest real images have, in features.

    Args:
        labels: int64 [m], of the rows of `reals`.
        expected: float64 [K], the share of each label in the whole set, all above 0.
    """

    def find(images: Gathered, own: bool = False) -> NDArray[np.int64]:
        _, rows = nearest(images.features, reals.features, NEIGHBOURS, own=own)
        votes = np.zeros((len(images), len(names)))
        for rank, column in enumerate(rows.T):
            there = np.flatnonzero(column >= 0)
            votes[there, labels[column[there]]] += 1 - 1e-3 * rank  # the nearest decides where votes are equal
        winners: NDArray[np.int64] = votes.argmax(1)
        return winners

    return Modes("class", tuple(names), expected, find)


def channel_heads(channels: int) -> tuple[str, ...]:
    """Names of the classifiers that `reading_channels` adds."""
    return tuple(CHANNEL.format(i) for i in range(channels))


def reading_channels(extractor: Extractor, head: str, channels: int) -> Extractor:
    """The extractor, with one classifier more for each channel: what `head` makes of that channel alone, as grey."""
    heads = channel_heads(channels)

    def network(x: Tensor) -> Activations:
        found = extractor.network(x)
        seen: dict[str, Any] = {
            name: extractor.network(x[:, i : i + 1].expand(-1, 3, -1, -1)).logits[head] for i, name in enumerate(heads)
        }
        return Activations(found.features, {**found.logits, **seen})

    return replace(
        extractor, network=network, classes={**extractor.classes, **dict.fromkeys(heads, extractor.classes[head])}
    )
