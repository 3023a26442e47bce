"""A trained generator in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from kantor.app.load_model import load_model, refuse_colourist
from kantor.app.sampling.generate import class_numbers
from kantor.app.sampling.walk import walk_inputs
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, nearest
from kantor.sample.generate import generate_images
from kantor.sample.latents import latents
from kantor.sample.walk import Easing
from kantor.types import Images, ImageSpec

Classes = Sequence[str | int] | str | int | None


class HasPath(Protocol):
    """A `Run`."""

    @property
    def path(self) -> Path: ...


@dataclass(frozen=True, repr=False)
class Model:
    """A generator in evaluation mode.

    Attributes:
        network: the module, which `to` moves: (latents [N, D], labels [N] or None) -> float32 [N, C, H, W] in [-1, 1].
        spec: size of its images.
        class_names: of a conditional model, in the order of its labels; else empty.
        images_seen: real images that its critic had been shown.
    """

    network: Any
    spec: ImageSpec
    class_names: tuple[str, ...]
    images_seen: int
    _card: Any

    def __repr__(self) -> str:
        classes = f", {len(self.class_names)} classes" if self.class_names else ""
        return f"<Model: {self.spec}{classes}, {self.images_seen:,} images seen>"

    @cached_property
    def latent_dim(self) -> int:
        return int(self._card.generator.latent_dim)

    def latents(self, seeds: Sequence[int] | int, truncation: float = 1.0) -> NDArray[np.float32]:
        """The latents of `seeds`, float32 [N, D]: the same for ever."""
        return latents(seeds, self.latent_dim, self._card.generator.latent, truncation)

    def generate(
        self,
        seeds: Sequence[int] | int,
        classes: Classes = None,
        truncation: float = 1.0,
    ) -> Images:
        """The images of `seeds`.

        Args:
            seeds: one or many. A seed is the same image, however many are drawn together.
            classes: of a conditional model: names or numbers, one for all or one for each seed; None takes them in
                turn.
            truncation: below 1: more typical, less varied images.
        Returns:
            uint8 [N, H, W, C].
        Raises:
            ConfigError: a seed or class that is none.
        """
        return self.draw(self.latents(seeds, truncation), classes)

    def draw(self, latents: NDArray[np.float32], classes: Classes = None) -> Images:
        """The images of latents of your own.

        Args:
            latents: float [N, D].
            classes: as for `generate`.
        Returns:
            uint8 [N, H, W, C].
        """
        z = np.asarray(latents, np.float32)
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise ConfigError("latents", f"their shape is {list(z.shape)}", f"give [count, {self.latent_dim}]")
        labels = class_numbers(_listed(classes), self._card, len(z))
        return generate_images(self.network, z, labels) if len(z) else np.zeros((0, *self.spec), np.uint8)

    def walk(
        self, seeds: Sequence[int], frames: int = 60, straight: bool = False, loop: bool = False,
        easing: Easing = "linear", truncation: float = 1.0, classes: Classes = None,
    ) -> Images:  # fmt: skip
        """Images on the way from seed to seed, as `kantor walk` draws them.

        Args:
            seeds: two or more.
            frames: images from one seed to the next, the first of them the seed's own.
            straight: in straight lines, not along the sphere near which normal latents lie.
            loop: one more leg leads back to the first seed.
            easing: "smooth" starts and ends slowly at each seed.
            classes: as for `generate`; between two classes their vectors are blended.
        Returns:
            uint8 [F, H, W, C].
        Raises:
            ConfigError: fewer than two seeds, or an argument that is none.
        """
        if np.ndim(seeds) != 1 or len(seeds) < 2:
            raise ConfigError("seeds", "a walk leads from one seed to another", "name two or more")
        if frames < 1:
            raise ConfigError("frames", f"{frames} images from seed to seed", "ask for 1 or more")
        if easing not in get_args(Easing):
            raise ConfigError("easing", f"there is no {easing!r}", nearest(easing, get_args(Easing)))
        z, labels = walk_inputs(self._card, seeds, _listed(classes), frames, straight, loop, easing, truncation)
        return generate_images(self.network, z, labels)


def _listed(classes: Classes) -> list[str | int]:
    if classes is None:
        return []
    return [classes] if np.ndim(classes) == 0 else list(classes)  # type: ignore[list-item, arg-type]


def load(
    model: str | Path | HasPath,
    *,
    raw: bool = False,
    checkpoint: int | None = None,
    runs: str | Path = "runs",
    device: str = "cpu",
) -> Model:
    """A trained generator.

    Args:
        model: a run (as `train` gives it, its directory, number, or "latest"), a checkpoint in it, or a
            generator.safetensors.
        raw: the newest weights instead of their running average.
        checkpoint: an older one of the run, by its number of images.
    Raises:
        ModelError: there is no such model, or it is damaged.
    """
    name = str(getattr(model, "path", model))
    network, card, _ = load_model(name, Path(runs), raw, checkpoint)
    refuse_colourist(name, card)
    return Model(network.to(choose_device(device)), card.spec, card.class_names, card.images_seen, card)
