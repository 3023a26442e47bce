"""Which weights of another model fit a network: layers are compared from the image's end, and latents without classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from kantor.nets.layer_order import order_of
from kantor.nets.progressive import Fading

_MODULATION = "modulation.linear."
_TABLE = "guide.table"


class Copy(NamedTuple):
    """What a tensor of a network takes from another.

    Attributes:
        source: name of the other.
        values: to copy: all of it, or a part.
        place: where they go.
    """

    source: str
    values: Tensor
    place: tuple[slice, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it is all of the tensor."""
        return all(part == slice(None) for part in self.place)

    def into(self, tensor: Tensor) -> None:
        tensor[self.place].copy_(self.values)


def matching(network: nn.Module, tensors: Mapping[str, Tensor], same_classes: bool, grown: bool) -> dict[str, Copy]:
    """What `network` can take from `tensors`, those of another network, by its own names.

    A tensor is taken if its layer is as far from the image and its shape is the same. Of layers that take the latent, the columns
    of the latent are taken even if only one of the networks has classes or a guide, and of the first layer of
    a guided critic those of the image; of factors for each channel, those of the channels
    nearest the image.

    Args:
        same_classes: whether both have the same classes: else embeddings are new.
        grown: `tensors` are those of the smaller network that this one grows from.
    """
    own = own_tensors(network)
    sources = _sources_of_grown(network, own) if grown else _sources(network, own, tensors)
    found = {}
    for name, tensor in own.items():
        source = sources.get(name, "")
        if source not in tensors or (name in embeddings(network) and not same_classes):
            continue
        if (copy := _fitting(network, name, tensor, source, tensors)) is not None:
            found[name] = copy
    return found


def own_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Weights and running statistics, without the progress of fading and controls of training images, which a new run sets."""
    not_taken = {_TABLE, *(("fade",) if isinstance(network, Fading) else ())}
    return {name: t for name, t in network.state_dict().items() if name not in not_taken}


def embeddings(network: nn.Module) -> set[str]:
    """Names of the weights that belong to classes."""
    return {f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.Embedding)}


def fits(network: nn.Module, copies: Mapping[str, Copy]) -> bool:
    """Whether any layer is taken, embeddings apart."""
    return any(copies[name].values.dim() > 1 for name in copies.keys() - embeddings(network))


def share_taken(network: nn.Module, copies: Mapping[str, Copy]) -> float:
    """The share of a network's weights that are taken, in [0, 1]."""
    weights = {name: weight.numel() for name, weight in network.named_parameters()}
    taken = sum(copies[name].values.numel() for name in weights if name in copies)
    return taken / max(1, sum(weights.values()))


def _sources(network: nn.Module, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """By its own names, the names of tensors as far from the image."""
    order = order_of(network)
    theirs = {role: name for name, role in order.roles(tensors).items()}
    return {name: theirs[role] for name, role in order.roles(own).items() if role in theirs}


def _sources_of_grown(network: nn.Module, own: Mapping[str, Tensor]) -> dict[str, str]:
    prefixes = network.growth.names.items() if isinstance(network, Fading) else ()
    return {
        name: there + name.removeprefix(here) for here, there in prefixes for name in own if name.startswith(f"{here}.")
    }


def _fitting(network: nn.Module, name: str, tensor: Tensor, source: str, tensors: Mapping[str, Tensor]) -> Copy | None:
    """What fits of a tensor with the same role; None if nothing does."""
    values, place = tensors[source], [slice(None)] * tensor.dim()
    if values.dim() != tensor.dim():
        return None
    axis = order_of(network).latent_axis.get(name.replace(".parametrizations.weight.original", ".weight"))
    if axis is not None:
        (latent, *behind), theirs = _latent_dims(network), _dims_behind(tensors)
        if values.shape[axis] - sum(theirs) != latent:
            return None
        if behind != theirs:  # one of them has no classes, or other controls
            shared = latent + (behind[0] if behind[0] == theirs[0] else 0)
            place[axis] = slice(shared)
            values = values.narrow(axis, 0, shared)
    if values.dim() == 4 and (values.shape[1], tensor.shape[1]) == getattr(network, "channels_without_guide", None):
        place[1] = slice(values.shape[1])
    if name.startswith(_MODULATION):
        rows = _shared_rows(own_tensors(network), tensors)
        if rows < len(tensor):
            place[0] = slice(len(tensor) - rows, None)
        values = values[len(values) - rows :]
    if not values.numel() or values.shape != tensor[tuple(place)].shape:
        return None
    return Copy(source, values, tuple(place))


def _latent_dims(network: nn.Module) -> tuple[int, int, int]:
    """Of the latent, and of the controls and the embedding that follow it."""
    controls, label = _dims_behind(network.state_dict())
    return int(network.latent.dim) - controls - label, controls, label  # type: ignore[arg-type]


def _dims_behind(tensors: Mapping[str, Tensor]) -> list[int]:
    """Of controls and label."""
    return [tensors[name].shape[1] if name in tensors else 0 for name in (_TABLE, "latent.embedding.weight")]


def _shared_rows(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> int:
    """Rows of a modulation, from the last on, that belong to layers of the same widths in both networks: two a channel."""
    rows = 0
    for width, their_width in zip(reversed(_widths(own)), reversed(_widths(tensors)), strict=False):
        if width != their_width:
            break
        rows += 2 * width
    return rows


def _widths(tensors: Mapping[str, Tensor]) -> list[int]:
    """Channels of each layer with a modulation, from the latent on: those that enter the first convolution, and that leave each."""
    names = [name for name, tensor in tensors.items() if name.startswith("layers.") and tensor.dim() == 4]
    kernels = [tensors[name] for name in sorted(names, key=lambda name: int(name.split(".")[1]))]
    return [kernels[0].shape[1], *(kernel.shape[0] for kernel in kernels)] if kernels else []
