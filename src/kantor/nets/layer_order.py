"""In which order the tensors of a network come, so that those of a network for other sizes or classes find their counterparts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class LayerOrder:
    """What names of tensors do not say.

    Attributes:
        from_latent: lists of layers counted from the latent. They are compared from the image's end: there, layers of networks for
            other sizes see the same sizes of details. All other lists are counted from the image.
        latent_axis: weights of layers that take the latent -> the axis of their inputs, where the latent comes before the class.
        first: prefix of the layer of `from_latent` that takes the latent, which no other corresponds to; "" for none.
    """

    from_latent: tuple[str, ...] = ()
    latent_axis: Mapping[str, int] = field(default_factory=dict)
    first: str = ""

    def roles(self, names: Iterable[str]) -> dict[str, str]:
        """For each name of a network's tensors one that is the same in networks for other sizes: "layers.-1.weight" for the last."""
        names = list(names)
        counts = {
            part: 1 + max((_number(n) for n in names if _list(n) == part), default=-1) for part in self.from_latent
        }
        return {name: self._role(name, counts) for name in names}

    def _role(self, name: str, counts: Mapping[str, int]) -> str:
        part = _list(name)
        if part not in counts or (self.first and name.startswith(f"{self.first}.")):
            return name
        return ".".join([part, str(_number(name) - counts[part]), *name.split(".")[2:]])


def order_of(network: nn.Module) -> LayerOrder:
    """The order that a network declares; else its names say all."""
    order = getattr(network, "order", None)
    return order if isinstance(order, LayerOrder) else LayerOrder()


def _list(name: str) -> str:
    return name.split(".")[0]


def _number(name: str) -> int:
    second = name.split(".")[1:2]
    return int(second[0]) if second and second[0].isdecimal() else 0
