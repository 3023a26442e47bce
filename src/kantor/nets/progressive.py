"""Progressive growing of stacked networks: which layers are new, how they fade in, and whose weights the others inherit.

Layers marked `grown` are those that the smaller network lacks. As in Karras et al. 2018 (section 2 and figure 2), the
output of the smaller network is mixed with that of the larger one by a fraction `fade` that rises from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kantor.config.networks import DownLayer, StackCritic, StackGenerator, UpLayer
from kantor.errors import ConfigError


@dataclass(frozen=True)
class Growth:
    """Where the smaller and the larger network are mixed.

    Attributes:
        mixed: grown layers whose output is mixed with their input.
        split: in a generator, the first grown layer that enlarges, whose input the smaller network's last layer also
            turns into an image; in a critic, the first layer after the grown ones at the front, where the output of the
            smaller network's first layer joins. None if there is none.
        names: prefix of a tensor's name here -> in the smaller network; other tensors are new.
        total: number of layers.
    """

    mixed: frozenset[int]
    split: int | None
    names: dict[str, str]
    total: int

    @property
    def layers(self) -> int:
        """Number of layers of the smaller network; 0 if no layer is grown."""
        if not self.mixed and self.split is None:
            return 0
        return len({name for name in self.names.values() if name.startswith("layers.")})


def growth_of(config: StackGenerator | StackCritic) -> Growth:
    """The growth that the layers are marked for. `check_generator` and `check_critic` validate it."""
    layers: Sequence[UpLayer | DownLayer] = config.layers
    grown = [number for number, layer in enumerate(layers) if layer.grown]
    inherited = [number for number, layer in enumerate(layers) if not layer.grown]
    if isinstance(config, StackGenerator):
        split = next((n for n in grown if _enlarges(config.layers[n])), None)
        mixed = frozenset(n for n in grown if split is None or n < split)
        names = {"latent": "latent", "base": "base", **{f"layers.{n}": f"layers.{i}" for i, n in enumerate(inherited)}}
        if split is not None and inherited:
            names["old_picture"] = f"layers.{len(inherited) - 1}"
        return Growth(mixed, split, names, len(layers))
    front = inherited[0] if inherited else len(layers)
    halving = next((n for n in range(front) if config.layers[n].stride > 1), None)
    split = halving + 1 if halving is not None else front or None
    names = {"score": "score", "projection": "projection"}
    names |= {f"layers.{n}": f"layers.{i + bool(split)}" for i, n in enumerate(inherited)}
    if split:
        names["old_first"] = "layers.0"
    return Growth(frozenset(n for n in grown if n >= (split or 0)), split, names, len(layers))


def _enlarges(layer: UpLayer) -> bool:
    return layer.upsample or layer.stride > 1


def check_generator(config: StackGenerator, growth: Growth, sizes: list[tuple[int, int]]) -> None:
    """Raises ConfigError if the layers cannot be faded in.

    Args:
        sizes: input size of each layer, and the size of the image.
    """
    layers, last, do = config.layers, len(config.layers) - 1, "change `grown`, or set generator.fade_images = 0"
    if layers[last].grown or _enlarges(layers[last]) or layers[last].crop:
        raise ConfigError(
            f"generator.layers.{last}", "the last layer cannot be faded in if it is grown, enlarges or crops", do
        )
    for number in growth.mixed:
        inputs = layers[number - 1].width if number else config.base[2]
        if layers[number].width != inputs or layers[number].crop:
            what = f"is grown and changes the width from {inputs} to {layers[number].width}, or crops"
            raise ConfigError(f"generator.layers.{number}", what, do)
    split = growth.split
    if split is None:
        return
    old = next((n for n in range(split, last) if not layers[n].grown), None)
    if old is not None:
        raise ConfigError(f"generator.layers.{old}", "is not grown, but follows a grown layer that enlarges", do)
    (height, width), small = sizes[-1], sizes[split]
    if height % small[0] or width % small[1] or height // small[0] != width // small[1]:
        what = f"{small[0]}x{small[1]} cannot be enlarged to {height}x{width} by a whole factor"
        raise ConfigError(f"generator.layers.{split}", what, do)


def check_critic(config: StackCritic, growth: Growth, size: tuple[int, int]) -> None:
    """Raises ConfigError if the layers cannot be faded in. size: of the image."""
    layers, do = config.layers, "change `grown`, or set critic.fade_images = 0"
    if growth.split:
        where = f"critic.layers.{growth.split - 1}"
        strides = [layer.stride for layer in layers[: growth.split]]
        if max(strides) != 2:
            raise ConfigError(where, "the grown layers at the front must halve the image, with one stride of 2", do)
        if size[0] % 2 or size[1] % 2:
            raise ConfigError(where, f"an image of {size[0]}x{size[1]} cannot be halved", do)
    for number in growth.mixed:
        layer, inputs = layers[number], layers[number - 1].width
        if layer.stride > 1 or layer.width != inputs:
            what = f"is grown and strides, or changes the width from {inputs} to {layer.width}"
            raise ConfigError(f"critic.layers.{number}", what, do)


class Fading(nn.Module):
    """A stacked network whose grown layers may fade in.

    Attributes:
        fade: fraction of the new layers, a buffer; absent if nothing fades in.
        split, mixed: as in `growth` if layers fade in, else None and empty.
    """

    fade: Tensor

    def __init__(self, config: StackGenerator | StackCritic) -> None:
        super().__init__()
        self.growth, self.fade_images = growth_of(config), config.fade_images
        self.split, self.mixed = self.growth.split, self.growth.mixed
        if not self.fade_images or not any(layer.grown for layer in config.layers):
            self.fade_images, self.split, self.mixed = 0, None, frozenset()
        if self.fade_images:
            self.register_buffer("fade", torch.tensor(0.0))

    def fade_in(self, images_seen: int) -> None:
        """Sets the fraction of the new layers, which rises linearly to 1 over `fade_images` real images."""
        if self.fade_images:
            self.fade.fill_(min(1.0, images_seen / self.fade_images))

    def _mix(self, old: Tensor, new: Tensor) -> Tensor:
        """(1 - fade) old + fade new: exactly one of them at 0 and at 1."""
        return (1 - self.fade) * old + self.fade * new
