"""How a stacked network grows out of a smaller one: which layers are new, how they are faded in, who inherits from whom.

Layers marked `grown` are those that the smaller network lacks. As in progressive growing (Karras et al. 2018, section 2
and figure 2), what the smaller network would do is mixed with what the larger one does, by a share `fade` that
rises from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kantor.config.schema import DownLayer, StackCritic, StackGenerator, UpLayer
from kantor.errors import ConfigError


@dataclass(frozen=True)
class Growth:
    """Where old and new are mixed.

    Attributes:
        beside: grown layers that are mixed with their own input.
        split: of a generator, the first grown layer that enlarges: its input is made into an image by the smaller
            network's last layer too; of a critic, the first layer behind those of the front that are grown, where the
            smaller network's first layer joins. None where there is none.
        kept: layers that are not grown.
        total: all layers.
        names: prefix of a tensor's name here -> in the smaller network; what is not named is new.
    """

    beside: frozenset[int]
    split: int | None
    kept: tuple[int, ...]
    total: int
    names: dict[str, str]

    @property
    def layers(self) -> int:
        """Layers of the smaller network; 0 where nothing is grown."""
        if len(self.kept) == self.total:
            return 0
        return len({name for name in self.names.values() if name.startswith("layers.")})


def growth_of(config: StackGenerator | StackCritic) -> Growth:
    """What the layers' marks mean. Nothing is refused here: see `check_generator` and `check_critic`."""
    layers: Sequence[UpLayer | DownLayer] = config.layers
    grown = [number for number, layer in enumerate(layers) if layer.grown]
    kept = tuple(number for number, layer in enumerate(layers) if not layer.grown)
    if isinstance(config, StackGenerator):
        split = next((n for n in grown if _enlarges(config.layers[n])), None)
        beside = frozenset(n for n in grown if split is None or n < split)
        names = {"latent": "latent", "base": "base", **{f"layers.{n}": f"layers.{i}" for i, n in enumerate(kept)}}
        if split is not None and kept:
            names["old_picture"] = f"layers.{len(kept) - 1}"
        return Growth(beside, split, kept, len(layers), names)
    front = kept[0] if kept else len(layers)
    halving = next((n for n in range(front) if config.layers[n].stride > 1), None)
    split = halving + 1 if halving is not None else front or None
    names = {"score": "score", "projection": "projection"}
    names |= {f"layers.{n}": f"layers.{i + bool(split)}" for i, n in enumerate(kept)}
    if split:
        names["old_first"] = "layers.0"
    return Growth(frozenset(n for n in grown if n >= (split or 0)), split, kept, len(layers), names)


def _enlarges(layer: UpLayer) -> bool:
    return layer.upsample or layer.stride > 1


def check_generator(config: StackGenerator, growth: Growth, sizes: list[tuple[int, int]]) -> None:
    """Refuses layers that cannot be faded in.

    Args:
        sizes: of what reaches each layer, and of the image.
    """
    layers, last, do = config.layers, len(config.layers) - 1, "change `grown`, or set generator.fade_images = 0"
    if layers[last].grown or _enlarges(layers[last]) or layers[last].crop:
        raise ConfigError(
            f"generator.layers.{last}", "a last layer that is grown, enlarges or crops cannot be faded in", do
        )
    for number in growth.beside:
        inputs = layers[number - 1].width if number else config.base[2]
        if layers[number].width != inputs or layers[number].crop:
            what = f"is grown and changes the width from {inputs} to {layers[number].width}, or crops"
            raise ConfigError(f"generator.layers.{number}", what, do)
    split = growth.split
    if split is None:
        return
    old = next((n for n in range(split, last) if not layers[n].grown), None)
    if old is not None:
        raise ConfigError(f"generator.layers.{old}", "is not grown, behind a grown layer that enlarges", do)
    (height, width), small = sizes[-1], sizes[split]
    if height % small[0] or width % small[1] or height // small[0] != width // small[1]:
        what = f"{small[0]}x{small[1]} cannot be enlarged to {height}x{width} by whole pixels"
        raise ConfigError(f"generator.layers.{split}", what, do)


def check_critic(config: StackCritic, growth: Growth, size: tuple[int, int]) -> None:
    """Refuses layers that cannot be faded in. size: of the image."""
    layers, do = config.layers, "change `grown`, or set critic.fade_images = 0"
    if growth.split:
        where = f"critic.layers.{growth.split - 1}"
        strides = [layer.stride for layer in layers[: growth.split]]
        if max(strides) != 2:
            raise ConfigError(where, "the grown layers in front must halve the image: one stride of 2", do)
        if size[0] % 2 or size[1] % 2:
            raise ConfigError(where, f"{size[0]}x{size[1]} cannot be halved", do)
    for number in growth.beside:
        layer, inputs = layers[number], layers[number - 1].width
        if layer.stride > 1 or layer.width != inputs:
            what = f"is grown and strides, or changes the width from {inputs} to {layer.width}"
            raise ConfigError(f"critic.layers.{number}", what, do)


def old_image(config: StackGenerator, growth: Growth) -> tuple[UpLayer, int]:
    """The smaller network's last layer, and its input channels."""
    split = growth.split or 0
    return UpLayer(kernel=config.layers[-1].kernel), config.layers[split - 1].width if split else config.base[2]


def old_first(config: StackCritic, growth: Growth) -> DownLayer:
    """The smaller network's first layer: it has the kernel of this one's first and the width of where it joins."""
    return DownLayer(kernel=config.layers[0].kernel, width=config.layers[(growth.split or 1) - 1].width)


class Fading(nn.Module):
    """A network with a buffer `fade`, the share of what is new, where something is faded in at all.

    The buffer begins at 0: nothing has been seen yet.
    """

    fade: Tensor

    def __init__(self, growth: Growth, fade_images: int) -> None:
        super().__init__()
        self.growth, self.fade_images = growth, fade_images
        if fade_images:
            self.register_buffer("fade", torch.tensor(0.0))

    def fade_in(self, images_seen: int) -> None:
        """Sets the share of what is new, for so many real images seen: it rises evenly to 1."""
        if self.fade_images:
            self.fade.fill_(min(1.0, images_seen / self.fade_images))

    def smaller_names(self) -> dict[str, str]:
        """Prefixes of tensors' names here -> in the network that this one can grow from."""
        return self.growth.names

    def _mixed(self, old: Tensor, new: Tensor) -> Tensor:
        """(1 - fade) old + fade new: at 0 and at 1 exactly one of them."""
        return (1 - self.fade) * old + self.fade * new
