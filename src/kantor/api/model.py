"""A trained generator in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kantor.app.generate import class_number, load_model
from kantor.engine.device import choose_device
from kantor.errors import ConfigError
from kantor.sample.draw import draw
from kantor.sample.latents import latents
from kantor.sample.walk import Easing, walk
from kantor.types import ImageSpec

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Model:
    """A generator in evaluation mode.

    Attributes:
        network: the module: (latents [N, D], labels [N] or None) -> float32 [N, C, H, W] in [-1, 1].
        spec: size of its pictures.
        class_names: of a conditional model, in the order of its labels; else empty.
        images_seen: real pictures that its critic had been shown.
    """

    network: Any
    spec: ImageSpec
    class_names: tuple[str, ...]
    images_seen: int
    _card: Any

    @cached_property
    def latent_dim(self) -> int:
        return int(self._card.generator.latent_dim)

    def latents(self, seeds: Sequence[int] | int, truncation: float = 1.0) -> NDArray[np.float32]:
        """The latents of `seeds`, float32 [N, D]: the same for ever."""
        return latents(seeds, self.latent_dim, self._card.generator.latent, truncation)

    def generate(
        self,
        seeds: Sequence[int] | int,
        classes: Sequence[str | int] | str | int | None = None,
        truncation: float = 1.0,
    ) -> Pictures:
        """The pictures of `seeds`.

        Args:
            seeds: one or many. A seed is the same picture, however many are drawn together.
            classes: of a conditional model: names or numbers, one for all or one for each seed; None takes them in
                turn.
            truncation: below 1: more typical, less varied pictures.
        Returns:
            uint8 [N, H, W, C].
        Raises:
            ConfigError: a seed or class that is none.
        """
        z = self.latents(seeds, truncation)
        return draw(self.network, z, self._labels(classes, len(z)))

    def walk(
        self, seeds: Sequence[int], frames: int = 60, straight: bool = False, loop: bool = False,
        easing: Easing = "linear", truncation: float = 1.0, classes: str | int | None = None,
    ) -> Pictures:  # fmt: skip
        """Pictures on the way from seed to seed, as `kantor walk` draws them: uint8 [F, H, W, C].

        Args:
            frames: pictures from one seed to the next.
            classes: of all pictures; None takes the first class.
        """
        if len(seeds) < 2:
            raise ConfigError("seeds", "a walk leads from one seed to another", "name two or more")
        straight = straight or self._card.generator.latent == "uniform"
        z = walk(self.latents(seeds, truncation), frames, straight, loop, easing)
        return draw(self.network, z, self._labels(0 if classes is None else classes, len(z)))

    def _labels(self, classes: Sequence[str | int] | str | int | None, count: int) -> list[int] | None:
        if not self.class_names:
            if classes not in (None, 0):
                class_number(str(classes), self._card)
            return None
        if classes is None:
            return [i % len(self.class_names) for i in range(count)]
        given = [classes] * count if isinstance(classes, str | int) else list(classes)
        if len(given) != count:
            raise ConfigError("classes", f"{len(given)} classes for {count} seeds", "give one for all, or one a seed")
        return [self._number(one) for one in given]

    def _number(self, one: str | int) -> int:
        """A text is a name first, as on the command line; a number is always the label itself."""
        if isinstance(one, str):
            return class_number(one, self._card)
        if not 0 <= one < len(self.class_names):
            last = len(self.class_names) - 1
            raise ConfigError("classes", f"there is no class {one}", f"choose names, or numbers from 0 to {last}")
        return one


def load(
    model: str | Path,
    *,
    raw: bool = False,
    checkpoint: int | None = None,
    runs: str | Path = "runs",
    device: str = "cpu",
) -> Model:
    """A trained generator.

    Args:
        model: a run (directory, number, "latest"), a checkpoint in it, or a generator.safetensors.
        raw: the newest weights instead of their running average.
        checkpoint: an older one of the run, by its number of pictures.
    Raises:
        ModelError: there is no such model, or it is damaged.
    """
    network, card, _ = load_model(str(model), Path(runs), raw, checkpoint)
    return Model(network.to(choose_device(device)), card.spec, card.class_names, card.images_seen, card)
