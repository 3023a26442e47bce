"""Whether the tensors of a checkpoint are those of a network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_SHOWN = 2


def misfit(saved: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What differs between the tensors of a checkpoint and those of the networks: the first few, in one line.

    Args:
        saved, wanted: tensors by name: "critic/layers.0.weight".
    Returns:
        "" where names and shapes are the same.
    """
    faults = []
    for name in sorted({*saved, *wanted}):
        if name not in wanted:
            faults.append(f"{name} is not in the network")
        elif name not in saved:
            faults.append(f"{name} is not in the checkpoint")
        elif saved[name].shape != wanted[name].shape:
            old, new = list(saved[name].shape), list(wanted[name].shape)
            faults.append(f"{name} is {old} in the checkpoint and {new} in the network")
    more = len(faults) - _SHOWN
    return ", ".join(faults if more <= 1 else [*faults[:_SHOWN], f"and {more} more"])
