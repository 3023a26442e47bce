"""A trained generator in Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from kantor.app import units
from kantor.app.asked import asked_of, passed, wishes_of
from kantor.app.class_names import class_numbers
from kantor.app.flags import ModelOptions
from kantor.app.load_model import load_model, require_unconditional
from kantor.app.sampling.compose import require_alpha
from kantor.app.sampling.grounds import read_ground
from kantor.app.sampling.upscale import passes_of
from kantor.app.sampling.walk import walk_inputs
from kantor.engine.device import choose_device
from kantor.errors import ConfigError, nearest
from kantor.export.weights import Card
from kantor.sample.compose import Placed, cleaned, composed, place_sprites, premultiplied
from kantor.sample.generate import generate_images
from kantor.sample.upscale import enlarge
from kantor.sample.walk import Easing
from kantor.types import Images, ImageSpec

Classes = Sequence[str | int] | str | int | None


class HasPath(Protocol):
    """Anything with a path, such as a `Run`."""

    @property
    def path(self) -> Path: ...


@dataclass(frozen=True, repr=False)
class Model:
    """A generator in evaluation mode.

    Attributes:
        network: the module, which `to` moves: (latents [N, D], labels [N] or None) -> float32 [N, C, H, W] in [-1, 1].
            If `network.premultiplied`, colours are scaled by alpha around 0: `kantor.alpha.straight` undoes it.
        spec: size of its images.
        class_names: classes of a conditional model, in the order of its labels; () of any other.
        images_seen: real images shown to its critic in training.
    """

    network: Any
    spec: ImageSpec
    class_names: tuple[str, ...]
    images_seen: int
    _card: Card

    def __repr__(self) -> str:
        classes = f", {len(self.class_names)} classes" if self.class_names else ""
        return f"<Model: {self.spec}{classes}, {self.images_seen:,} images seen>"

    @cached_property
    def latent_dim(self) -> int:
        """Numbers of a latent, of a guided model with the scaled controls behind."""
        return int(self._card.generator.latent_dim) + len(self.controls)

    def latents(self, seeds: Sequence[int] | int, truncation: float = 1.0) -> NDArray[np.float32]:
        """The latents of `seeds`, float32 [N, D]; they never change."""
        return self._card.latents(seeds, truncation)

    @property
    def controls(self) -> dict[str, tuple[float, float]]:
        """What a guided model can be asked for, with the smallest and largest value in training images: {"x": (0.1, 0.9)}.

        "red", "green", "blue" (or "grey") of the subject's colour, "x" and "y" of its centre, its "extent"; {} of any other model.
        """
        return {} if self._card.guide is None else self._card.guide.ranges()

    def generate(
        self,
        seeds: Sequence[int] | int,
        classes: Classes = None,
        truncation: float = 1.0,
        *,
        colour: str | Sequence[int] | None = None,
        place: str | Sequence[float] | None = None,
        extent: float | None = None,
    ) -> Images:
        """Generates the images of `seeds`.

        Args:
            seeds: one or many. A seed always gives the same image, however many are generated together.
            classes: names or numbers for a conditional model, one for all or one for each seed; None gives each seed
                its own class, seed modulo the number of classes.
            truncation: below 1: more typical, less diverse images.
            colour: of the subject, "#cc3311" or (204, 51, 17), of a guided model: see `controls`.
            place: of the subject's centre, x and y from the top left: (0.3, 0.6).
            extent: of the subject; 1 fills the image.
        Returns:
            uint8 [N, H, W, C].
        Raises:
            ConfigError: there is no such seed, class, colour, place or extent.
            ModelError: the model was trained without what is asked for.
        """
        listed = list(seeds) if isinstance(seeds, Iterable) else [seeds]
        z = self._card.latents(listed, truncation, asked_of(self._card, wishes_of(colour, place, extent)))
        return self._images(z, class_numbers(_listed(classes), self._card, listed))

    def from_latents(self, latents: NDArray[np.float32], classes: Classes = None) -> Images:
        """Generates images from latents.

        Args:
            latents: float [N, D].
            classes: as for `generate`; None takes all in turn, as latents have no seeds.
        Returns:
            uint8 [N, H, W, C].
        """
        z = np.asarray(latents, np.float32)
        if z.ndim != 2 or z.shape[1] != self.latent_dim:
            raise ConfigError("latents", f"their shape is {list(z.shape)}", f"give [count, {self.latent_dim}]")
        return self._images(z, class_numbers(_listed(classes), self._card, range(len(z))))

    draw = from_latents  # its name until 0.2

    def _images(self, z: NDArray[np.float32], labels: list[int] | NDArray[np.float32] | None) -> Images:
        require_unconditional("model", self._card)
        return generate_images(self.network, z, labels) if len(z) else np.zeros((0, *self.spec), np.uint8)

    def upscale(self, images: Images | Sequence[Images], times: int | None = None) -> Images | list[Images]:
        """Enlarges pictures, of any size, with a model trained by the preset `upscale`.

        Args:
            images: uint8 [N, H, W, C], or a list of [H, W, C] of any sizes; C is 1 (grey), 3 (RGB) or 4 (RGBA).
            times: 2 or 4; None enlarges as often as the model has learned.
        Returns:
            uint8 [N, times H, times W, C]; a list for a list.
        Raises:
            ModelError: the model generates images from seeds.
            ConfigError: it cannot enlarge `times`, or `images` are not such images.
        """
        passes = passes_of("model", self._card, times, "times")
        if not np.iterable(images):
            raise ConfigError("images", f"are {images!r}", "give uint8 [N, H, W, C], or a list of [H, W, C]")
        for image in images:
            if (
                getattr(image, "dtype", None) != np.uint8
                or image.ndim != 3
                or image.shape[2] not in (1, 3, 4)
                or not image.size
            ):
                kind = f"{getattr(image, 'dtype', type(image).__name__)} {list(np.shape(image))}"
                raise ConfigError("images", f"one of them is {kind}", "give uint8 [H, W, C] with C of 1, 3 or 4")
        larger = [enlarge(self.network, self.spec.channels, image, passes) for image in images]
        if not isinstance(images, np.ndarray):
            return larger
        factor = self.network.times**passes
        height, width, channels = images.shape[1:]
        return np.stack(larger) if larger else np.zeros((0, height * factor, width * factor, channels), np.uint8)

    def walk(
        self, seeds: Sequence[int], frames: int = 60, straight: bool = False, loop: bool = False,
        easing: Easing = "linear", truncation: float = 1.0, classes: Classes = None, *,
        colour: str | Sequence[Any] | None = None, place: str | Sequence[Any] | None = None,
        extent: str | float | Sequence[float] | None = None,
    ) -> Images:  # fmt: skip
        """Generates images on the way from seed to seed, as `kantor walk` does.

        Args:
            seeds: two or more.
            frames: images from one seed to the next, the first of them the seed's own.
            straight: walk in straight lines, not along the sphere near which normal latents lie.
            loop: walk back to the first seed.
            easing: "smooth" slows down at each seed.
            classes: as for `generate`; between two classes their vectors are blended.
            colour, place, extent: as for `generate`, or a list of several to pass: [(0.2, 0.5), (0.8, 0.5)].
        Returns:
            uint8 [F, H, W, C].
        Raises:
            ConfigError: fewer than two seeds, or another argument that cannot be used.
            ModelError: the model was trained without what is asked for.
        """
        if np.ndim(seeds) != 1 or len(seeds) < 2:
            raise ConfigError("seeds", "a walk needs two or more seeds", "name more")
        if frames < 1:
            raise ConfigError("frames", f"{frames} images from seed to seed are too few", "ask for 1 or more")
        if easing not in get_args(Easing):
            raise ConfigError("easing", f"there is no {easing!r}", nearest(easing, get_args(Easing)))
        paths = passed(self._card, colour, place, extent)
        z, labels = walk_inputs(self._card, seeds, _listed(classes), frames, straight, loop, easing, truncation, paths)
        return self._images(z, labels)

    def compose(
        self, background: Images | str | Path, seeds: Sequence[int] | int, *, places: Sequence[tuple[float, float]] = (),
        extent: float | tuple[float, float] = (0.2, 0.35), classes: Classes = None, truncation: float = 1.0,
        haze: float = 0.05,
    ) -> Composition:  # fmt: skip
        """Puts generated images with transparency into a picture, as `kantor compose` does.

        Args:
            background: uint8 [H, W, 1, 3 or 4], or the path of a picture.
            seeds: of the sprites, the last one in front; or of one.
            places: (x, y) in [0, 1] from the top left, of the first sprites' middle; the others have places of their seeds.
            extent: share of the picture's shorter side that sprites take, or the lowest and highest.
            classes: as for `generate`.
            haze: alpha below it becomes transparent, and above 1 - haze opaque.
        Raises:
            ModelError: the model's images have no transparency.
            ConfigError: an argument cannot be used. DataError: the background is no picture.
        """
        require_alpha(self._card, self)
        sprite_seeds = list(seeds) if isinstance(seeds, Iterable) else [seeds]
        listed = units.places(places, "places")
        if len(listed) > len(sprite_seeds):
            sprites_named = f"{len(sprite_seeds)} sprite{'s' if len(sprite_seeds) != 1 else ''}"
            raise ConfigError("places", f"{len(listed)} places for {sprites_named}", "name fewer")
        haze = units.number(haze, "haze", False, 0, 0.45)
        ground = read_ground(Path(background)) if isinstance(background, str | Path) else np.asarray(background)
        if ground.dtype != np.uint8 or ground.ndim != 3 or ground.shape[2] not in (1, 3, 4):
            what = f"is {ground.dtype} of shape {list(ground.shape)}"
            raise ConfigError("background", what, "give uint8 [height, width, 1, 3 or 4]")
        images = self.generate(sprite_seeds, classes, truncation)
        sprites = [cleaned(premultiplied(image), haze) for image in images]
        size = ground.shape[0], ground.shape[1]
        placed = place_sprites(
            sprites, [int(seed) for seed in sprite_seeds], size, units.extents(extent, "extent"), listed
        )
        return Composition(composed(ground, sprites, placed), placed)


class Composition(NamedTuple):
    """A picture with sprites in it.

    Attributes:
        image: uint8 [H, W, 3], or [H, W, 4] if the background has alpha.
        placed: where each sprite stands, in pixels.
    """

    image: Images
    placed: list[Placed]


def _listed(classes: Classes) -> list[str | int]:
    if classes is None:
        return []
    return [classes] if np.ndim(classes) == 0 else list(classes)  # type: ignore[list-item, arg-type]


def load(
    model: str | Path | HasPath,
    *,
    raw: bool = False,
    newest: bool = False,
    best: bool = False,
    checkpoint: int | None = None,
    runs: str | Path = "runs",
    device: str = "cpu",
) -> Model:
    """Loads a trained generator: its EMA, in eval mode.

    Args:
        model: a run (as `train` returns it, its directory, number, or "latest"), a checkpoint in it, or a
            generator.safetensors.
        raw: use the raw weights of the same moment instead of their EMA.
        newest: use the newest checkpoint of the run.
        best: use the checkpoint with the best score.
        checkpoint: use an older checkpoint of the run, by its number of images. Without any of these three it is the best
            by score, or the newest while no score chooses.
    Raises:
        ConfigError: more than one moment of the run is named.
        ModelError: there is no such model, or it is damaged.
    """
    name = str(getattr(model, "path", model))
    moment = ModelOptions(newest=newest, best=best, checkpoint=checkpoint).moment
    network, card, _ = load_model(name, Path(runs), raw, moment)
    if card.generator.kind != "upscale":
        require_unconditional(name, card)
    network = network.to(choose_device(device))
    return Model(network, card.spec, card.class_names, card.images_seen, card)
