"""Layouts of a model: how many sprites stand in a picture, where, and how large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from kantor.app.class_names import class_numbers
from kantor.app.load_model import Note, load_generator
from kantor.app.sampling.options import ComposeOptions
from kantor.data.decoding.edges import require_edges
from kantor.errors import ModelError
from kantor.export.weights import Card
from kantor.sample.compose import Floats, Placed
from kantor.sample.generate import generate_images
from kantor.sample.layout import SMALLEST, Place, find_places, sprite_seeds, stand
from kantor.types import Images


@dataclass(frozen=True)
class Layout:
    """What one generated layout says; places from back to front."""

    seed: int
    image: Images
    places: list[Place]

    @property
    def sprite_seeds(self) -> list[int]:
        """Of the sprite at each place."""
        return sprite_seeds(self.seed, len(self.places))

    def stand(self, sprites: Sequence[Floats], size: tuple[int, int]) -> list[Placed]:
        """Each sprite at its place in a picture of (height, width)."""
        return [stand(sprite, place, size) for sprite, place in zip(sprites, self.places, strict=True)]


def require_layouts(model: object, card: Card) -> None:
    """Raises ModelError if the images of a model are no layouts, ResourceError without scikit-image."""
    if card.spec.channels != 1:
        what = f"generates {card.spec} images, but layouts are grey"
        raise ModelError(model, what, "name one that was trained with --objects layout")
    require_edges("layouts", "they")


def make_layouts(
    network: nn.Module, card: Card, seeds: Sequence[int], truncation: float, smallest: float = SMALLEST
) -> list[Layout]:
    """The layout of each seed. smallest: share of the image's area that an object covers at least."""
    images = generate_images(network, card.latents(seeds, truncation), class_numbers((), card, seeds))
    both = zip(seeds, images, strict=True)
    return [Layout(seed, image, find_places(image, smallest)) for seed, image in both]


def find_layouts(options: ComposeOptions, pictures: int, note: Note) -> list[Layout] | None:
    """A layout for each picture, from the first seed on; None without --layout. note: called for each that is empty."""
    if options.layout is None:
        return None
    network, card, _ = load_generator(options.layout, options.runs, device=options.device)
    require_layouts(options.layout, card)
    first = (options.seeds or (0,))[0]
    layouts = make_layouts(network, card, range(first, first + pictures), options.truncation)
    for layout in layouts:
        if not layout.places:
            note(f"the layout of seed {layout.seed} is empty: no sprite stands in its picture")
    return layouts
